"""Corridor: a toy world with few observations, for tests that learn within seconds."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import agentrl
from agentrl_envs.lab.exact import Exact, Transition, certain

VALID_SHARE = 4  # one task in four, by hash of its content, is kept for `valid`
ATTEMPTS = 1000
MOVES = {"left": -1, "right": 1, "wait": 0}


@agentrl.hookimpl
def register_environments(register: Callable[[str, object], None]) -> None:
    register("corridor", Corridor)


@dataclass(frozen=True)
class _Walk:
    """Where the walk begins, which end is the exit, and the cells with a door that leads back to the start."""

    start: int
    exit: int
    doors: tuple[int, ...]
    key: str


class Corridor(Exact[int], agentrl.TextWorld):
    """Walk to the end of a corridor that the observation names; doors on the way lead back to where you began.

    Settings: `length` cells (at least 4), `doors` of them with a door, at most `max_turns` turns, `reward` at the exit.
    Half of the tasks are solved by walking one way whatever is seen. There are at most 4 · `length` observations, each
    of them the true state as far as acting goes; `exact_values` has the values of any policy that acts on them. Raises ConfigError for a corridor too short for its doors.
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
        self.place = self._walk.start
        return self.look(self.place)

    def act(self, action: str) -> agentrl.Scene:
        command = action.strip()
        if command not in (self.scene.admissible or ()):
            return self.look(self.place, "not possible here and now")
        self.place = self._next(self.place, command)
        return self.look(self.place)

    def start(self) -> int:
        return self._walk.start

    def transitions(self, state: int, action: str) -> tuple[Transition[int], ...]:
        cell = self._next(state, action)
        arrived = cell == self._walk.exit
        return certain(cell, self._reward * arrived, arrived)

    def key(self, task: agentrl.Task) -> str:
        return self._walk.key

    def expert_action(self) -> str:
        """Straight to the exit."""
        return "left" if self._walk.exit == 0 else "right"

    def look(self, state: int, invalid: str = "") -> agentrl.Scene:
        walk, last = self._walk, self._length - 1
        arrived, door = state == walk.exit, state in walk.doors
        side = "left" if walk.exit == 0 else "right"
        text = f"You are in cell {state} of {last}. The exit is on the {side}.{' There is a door.' if door else ''}"
        ways = ("right",) if state == 0 else ("left",) if state == last else ("left", "right")
        choices = (*ways, "wait", "open door") if door else (*ways, "wait")
        return agentrl.Scene(text, self._reward * arrived, arrived, arrived, choices, invalid)

    def _next(self, cell: int, command: str) -> int:
        return self._walk.start if command == "open door" else cell + MOVES[command]


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
