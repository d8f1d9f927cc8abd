"""Answers of programs: how values cross the border of a sandbox, and when two outputs agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from agentrl.worlds.scoring_programs import ENCODER

_functions: dict[str, Callable[[object], object]] = {}
exec(ENCODER, _functions)

_BRACKETS = {"list": "[]", "tuple": "()", "set": "{}", "dict": "{}"}


def encode(value: object) -> object:
    """JSON-able. Raises TypeError for anything but plain values.

    >>> encode((1, [2]))
    {'kind': 'tuple', 'items': [1, [2]]}
    """
    return _functions["encode"](value)


def compared(line: str, wanted: object, *, loose: bool = False) -> tuple[bool, str]:
    """Whether a line of a program is the answer that was wanted, and what it gave, in words.

    Types count as well as values: True is not 1, a tuple no list (unless `loose`), but 2.0 is 2, as it has to be for the
    solutions that come with MBPP. Raises ValueError for what is no answer, however hostile.

    >>> compared("[2.0]", [2]), compared("true", 1)
    ((True, '[2]'), (False, 'True'))
    """
    right = _written(encode(wanted), loose)
    try:
        got = json.loads(line)
        return _written(got, loose) == right, _written(got)
    except (ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise ValueError(f"this is no answer: {type(error).__name__}") from None


def _written(encoded: Any, loose: bool = False) -> str:
    """As Python writes it, sets and dicts in order; no set is built of what a program answers, for that can be slow."""
    if isinstance(encoded, float) and encoded.is_integer():
        return repr(int(encoded))
    if not isinstance(encoded, (list, dict)):
        return repr(encoded)
    kind, items = ("list", encoded) if isinstance(encoded, list) else (encoded["kind"], encoded["items"])
    if kind == "dict":
        parts = sorted(f"{_written(key, loose)}: {_written(item, loose)}" for key, item in items)
    else:
        parts = [_written(item, loose) for item in items]
    if kind in ("set", "frozenset"):
        parts = sorted(set(parts))
    kind = "list" if loose and kind == "tuple" else kind
    text = ", ".join(parts) + ("," if kind == "tuple" and len(parts) == 1 else "")
    brackets = "" if kind == "set" and not parts else _BRACKETS.get(kind, "")
    return f"{brackets[0]}{text}{brackets[1]}" if brackets else f"{kind}({text})"


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
    """Whether the last line of an output is this JSON value; as strict about types as `compared`.

    >>> same_json("thinking\\n[1.0, {}]", "[1, {}]"), same_json("true", "1")
    (True, False)
    """
    try:
        last = encode(json.loads(got.rstrip().rsplit("\n", 1)[-1]))
        return _written(last) == _written(encode(json.loads(wanted)))
    except (ValueError, RecursionError):
        return False


def shortened(text: str, most: int = 200) -> str:
    """For messages: at most about so many characters."""
    return text if len(text) <= most else f"{text[: most - 20]} … ({len(text)} characters)"
