"""Names the attribute that keeps a world from being copied."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from agentrl.testing.faults import reason
from agentrl.testing.report import CheckFailed
from agentrl.worlds.text_world import TextWorld

DEEPEST = 6
"""Levels that are looked into."""


def require_copied(world: object, value: object, copied: Callable[[object], object], what: str) -> None:
    """Raise CheckFailed where `copied` fails for a world or its snapshot, with the attribute and the method to write."""
    failure = _failure(value, copied)
    if failure is None:
        return
    place, culprit = "self" if value is world else "snapshot", value
    for _ in range(DEEPEST):
        inner = next((part for part in _parts(culprit) if _failure(part[1], copied) is not None), None)
        if inner is None:
            break
        place, culprit = place + inner[0], inner[1]
    named = re.search(r"\.(\w+)|\['(\w+)'\]", place)
    attribute = (named[1] or named[2]) if named else "the attribute"
    advice = _OF_TEXT_WORLDS.format(attribute) if isinstance(world, TextWorld) else _OF_OTHERS.format(attribute)
    raise CheckFailed(f"{what} cannot hold {place}, a {type(culprit).__name__} ({reason(failure)}). {advice}")


_OF_TEXT_WORLDS = (
    "Name '{0}' in `resources` and make it in `open()` if no action changes it; else write `state()` and `load(state)`, "
    "which hold plain data in its place"
)
_OF_OTHERS = (
    "Write `snapshot()` and `restore(snapshot)`, which hold plain data in place of '{0}', and `__getstate__` and "
    "`__setstate__` without it; a world with `blocks = True` need not be pickled"
)


def _failure(value: object, copied: Callable[[object], object]) -> Exception | None:
    try:
        copied(value)
    except Exception as error:  # what cannot be copied says so in its own way
        return error
    return None


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """What a value is made of, each with how it is written."""
    if isinstance(value, Mapping):
        yield from ((f"[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        yield from ((f"[{number}]", part) for number, part in enumerate(value))
    elif not isinstance(value, type) and hasattr(value, "__dict__"):
        state = value.__getstate__() if isinstance(value, TextWorld) else vars(value)
        yield from ((f".{name}", part) for name, part in state.items())
