"""Types that ask for something of the run: a parameter that is annotated with one gets it, and is no setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NewType

from agentrl.data.columns import Column

Seed = NewType("Seed", int)
"""A parameter of this type gets the seed of the run."""

Updates = NewType("Updates", int)
"""A parameter of this type gets the number of updates of the stage."""

Splits = NewType("Splits", Mapping[str, int])
"""A parameter of this type gets the splits of the world: name → number of tasks."""

Columns = NewType("Columns", Mapping[str, Column])
"""A parameter of this type gets the declared columns by name."""

Texts = NewType("Texts", Sequence[str])
"""A parameter of this type gets words of the world, its instructions and its tools; played when first read."""


@dataclass(frozen=True, slots=True)
class SavedCodec:
    """A parameter of this type gets the folder of the codec that the run has kept; None in a run that begins."""

    folder: Path | None = None
