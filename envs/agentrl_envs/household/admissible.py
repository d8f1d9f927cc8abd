"""The list of admissible commands."""

from __future__ import annotations

from agentrl_envs.household.catalogue import KNIVES, SLICEABLE
from agentrl_envs.household.engine import Machine


def admissible(machine: Machine, with_help: bool) -> tuple[str, ...]:
    """All commands that would run now, sorted; the game keeps the lists made so far."""
    game, at = machine.game, machine.at
    inside = machine.contents[at] if at >= 0 else None
    closed = at < 0 or (game.layout.openable[at] and not machine.opened >> at & 1)
    key = (at, inside, closed, machine.held, with_help)  # what is inside counts: a knife reaches through a closed door
    known = game.choices.get(key)
    if known is None:
        known = game.choices[key] = _listed(machine, None if closed else inside, with_help)
    return known


def _listed(machine: Machine, inside: tuple[int, ...] | None, with_help: bool) -> tuple[str, ...]:
    """`inside`: what is in reach, None behind a closed door or nowhere."""
    game, at, held = machine.game, machine.at, machine.held
    layout, objects, types = game.layout, game.objects, game.types
    alone = ("help", "inventory", "look") if with_help else ("inventory", "look")
    if at < 0:
        return (*layout.ways[at], *alone)
    place = layout.receptacles[at]
    before, heat = [f"examine {place}"], ""
    after = [f"use {objects[lamp]}" for lamp in game.lamps & {*machine.contents[at]}]
    if layout.openable[at]:
        (after if inside is None else before).append(f"{'open' if inside is None else 'close'} {place}")
    if held >= 0:
        name = objects[held]
        before += [f"{verb} {name} with {place}" for verb in ("clean", "cool") if machine.can_change(verb, at, held)]
        before.append(f"examine {name}")
        heat = f"heat {name} with {place}" if machine.can_change("heat", at, held) else ""
        if inside is not None and machine.accepts(at, held):
            after.append(f"move {name} to {place}")
        if types[held] in KNIVES:  # also behind a closed door, as the official engine has it
            there = [objects[thing] for thing in machine.contents[at] if types[thing] in SLICEABLE]
            after += [f"slice {thing} with {name}" for thing in there]
    elif inside:
        after += [f"take {objects[thing]} from {place}" for thing in inside if thing not in game.lamps]
    before.sort()
    after.sort()
    return (
        *before,
        *layout.ways[at],
        *((heat,) if heat else ()),
        *alone,
        *after,
    )  # in alphabetical order, as every part is
