"""What exists in the household world: types of rooms, receptacles, objects and tasks, and what they afford.

The tables of what may lie where and what can be heated, cooled, cleaned or sliced are those of ALFRED/ALFWorld
(Shridhar et al. 2020, 2021); how many receptacles a room has follows the counts of their 120 rooms.
"""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Literal, NamedTuple

TaskType = Literal[
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
]
RoomKind = Literal["kitchen", "livingroom", "bedroom", "bathroom"]

PICK: TaskType = "pick_and_place_simple"
LOOK: TaskType = "look_at_obj_in_light"
CLEAN: TaskType = "pick_clean_then_place_in_recep"
HEAT: TaskType = "pick_heat_then_place_in_recep"
COOL: TaskType = "pick_cool_then_place_in_recep"
TWO: TaskType = "pick_two_obj_and_place"
TASK_TYPES: tuple[TaskType, ...] = (PICK, LOOK, CLEAN, HEAT, COOL, TWO)

ROOM_WEIGHTS: dict[RoomKind, float] = {"kitchen": 0.5, "livingroom": 0.2, "bedroom": 0.15, "bathroom": 0.15}
ROOMS_OF_TASK: dict[TaskType, tuple[RoomKind, ...]] = {
    PICK: ("kitchen", "livingroom", "bedroom", "bathroom"),
    LOOK: ("livingroom", "bedroom"),
    CLEAN: ("kitchen", "bathroom"),
    HEAT: ("kitchen",),
    COOL: ("kitchen",),
    TWO: ("kitchen", "livingroom", "bedroom", "bathroom"),
}


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
WORDINGS: dict[TaskType, tuple[str, str]] = {
    PICK: ("put a {object} in {receptacle}", "put some {object} on {receptacle}"),
    LOOK: ("look at {object} under the {lamp}", "examine the {object} with the {lamp}"),
    CLEAN: ("put a clean {object} in {receptacle}", "clean some {object} and put it in {receptacle}"),
    HEAT: ("put a hot {object} in {receptacle}", "heat some {object} and put it in {receptacle}"),
    COOL: ("put a cool {object} in {receptacle}", "cool some {object} and put it in {receptacle}"),
    TWO: ("put two {object} in {receptacle}", "find two {object} and put them in {receptacle}"),
}

OPENABLE = frozenset({"box", "cabinet", "drawer", "fridge", "microwave", "safe"})
LAMPS = ("desklamp", "floorlamp")
KNIVES = frozenset({"butterknife", "knife"})
SLICEABLE = frozenset({"apple", "bread", "egg", "lettuce", "potato", "tomato"})
CHANGEABLE: dict[str, frozenset[str]] = {
    verb: frozenset(objects.split())
    for verb, objects in {
        "heat": "apple bread cup egg mug plate potato tomato",
        "cool": "apple bowl bread cup egg lettuce mug pan plate pot potato tomato winebottle",
        "clean": "apple bowl butterknife cloth cup dishsponge egg fork kettle knife ladle lettuce mug pan plate pot "
        "potato soapbar spatula spoon tomato",
    }.items()
}


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


HOLDS = {receptacle: _types(objects) for receptacle, objects in _TABLES["holds"].items()}
LIKELY = {thing: _types(receptacles) for thing, receptacles in _TABLES["likely"].items()}
OBJECTS: dict[RoomKind, tuple[str, ...]] = {kind: tuple(names.split()) for kind, names in _TABLES["objects"].items()}
RECEPTACLES: dict[RoomKind, dict[str, Count]] = {
    kind: {name: Count(*count) for name, count in counts.items()} for kind, counts in _TABLES["receptacles"].items()
}
