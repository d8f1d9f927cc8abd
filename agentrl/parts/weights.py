"""Weights: who owns them, which they are, how they are handed over, and scores taken with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agentrl.data.types import SAMPLING, Ids, Logprobs, Sampling
from agentrl.parts.words import Codec


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """Which weights these are. `incarnation` tells a process from the one that died before it: both may count alike."""

    run: str = ""
    incarnation: str = ""
    model: str = "model"
    update: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """Weights in this process: an engine reads the model's own module."""

    model: Model


@dataclass(frozen=True, slots=True)
class Folder:
    """A place on disk. As a handle: weights, complete when they are handed over. As a parameter: the run's folder."""

    path: Path


@dataclass(frozen=True, slots=True)
class Stream:
    """Weights sent from device to device under a name that both sides know."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A version and a way to fetch it."""

    version: Version
    handle: Shared | Folder | Stream


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Tokens to be scored after a prompt."""

    prompt_ids: Ids
    ids: Ids
    sampling: Sampling = SAMPLING


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Answers of a Scorer for the C ids of a question."""

    logprobs: Logprobs  # [C], after temperature and filters
    entropy: Logprobs | None = None  # [C], nats, with `moments`
    square: Logprobs | None = None  # [C], Σ π², with `moments`
    top_ids: Ids | None = None  # [C, k]
    top_logprobs: Logprobs | None = None  # [C, k]; the rest of the mass is 1 − Σ exp
    features: NDArray[np.float32] | None = None  # [C, D], last hidden states


@runtime_checkable
class Scorer(Protocol):
    """Log-probs of given tokens under any prompt: no sampling, no gradient."""

    async def score(
        self,
        questions: Sequence[Question],
        *,
        weights: str = "current",
        top: int = 0,
        moments: bool = False,
        features: bool = False,
    ) -> list[Scores]:
        """`weights`: "current", "initial" (those the run began with) or "average". Raises ConfigError for others."""


@runtime_checkable
class Model(Protocol):
    """Owner of one set of weights and their version. While a stage runs, its trainer alone changes them.

    May offer `begin(folder)`: `load` for a run that starts from another's weights, which are then the "initial" ones;
    and `notes`: lines on how it is run that the display and `run.log` show, such as that it is slow and why.
    """

    version: Version

    @property
    def codec(self) -> Codec: ...

    async def publish(self, update: int, via: type[Shared] | type[Folder] | type[Stream]) -> Weights:
        """Call the present weights `update` and hand them out. Raises ConfigError for a way it does not know."""

    async def save(self, folder: Path) -> None:
        """Write everything into a new folder that others can load (a Hugging Face folder, say)."""

    async def load(self, folder: Path) -> None:
        """Take over the weights of a folder that `save` of a model with the same settings wrote, in place and exactly."""
