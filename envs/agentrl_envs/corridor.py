"""Corridor: a toy world with few observations, for tests that learn within seconds."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import agentrl

VALID_SHARE = 4  # one task in four, by hash of its content, is kept for `valid`
ATTEMPTS = 1000


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("corridor", Corridor)


@dataclass(frozen=True)
class _Walk:
    """Where the walk begins, which end is the exit, and the cells with a door that leads back to the start."""

    start: int
    exit: int
    doors: tuple[int, ...]
    key: str


class Corridor(agentrl.TextWorld):
    """Walk to the end of a corridor that the observation names; doors on the way lead back to where you began.

    Settings: `length` cells (at least 4), `doors` of them with a door, at most `max_turns` turns, `reward` at the exit.
    There are at most 4 · `length` observations, each of them the true state as far as acting goes.
    Raises ConfigError for a corridor too short for its doors.
    """

    instructions = "Walk to the exit of the corridor. Commands: left, right, wait, open door."
    splits = {"train": 100_000, "valid": 200}  # noqa: RUF012

    def __init__(self, *, length: int = 7, doors: int = 2, max_turns: int = 20, reward: float = 1.0) -> None:
        if length < 4 or not 0 <= doors <= length - 2 or max_turns < 1:
            raise agentrl.ConfigError(
                f"length = {length}, doors = {doors}, max_turns = {max_turns}: "
                "give a length of at least 4, at most length - 2 doors, at least one turn"
            )
        self._length, self._doors, self.max_turns, self._reward = length, doors, max_turns, reward

    def begin(self, task: agentrl.Task) -> agentrl.Scene:
        self._walk = _walk(self._length, self._doors, task.split, task.index)
        self._position = self._walk.start
        return self._view("")

    def act(self, action: str) -> agentrl.Scene:
        command = action.strip()
        if command not in self._choices:
            return self._view("not possible here and now")
        if command == "open door":
            self._position = self._walk.start
        else:
            self._position += {"left": -1, "right": 1, "wait": 0}[command]
        return self._view("")

    def key(self, task: agentrl.Task) -> str:
        return self._walk.key

    def expert_action(self) -> str:
        """Straight to the exit."""
        return "left" if self._walk.exit == 0 else "right"

    def _view(self, invalid: str) -> agentrl.Scene:
        walk, position, last = self._walk, self._position, self._length - 1
        arrived, door = position == walk.exit, position in walk.doors
        side = "left" if walk.exit == 0 else "right"
        text = f"You are in cell {position} of {last}. The exit is on the {side}.{' There is a door.' if door else ''}"
        ways = ("right",) if position == 0 else ("left",) if position == last else ("left", "right")
        self._choices = (*ways, "wait", "open door") if door else (*ways, "wait")
        return agentrl.Scene(text, self._reward * arrived, arrived, arrived, self._choices, invalid)


def _walk(length: int, doors: int, split: str, index: int) -> _Walk:
    """The same for the same arguments, always; a hash of its content decides the split, so that none is in two."""
    for attempt in range(ATTEMPTS):
        draw = random.Random(f"corridor {split} {index} {attempt}").random  # the one method whose numbers never change
        inner = list(range(1, length - 1))
        start = inner[int(draw() * len(inner))]
        exit_ = 0 if draw() < 0.5 else length - 1
        behind = tuple(sorted(inner.pop(int(draw() * len(inner))) for _ in range(doors)))
        content = f"{length} {start} {exit_} {behind}"
        digest = agentrl.fingerprint(content)
        if (int(digest, 16) % VALID_SHARE == 0) == (split == "valid"):
            return _Walk(start, exit_, behind, f"corridor-{digest}")
    raise agentrl.ConfigError(
        f"a corridor of length {length} with {doors} doors has too few tasks for a split {split!r}"
    )
