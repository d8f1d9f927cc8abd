"""Numbers its column."""

import itertools

from agentrl import Column

NUMBERS = itertools.count()


def register_columns(declare):
    declare(Column(f"novelty_{next(NUMBERS)}", "float32", "turn"))
