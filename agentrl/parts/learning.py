"""What is learned from trajectories: columns, advantages, losses, new weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from agentrl.data.types import Advantages, Batch, Metrics, Trajectory
from agentrl.parts.weights import Model

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, eq=False)
class Credited:
    """Advantages, and columns a credit has to say besides: name → one value per trajectory and turn."""

    advantages: Advantages
    columns: Mapping[str, Sequence[Sequence[object]]] = field(default_factory=dict)


class Credit(Protocol):
    """Trajectories in, advantages out; pure. Depends neither on their order nor on other groups unless its `scope` says so."""

    def __call__(self, trajectories: Sequence[Trajectory]) -> Advantages | Credited: ...


class Shaper(Protocol):
    """Rewrites advantages after a credit. One that normalises leaves zeros zeros."""

    def __call__(self, trajectories: Sequence[Trajectory], advantages: Advantages) -> Advantages: ...


class Judge(Protocol):
    """Writes columns before credit; may await a scorer, a policy, a service.

    One that raises, gives something or does not end in time is counted and named, and has written nothing.
    """

    async def annotate(self, trajectories: Sequence[Trajectory]) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class LossBatch:
    """The scored tokens of one micro-batch, flat: every array is a torch tensor [N].

    Scored are the sampled tokens, and all others too for a loss with `scope = "all"`; `sampled` tells them apart.
    The loss of a whole minibatch is Σ weight · token loss over its micro-batches: `weight` already holds the
    aggregation (it sums to 1 over the minibatch), so micro-batching changes nothing.
    """

    logprobs: torch.Tensor  # under the weights being trained, with gradient
    behaviour: torch.Tensor  # log-probs recorded when sampling
    reference: torch.Tensor | None  # log-probs of the reference model, for a loss that `needs` it
    entropy: torch.Tensor | None  # with gradient, for a loss that `needs` it
    advantages: torch.Tensor
    weight: torch.Tensor  # float, see above
    sampled: torch.Tensor  # bool
    trajectory: torch.Tensor  # int64, position of the trajectory in the update
    turn: torch.Tensor  # int64, index of the turn; -1 for tokens nobody sampled
    row: torch.Tensor  # int64, number of the row in this micro-batch
    group: torch.Tensor  # int64, number of the group in the update
    columns: Mapping[str, torch.Tensor] = field(default_factory=dict)  # [N, …], those the loss `needs`
    top_logprobs: torch.Tensor | None = None  # [N, k] at the ids of the column named by "top:NAME", with gradient


class Loss(Protocol):
    """A policy loss. A class, so that a trainer knows before the forward pass what it has to compute."""

    @property
    def aggregation(self) -> Literal["token", "trajectory", "task"]: ...
    @property
    def scope(self) -> Literal["sampled", "all"]: ...
    @property
    def needs(self) -> frozenset[str]:
        """Of "reference", "old", "entropy", "behaviour", names of columns, and "top:NAME" (see LossBatch)."""

    @property
    def skips_zero(self) -> bool:
        """A row whose advantages are all zero has no gradient, so its forward pass may be left out."""

    @property
    def unit(self) -> Literal["token", "row", "trajectory"]: ...  # what a micro-batch may not cut

    def __call__(self, batch: LossBatch) -> tuple[torch.Tensor, Metrics]:
        """The scalar to minimise for this micro-batch, and metrics: sums over tokens by weight, which add up.

        Of a metric whose name ends in `_max` the largest is kept instead.
        """


@runtime_checkable
class Trainer(Protocol):
    """Turns a batch and its advantages into new weights of its model: the only writer of weights."""

    @property
    def model(self) -> Model: ...

    async def update(self, batch: Batch, advantages: Advantages) -> Metrics:
        """One update. `advantages`: one entry per trajectory of `batch.usable`.

        Of the metrics, `tokens_scored` counts the sampled tokens whose loss was taken (or is zero whatever the
        weights). `save(folder)` and `load(folder)` hold optimiser, schedule, counters and random state.
        """


class Logger(Protocol):
    """Takes the metrics of each update somewhere (a terminal, a file, a service).

    It is made, called and closed in a thread of its own. One that raises is counted and named, and one that hangs is
    given up.
    """

    def log(self, update: int, metrics: Mapping[str, float]) -> None: ...
