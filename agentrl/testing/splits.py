"""Tasks told apart by what they are, whatever their keys: what is seen first, and how they go on from there."""

from __future__ import annotations

import functools
import io
import itertools
import json
import pickle
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agentrl.data.types import Info, Task
from agentrl.testing.plays import World, expert_action, has_expert, snapshot, some_action
from agentrl.testing.report import require

SAMPLE = 200
"""Tasks of a split that are looked at."""
PLAYED = 50
"""Tasks of a split that are played, of those that look alike at first."""
SCRIPT, WALK, WALKS = 200, 12, 3
"""Turns of an expert's play and of a random walk, and how many of these are taken."""


@dataclass(frozen=True)
class _Content:
    """What a task is: how its expert and some random walks go, what the world says it hides, and all that it holds."""

    task: Task
    plays: tuple[str, ...]
    tells: bool  # whether the world has an expert, or says what it hides
    held: tuple[object, ...] | None  # None: it cannot be read

    def is_that_of(self, other: _Content) -> bool:
        """Whether all is the same; the names and numbers of the two tasks may differ in what the worlds hold."""
        if self.plays != other.plays:
            return False
        if self.held is None or other.held is None:
            return self.tells
        one, two = self.task, other.task
        names = ((one.index, two.index), (one.split, two.split), (one.key, two.key))
        pairs = itertools.zip_longest(self.held, other.held)
        return all(pair[0] == pair[1] or pair in names for pair in pairs)


def shared_content(env: World, splits: Mapping[str, int]) -> tuple[Task, Task] | None:
    """Two tasks of two splits that are the same one; None where there are none among those looked at."""
    alike: defaultdict[str, list[Task]] = defaultdict(list)
    for split, size in splits.items():
        for index in np.unique(np.linspace(0, size - 1, num=min(size, SAMPLE)).astype(np.int64)).tolist():
            observation, info = env.reset(seed=0, options={"split": split, "index": index})
            require("task" in info, "info has no `task` after reset")
            look = json.dumps([observation, info.get("admissible"), info.get("hidden")], default=repr)
            alike[look].append(Task(split, index, key=str(info["task"])))
    for tasks in alike.values():
        by_split = [[task for task in tasks if task.split == split][:PLAYED] for split in splits]
        if sum(map(bool, by_split)) < 2:
            continue
        contents = [_content(env, task) for tasks in by_split for task in tasks]
        for place, one in enumerate(contents):
            for two in contents[place + 1 :]:
                if one.task.split != two.task.split and one.is_that_of(two):
                    return one.task, two.task
    return None


def _content(env: World, task: Task) -> _Content:
    plays: list[str] = []
    for seed in range(WALKS):
        walk = functools.partial(some_action, picks=np.random.default_rng(seed), env=env)
        plays += _played(env, task, WALK, walk)
    knows = has_expert(env)
    if knows:
        try:
            plays += _played(env, task, SCRIPT, lambda _: expert_action(env))
        except NotImplementedError:  # no expert with these settings
            knows = False
    _, info = env.reset(seed=0, options=task.options)
    return _Content(task, tuple(plays), knows or "hidden" in info, _held(env))


def _played(env: World, task: Task, turns: int, choose: Callable[[Info], str]) -> Iterator[str]:
    _, info = env.reset(seed=0, options=task.options)
    for _ in range(turns):
        action = choose(info)
        observation, reward, terminated, truncated, info = env.step(action)
        yield from (action, observation, repr((float(reward), bool(terminated))))
        if terminated or truncated:
            return


def _held(env: World) -> tuple[object, ...] | None:
    """Every number and text in a snapshot, in order, but for its luck; None where it cannot be read."""
    leaves: list[object] = []

    class Leaves(pickle.Pickler):
        def persistent_id(self, value: Any) -> str | None:
            if isinstance(value, (str, bytes, int, float)):
                leaves.append(value)
            return "luck" if isinstance(value, np.random.Generator) else None

    try:
        Leaves(io.BytesIO()).dump(snapshot(env))
    except (pickle.PicklingError, TypeError, AttributeError):
        return None
    return tuple(leaves)
