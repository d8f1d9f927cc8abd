"""How values cross the border of a sandbox: JSON, with marks for what JSON has no word for."""

from __future__ import annotations

import json
from typing import Any

ENCODER = """
def encode(value):
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is list:
        return [encode(item) for item in value]
    if kind in (tuple, set, frozenset):
        return {"kind": kind.__name__, "items": [encode(item) for item in value]}
    if kind is dict:
        return {"kind": "dict", "items": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, dict):
        return encode(dict(value))
    raise TypeError(f"the answer holds a {kind.__name__}; only plain values can be compared")
def decode(value):
    if type(value) is list:
        return [decode(item) for item in value]
    if type(value) is dict:
        items = value["items"]
        if value["kind"] == "dict":
            return {decode(key): decode(item) for key, item in items}
        return {"tuple": tuple, "set": set, "frozenset": frozenset}[value["kind"]](map(decode, items))
    return value
"""
"""The same two functions as source, for programs that run inside."""

_functions: dict[str, Any] = {}
exec(ENCODER, _functions)  # one text for both sides, so that they cannot disagree


def encode(value: Any) -> Any:
    """JSON-able. Raises TypeError for anything but plain values.

    >>> encode((1, [2]))
    {'kind': 'tuple', 'items': [1, [2]]}
    """
    return _functions["encode"](value)


def read(text: str) -> Any:
    """The value that a line of a program stands for. Raises ValueError for anything else, however hostile."""
    try:
        return _functions["decode"](json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise ValueError(f"this is no answer: {type(error).__name__}") from None


def loosened(value: Any) -> Any:
    """The value with every tuple as a list.

    >>> loosened({"a": (1, (2,))})
    {'a': [1, [2]]}
    """
    if isinstance(value, (tuple, list)):
        return [loosened(item) for item in value]
    if isinstance(value, dict):
        return {key: loosened(item) for key, item in value.items()}
    return value
