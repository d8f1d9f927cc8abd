"""GiGPO against GRPO, RLOO and return-to-go on a toy world: trajectories until nine in ten succeed.

Everything below was fixed before any two methods were compared; the size of the world and of an update were chosen by
looking at random play and at GRPO alone.

World: a grid of 4 x 4 cells. The agent starts in a cell that its task draws, must walk to the key at (0, 3), `take` it,
walk to the door at (3, 0) and `open` it: reward 1 and the end; otherwise the end comes after 60 turns. Six actions are
always admissible; walking into a wall, or taking and opening elsewhere, does nothing. The observation is the cell and
whether the key is in hand, which is all there is to know. Random play succeeds in about 3 % of trajectories.

Learner: the tabular policy and plain gradient steps, starting from equal chances. An update is 2 groups of 8. The same
seed means the same tasks and the same draws for every method. gamma is 0.95 where a credit has one, everything else is
the credit's default.

Learning rate: for each method the best of a grid of factors of 2, by mean score over tuning seeds that are not used
again; while the best is at an edge of the grid, the grid grows. Score: how many trajectories had been played when the
success rate over the latest 64 of them first reached 90 %; a run that never gets there counts as the budget. Medians
and their ratios to GRPO have 95 % bootstrap intervals over the fresh seeds (paired by seed for the ratio).

Run: python benchmarks/gigpo_vs_grpo.py [fresh seeds] [tuning seeds]
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import numpy as np

from agentrl import Dialect, Dialogue, Message, Model, Outcome, Scope, Spec, Task, Trajectory, Turn, default_host

SIZE, KEY, DOOR, CAP = 4, (0, 3), (3, 0), 60
GROUPS, MEMBERS, WINDOW, GOAL, BUDGET = 2, 8, 64, 0.9, 3200
FIRST_RATES = (4.0, 8.0, 16.0)
FRESH, TUNING = 60, 8

ACTIONS = ("north", "south", "east", "west", "take", "open")
STEP = {"north": (-1, 0), "south": (1, 0), "east": (0, 1), "west": (0, -1)}
HOST = default_host()
CREDITS: dict[str, dict[str, Any]] = {
    "grpo": {"name": "grpo"},
    "gigpo": {"name": "gigpo"},
    "gigpo, std": {"name": "gigpo", "std": True},
    "rloo": {"name": "rloo"},
    "return_to_go": {"name": "return_to_go", "gamma": 0.95},
}
Cell = tuple[int, int]


def move(cell: Cell, has_key: bool, action: str) -> tuple[Cell, bool, bool]:
    """The world: next cell, key in hand, and whether the door opened."""
    if action in STEP:
        row, column = cell[0] + STEP[action][0], cell[1] + STEP[action][1]
        inside = 0 <= row < SIZE and 0 <= column < SIZE
        return (row, column) if inside else cell, has_key, False
    if action == "take":
        return cell, has_key or cell == KEY, False
    return cell, has_key, has_key and cell == DOOR


def play(policy: Any, start: Cell, group: str, member: int, seed: int) -> Trajectory:
    cell, has_key, opened, turns = start, False, False, []
    while not opened and len(turns) < CAP:
        observation = f"row {cell[0]}, column {cell[1]}, {'with' if has_key else 'without'} the key"
        turn_seed = (seed * MEMBERS + member) * CAP + len(turns)
        said = now(
            policy.act(Dialogue((Message("user", observation),), group, turn_seed, info={"admissible": ACTIONS}))
        )
        cell, has_key, opened = move(cell, has_key, said.text)
        info = {"admissible": ACTIONS, "success": opened}
        turns.append(Turn(observation, said, said.text, float(opened), observation, info=info))
    outcome = Outcome.TERMINATED if opened else Outcome.TURN_LIMIT
    return Trajectory(tuple(turns), Task("train", 0), group, outcome, member)


def now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("the tabular policy is not supposed to wait")


def collect(policy: Any, seed: int, update: int) -> list[Trajectory]:
    draw = np.random.Generator(np.random.Philox(key=[seed, update]))
    played = []
    for number in range(GROUPS):
        start = (int(draw.integers(SIZE)), int(draw.integers(SIZE)))
        group_seed = (seed * BUDGET + update) * GROUPS + number
        played += [play(policy, start, f"{update}/{number}", member, group_seed) for member in range(MEMBERS)]
    return played


def trajectories_to_goal(credit: dict[str, Any], rate: float, seed: int) -> int:
    model = HOST.build(Spec("model", "table"))
    scope = Scope({Model: model, Dialect: HOST.build(Spec("dialect", "plain"))})
    policy = HOST.build(Spec("policy", "tabular"), scope)
    settings = {"learning_rate": rate, "optimizer": "gradient"}
    trainer = HOST.build(Spec("trainer", "tabular", settings), scope)
    advantages_of = HOST.build(Spec.from_table("credit", credit))
    latest: deque[bool] = deque(maxlen=WINDOW)
    for update in range(BUDGET // (GROUPS * MEMBERS)):
        played = collect(policy, seed, update)
        latest.extend(trajectory.success for trajectory in played)
        if len(latest) == WINDOW and sum(latest) >= GOAL * WINDOW:
            return (update + 1) * GROUPS * MEMBERS
        trainer.train(played, advantages_of(played))
    return BUDGET


def tuned(score: Callable[[float], float]) -> dict[float, float]:
    """Learning rate → score, grown by factors of 2 until the best is no longer at an edge."""
    scores = {rate: score(rate) for rate in FIRST_RATES}
    while True:
        best = min(scores, key=lambda rate: scores[rate])
        if best not in (min(scores), max(scores)):
            return scores
        further = best / 2 if best == min(scores) else best * 2
        scores[further] = score(further)


def interval(statistic: Callable[[np.ndarray], float], seeds: int) -> str:
    """95 % bootstrap interval of a statistic of the seeds that were picked."""
    picks = np.random.default_rng(0).integers(seeds, size=(4000, seeds))
    low, high = np.percentile([statistic(pick) for pick in picks], [2.5, 97.5])
    return f"{low:.3g} to {high:.3g}"


def report(name: str, scores: dict[float, float], values: np.ndarray, grpo: np.ndarray) -> None:
    def median(pick: np.ndarray) -> float:
        return float(np.median(values[pick]))

    def ratio(pick: np.ndarray) -> float:
        return float(np.median(values[pick]) / np.median(grpo[pick]))

    everyone = np.arange(len(values))
    print(
        f"{name:<14}{min(scores, key=lambda rate: scores[rate]):>6g}"
        f"{median(everyone):>8.0f}{interval(median, len(values)):>14}"
        f"{ratio(everyone):>10.2f}{interval(ratio, len(values)):>17}{np.sum(values >= BUDGET):>7}   "
        + ", ".join(f"{rate:g} → {scores[rate]:.0f}" for rate in sorted(scores)),
        flush=True,
    )


def main(fresh: int = FRESH, tuning: int = TUNING) -> None:
    started = time.perf_counter()
    print(f"Trajectories to {GOAL:.0%} success; {fresh} fresh seeds, {tuning} tuning seeds, budget {BUDGET}.")
    print("credit          rate  median      interval   vs grpo         interval  never   mean while tuning the rate")
    grpo: np.ndarray | None = None
    for name, credit in CREDITS.items():
        run = partial(trajectories_to_goal, credit)
        scores = tuned(lambda rate, run=run: float(np.mean([run(rate, 10_000 + seed) for seed in range(tuning)])))
        best = min(scores, key=lambda rate: scores[rate])
        values = np.array([run(best, seed) for seed in range(fresh)])
        grpo = values if grpo is None else grpo
        report(name, scores, values, grpo)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
