"""What exists in the household world: types of rooms, receptacles, objects and tasks, and what they afford.

The tables of what may lie where and what can be heated, cooled, cleaned or sliced are those of ALFRED/ALFWorld
(Shridhar et al. 2020, 2021); how many receptacles a room has follows the counts of their 120 rooms.
"""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Literal, NamedTuple, get_args

TaskType = Literal[
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
]
RoomKind = Literal["kitchen", "livingroom", "bedroom", "bathroom"]

TASK_TYPES: tuple[TaskType, ...] = get_args(TaskType)
PICK, LOOK, CLEAN, HEAT, COOL, TWO = TASK_TYPES

ROOM_WEIGHTS: dict[RoomKind, float] = {"kitchen": 0.5, "livingroom": 0.2, "bedroom": 0.15, "bathroom": 0.15}


class Chore(NamedTuple):
    """A change made to the held object at an appliance."""

    verb: str
    appliance: str
    milestone: str


CHORES: dict[TaskType, Chore] = {
    CLEAN: Chore("clean", "sinkbasin", "cleaned"),
    HEAT: Chore("heat", "microwave", "heated"),
    COOL: Chore("cool", "fridge", "cooled"),
}
APPLIANCES: dict[str, str] = {chore.verb: chore.appliance for chore in CHORES.values()}


class Count(NamedTuple):
    """How many receptacles of a type a room has, and how readily it gets one more."""

    least: int
    most: int
    weight: float


_TABLES = tomllib.loads(Path(__file__).with_name("catalogue.toml").read_text("utf-8"))


def _types(words: str) -> frozenset[str]:
    """Types by name, groups resolved."""
    named = (_TABLES["groups"][word[1:]].split() if word[0] == "@" else [word] for word in words.split())
    return frozenset(itertools.chain(*named))


OPENABLE, KNIVES, SLICEABLE = (_types(_TABLES["kinds"][name]) for name in ("openable", "knives", "sliceable"))
LAMPS = ("desklamp", "floorlamp")
CHANGEABLE = {verb: _types(objects) for verb, objects in _TABLES["changeable"].items()}
ROOMS_OF_TASK = {task: tuple(_TABLES["tasks"][task]["rooms"].split()) for task in TASK_TYPES}
WORDINGS = {task: tuple(_TABLES["tasks"][task]["wordings"]) for task in TASK_TYPES}
HOLDS = {receptacle: _types(objects) for receptacle, objects in _TABLES["holds"].items()}
LIKELY = {thing: _types(receptacles) for thing, receptacles in _TABLES["likely"].items()}
OBJECTS: dict[RoomKind, tuple[str, ...]] = {kind: tuple(names.split()) for kind, names in _TABLES["objects"].items()}
RECEPTACLES: dict[RoomKind, dict[str, Count]] = {
    kind: {name: Count(*count) for name, count in counts.items()} for kind, counts in _TABLES["receptacles"].items()
}
