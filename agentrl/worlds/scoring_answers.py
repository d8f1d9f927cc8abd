"""Answers of programs: how values cross the border of a sandbox, and when two outputs agree."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from agentrl.worlds.scoring_programs import ENCODER

_functions: dict[str, Callable[[object], object]] = {}
exec(ENCODER, _functions)


def encode(value: object) -> object:
    """JSON-able. Raises TypeError for anything but plain values.

    >>> encode((1, [2]))
    {'kind': 'tuple', 'items': [1, [2]]}
    """
    return _functions["encode"](value)


def read(text: str) -> object:
    """The value that a line of a program stands for. Raises ValueError for anything else, however hostile."""
    try:
        return _functions["decode"](json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise ValueError(f"this is no answer: {type(error).__name__}") from None


def loosened(value: object) -> object:
    """The value with every tuple as a list.

    >>> loosened({"a": (1, (2,))})
    {'a': [1, [2]]}
    """
    if isinstance(value, (tuple, list)):
        return [loosened(item) for item in value]
    if isinstance(value, dict):
        return {key: loosened(item) for key, item in value.items()}
    return value


def same_text(got: str, wanted: str) -> bool:
    """Whether two outputs agree: line by line without blanks around them, numbers by value.

    >>> same_text("1.50 a\\n", "1.5  a"), same_text("1 2", "1\\n2")
    (True, False)
    """
    lines, others = ([line.split() for line in text.strip().split("\n")] for text in (got, wanted))
    return len(lines) == len(others) and all(
        len(line) == len(other) and all(map(_same_word, line, other)) for line, other in zip(lines, others, strict=True)
    )


def _same_word(got: str, wanted: str) -> bool:
    if got == wanted:
        return True
    try:
        return Decimal(got) == Decimal(wanted)
    except InvalidOperation:
        return False


def same_json(got: str, wanted: str) -> bool:
    """Whether the last line of an output is this JSON value."""
    lines = got.rstrip().rsplit("\n", 1)
    try:
        return bool(json.loads(lines[-1]) == json.loads(wanted))
    except (ValueError, RecursionError):
        return False


def shortened(text: str, most: int = 200) -> str:
    """For messages: at most about so many characters."""
    text = text if len(text) <= most else f"{text[: most - 20]} … ({len(text)} characters)"
    return "".join(itertools.islice(text, most + 30))
