"""Why nothing happened: the first condition of a command that does not hold, in words that give nothing away."""

from __future__ import annotations

from collections.abc import Callable

from agentrl_envs.household.catalogue import KNIVES, LAMPS, SLICEABLE
from agentrl_envs.household.commands import reading
from agentrl_envs.household.engine import Machine

_PLACES = ("go", "open", "close", "examine_receptacle")  # verbs that name a receptacle and no object
_CHANGES = "clean heat cool"


def why(machine: Machine, command: str) -> str:
    """The reason why a command that was just refused did not run."""
    words = reading(machine.game, command)
    if words is None:
        return f"{command[:80]!r} is no command, or names something that is not in this room."
    verb, first, second = words
    thing, place = (-1, first) if verb in _PLACES else (first, second)
    objects, receptacles = machine.game.objects, machine.game.layout.receptacles
    names = {"verb": verb, "held": objects[machine.held], "thing": objects[thing]}
    for verbs, fails, text in _REASONS:
        if verb in verbs.split() and fails(machine, thing, place):
            return text.format(**names, place=receptacles[place] if verb != "slice" else "")
    return "That is not possible here and now."


def _here(machine: Machine, thing: int, _: int) -> bool:
    return machine.at >= 0 and thing in machine.contents[machine.at]


_REASONS: tuple[tuple[str, Callable[[Machine, int, int], bool], str], ...] = (
    ("go", lambda machine, _, place: machine.at == place, "You are at the {place} already."),
    (
        f"open close take move {_CHANGES} examine_receptacle",
        lambda machine, _, place: machine.at != place,
        "You are not at the {place}; go there first.",
    ),
    ("open close", lambda *_: True, "The {place} has no door that you could {verb} now."),
    ("take move", lambda machine, _, place: not machine.visible(place), "The {place} is closed; open it first."),
    ("take", lambda machine, *_: machine.held >= 0, "You hold the {held}; put it down first."),
    (
        f"move {_CHANGES} examine_object",
        lambda machine, thing, _: machine.held != thing,
        "You do not hold the {thing}.",
    ),
    ("move", lambda *_: True, "The {thing} does not belong in or on the {place}."),
    (_CHANGES, lambda *_: True, "You cannot {verb} the {thing} with the {place}."),
    (
        "slice",
        lambda machine, _, knife: machine.held != knife or machine.game.types[knife] not in KNIVES,
        "You can only slice with a knife that you hold.",
    ),
    ("take use slice", lambda machine, thing, place: not _here(machine, thing, place), "The {thing} is not here."),
    ("take", lambda machine, thing, _: machine.game.types[thing] in LAMPS, "The {thing} cannot be taken."),
    ("use", lambda *_: True, "The {thing} is no lamp."),
    ("slice", lambda machine, thing, _: machine.game.types[thing] not in SLICEABLE, "The {thing} cannot be sliced."),
)
"""Verbs, whether their command fails for this reason (of the machine, the object and the receptacle), and the reason."""
