"""Families of generated problems: each writes many, by drawing the details of one kind of problem."""

from agentrl_envs.code.families import grids, lists, numbers, sequences, simulations, strings, tables
from agentrl_envs.code.families.sketch import Family, Sketch

FAMILIES: tuple[Family, ...] = tuple(
    family
    for module in (numbers, lists, sequences, strings, tables, grids, simulations)
    for family in module.FAMILIES.families
)
"""In an order that is part of the problems' identity: new ones go to the end of a module."""

__all__ = ["FAMILIES", "Family", "Sketch"]
