"""Speed of the household world in a 30-receptacle kitchen, beside a bare Gymnasium text world stepped in the same run.

All times are CPU seconds of this process, so that a busy machine does not count.

Run: python benchmarks/household.py
"""

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium

from agentrl import UnicodeText
from agentrl_envs.household.world import Household

TASKS, REPEATS = 200, 5
LEAST_STEPS_S, MOST_RESET_US, MOST_SNAPSHOT_US = 50_000, 1_000, 50
OFFICIAL_STEPS_S, OFFICIAL_RESET_US = 19, 550_000  # ALFWorld 0.4.2 on two shared cores, measured beforehand


class Bare(gymnasium.Env[str, str]):
    """The least a text world can do."""

    observation_space = action_space = UnicodeText()

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return "Nothing happens.", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "Nothing happens.", 0.0, False, False, {}


def kitchen(**more: Any) -> Household:
    return Household(rooms=("kitchen",), receptacles=(30, 30), **more)


def recorded_play() -> list[list[str]]:
    """Commands of random play among the admissible ones, one list per training task."""
    choose, env, recorded = random.Random(0), kitchen(), []
    for index in range(TASKS):
        info, actions, over = env.reset(options={"split": "train", "index": index})[1], [], False
        while not over:
            actions.append(choose.choice(info["admissible"]))
            *_, terminated, truncated, info = env.step(actions[-1])
            over = terminated or truncated
        recorded.append(actions)
    return recorded


def step_us(env: gymnasium.Env[str, str], recorded: list[list[str]]) -> float:
    """Microseconds per step, resets not counted."""
    seconds = 0.0
    for index, actions in enumerate(recorded):
        env.reset(options={"split": "train", "index": index})
        start = time.process_time()
        for action in actions:
            env.step(action)
        seconds += time.process_time() - start
    return seconds / sum(map(len, recorded)) * 1e6


def reset_us(env: gymnasium.Env[str, str], split: str, start: int) -> float:
    """Microseconds per reset to a task not seen before in this process."""
    begun = time.process_time()
    for index in range(start, start + TASKS):
        env.reset(options={"split": split, "index": index})
    return (time.process_time() - begun) / TASKS * 1e6


def snapshot_us(taker: Household, other: Household) -> float:
    """Microseconds to take a snapshot and restore it on another instance."""
    taker.reset(seed=0)
    begun = time.process_time()
    for _ in range(TASKS * 10):
        other.restore(taker.snapshot())
    return (time.process_time() - begun) / TASKS / 10 * 1e6


def median(measure: Callable[[int], float]) -> float:
    """Middle of the repetitions, each of which is told its number."""
    return statistics.median(measure(repeat) for repeat in range(REPEATS))


def main() -> None:
    recorded, bare = recorded_play(), Bare()
    bare_us = median(lambda _: step_us(bare, recorded))
    print(f"household, kitchen with 30 receptacles, unwrapped; a bare text world: {1e6 / bare_us:,.0f} steps/s")
    for label, settings in (
        ("admissible list built", {}),
        ("… and true state as anchor", {"anchor": "state"}),
        ("no admissible list", {"admissible": False}),
    ):
        env = kitchen(**settings)
        rate = 1e6 / median(lambda _, env=env: step_us(env, recorded))
        print(
            f"steps/s, {label:28} {rate:10,.0f}   {rate / LEAST_STEPS_S:5.1f} × the limit of {LEAST_STEPS_S:,}"
            f"   1/{1e6 / bare_us / rate:.0f} of bare   {rate / OFFICIAL_STEPS_S:,.0f} × official engine"
        )
    bare_reset_us = median(lambda repeat: reset_us(bare, "train", repeat))
    for split in Household.splits:
        took = median(lambda repeat, split=split: reset_us(kitchen(), split, repeat * TASKS))
        print(
            f"reset, {split:15} {took:8.0f} µs   {took / MOST_RESET_US:.2f} of the limit of {MOST_RESET_US:,} µs"
            f"   {took / bare_reset_us:,.0f} × bare   1/{OFFICIAL_RESET_US / took:,.0f} of official engine"
        )
    took = median(lambda _: snapshot_us(kitchen(), kitchen()))
    print(
        f"snapshot + restore     {took:8.1f} µs   {took / MOST_SNAPSHOT_US:.2f} of the limit of {MOST_SNAPSHOT_US} µs"
    )


if __name__ == "__main__":
    main()
