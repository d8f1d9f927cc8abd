"""Corridor: a toy world with few observations, for tests that learn within seconds."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, cast

import gymnasium

import agentrl

VALID_SHARE = 4  # one task in four, by hash of its content, is kept for `valid`
ATTEMPTS = 1000


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("corridor", Corridor)


@dataclass(frozen=True)
class _Task:
    """Where the walk begins, which end is the exit, and the cells with a door that leads back to the start."""

    start: int
    exit: int
    doors: tuple[int, ...]
    key: str


_Snapshot: TypeAlias = tuple[_Task, int, int, Mapping[str, Any] | None]


class Corridor(agentrl.Environment):
    """Walk to the end of a corridor that the observation names; doors on the way lead back to where you began.

    Settings: `length` cells (at least 4), `doors` of them with a door, at most `max_turns` turns, `reward` at the exit.
    There are at most 4 · `length` observations, each of them the true state as far as acting goes.
    Raises ConfigError for a corridor too short for its doors.
    """

    instructions = "Walk to the exit of the corridor. Commands: left, right, wait, open door."
    splits = {"train": 100_000, "valid": 200}  # noqa: RUF012

    metadata: ClassVar[dict[str, Any]] = agentrl.Environment.metadata | {"render_modes": ["ansi"]}  # type: ignore[misc]

    def __init__(self, *, length: int = 7, doors: int = 2, max_turns: int = 20, reward: float = 1.0) -> None:
        if length < 4 or not 0 <= doors <= length - 2 or max_turns < 1:
            raise agentrl.ConfigError(
                f"length = {length}, doors = {doors}, max_turns = {max_turns}: "
                "give a length of at least 4, at most length - 2 doors, at least one turn"
            )
        self._length, self._doors, self._max_turns, self._reward = length, doors, max_turns, reward
        self._task: _Task | None = None
        self._position = 0
        self._turns = 0
        self.render_mode: str | None = None

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin a task; without an index, one drawn from the split."""
        super().reset(seed=seed)
        picked = self.pick_task(options)
        self._task = task = _task(self._length, self._doors, picked.split, picked.index)
        self._position, self._turns = task.start, 0
        return self._view(task), self._info(task, 0.0, "")

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Run one command. At the exit, or once the turns are used up, nothing happens any more."""
        task, command = self._playing(), action.strip()
        over = self._position == task.exit or self._turns >= self._max_turns
        invalid = (
            "the task is over" if over else "" if command in self._admissible(task) else "not possible here and now"
        )
        self._turns += not over
        if not invalid:
            self._position = self._after(task, command)
        arrived = self._position == task.exit
        reward = self._reward if arrived and not over else 0.0
        truncated = not arrived and self._turns >= self._max_turns
        return self._view(task), reward, arrived, truncated, self._info(task, reward, invalid)

    def expert_action(self) -> str:
        """Straight to the exit."""
        return "left" if self._playing().exit == 0 else "right"

    def render(self) -> str | None:
        """The last observation."""
        return self._view(self._playing()) if self.render_mode == "ansi" else None

    def snapshot(self) -> object:
        """Task, position, turns and random state."""
        random_state = None if self._np_random is None else self._np_random.bit_generator.state
        return self._playing(), self._position, self._turns, random_state

    def restore(self, snapshot: object) -> None:
        """Go back to a snapshot, also one taken by another instance."""
        self._task, self._position, self._turns, random_state = cast(_Snapshot, snapshot)
        if random_state is not None:
            self.np_random.bit_generator.state = random_state

    def _after(self, task: _Task, command: str) -> int:
        if command == "open door":
            return task.start
        return self._position + {"left": -1, "right": 1, "wait": 0}[command]

    def _admissible(self, task: _Task) -> tuple[str, ...]:
        last = self._length - 1
        ways = [way for way, wall in (("left", 0), ("right", last)) if self._position != wall]
        return (*ways, "wait", "open door") if self._position in task.doors else (*ways, "wait")

    def _view(self, task: _Task) -> str:
        door = " There is a door." if self._position in task.doors else ""
        side = "left" if task.exit == 0 else "right"
        return f"You are in cell {self._position} of {self._length - 1}. The exit is on the {side}.{door}"

    def _info(self, task: _Task, reward: float, invalid: str) -> dict[str, Any]:
        return {
            "task": task.key,
            "anchor": self._view(task),
            "rewards": {"goal": reward},
            "admissible": self._admissible(task),
            "success": self._position == task.exit,
            "invalid": invalid,
        }

    def _playing(self) -> _Task:
        if self._task is None:
            raise gymnasium.error.ResetNeeded("call reset() first: no task has begun")
        return self._task


def _task(length: int, doors: int, split: str, index: int) -> _Task:
    """The same for the same arguments, always; a hash of its content decides the split, so that none is in two."""
    for attempt in range(ATTEMPTS):
        draw = random.Random(f"corridor {split} {index} {attempt}").random  # the one method whose numbers never change
        inner = list(range(1, length - 1))
        start = inner[int(draw() * len(inner))]
        exit_ = 0 if draw() < 0.5 else length - 1
        behind = tuple(sorted(inner.pop(int(draw() * len(inner))) for _ in range(doors)))
        content = f"{length} {start} {exit_} {behind}"
        digest = hashlib.blake2b(content.encode(), digest_size=8).hexdigest()
        if (int(digest, 16) % VALID_SHARE == 0) == (split == "valid"):
            return _Task(start, exit_, behind, f"corridor-{digest}")
    raise agentrl.ConfigError(
        f"a corridor of length {length} with {doors} doors has too few tasks for a split {split!r}"
    )
