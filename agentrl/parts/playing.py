"""Who acts, what is played, and who decides what comes next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from agentrl.data.types import EMPTY, Completion, Draw, Group, Info, Message, Task, Trajectory, Turn
from agentrl.parts.weights import Version, Weights
from agentrl.parts.words import Context, Prompt, Tool

if TYPE_CHECKING:
    import gymnasium


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

    @property
    def exact(self) -> bool | None:
        """Whether ids and log-probs come back as they were sampled; None until it was asked for the first time."""

    @property
    def repeatable(self) -> bool: ...  # whether the seed of a dialogue decides what is said
    @property
    def version(self) -> Version | None: ...  # of the weights it plays with

    async def act(self, dialogue: Dialogue) -> Completion:
        """Raises ContextOverflow when the prompt leaves no room, PolicyFault when the engine fails.

        It is cancelled where it takes longer than `answer_timeout_s` of `[player]`.
        """

    async def refresh(self, weights: Weights) -> None:
        """Take over newer weights, also while turns are under way; everything computed with older ones is dropped."""

    def forget(self, key: str) -> None:
        """The dialogue `key` is over: free what is kept for it. Unknown keys are fine."""


@runtime_checkable
class Demonstrator(Protocol):
    """Who acts by looking at the world itself: an expert, a random player, a person. Gives actions, no tokens."""

    def act(self, world: gymnasium.Env[str, str], info: Info, seed: int) -> str:
        """The action to take now. Called in the world's thread where it has one."""


Speaker: TypeAlias = Policy | Demonstrator

Speakers: TypeAlias = Mapping[str, Speaker]
"""Name of a speaker → who plays it; `agent` is the one that worlds do not name."""


@runtime_checkable
class Voice(Protocol):
    """For code that must ask a policy in the middle of `step`: synchronous, from the world's own thread."""

    def say(self, messages: Sequence[Message], *, seed: int, timeout_s: float = 60.0) -> str:
        """What the policy answers. Raises PluginError on the event loop's own thread, TimeoutError past the limit."""


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

    def snapshot(self, trajectory: Trajectory, turn: int) -> object | None:
        """The world after a turn of a trajectory of this update, where its play asked for it; else None."""


class Collector(Protocol):
    """Plays one draw and returns its groups (none is fine, two are fine)."""

    async def collect(self, draw: Draw, speakers: Speakers) -> list[Group]: ...


@runtime_checkable
class Sampler(Protocol):
    """Which tasks come next. May offer `keep(group) -> bool`: a group not kept is recorded, not trained, drawn again."""

    def next(self, update: int) -> list[Task]: ...
