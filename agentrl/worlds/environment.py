"""Environment: a Gymnasium world of text, with tasks, splits and snapshots on top."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.utils import seeding

from agentrl.data.types import Task
from agentrl.errors import ConfigError, did_you_mean


class UnicodeText(gymnasium.Space[str]):
    """Any string of at most `max_length` characters (Gymnasium's own Text refuses blanks and line breaks)."""

    def __init__(self, max_length: int = 1_000_000, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(dtype=str, seed=seed)
        self.max_length = max_length

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_length

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Up to 32 random characters, so that random play meets hostile text."""
        length = int(self.np_random.integers(0, min(32, self.max_length) + 1))
        return "".join(chr(int(code)) for code in self.np_random.integers(32, 0x2FF, size=length))

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnicodeText) and self.max_length == other.max_length

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"


class Environment(gymnasium.Env[str, str]):
    """Base of our worlds. Only `reset` and `step` are needed; everything else has a working default.

    `reset` calls `super().reset(seed=seed)`, then `self.pick_task(options)`. All randomness comes from
    `self.np_random`. TextWorld carries what most worlds need besides; its Scene says what each key of `info` means.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": [], "render_fps": 4}  # type: ignore[misc]
    observation_space: gymnasium.Space[str] = UnicodeText()
    action_space: gymnasium.Space[str] = UnicodeText()

    instructions: str = ""
    """What an agent should be told once about how this world is played."""

    blocks: bool = False
    """Whether `step` or `reset` may wait (for a process, a server, a policy); such worlds are stepped in threads."""

    splits: Mapping[str, int] = {"train": 2**31 - 1}
    """Name of each split and how many tasks it has; two splits never share content."""

    def pick_task(self, options: Mapping[str, Any] | None) -> Task:
        """The task that `options` name; a missing index is drawn from `self.np_random`, a missing split is the first.

        Raises ConfigError for an unknown split, option or index.
        """
        options = options or {}
        for name in options:
            if name not in ("split", "index"):
                raise ConfigError(f"unknown reset option {name!r}. {did_you_mean(name, ['split', 'index'])}")
        split = options.get("split", next(iter(self.splits)))
        if split not in self.splits:
            raise ConfigError(f"unknown split {split!r}. {did_you_mean(str(split), self.splits)}")
        size = self.splits[split]
        index = options.get("index")
        if index is None:
            index = self.draw(split)
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)) or not 0 <= index < size:
            raise ConfigError(
                f"task index {index!r} of split {split!r}: allowed are whole numbers from 0 to {size - 1}"
            )
        return Task(split=split, index=int(index))

    def draw(self, split: str) -> int:
        """The index of a task of the split, where none was asked for: each as likely as any other."""
        return int(self.np_random.integers(self.splits[split]))

    def expert_action(self) -> str:
        """What a scripted expert would do now. Optional: demonstrations and the conformance kit ask for it."""
        raise NotImplementedError(f"{type(self).__name__} has no scripted expert")

    _luck: int | None = None  # what the generator will begin with, where a snapshot was taken before the first draw

    @property
    def np_random(self) -> np.random.Generator:
        """The world's own generator, made when it is first drawn from."""
        if self._np_random is None:
            self._np_random, self._np_random_seed = seeding.np_random(self._luck)
        return self._np_random

    @np_random.setter
    def np_random(self, value: np.random.Generator) -> None:
        self._np_random, self._np_random_seed = value, -1

    def _random_state(self) -> Any:
        """What all later draws depend on; plain data. A world that has drawn nothing chooses only now with what to begin."""
        if self._np_random is not None:
            return self._np_random.bit_generator.state
        if self._luck is None:
            self._luck = secrets.randbits(63)
        return self._luck

    def snapshot(self) -> object:
        """Everything `step` depends on, random state included: opaque, picklable, usable on another instance."""
        self._random_state()
        return copy.deepcopy(self.__dict__)

    def restore(self, snapshot: object) -> None:
        """Go back to a snapshot, any number of times, also one taken by another instance of the same settings."""
        assert isinstance(snapshot, dict)
        self.__dict__.clear()
        self.__dict__.update(copy.deepcopy(snapshot))

    def reseed(self, seed: int) -> None:
        """Replace the random state, after `restore`: continuations of one snapshot then do not share their luck."""
        self._np_random, self._np_random_seed = seeding.np_random(seed)


def supports_tasks(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether `reset(options={"split": …, "index": …})` means something to this world (any gymnasium.Env is welcome)."""
    return isinstance(env.unwrapped, Environment)
