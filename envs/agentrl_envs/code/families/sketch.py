"""Sketches: a problem before its tests are drawn, and small things that families share."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Random = np.random.Generator
Draw = Callable[[Random], tuple[object, ...]]
T = TypeVar("T")


@dataclass(frozen=True)
class Sketch:
    """What to write, a right solution, and how one input is drawn."""

    signature: str  # "name(first, second)"
    statement: str
    gold: str
    draw: Draw

    @property
    def entry(self) -> str:
        return self.signature.partition("(")[0]


@dataclass(frozen=True)
class Family:
    """One kind of problem. Those held out are in the test split only."""

    name: str
    make: Callable[[Random], Sketch]
    held_out: bool


def sketch(signature: str, statement: str, body: str, draw: Draw) -> Sketch:
    """`body`: the lines of the function, at any common indentation."""
    lines = textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")
    return Sketch(signature, " ".join(statement.split()), f"def {signature}:\n{lines}\n", draw)


def pick(random: Random, options: Sequence[T]) -> T:
    """One of the options, with equal chances."""
    return options[int(random.integers(len(options)))]


def between(random: Random, least: int, most: int) -> int:
    """A whole number, ends included."""
    return int(random.integers(least, most + 1))


def integers(random: Random, least: int = 0, most: int = 8, low: int = -9, high: int = 20) -> list[int]:
    """`least` to `most` whole numbers from `low` to `high`."""
    return [int(x) for x in random.integers(low, high + 1, size=between(random, least, most))]


def word(random: Random, least: int = 1, most: int = 7, letters: str = "abcdeiorst") -> str:
    """Few letters, so that they repeat."""
    return "".join(pick(random, letters) for _ in range(between(random, least, most)))


def words(random: Random, least: int = 0, most: int = 6) -> list[str]:
    """Words, some of which are there twice."""
    made = [word(random) for _ in range(between(random, least, most))]
    return [pick(random, made) if random.random() < 0.3 else each for each in made]


def sentence(random: Random, least: int = 0, most: int = 6) -> str:
    """Words with a blank between them, some with a capital."""
    return " ".join(each.capitalize() if random.random() < 0.3 else each for each in words(random, least, most))
