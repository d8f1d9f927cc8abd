"""A process that commits updates until it is killed; what an update holds follows from its number alone."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from agentrl.data.record import Run
from agentrl.data.types import Completion, Outcome, Sampling, Task, Trajectory, Turn


def random_turn(rng: np.random.Generator, prompt_ids: np.ndarray, agent: str) -> Turn:
    tokens = int(rng.integers(0, 6))
    words = ["drawer", "mug\n", "Tür", "日本", "", '"quoted"', "nul\x00"]
    completion = Completion(
        text=" ".join(rng.choice(words, 3)),
        prompt_ids=prompt_ids,
        ids=rng.integers(0, 50_000, tokens).astype(np.int32),
        logprobs=-rng.random(tokens).astype(np.float32),
        entropy=rng.random(tokens).astype(np.float32) if rng.random() < 0.5 else None,
        versions=np.full(tokens, int(rng.integers(9)), np.int32),
        stop="length" if rng.random() < 0.2 else "stop",
        sampling=Sampling(temperature=float(rng.random()), top_p=0.9, top_k=int(rng.integers(3))),
    )
    observation = " ".join(rng.choice(words, 5))
    return Turn(
        observation=observation,
        completion=completion,
        action=str(rng.choice(words)),
        reward=float(rng.normal()),
        anchor=observation if rng.random() < 0.5 else "a truer state",
        rewards={"goal": float(rng.normal()), "cost": 0.0} if rng.random() < 0.5 else {},
        invalid="" if rng.random() < 0.8 else "no such action",
        info={"admissible": list(rng.choice(words, 2)), "success": bool(rng.random() < 0.5)},
        agent=agent,
        extras={"judgement": 0.25} if rng.random() < 0.3 else {},
    )


def random_trajectory(rng: np.random.Generator, member: int, turns: int) -> Trajectory:
    """Prompts that append, realign and fork, for two speakers."""
    played: list[Turn] = []
    sequence = np.zeros(0, np.int32)
    for _ in range(turns):
        kept = sequence[: int(rng.integers(len(sequence) + 1))] if rng.random() < 0.3 else sequence
        prompt_ids = np.concatenate((kept, rng.integers(0, 50_000, int(rng.integers(5))))).astype(np.int32)
        turn = random_turn(rng, prompt_ids, "agent" if rng.random() < 0.8 else "user")
        played.append(turn)
        sequence = np.concatenate((prompt_ids, turn.completion.ids))
    return Trajectory(
        turns=tuple(played),
        task=Task("train", int(rng.integers(10**9)), seed=7, key="household:0:ab12"),
        group=f"g{member // 4}",
        outcome=Outcome.TERMINATED if turns else Outcome.ENV_ERROR,
        member=member % 4,
        attempt=int(rng.integers(2)),
        seed=int(rng.integers(2**62)),
        parent="g0#0.0@1" if rng.random() < 0.3 else None,
        error="" if turns else "reset: broke",
        seconds=float(rng.random()),
    )


def random_trajectories(seed: int, count: int = 12, turns: int = 6) -> list[Trajectory]:
    rng = np.random.default_rng(seed)
    return [random_trajectory(rng, member, int(rng.integers(turns + 1))) for member in range(count)]


def random_advantages(seed: int, trajectories: list[Trajectory]) -> list[np.ndarray | list[np.ndarray] | None]:
    """None, one number per turn, or one per token."""
    rng = np.random.default_rng(seed)
    found: list[np.ndarray | list[np.ndarray] | None] = []
    for trajectory in trajectories:
        kind = int(rng.integers(3)) if trajectory.turns else 0
        per_token = [rng.normal(size=len(turn.completion.ids)) for turn in trajectory.turns]
        found.append([None, rng.normal(size=len(trajectory.turns)), per_token][kind])
    return found


def state_of(update: int) -> dict[str, object]:
    return {"sampler": {"next": [update, update + 1], "mean": update / 3}, "rng": 2**100 + update}


def metrics_of(update: int) -> dict[str, float]:
    return {"success": update / 7, "return": -float(update)}


def checkpoint_of(update: int) -> bytes:
    return np.random.default_rng(update).bytes(20_000)


def checkpoint_writer(update: int) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "model").mkdir()
        (folder / "model" / "weights").write_bytes(checkpoint_of(update))
        (folder / "optimiser").write_bytes(checkpoint_of(update + 1_000_000))

    return write


def commit(run: Run, update: int, *, checkpoint: bool = True, count: int = 12) -> None:
    trajectories = random_trajectories(update, count)
    run.commit(
        update,
        "rl",
        trajectories=trajectories,
        advantages=random_advantages(update, trajectories),
        metrics=metrics_of(update),
        state=state_of(update),
        write_checkpoint=checkpoint_writer(update) if checkpoint else None,
    )


def commit_until_killed(folder: Path, connection: Connection) -> None:
    """Resume, then commit and prune for ever; tells the number of each update once its commit has returned."""
    run = Run.open(folder)
    last = run.recover()
    update = 0 if last is None else last.update + 1
    connection.send(update - 1)
    while True:
        commit(run, update, checkpoint=update % 3 != 1)
        connection.send(update)
        run.prune({update, update - update % 10})
        run.write_json("evaluations/latest.json", {"update": update})
        update += 1
