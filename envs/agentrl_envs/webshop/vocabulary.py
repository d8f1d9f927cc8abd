"""Words of the generated shop: what is sold, in which options, with which properties."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of product and everything a listing of it is drawn from."""

    category: str  # the shop's broad category, one of five
    query: str  # the search that finds this kind; products of one kind share it
    noun: str
    path: str  # "a › b › c"
    options: tuple[str, ...]  # names of option pools
    price: float  # median, dollars
    attributes: tuple[str, ...]
    extras: tuple[str, ...]  # side words for titles


def _expand(block: str) -> tuple[str, ...]:
    """Every filled-in pattern of a block, in order, without repeats."""
    found: dict[str, None] = {}
    for line in block.split("\n"):
        pattern, _, words = line.rpartition(": ")
        for word in words.split():
            found[pattern.format(word.replace("_", " "))] = None
    return tuple(found)


def _kind(line: str) -> Kind:
    pool, query, noun, path, options, price, extras = line.split("|")
    category, department = _TABLES["departments"][pool]
    path = f"{department} › {path}"
    names = tuple(options.split())
    return Kind(category, query, noun, path, names, float(price), ATTRIBUTES[pool], tuple(extras.split()))


_TABLES = tomllib.loads(Path(__file__).with_name("vocabulary.toml").read_text("utf-8"))
OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    pool: (name, tuple(values.split(","))) for pool, (name, values) in _TABLES["options"].items()
}
ATTRIBUTES = {pool: _expand(block) for pool, block in _TABLES["properties"].items()}
KINDS = tuple(_kind(line) for line in _TABLES["kinds"].split("\n"))
ONSETS, CODAS, ADJECTIVES, MATERIALS = (
    tuple(_TABLES["words"][name].split()) for name in ("onsets", "codas", "adjectives", "materials")
)
AUDIENCES = tuple(_TABLES["words"]["audiences"].split(","))
REQUESTS = tuple(_TABLES["requests"]["full"].split("\n"))
TINY_WORDS = tuple(_TABLES["tiny"]["words"].split())
TINY_KINDS = tuple(line.split("|") for line in _TABLES["tiny"]["kinds"].split("\n"))
TINY_OPTIONS = tuple((name, values.split()) for name, values in _TABLES["tiny"]["options"])
