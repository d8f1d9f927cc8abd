"""Families of generated problems: each writes many, by drawing the details of one kind of problem."""

import inspect

from agentrl_envs.code.families import grids, lists, numbers, sequences, simulations, strings, tables
from agentrl_envs.code.families.sketch import Family, Sketch

HELD_OUT = frozenset(("column", "counters", "islands", "josephus", "mirror_part", "with_divisors"))
"""Families that are in the test split only."""

FAMILIES = tuple(
    Family(name, make, name in HELD_OUT)
    for module in (numbers, lists, sequences, strings, tables, grids, simulations)
    for name, make in vars(module).items()
    if inspect.isfunction(make) and make.__module__ == module.__name__ and make.__annotations__["return"] == "Sketch"
)
"""In an order that is part of the problems' identity: new ones go to the end of a module."""

__all__ = ["FAMILIES", "Family", "Sketch"]
