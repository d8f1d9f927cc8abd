"""Advantages of 25,600 turns: milliseconds from Trajectory objects to arrays, against 25 ms and against plain loops.

1,024 trajectories of 25 turns in groups of 8; 300-character anchors out of 40 per group; every fifth turn invalid.
Each repetition gets trajectories nobody has read before, because Python keeps the hash of a string it has hashed.
Run: python benchmarks/credit.py
"""

import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from agentrl import Advantages, Completion, Outcome, Task, Trajectory, Turn, default_host

LIMIT_MS = 25.0
TRAJECTORIES, TURNS, GROUP = 1024, 25, 8
REPEATS = 9

Credit = Callable[[Sequence[Trajectory]], Advantages]


def trajectories(seed: int) -> list[Trajectory]:
    """Fresh objects whose anchors are equal but not identical strings, as a world makes them."""
    draw = random.Random(seed)
    return [_trajectory(draw, f"task {number // GROUP}", number % GROUP) for number in range(TRAJECTORIES)]


def _trajectory(draw: random.Random, group: str, member: int) -> Trajectory:
    turns = []
    for index in range(TURNS):
        anchor = f"{group}, place {draw.randrange(40):3d}: " + "a door, a drawer, " * 16
        reward = float(index == TURNS - 1 and draw.random() < 0.5)
        turns.append(Turn(anchor, Completion("go"), "go", reward, anchor, invalid="" if draw.random() < 0.8 else "no"))
    return Trajectory(tuple(turns), Task("train", 0), group, Outcome.TERMINATED, member)


def gigpo_by_loops(played: Sequence[Trajectory], gamma: float = 0.95, penalty: float = 0.1) -> list[list[float]]:
    """The same numbers as credit `gigpo`, as one would first write them: dictionaries and loops, O(turns)."""
    scores, returns_at = defaultdict(list), defaultdict(list)
    later = [_returns_to_go(trajectory, gamma, penalty) for trajectory in played]
    for trajectory, after in zip(played, later, strict=True):
        scores[trajectory.group].append(trajectory.episode_return)
        for turn, value in zip(trajectory.turns, after, strict=True):
            returns_at[trajectory.group, turn.anchor].append(value)
    episode_mean = {group: statistics.fmean(values) for group, values in scores.items()}
    anchor_mean = {key: statistics.fmean(values) for key, values in returns_at.items()}
    advantages = []
    for trajectory, after in zip(played, later, strict=True):
        episode = trajectory.episode_return - episode_mean[trajectory.group]
        advantages.append(
            [
                episode - penalty * bool(turn.invalid) + value - anchor_mean[trajectory.group, turn.anchor]
                for turn, value in zip(trajectory.turns, after, strict=True)
            ]
        )
    return advantages


def _returns_to_go(trajectory: Trajectory, gamma: float, penalty: float) -> list[float]:
    result, value = [], 0.0
    for turn in reversed(trajectory.turns):
        value = turn.reward + gamma * value
        result.append(value - penalty * bool(turn.invalid))
    return result[::-1]


def milliseconds(credit: Callable[[Sequence[Trajectory]], object]) -> float:
    """Median over fresh trajectories, after one call to warm up."""
    credit(trajectories(0))
    times = []
    for seed in range(1, REPEATS + 1):
        fresh = trajectories(seed)
        started = time.perf_counter()
        credit(fresh)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def main() -> None:
    loops = milliseconds(gigpo_by_loops)
    print(f"{TRAJECTORIES * TURNS:,} turns, reading included; limit {LIMIT_MS:.0f} ms; median of {REPEATS}")
    print(f"{'credit':<24}{'ms':>8}{'of the limit':>14}{'loops / this':>14}")
    for name in ("return_to_go", "grpo", "rloo", "gigpo"):
        taken = milliseconds(default_host().part("credit", name))
        print(f"{name:<24}{taken:>8.1f}{taken / LIMIT_MS:>14.2f}{loops / taken:>14.1f}")
    print(f"{'gigpo by plain loops':<24}{loops:>8.1f}{loops / LIMIT_MS:>14.2f}{1.0:>14.1f}")


if __name__ == "__main__":
    main()
