"""What does not change while a task is played: the room, its objects, the goal."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from agentrl_envs.household.catalogue import LAMPS, OPENABLE, TWO, RoomKind, TaskType


@dataclass(frozen=True, slots=True)
class Goal:
    """What is asked for; `receptacle` is "" for examining, `lamp` for everything else."""

    type: TaskType
    object: str
    receptacle: str
    lamp: str
    text: str

    @property
    def count(self) -> int:
        """How many objects must lie in one receptacle."""
        return 2 if self.type == TWO else 1


@dataclass(frozen=True)
class Layout:
    """A room before anybody lives in it for a day: receptacles, kinds of things and where they are usually kept."""

    kind: RoomKind
    receptacles: tuple[str, ...]  # names in the order in which the intro lists them
    objects: tuple[str, ...]  # types
    homes: tuple[tuple[int, ...], ...]  # per object type, receptacles in which it is usually found
    lamps: tuple[tuple[str, int], ...]  # type, receptacle

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled without what can be computed again."""
        return Layout, (self.kind, self.receptacles, self.objects, self.homes, self.lamps)

    @functools.cached_property
    def types(self) -> tuple[str, ...]:
        """Type of each receptacle."""
        return tuple(name.split(" ")[0] for name in self.receptacles)

    @functools.cached_property
    def openable(self) -> tuple[bool, ...]:
        return tuple(kind in OPENABLE for kind in self.types)

    @functools.cached_property
    def numbers(self) -> dict[str, int]:
        """Index of each receptacle by name."""
        return {name: index for index, name in enumerate(self.receptacles)}

    @functools.cached_property
    def aims(self) -> dict[str, int]:
        """Index of each receptacle by the command that goes there."""
        return {f"go to {name}": index for index, name in enumerate(self.receptacles)}

    @functools.cached_property
    def ways(self) -> tuple[tuple[str, ...], ...]:
        """Per receptacle the sorted `go to` commands of somebody standing there; the last entry is for the start."""
        every = sorted(self.aims)
        return (*(tuple(way for way in every if way != own) for own in self.aims), tuple(every))


@dataclass(frozen=True)
class Game:
    """A task ready to be played. Objects are numbered in the order in which the engine lists them."""

    layout: Layout
    objects: tuple[str, ...]  # names, sorted by type, then by falling number
    start: tuple[tuple[int, ...], ...]  # per receptacle the objects in it
    goal: Goal
    key: str

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled without what can be computed again."""
        return Game, (self.layout, self.objects, self.start, self.goal, self.key)

    @functools.cached_property
    def types(self) -> tuple[str, ...]:
        """Type of each object."""
        return tuple(name.split(" ")[0] for name in self.objects)

    @functools.cached_property
    def numbers(self) -> dict[str, int]:
        """Index of each object by name."""
        return {name: index for index, name in enumerate(self.objects)}

    @functools.cached_property
    def targets(self) -> frozenset[int]:
        """The objects of the kind asked for."""
        return frozenset(index for index, kind in enumerate(self.types) if kind == self.goal.object)

    @functools.cached_property
    def lamps(self) -> frozenset[int]:
        return frozenset(index for index, kind in enumerate(self.types) if kind in LAMPS)

    @functools.cached_property
    def goal_lamps(self) -> frozenset[int]:
        return frozenset(index for index, kind in enumerate(self.types) if kind == self.goal.lamp)

    @functools.cached_property
    def commands(self) -> dict[str, Any]:
        """Commands read so far, kept by the engine."""
        return {}

    @functools.cached_property
    def views(self) -> dict[tuple[int, tuple[int, ...]], str]:
        """Descriptions of receptacles with what is in them, kept by the engine."""
        return {}

    @functools.cached_property
    def choices(self) -> dict[tuple[object, ...], tuple[str, ...]]:
        """Lists of admissible commands, kept by the engine."""
        return {}
