"""What each kind of part must be able to do. Parts are plugins; these protocols are all the core knows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from agentrl.data.types import Completion, Floats, Message, Task, Trajectory, Turn

Metrics: TypeAlias = dict[str, float]

Advantages: TypeAlias = list[Floats]
"""Per trajectory float64 [T], one number per turn."""


@dataclass(frozen=True, slots=True, eq=False)
class Dialogue:
    """What a policy is asked to continue: one turn of one trajectory.

    `key` is the same for every turn of a trajectory (engines keep their caches by it). `seed` is new for every turn
    and all the randomness this turn may use. `environment` is the live world, for scripted and human policies in
    this process; engines must not touch it. `info` is the world's info before the action.
    """

    messages: tuple[Message, ...]
    key: str
    seed: int
    tools: tuple[Mapping[str, Any], ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict)
    environment: Any = None
    stop: tuple[str, ...] = ()  # the completion ends after the first of these strings


@runtime_checkable
class Model(Protocol):
    """Weights and whatever turns text into ids, shared by policy and trainer in one process."""

    version: int
    """Number of updates these weights have seen; stamped on every token they sample."""

    def save(self, folder: Path) -> None:
        """Write everything into a new folder that others can load (a Hugging Face folder, say)."""
        ...

    def load(self, folder: Path) -> None:
        """Take over the weights of a folder that `save` of a model with the same settings wrote, in place and exactly."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Who acts. One policy serves many trajectories at once."""

    async def act(self, dialogue: Dialogue) -> Completion:
        """Raises ContextOverflow when the prompt leaves no room, PolicyFault when the engine fails."""
        ...

    def encode(self, dialogue: Dialogue, text: str) -> Completion:
        """The Completion that `act` would have returned had it said `text`: same ids, log-probs 0, no generation."""
        ...

    def forget(self, key: str) -> None:
        """The trajectory `key` is over: free what is kept for it. Unknown keys are fine."""
        ...

    async def refresh(self, model: Model) -> None:
        """Take over the newest weights; everything computed with older ones is dropped."""
        ...

    def metrics(self) -> Metrics:
        """Counters since the last call: `tokens_sampled`, `tokens_prefilled`, `tokens_reused`, `seconds` …"""
        ...

    def close(self) -> None: ...


class Context(Protocol):
    """What of the past the policy sees this turn."""

    def __call__(
        self,
        instructions: str,
        turns: Sequence[Turn],
        observation: str,
        previous: tuple[Message, ...],
    ) -> tuple[Message, ...]:
        """`previous` is what this context returned one turn earlier (empty at first)."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """An action read from a completion; `invalid` says why it could not be read (the action is then `""`)."""

    action: str
    invalid: str = ""


class Dialect(Protocol):
    """How an action is written in text, and read back: `read(write(action)).action == action`."""

    instructions: str
    stop: tuple[str, ...]

    def write(self, action: str) -> str: ...
    def read(self, text: str) -> Reading: ...


class Collector(Protocol):
    """Plays tasks with a policy. Returns every trajectory, failed attempts included, in a stable order."""

    async def collect(self, policy: Policy, tasks: Sequence[Task], *, seed: int) -> list[Trajectory]: ...
    def metrics(self) -> Metrics: ...
    def close(self) -> None: ...


class Sampler(Protocol):
    """Which tasks come next, fed by past results."""

    def next(self, update: int) -> list[Task]: ...
    def observe(self, trajectories: Sequence[Trajectory]) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...


class Credit(Protocol):
    """Trajectories in, advantages per turn out. Depends neither on their order nor on duplicates in other groups."""

    def __call__(self, trajectories: Sequence[Trajectory]) -> Advantages: ...


class Shaper(Protocol):
    """Rewrites advantages after a credit."""

    def __call__(self, trajectories: Sequence[Trajectory], advantages: Advantages) -> Advantages: ...


@dataclass(frozen=True, slots=True, eq=False)
class LossBatch:
    """The scored tokens of one micro-batch, flat: every array is a torch tensor [N] (typed Any: the core has no torch).

    Scored are the sampled tokens, and all others too for a loss with `scope = "all"`; `sampled` tells them apart.
    The loss of a whole minibatch is Σ weight · token loss over its micro-batches: `weight` already holds the
    aggregation (it sums to 1 over the minibatch), so micro-batching changes nothing.
    """

    logprobs: Any  # under the weights being trained, with gradient
    behaviour: Any  # log-probs recorded when sampling
    reference: Any | None  # log-probs of the reference model, for a loss that `needs` it
    entropy: Any | None  # with gradient, for a loss that `needs` it
    advantages: Any
    weight: Any  # float, see above
    sampled: Any  # bool
    trajectory: Any  # int64, position of the trajectory in the update
    turn: Any  # int64, index of the turn; -1 for tokens nobody sampled


class Loss(Protocol):
    """A policy loss. A class, so that a trainer knows before the forward pass what it has to compute."""

    aggregation: Literal["token", "trajectory", "task"]
    scope: Literal["sampled", "all"]
    needs: frozenset[str]  # of "reference", "entropy"
    skips_zero: bool  # a row whose advantages are all zero has no gradient, so its forward pass may be left out

    def __call__(self, batch: LossBatch) -> tuple[Any, Metrics]:
        """The scalar to minimise for this micro-batch, and metrics: sums over tokens by weight, which add up.

        Of a metric whose name ends in `_max` the largest is kept instead.
        """
        ...


class Trainer(Protocol):
    """Turns trajectories and advantages into new weights of its model."""

    model: Model

    def update(self, trajectories: Sequence[Trajectory], advantages: Advantages) -> Metrics: ...

    def save(self, folder: Path) -> None:
        """Write optimiser, schedule, counters and random state into a new folder; the weights are the model's."""
        ...

    def load(self, folder: Path) -> None:
        """Go on exactly where the trainer that wrote the folder stood."""
        ...

    def close(self) -> None: ...


class Judge(Protocol):
    """Writes judgements into `Turn.extras` before credit."""

    async def annotate(self, trajectories: Sequence[Trajectory]) -> None: ...


class Logger(Protocol):
    """Takes the metrics of each update somewhere (a terminal, a file, a service)."""

    def log(self, update: int, metrics: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...
