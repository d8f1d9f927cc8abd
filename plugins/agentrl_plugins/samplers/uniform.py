"""Uniform: every update draws its tasks at random from a split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np

import agentrl
from agentrl import ConfigError, Seed, Splits, Task


@agentrl.hookimpl
def register_samplers(register: agentrl.Register) -> None:
    register("uniform", Uniform)


class Uniform:
    """`tasks` different tasks of `split` per update; what is drawn depends on nothing but the seed and the update."""

    def __init__(
        self,
        splits: Splits,
        seed: Seed,
        *,
        tasks: Annotated[int, "different tasks per update"] = 8,
        split: Annotated[str, "split of the world"] = "train",
        pool: Annotated[int | None, "draw only from the first so many tasks of the split"] = None,
    ) -> None:
        if split not in splits:
            raise ConfigError(f"sampler 'uniform': split {split!r}. {agentrl.did_you_mean(split, splits)}")
        size = splits[split] if pool is None else min(pool, splits[split])
        if not 1 <= tasks <= size:
            raise ConfigError(f"sampler 'uniform': tasks = {tasks}; split {split!r} allows 1 to {size}")
        self._tasks, self._split, self._size, self._seed = tasks, split, size, seed
        self._drawn = 0

    def next(self, update: int) -> list[Task]:
        random = np.random.default_rng([self._seed, update])
        chosen: dict[int, None] = {}
        while len(chosen) < self._tasks:
            chosen.update(dict.fromkeys(random.integers(self._size, size=self._tasks - len(chosen)).tolist()))
        self._drawn += self._tasks
        return [Task(self._split, index, seed=int(random.integers(2**31))) for index in chosen]

    def state(self) -> dict[str, int]:
        return {"drawn": self._drawn}

    def restore(self, state: Mapping[str, int]) -> None:
        self._drawn = int(state["drawn"])
