"""A process that commits updates until it is killed; what an update holds follows from its number alone."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from agentrl.data.record import Run
from agentrl.data.rows import relation
from agentrl.data.types import Completion, Final, Outcome, Sampling, Task, Trajectory, Turn

WORDS = ["drawer", "mug\n", "Tür", "日本", "", '"quoted"', "nul\x00"]


def random_columns(rng: np.random.Generator, tokens: int) -> dict[str, object]:
    """Some of the columns that are always declared: per token, per turn, with a further axis, JSON."""
    columns: dict[str, object] = {
        "mask": rng.random(tokens) < 0.5,
        "reference": -rng.random(tokens).astype(np.float32),
        "value": float(rng.normal()),
        "judged": {"style": 0.25, "notes": [str(rng.choice(WORDS))]},
        "teacher_ids": rng.integers(0, 50_000, (tokens, 3)).astype(np.int32),
        "teacher_logprobs": -rng.random((tokens, 3)).astype(np.float32),
    }
    return {name: value for name, value in columns.items() if rng.random() < 0.3}


def random_turn(rng: np.random.Generator, prompt_ids: np.ndarray, agent: str, before: Completion | None) -> Turn:
    tokens = int(rng.integers(0, 6))
    words = WORDS
    completion = Completion(
        text=" ".join(rng.choice(words, 3)),
        prompt_ids=prompt_ids,
        ids=rng.integers(0, 50_000, tokens).astype(np.int32),
        logprobs=-rng.random(tokens).astype(np.float32),
        entropy=rng.random(tokens).astype(np.float32) if rng.random() < 0.5 else None,
        versions=np.full(tokens, int(rng.integers(9)), np.int32),
        stop="length" if rng.random() < 0.2 else "stop",
        sampling=Sampling(temperature=float(rng.random()), top_p=0.9, top_k=int(rng.integers(3))),
        square=rng.random(tokens).astype(np.float32) if rng.random() < 0.5 else None,
        calls=({"name": "look", "arguments": {"at": "mug"}},) if rng.random() < 0.2 else None,
        thought="it is in the drawer" if rng.random() < 0.2 else None,
    )
    how, kept = relation(before, prompt_ids)
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
        kind="speak" if rng.random() < 0.1 else "act",
        relation=how,
        kept=kept,
        columns=random_columns(rng, tokens),
    )


def random_trajectory(rng: np.random.Generator, member: int, turns: int, parent: Trajectory | None) -> Trajectory:
    """Prompts that append and others, for two speakers; a branch if there is a parent."""
    inherited = 0 if parent is None else int(rng.integers(len(parent.turns) + 1))
    played = list(parent.turns[:inherited]) if parent is not None else []
    last = {turn.agent: turn.completion for turn in played}
    for _ in range(turns):
        agent = "agent" if rng.random() < 0.8 else "user"
        before = last.get(agent)
        past = np.zeros(0, np.int32) if before is None else np.concatenate((before.prompt_ids, before.ids))
        kept = past[: int(rng.integers(len(past) + 1))] if rng.random() < 0.3 else past
        prompt_ids = np.concatenate((kept, rng.integers(0, 50_000, int(rng.integers(5))))).astype(np.int32)
        turn = random_turn(rng, prompt_ids, agent, before)
        played.append(turn)
        last[agent] = turn.completion
    return Trajectory(
        turns=tuple(played),
        task=Task("train", int(rng.integers(10**9)), seed=7, key="household:0:ab12"),
        group=f"g{member // 4}",
        outcome=Outcome.TERMINATED if turns else Outcome.ENV_ERROR,
        member=member % 4,
        attempt=int(rng.integers(2)),
        seed=int(rng.integers(2**62)),
        parent=None if parent is None else f"{parent.id}@{inherited}",
        inherited=inherited,
        branch=member if parent is not None else 0,
        final=Final("the end", "a truer end", {"admissible": ["look"]}) if rng.random() < 0.5 else None,
        labels={"arm": str(rng.choice(WORDS))} if rng.random() < 0.5 else {},
        hidden={"solution": [1, {"a": None}]} if rng.random() < 0.5 else {},
        error="" if turns else "reset: broke",
        seconds=float(rng.random()),
    )


def random_trajectories(seed: int, count: int = 12, turns: int = 6) -> list[Trajectory]:
    """One in three is a branch of an earlier one, some of a branch."""
    rng = np.random.default_rng(seed)
    made: list[Trajectory] = []
    for member in range(count):
        parent = made[int(rng.integers(member))] if member and rng.random() < 0.3 else None
        made.append(random_trajectory(rng, member, int(rng.integers(turns + 1)), parent))
    return made


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
