"""Whatever a world puts into `info`, as standard JSON text."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePath

import numpy as np


def to_json(value: object, *, indent: int | None = None) -> str:
    """Standard JSON of any value, compact unless it is indented; the same value gives the same text in every process.

    NumPy values, tuples, sets, mappings, dataclasses, enums and paths become plain JSON. Keys become strings. JSON
    has no NaN and no infinity: both become null. Anything else becomes its `repr`, or the name of its type where the
    `repr` is only an address or raises.

    >>> import numpy as np
    >>> to_json({"cost": np.float32(0.5), "at": (1, 2), "seen": {"b", "a"}, "best": float("nan"), 3: np.arange(2)})
    '{"cost":0.5,"at":[1,2],"seen":["a","b"],"best":null,"3":[0,1]}'
    """
    if indent is not None:
        return json.dumps(_tree(value), indent=indent, allow_nan=False)
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError):  # NaN, odd keys, cycles: rare, so only they pay for the slow walk
        try:
            return _ENCODER.encode(_tree(value))
        except RecursionError:
            return _ENCODER.encode(f"a {type(value).__name__} that contains itself")


def _plain(value: object) -> object:
    """One level of something that JSON does not know."""
    try:
        return _level(value)
    except RecursionError:
        raise
    except Exception:  # a stranger's repr, keys or fields may raise whatever they like
        return f"<{type(value).__module__}.{type(value).__qualname__}>"


def _level(value: object) -> object:
    if isinstance(value, (np.generic, np.ndarray)):
        plain = value.tolist()
        return plain if type(plain) is not type(value) else repr(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, AbstractSet):
        return sorted(value, key=to_json)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if repr(value) == object.__repr__(value):
        return f"<{type(value).__module__}.{type(value).__qualname__}>"
    return repr(value)


def _tree(value: object) -> object:
    """A copy of the whole value made of dicts with string keys, lists, strings, finite numbers, booleans and None."""
    if isinstance(value, int) and value.bit_length() > _LONGEST_INT:
        return hex(value)  # Python itself writes none so long in digits
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key if isinstance(key, str) else _key(key): _tree(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tree(item) for item in value]
    return _tree(_plain(value))


def _key(key: object) -> str:
    plain = _tree(key)
    return plain if isinstance(plain, str) else to_json(plain)


_LONGEST_INT = 14_000  # bits
_ENCODER = json.JSONEncoder(allow_nan=False, default=_plain, check_circular=False, separators=(",", ":"))
