"""What the tests of the lab's worlds share: the worlds with their settings, tasks by content, a lopsided policy."""

from __future__ import annotations

import functools
import random
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from agentrl import Spec, default_host
from agentrl_envs.lab.exact import Node, Policy
from agentrl_envs.lab.tabular import TabularWorld

NAMES = (
    *("aliased", "calls", "decisive", "feedback", "hidden_rule", "late", "length_trap", "noisy"),
    *("pennies", "planted", "said", "slow_good", "stopping", "three_tasks", "two_routes"),
)

OTHER_SETTINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("aliased", {"hidden": 0.0}),
    ("aliased", {"rooms": 5, "hidden": 0.6, "max_turns": 12}),
    ("decisive", {"turns": 11}),
    ("feedback", {"tries": 2, "feedback_of": "other"}),
    ("hidden_rule", {"rules": 3}),
    ("late", {"delay": 1}),
    ("length_trap", {"detour": 1, "most": 6}),
    ("noisy", {"cells": 6, "slip": 0.0, "noise": 0.0}),
    ("noisy", {"cells": 6, "slip": 0.3, "noise": 0.5, "max_turns": 25}),
    ("pennies", {"matcher": "anna", "hider": "ben", "heads": 3.0}),
    ("planted", {"length": 3}),
    ("slow_good", {"rounds": 3, "poor": 0.1, "fast_s": 0.5, "slow_s": 4.0}),
    ("stopping", {"cells": 9, "early": 0.2}),
    ("three_tasks", {"easy": 2, "hard": 3, "impossible": 5}),
    ("two_routes", {"parts": 1, "ways": 2}),
)

WORLDS = [(name, {}) for name in NAMES] + list(OTHER_SETTINGS)


def make(name: str, **settings: Any) -> TabularWorld[Any]:
    world = default_host().build(Spec("environment", f"lab_{name}", settings))
    assert isinstance(world, TabularWorld)
    return world


def begin(name: str, *details: Any, **settings: Any) -> TabularWorld[Any]:
    """The world at the beginning of the task with these details."""
    world = make(name, **settings)
    for split, tasks in world.tasks.items():
        if details in tasks:
            world.reset(seed=0, options={"split": split, "index": list(tasks).index(details)})
            return world
    raise AssertionError(f"lab_{name} has no task {details}")


def lopsided(observation: str, admissible: Sequence[str]) -> tuple[float, ...]:
    """A policy without any symmetry: chances that follow from a checksum of what is seen and done."""
    return _lopsided(observation, tuple(admissible))


@functools.cache
def _lopsided(observation: str, admissible: tuple[str, ...]) -> tuple[float, ...]:
    logits = [zlib.crc32(f"{observation} {action}".encode()) % 1000 / 400 for action in admissible]
    weights = np.exp(logits)
    return tuple((weights / weights.sum()).tolist())


class Step(NamedTuple):
    node: Node[Any]
    action: str
    reward: float
    over: bool


def play(world: Any, policy: Policy, picks: random.Random) -> Iterator[Step]:
    """Play on from where the world is."""
    over = False
    while not over:
        node, actions = world.node, tuple(world.scene.admissible)
        action = picks.choices(actions, policy(world.scene.observation, actions))[0]
        _, reward, terminated, truncated, _ = world.step(action)
        over = terminated or truncated
        yield Step(node, action, reward, over)


def played_return(world: Any, policy: Policy, picks: random.Random) -> float:
    return sum(step.reward for step in play(world, policy, picks))
