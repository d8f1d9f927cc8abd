"""Infos of many worlds at once, in the form Gymnasium gives them, built only as far as they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np


class Infos(dict[str, Any]):
    """Infos in Gymnasium's form, one array and one mask `_key` per key, each built when it is first read.

    `each` holds the infos of the worlds as they gave them.
    """

    _left = True  # not everything is built yet

    def __init__(self, each: Sequence[Mapping[str, Any]]) -> None:
        self.each = list(each)

    def __missing__(self, key: str) -> Any:
        base = key if any(key in info for info in self.each) else key.removeprefix("_")
        there = [base in info for info in self.each]
        if not any(there):
            raise KeyError(key)
        self.setdefault(base, _array([info.get(base) for info in self.each], there))
        self.setdefault(f"_{base}", np.array(there, np.bool_))
        return super().__getitem__(key)

    def _all(self) -> Infos:
        if self._left:
            self._left = False
            for key in {key: None for info in self.each for key in info}:
                self.__missing__(key)
        return self

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return dict.__iter__(self._all())

    def __len__(self) -> int:
        return dict.__len__(self._all())

    def __repr__(self) -> str:
        return dict.__repr__(self._all())

    def __reduce__(self) -> Any:
        return Infos, (self.each,)

    def get(self, key: str, default: Any = None) -> Any:
        """The array of a key, or `default`."""
        try:
            return self[key]
        except KeyError:
            return default

    def keys(self) -> Any:
        """Every key and every mask."""
        return dict.keys(self._all())

    def values(self) -> Any:
        """Every array and every mask."""
        return dict.values(self._all())

    def items(self) -> Any:
        """Every key with its array, every mask with its own."""
        return dict.items(self._all())


def _array(values: list[Any], there: list[bool]) -> Any:
    """One array of a key's values; texts and anything else stay whole objects, absent numbers are 0."""
    given = [value for value, known in zip(values, there, strict=True) if known]
    if all(isinstance(value, dict) for value in given):
        return Infos([value if known else {} for value, known in zip(values, there, strict=True)])
    if all(isinstance(value, bool) for value in given):
        return np.array([bool(value) for value in values], np.bool_)
    if all(isinstance(value, (int, float, np.number)) and not isinstance(value, bool) for value in given):
        return np.array([value if known else 0 for value, known in zip(values, there, strict=True)])
    return np.fromiter(values, np.object_, len(values))
