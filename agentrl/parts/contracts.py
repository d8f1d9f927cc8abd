"""What each kind of part must be able to do. Parts are plugins; these protocols are all the core knows of them.

Every part may also offer `close()`, `metrics()`, `state()` and `restore(state)` (JSON), `save(folder)` and
`load(folder)`, `observe(batch)` after each update, and `observe_evaluation(evaluation)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NewType, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agentrl.data.columns import Column
from agentrl.data.types import (
    AGENT,
    EMPTY,
    SAMPLING,
    Advantages,
    Batch,
    Completion,
    Draw,
    Group,
    Ids,
    Info,
    Logprobs,
    Message,
    Metrics,
    Relation,
    Sampling,
    Task,
    Trajectory,
    Turn,
)

if TYPE_CHECKING:
    import gymnasium
    import torch

Tool: TypeAlias = Mapping[str, object]
"""A tool as chat templates take it: {"type": "function", "function": {"name", "description", "parameters"}}."""

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


# ---------------------------------------------------------------------------------------------- words and weights


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Ids that a policy is to continue, and how they relate to this speaker's last completion.

    `append`: that one's prompt, then its ids, then more. `new`: anything else. `kept` counts the leading ids that
    both share.
    """

    ids: Ids  # [P], read-only
    relation: Relation = "start"
    kept: int = 0


class Codec(Protocol):
    """Words to ids and back, for one model: stateless (but for caches), without weights, picklable."""

    @property
    def name(self) -> str:
        """Hash of tokenizer and template: same name, same ids."""
        ...

    @property
    def stop_ids(self) -> frozenset[int]: ...
    @property
    def max_context(self) -> int: ...
    @property
    def roles(self) -> frozenset[str]:
        """Roles that the template knows; `prompt` folds others into those."""
        ...

    @property
    def tools(self) -> bool:
        """Whether the template writes tools."""
        ...

    @property
    def thoughts(self) -> Literal["none", "kept", "dropped"]:
        """What becomes of thoughts in old answers."""
        ...

    def prompt(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), after: Completion | None = None
    ) -> Prompt:
        """What the model reads before it speaks. `after`: this speaker's last completion; sampled ids stay as they are."""
        ...

    def say(self, text: str, *, stop: Sequence[str] = ()) -> Ids:
        """int32 [C], the ids that sampling would have given for this text, the end included."""
        ...

    def decode(self, ids: Ids) -> str: ...

    def save(self, folder: Path) -> None:
        """Write everything from which the same codec can be loaded."""
        ...


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
        ...


@runtime_checkable
class Model(Protocol):
    """Owner of one set of weights and their version. While a stage runs, its trainer alone changes them.

    May offer `begin(folder)`: `load` for a run that starts from another's weights, which are then the "initial" ones.
    """

    version: Version

    @property
    def codec(self) -> Codec: ...

    async def publish(self, update: int, via: type[Shared] | type[Folder] | type[Stream]) -> Weights:
        """Call the present weights `update` and hand them out. Raises ConfigError for a way it does not know."""
        ...

    async def save(self, folder: Path) -> None:
        """Write everything into a new folder that others can load (a Hugging Face folder, say)."""
        ...

    async def load(self, folder: Path) -> None:
        """Take over the weights of a folder that `save` of a model with the same settings wrote, in place and exactly."""
        ...


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
        ...


# -------------------------------------------------------------------------------------------------------- who acts


@dataclass(frozen=True, slots=True, eq=False)
class Dialogue:
    """What a policy is asked to continue: one turn of one trajectory.

    `key` is the same for every turn of a trajectory and speaker (engines keep their caches by it). `seed` is new for
    every turn and all the randomness this turn may use. `prompt` holds the ids, where the speaker's model has a
    codec; a chat API takes the messages. `info` is the world's info before the action.
    """

    messages: tuple[Message, ...]
    key: str
    seed: int
    prompt: Prompt | None = None
    tools: tuple[Tool, ...] = ()
    info: Info = field(default_factory=lambda: EMPTY)
    stop: tuple[str, ...] = ()  # the completion ends after the first of these strings
    max_tokens: int | None = None


@runtime_checkable
class Policy(Protocol):
    """Who acts. One policy serves many trajectories at once."""

    @property
    def accepts(self) -> frozenset[type]:
        """Ways to take weights over: Shared, Folder, Stream; empty for a policy without weights of its own."""
        ...

    @property
    def exact(self) -> bool | None:
        """Whether ids and log-probs come back as they were sampled; None until it was asked for the first time."""
        ...

    @property
    def repeatable(self) -> bool:
        """Whether the seed of a dialogue decides what is said."""
        ...

    @property
    def version(self) -> Version | None:
        """Of the weights it plays with."""
        ...

    async def act(self, dialogue: Dialogue) -> Completion:
        """Raises ContextOverflow when the prompt leaves no room, PolicyFault when the engine fails."""
        ...

    async def refresh(self, weights: Weights) -> None:
        """Take over newer weights, also while turns are under way; everything computed with older ones is dropped."""
        ...

    def forget(self, key: str) -> None:
        """The dialogue `key` is over: free what is kept for it. Unknown keys are fine."""
        ...


@runtime_checkable
class Demonstrator(Protocol):
    """Who acts by looking at the world itself: an expert, a random player, a person. Gives actions, no tokens."""

    def act(self, world: gymnasium.Env[str, str], info: Info, seed: int) -> str:
        """The action to take now. Called in the world's thread where it has one."""
        ...


Speaker: TypeAlias = Policy | Demonstrator
Speakers: TypeAlias = Mapping[str, Speaker]
"""Name of a speaker → who plays it; `agent` is the one that worlds do not name."""


@runtime_checkable
class Voice(Protocol):
    """For code that must ask a policy in the middle of `step`: synchronous, from the world's own thread."""

    def say(self, messages: Sequence[Message], *, seed: int, timeout_s: float = 60.0) -> str:
        """What the policy answers. Raises PluginError on the event loop's own thread, TimeoutError past the limit."""
        ...


# ------------------------------------------------------------------------------------- what is seen and what is read


@dataclass(frozen=True, slots=True)
class Reading:
    """An action read from a completion; `invalid` says why it could not be read (the action is then `""`).

    `spans`: (name, start, stop) over characters of the text, such as ("think", 0, 40).
    """

    action: str
    invalid: str = ""
    spans: tuple[tuple[str, int, int], ...] = ()


class Dialect(Protocol):
    """How an action is written in text, and read back: `read(write(action)).action == action`."""

    @property
    def instructions(self) -> str: ...
    @property
    def stop(self) -> tuple[str, ...]:
        """Strings that end a completion."""
        ...

    def write(self, action: str) -> str: ...
    def read(self, text: str) -> Reading: ...


@dataclass(frozen=True, slots=True)
class Speak:
    """Let the policy say something before it acts: a summary, a memory. Recorded as a turn of its own and trained."""

    messages: tuple[Message, ...]
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a context answers to an action that it keeps for itself; the world is not stepped."""

    observation: str
    rewards: Mapping[str, float] = field(default_factory=dict)


class Session(Protocol):
    """One trajectory's view of its past; a function of seed, turns and observations, so that a branch can replay it.

    Derive from it, and only `view` has to be written.
    """

    instructions: str = ""
    """What the context adds to the world's own, already shown by `view`."""
    tools: tuple[Tool, ...] = ()
    """Tools of the context's own."""

    def view(self, turns: Sequence[Turn], observation: str) -> tuple[Message, ...] | Speak:
        """What the policy reads now, or what it is asked first. `turns` holds spoken turns too.

        Raises ContextOverflow where nothing that would fit is left to be shown; the trajectory ends at its context limit.
        """
        ...

    def answer(self, reading: Reading) -> Answer | None:
        """The answer to an action that is the context's, None for one that is the world's."""
        return None


class Context(Protocol):
    """What of the past the policy sees. A function `f(instructions, turns, observation, previous) -> messages` is one
    too: `previous` is what it returned one turn earlier (empty at first).

    A setting or attribute `budget` is the most tokens of a prompt for an action, by `count`; the kit holds it to that.
    """

    def begin(
        self,
        *,
        instructions: str,
        key: str,
        seed: int,
        speaker: str = AGENT,
        count: Callable[[Sequence[Message]], int],
    ) -> Session:
        """The session of one trajectory. `count` gives the prompt's length in tokens (0 where there is no codec)."""
        ...


# ---------------------------------------------------------------------------------------------------- what is played


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Where a play branches off: the turns before it, and a snapshot of the world that may stand for replaying them."""

    turns: tuple[Turn, ...]
    snapshot: object | None = None
    parent: str | None = None  # "<trajectory id>@<turn>"
    branch: int = 0
    reseed: int | None = None  # a seed of its own for the world's luck from here on


@dataclass(frozen=True, slots=True, eq=False)
class Play:
    """A request for one trajectory. `speakers`, `context` and limits override those of the stage for this play."""

    task: Task
    group: str
    member: int
    seed: int
    start: Start | None = None
    speakers: Speakers = field(default_factory=dict)
    context: Context | None = None
    first: str | None = None  # forced as the first completion, and not trained
    until: Callable[[Turn], bool] | None = None
    max_turns: int | None = None
    max_tokens: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    snapshots: Literal["none", "all", "invalid"] = "none"
    """Turns after which the world's state is kept, in memory only, for `Player.snapshot`."""


class Player(Protocol):
    """Owns worlds, concurrency, retries, limits and failures."""

    async def play(self, speakers: Speakers, plays: Sequence[Play]) -> list[Trajectory]:
        """All attempts, in the order of the plays. Faults are Outcomes; a ConfigError is raised."""
        ...

    def snapshot(self, trajectory: Trajectory, turn: int) -> object | None:
        """The world after a turn of a trajectory of this update, where its play asked for it; else None."""
        ...


class Collector(Protocol):
    """Plays one draw and returns its groups (none is fine, two are fine)."""

    async def collect(self, draw: Draw, speakers: Speakers) -> list[Group]: ...


@runtime_checkable
class Sampler(Protocol):
    """Which tasks come next. May offer `keep(group) -> bool`: a group not kept is recorded, not trained, drawn again."""

    def next(self, update: int) -> list[Task]: ...


# --------------------------------------------------------------------------------------------------- what is learned


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
    """Writes columns before credit; may await a scorer, a policy, a service."""

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
        ...

    @property
    def skips_zero(self) -> bool:
        """A row whose advantages are all zero has no gradient, so its forward pass may be left out."""
        ...

    @property
    def unit(self) -> Literal["token", "row", "trajectory"]:
        """What a micro-batch may not cut."""
        ...

    def __call__(self, batch: LossBatch) -> tuple[torch.Tensor, Metrics]:
        """The scalar to minimise for this micro-batch, and metrics: sums over tokens by weight, which add up.

        Of a metric whose name ends in `_max` the largest is kept instead.
        """
        ...


class Logger(Protocol):
    """Takes the metrics of each update somewhere (a terminal, a file, a service)."""

    def log(self, update: int, metrics: Mapping[str, float]) -> None: ...
