"""Every sentence of the world, word for word as the official ALFWorld engine prints it (help excepted)."""

from __future__ import annotations

from collections.abc import Sequence

NOTHING_HAPPENS = "Nothing happens."
LOOK_AT_START = "You are in the middle of a room. Looking quickly around you, you see nothing."
EMPTY_HANDS = "You are not carrying anything."

HELP = """Commands:
  look                         where you are
  inventory                    what you hold
  go to (receptacle)           walk to a receptacle, from anywhere
  open (receptacle)            open the receptacle in front of you
  close (receptacle)           close it
  take (object) from (receptacle)
  move (object) to (receptacle)
  examine (something)          the receptacle in front of you, or what you hold
  use (object)                 switch on a lamp
  heat (object) with (receptacle)
  clean (object) with (receptacle)
  cool (object) with (receptacle)
  slice (object) with (object) with a knife in your hand"""

INSTRUCTIONS = """You are in a room and have one task, told in the first observation. Each turn, answer with one command:
go to (receptacle) | open (receptacle) | close (receptacle) | take (object) from (receptacle) | \
move (object) to (receptacle) | clean (object) with (receptacle) | heat (object) with (receptacle) | \
cool (object) with (receptacle) | use (object) | slice (object) with (object) | examine (object or receptacle) | \
inventory | look
Names are a type and a number, as in `go to cabinet 2` or `take mug 1 from cabinet 2`. You can hold one object. You see \
what is in a receptacle when you are at it and it has no door or is open. Clean at a sinkbasin, heat at a microwave, \
cool at a fridge, while holding the object. To look at something under a lamp, hold it and use the lamp. \
A command that is impossible has no effect: "Nothing happens."."""


def listing(names: Sequence[str]) -> str:
    """Names as the engine lists them.

    >>> listing([]), listing(["apple 1"]), listing(["mug 2", "mug 1", "pan 1"])
    ('nothing', 'a apple 1', 'a mug 2, a mug 1, and a pan 1')
    """
    if len(names) < 2:
        return f"a {names[0]}" if names else "nothing"
    return f"a {', a '.join(names[:-1])}, and a {names[-1]}"


def intro(receptacles: Sequence[str], goal: str) -> str:
    """The first observation."""
    around = f"You are in the middle of a room. Looking quickly around you, you see {listing(receptacles)}."
    return f"-= Welcome to TextWorld, ALFRED! =-\n\n{around}\n\nYour task is to: {goal}."


def inside(receptacle: str, names: Sequence[str], has_door: bool) -> str:
    """What is in or on a receptacle that hides nothing."""
    if has_door:
        return f"The {receptacle} is open. In it, you see {listing(names)}."
    return f"On the {receptacle}, you see {listing(names)}."


def condition(thing: str, *, clean: bool, hot: bool, cool: bool, sliced: bool) -> str:
    """What examining a held object shows.

    >>> condition("mug 1", clean=False, hot=False, cool=True, sliced=False)
    'This is a cold mug 1.'
    """
    words = [word for word, holds in (("hot", hot), ("cool", cool), ("clean", clean)) if holds]
    if not words and not sliced:
        return f"There's nothing special about {thing}."
    if words == ["cool"] and not sliced:
        words = ["cold"]
    return f"This is a {' '.join(filter(None, [' and '.join(words), 'sliced' if sliced else '']))} {thing}."
