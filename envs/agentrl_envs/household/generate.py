"""Rooms and tasks from seeds: everything follows from the split, the index and the settings.

No two splits share content, by construction. A hash of the list of receptacles decides whether a room is for training
or for `valid_unseen`; a hash of room, goal and where the wanted objects lie decides whether a task in a training room
is for `train` or for `valid_seen`. What hashes to the wrong side is drawn again.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import agentrl
from agentrl_envs.household.catalogue import (
    CHANGEABLE,
    CHORES,
    HOLDS,
    LAMPS,
    LIKELY,
    LOOK,
    OBJECTS,
    RECEPTACLES,
    ROOM_WEIGHTS,
    ROOMS_OF_TASK,
    TWO,
    WORDINGS,
    RoomKind,
    TaskType,
)
from agentrl_envs.household.draws import Draws, bucket
from agentrl_envs.household.game import Game, Goal, Layout

UNSEEN_SHARE = 3  # one room in three, by hash, is never trained in
SEEN_SHARE = 5  # one task in five of a training room, by hash, is kept for valid_seen
ATTEMPTS = 200
AT_HOME = 0.8  # how often a thing lies where this household keeps it


@dataclass(frozen=True)
class Recipe:
    """Which rooms and tasks there are."""

    task_types: tuple[TaskType, ...]
    rooms: tuple[RoomKind, ...]
    receptacles: tuple[int, int]
    object_types: tuple[int, int]
    copies: tuple[int, int]
    objects: tuple[str, ...]
    layouts: int

    @functools.cached_property
    def kinds(self) -> tuple[RoomKind, ...]:
        """The rooms in which some of the tasks can be done."""
        return tuple(room for room in self.rooms if any(room in ROOMS_OF_TASK[task] for task in self.task_types))


def game(recipe: Recipe, split: str, index: int) -> Game:
    """The task of a split; the same for the same arguments, always. Raises ConfigError where a recipe leaves no room."""
    unseen = split == "valid_unseen"
    for attempt in range(ATTEMPTS):
        here = site(recipe, unseen, index if unseen else (index + attempt // 20) % recipe.layouts)
        room = here.room
        draws = Draws(f"task {split} {index} {attempt}")
        goal, places = _goal(recipe, here, draws)
        signature = (
            f"{room.receptacles} {room.objects} {goal.type} {goal.object} {goal.receptacle} {goal.lamp} {places}"
        )
        if unseen or (bucket(signature, SEEN_SHARE) == 0) == (split == "valid_seen"):
            return _furnish(recipe, room, goal, places, draws)
    raise agentrl.ConfigError(
        f"these settings give too few different tasks to keep {split!r} apart: allow more receptacles, object types or copies"
    )


class Site(NamedTuple):
    """A room, per task type the things it can be about, and per thing the types of receptacles it can be wanted in."""

    room: Layout
    wishes: list[tuple[TaskType, list[str]]]
    ends: dict[str, list[str]]


@functools.lru_cache(maxsize=1024)
def site(recipe: Recipe, unseen: bool, number: int) -> Site:
    """A room of the training set, or one whose list of receptacles no training room has."""
    for attempt in range(ATTEMPTS):
        draws = Draws(f"room {'unseen' if unseen else 'train'} {number} {attempt}")
        kind = draws.weighted(recipe.kinds, [ROOM_WEIGHTS[room] for room in recipe.kinds])
        receptacles = _receptacles(recipe, kind, draws)
        if (bucket(f"{kind} {receptacles}", UNSEEN_SHARE) == 0) != unseen:
            continue
        room = _inhabit(recipe, kind, receptacles, draws)
        here = _site(recipe, room)
        if here.wishes:
            return here
    raise agentrl.ConfigError(
        "these settings give no room for a task, or too few to keep unseen rooms apart: "
        f"allow more receptacles, object types or tasks than {recipe}"
    )


def _receptacles(recipe: Recipe, kind: RoomKind, draws: Draws) -> tuple[str, ...]:
    """Names in the order of the intro: by type, numbers falling."""
    counts = {name: count.least for name, count in RECEPTACLES[kind].items()}
    more = draws.between(*recipe.receptacles) - sum(counts.values())
    for _, name in sorted([(draws.waiting(rate), name) for name, rate in _SLOTS[kind]])[: max(more, 0)]:
        counts[name] += 1
    return tuple([f"{name} {number}" for name in sorted(counts) for number in range(counts[name], 0, -1)])


_SLOTS = {
    kind: [
        (name, count.weight / (count.most - count.least))
        for name, count in stock.items()
        for _ in range(count.most - count.least)
    ]
    for kind, stock in RECEPTACLES.items()
}


def _inhabit(recipe: Recipe, kind: RoomKind, receptacles: tuple[str, ...], draws: Draws) -> Layout:
    """Decide which kinds of things there are and where this household keeps them."""
    types = [name.split(" ")[0] for name in receptacles]
    there = frozenset(types)
    pool = [thing for thing in OBJECTS[kind] if not recipe.objects or thing in recipe.objects]
    pool = [thing for thing in pool if not there.isdisjoint(LIKELY[thing])]
    count = draws.between(*recipe.object_types)
    chosen: list[str] = []
    for task in recipe.task_types:  # every task type finds something to do, before the rest is filled up
        fitting = [thing for thing in pool if thing not in chosen and _suits(task, thing)]
        if kind in ROOMS_OF_TASK[task] and fitting and len(chosen) < count:
            chosen.append(draws.choice(fitting))
    chosen += draws.sample([thing for thing in pool if thing not in chosen], count - len(chosen))
    chosen.sort()
    homes = tuple([tuple(draws.sample(_spots(types, thing), draws.between(1, 3))) for thing in chosen])
    lit = [lamp for lamp in LAMPS if kind in ROOMS_OF_TASK[LOOK] and not there.isdisjoint(LIKELY[lamp])]
    lamps = [(lamp, draws.choice(_spots(types, lamp))) for lamp in draws.sample(lit, draws.between(1, 2))]
    return Layout(kind, receptacles, tuple(chosen), homes, tuple(lamps))


def _spots(types: Sequence[str], thing: str) -> list[int]:
    """The receptacles in which a thing is likely to lie."""
    likely = LIKELY[thing]
    return [place for place, kind in enumerate(types) if kind in likely]


def _suits(task: TaskType, thing: str) -> bool:
    chore = CHORES.get(task)
    return chore is None or thing in CHANGEABLE[chore.verb]


def _site(recipe: Recipe, room: Layout) -> Site:
    """A receptacle can be asked for if it takes the thing, and the thing has somewhere else to lie at first."""
    there = sorted(set(room.types))
    ends: dict[str, list[str]] = {}
    for thing in room.objects:
        likely = LIKELY[thing].intersection(there)
        ends[thing] = [place for place in there if thing in HOLDS[place] and len(likely) > (place in likely)]
    wishes = []
    for task in recipe.task_types:
        things = [thing for thing in room.objects if _suits(task, thing) and _ends(task, thing, room, ends)]
        if things and room.kind in ROOMS_OF_TASK[task] and (task != TWO or recipe.copies[1] > 1):
            wishes.append((task, things))
    return Site(room, wishes, ends)


def _ends(task: TaskType, thing: str, room: Layout, ends: dict[str, list[str]]) -> list[str]:
    """The types of lamps or receptacles that the task can name; not the appliance of its own chore."""
    if task == LOOK:
        return [lamp for lamp, _ in room.lamps]
    own = CHORES[task].appliance if task in CHORES else ""
    return [place for place in ends[thing] if place != own]


def _goal(recipe: Recipe, here: Site, draws: Draws) -> tuple[Goal, list[int]]:
    """What is asked for and where the objects of that kind lie, none of them where it belongs."""
    room = here.room
    task, things = draws.choice(here.wishes)
    thing = draws.choice(things)
    other = draws.choice(_ends(task, thing, room, here.ends))
    lamp, receptacle = (other, "") if task == LOOK else ("", other)
    text = draws.choice(WORDINGS[task]).format(object=thing, receptacle=receptacle, lamp=lamp)
    copies = draws.between(*recipe.copies)
    homes = [place for place in room.homes[room.objects.index(thing)] if room.types[place] != receptacle]
    spots = [place for place in _spots(room.types, thing) if room.types[place] != receptacle]
    places = [_spot(homes, spots, draws) for _ in range(max(copies, 2) if task == TWO else copies)]
    return Goal(task, thing, receptacle, lamp, text), sorted(places)


def _spot(homes: Sequence[int], spots: Sequence[int], draws: Draws) -> int:
    """Where one thing lies: mostly where this household keeps it."""
    return draws.choice(homes if homes and draws.chance(AT_HOME) else spots)


def _furnish(recipe: Recipe, room: Layout, goal: Goal, places: list[int], draws: Draws) -> Game:
    """Put everything else into the room."""
    where = {goal.object: draws.sample(places, len(places)), **{lamp: [place] for lamp, place in room.lamps}}
    for thing, homes in zip(room.objects, room.homes, strict=True):
        if thing != goal.object:
            spots = _spots(room.types, thing)
            where[thing] = [_spot(homes, spots, draws) for _ in range(draws.between(*recipe.copies))]
    contents: list[list[int]] = [[] for _ in room.receptacles]
    names: list[str] = []
    for thing in sorted(where):
        for number in range(len(where[thing]), 0, -1):
            contents[where[thing][number - 1]].append(len(names))
            names.append(f"{thing} {number}")
    start = tuple(tuple(inside) for inside in contents)
    asked = goal.receptacle or goal.lamp
    key = f"{goal.type}-{goal.object}-{asked}-{agentrl.fingerprint(f'{room.receptacles} {names} {start} {goal.text}')}"
    return Game(room, tuple(names), start, goal, key)
