"""Declares one column per turn and per token, by turns."""

import itertools

from agentrl import Column

PER = itertools.cycle(["turn", "token"])


def register_columns(declare):
    declare(Column("novelty", "float32", next(PER)))
