"""Household games in the file format of ALFWorld: `game.tw-pddl`, with the `traj_data.json` its expert reads."""

from __future__ import annotations

import json
from pathlib import Path

from agentrl_envs.household.catalogue import CHANGEABLE, CLEAN, COOL, HEAT, HOLDS, LAMPS, LOOK, SLICEABLE, TWO
from agentrl_envs.household.game import Game

_CHANGED = {CLEAN: "(isClean ?o)", HEAT: "(isHot ?o)", COOL: "(isCool ?o)"}
_NEEDED_PLACES = frozenset({"sinkbasin", "fridge", "microwave"})  # the domain names these types itself
_NEEDED_THINGS = frozenset({"knife", "butterknife"})
_SPELLINGS = {
    name.lower(): name for name in ("SinkBasin", "Fridge", "Microwave", "ButterKnife", "Knife", "DeskLamp", "FloorLamp")
}


def write_game(game: Game, folder: Path) -> Path:
    """Write the game into a folder, for the engine of ALFWorld 0.4.2; gives the game file."""
    import alfworld.info

    domain = Path(alfworld.info.ALFRED_PDDL_PATH).read_text(encoding="utf-8")
    grammar = Path(alfworld.info.ALFRED_TWL2_PATH).read_text(encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "pddl_domain": domain,
        "grammar": grammar.replace("UNKNOWN GOAL", game.goal.text),
        "pddl_problem": problem(game),
        "solvable": True,
        "walkthrough": [],
    }
    goal = game.goal
    wanted = {"object_target": goal.object, "parent_target": goal.receptacle, "toggle_target": goal.lamp}
    parameters = {**wanted, "mrecep_target": "", "object_sliced": False}
    data = {"task_type": goal.type, "pddl_params": parameters}
    (folder / "traj_data.json").write_text(json.dumps(data), encoding="utf-8")
    path = folder / "game.tw-pddl"
    path.write_text(json.dumps(told), encoding="utf-8")
    return path


def problem(game: Game) -> str:
    """The PDDL problem of a game."""
    layout = game.layout
    places = [_symbol(name, "minus") for name in layout.receptacles]
    things = [_symbol(name, "plus") for name in game.objects]
    place_types, thing_types = {*layout.types} | _NEEDED_PLACES, {*game.types} | _NEEDED_THINGS
    facts = ["(atLocation agent1 loc_init)"]
    for number, (place, kind) in enumerate(zip(places, layout.types, strict=True)):
        facts += [f"(receptacleAtLocation {place} loc_{number})", f"(receptacleType {place} {_type(kind)})"]
        facts += [f"(openable {place})"] if layout.openable[number] else []
        for thing in game.start[number]:
            facts += [f"(inReceptacle {things[thing]} {place})", f"(objectAtLocation {things[thing]} loc_{number})"]
    for thing, kind in zip(things, game.types, strict=True):
        facts.append(f"(objectType {thing} {_type(kind)})")
        facts += [f"({word} {thing})" for word in _properties(kind)]
    facts += [
        f"(canContain {_type(place)} {_type(thing)})"
        for place in sorted(place_types)
        for thing in sorted(thing_types)
        if thing in HOLDS[place]
    ]
    locations = ["loc_init", *(f"loc_{number}" for number in range(len(places)))]
    objects = [
        "agent1 - agent",
        f"{' '.join(locations)} - location",
        f"{' '.join(places)} - receptacle",
        f"{' '.join(things)} - object",
        f"{' '.join(map(_type, sorted(place_types)))} - rtype",
        f"{' '.join(map(_type, sorted(thing_types)))} - otype",
    ]
    return "\n".join(
        [
            "(define (problem household) (:domain alfred)",
            *("(:objects", *objects, ")"),
            f"(:init {' '.join(facts)})",
            f"(:goal (and {_goal(game)})))",
        ]
    )


def _goal(game: Game) -> str:
    goal = game.goal
    if goal.type == LOOK:
        return (
            "(exists (?o - object ?a - agent ?k - object ?l - location ?r - receptacle) "
            f"(and (objectType ?o {_type(goal.object)}) (holds ?a ?o) (objectType ?k {_type(goal.lamp)}) "
            "(isToggled ?k) (inReceptacle ?k ?r) (receptacleAtLocation ?r ?l) (atLocation ?a ?l)))"
        )
    place, thing = _type(goal.receptacle), _type(goal.object)
    first = f"(receptacleType ?r {place}) (objectType ?o {thing}) (inReceptacle ?o ?r)"
    if goal.type == TWO:
        second = f"(objectType ?p {thing}) (inReceptacle ?p ?r) (not (= ?o ?p))"
        return f"(exists (?r - receptacle ?o - object ?p - object) (and {first} {second}))"
    return f"(exists (?r - receptacle ?o - object) (and {first} {_CHANGED.get(goal.type, '')}))"


def _properties(kind: str) -> list[str]:
    words = ["toggleable" if kind in LAMPS else "pickupable"]
    changes = {"cleanable": "clean", "heatable": "heat", "coolable": "cool"}
    words += [word for word, verb in changes.items() if kind in CHANGEABLE[verb]]
    return [*words, "sliceable"] if kind in SLICEABLE else words


def _type(kind: str) -> str:
    return f"{_SPELLINGS.get(kind, kind)}Type"


def _symbol(name: str, sign: str) -> str:
    """An identifier that the engine turns back into `name`.

    It numbers the things of a type by falling order of their identifiers, so the coordinates count down. Basins are
    `Sink…SinkBasin` in the original, and read `sinkbasin`.
    """
    kind, number = name.split(" ")
    place = 99 - int(number)
    tail = "_bar_basin" if kind.endswith("basin") else ""
    return f"{kind.removesuffix('basin')}_bar__{sign}_{place:02d}_dot_00_bar_00_dot_00_bar_00_dot_{place:02d}{tail}"
