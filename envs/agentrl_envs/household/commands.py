"""Commands: read from text, and listed where they are admissible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentrl_envs.household.catalogue import KNIVES, LAMPS, SLICEABLE

if TYPE_CHECKING:
    from agentrl_envs.household.engine import Machine
    from agentrl_envs.household.game import Game

LONGEST = 80  # characters; every real command is shorter
_ALONE = ("look", "inventory", "help")
_OF_RECEPTACLE = {"open": "open", "close": "close", "examine": "examine_receptacle"}
_OF_OBJECT = {"use": "use", "examine": "examine_object"}
_OF_BOTH = {("take", "from"), ("move", "to"), ("clean", "with"), ("heat", "with"), ("cool", "with")}


def reading(game: Game, command: str) -> tuple[str, int, int] | None:
    """The rule that a command means and what it names (−1 for nothing); None where it makes no sense in this game."""
    if len(command) > LONGEST:
        return None
    words = command.split(" ")
    verb, receptacles, objects = words[0], game.layout.numbers, game.numbers
    match len(words):
        case 1 if verb in _ALONE:
            return verb, -1, -1
        case 3:
            name = f"{words[1]} {words[2]}"
            if verb in _OF_RECEPTACLE and name in receptacles:
                return _OF_RECEPTACLE[verb], receptacles[name], -1
            if verb in _OF_OBJECT and name in objects:
                return _OF_OBJECT[verb], objects[name], -1
        case 4 if words[:2] == ["go", "to"]:
            name = f"{words[2]} {words[3]}"
            return ("go", receptacles[name], -1) if name in receptacles else None
        case 6 if f"{words[1]} {words[2]}" in objects:
            thing, other = objects[f"{words[1]} {words[2]}"], f"{words[4]} {words[5]}"
            if (verb, words[3]) in _OF_BOTH and other in receptacles:
                return verb, thing, receptacles[other]
            if (verb, words[3]) == ("slice", "with") and other in objects:
                return "slice", thing, objects[other]
    return None


def choices(machine: Machine, inside: tuple[int, ...] | None, with_help: bool) -> tuple[str, ...]:
    """All admissible commands, sorted. `inside`: what is in reach, None behind a closed door or nowhere."""
    ways = machine.game.layout.ways[machine.at]
    alone = ("help", "inventory", "look") if with_help else ("inventory", "look")
    if machine.at < 0:
        return (*ways, *alone)
    before, after = _with_hand(machine, inside) if machine.held >= 0 else _without(machine, inside)
    place = machine.game.layout.receptacles[machine.at]
    before.append(f"examine {place}")
    if machine.game.layout.openable[machine.at]:
        (after if inside is None else before).append(f"{'open' if inside is None else 'close'} {place}")
    objects, types = machine.game.objects, machine.game.types
    after += [f"use {objects[thing]}" for thing in machine.contents[machine.at] if types[thing] in LAMPS]
    heat = [command for command in after if command.startswith("heat")]
    after = [command for command in after if not command.startswith("heat")]
    return (*sorted(before), *ways, *heat, *alone, *sorted(after))  # in alphabetical order, as every part is


def _with_hand(machine: Machine, inside: tuple[int, ...] | None) -> tuple[list[str], list[str]]:
    """What a full hand allows, by where it stands in the alphabet: before `go`, after it."""
    game, at, held = machine.game, machine.at, machine.held
    name, place = game.objects[held], game.layout.receptacles[at]
    before = [f"{verb} {name} with {place}" for verb in ("clean", "cool") if machine.can_change(verb, at, held)]
    after = [f"heat {name} with {place}"] if machine.can_change("heat", at, held) else []
    if inside is not None:
        after += [f"move {name} to {place}"] if machine.accepts(at, held) else []
    if game.types[held] in KNIVES:  # also behind a closed door, as the official engine has it
        there = [game.objects[thing] for thing in machine.contents[at] if game.types[thing] in SLICEABLE]
        after += [f"slice {thing} with {name}" for thing in there]
    return [*before, f"examine {name}"], after


def _without(machine: Machine, inside: tuple[int, ...] | None) -> tuple[list[str], list[str]]:
    """What an empty hand allows."""
    game, place = machine.game, machine.game.layout.receptacles[machine.at]
    return [], [f"take {game.objects[thing]} from {place}" for thing in inside or () if game.types[thing] not in LAMPS]
