"""The data that flows: Completion → Turn → Trajectory → Group → Batch, and how a trajectory ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentrl.data.arrays import exact
from agentrl.errors import DataError

Ids: TypeAlias = NDArray[np.int32]
Floats: TypeAlias = NDArray[np.float64]
Logprobs: TypeAlias = NDArray[np.float32]
Info: TypeAlias = Mapping[str, object]
Metrics: TypeAlias = dict[str, float]

Advantage: TypeAlias = Floats | Sequence[Floats]
"""Of one trajectory: float64 [T], one number per turn, or T arrays [C], one number per sampled token."""

Advantages: TypeAlias = list[Advantage]
"""One Advantage per trajectory, in their order."""

Relation: TypeAlias = Literal["start", "append", "new"]

EMPTY: Mapping[str, object] = MappingProxyType({})
AGENT = "agent"
"""Name of the speaker where a world names none."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; a trainer applies the same temperature and filters before it takes log-probs."""

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0 keeps all


SAMPLING = Sampling()
"""From the whole distribution, as it is."""


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a dialogue; `completion` is set on what the policy itself said, so its ids are never made twice."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    completion: Completion | None = None
    tool_calls: tuple[Info, ...] = ()


def no_ids() -> Ids:
    """int32 [0]."""
    return np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Completion:
    """What the policy said in one turn, exactly as it was sampled.

    `ids` holds every sampled token, a stop token included. `logprobs` are of the distribution really sampled from
    (after temperature and filters). `versions` says which weights (number of updates) sampled each token. A policy
    without tokens (a person, an API) leaves all arrays empty. An engine that returns structure sets `calls` (name and
    arguments of each tool call) and `thought`; then no dialect reads the text.
    """

    text: str
    prompt_ids: Ids = field(default_factory=no_ids)  # [P]
    ids: Ids = field(default_factory=no_ids)  # [C]
    logprobs: Logprobs = field(default_factory=lambda: np.zeros(0, np.float32))  # [C]
    entropy: Logprobs | None = None  # [C], nats
    versions: Ids = field(default_factory=no_ids)  # [C]
    stop: Literal["stop", "length"] = "stop"
    sampling: Sampling = SAMPLING
    square: Logprobs | None = None  # [C], Σ π² of the distribution sampled from
    calls: tuple[Info, ...] | None = None
    thought: str | None = None

    def __post_init__(self) -> None:
        """Arrays of the types above. Raises DataError for what is none, and where they disagree in length."""
        prompt_ids, ids, logprobs, versions = self.prompt_ids, self.ids, self.logprobs, self.versions
        if (
            type(prompt_ids) is np.ndarray
            and type(ids) is np.ndarray
            and type(logprobs) is np.ndarray
            and type(versions) is np.ndarray
            and prompt_ids.dtype is ids.dtype is versions.dtype is _INT
            and logprobs.dtype is _FLOAT
            and prompt_ids.ndim == ids.ndim == 1
            and ids.shape == logprobs.shape == versions.shape
            and self.entropy is self.square is None
        ):
            return  # what engines give; one is made in every turn
        whole = (("prompt_ids", _INT), ("ids", _INT), ("logprobs", _FLOAT), ("versions", _INT), *_MAYBE)
        for name, dtype in whole:
            self._convert(name, getattr(self, name), dtype)
        lengths = {name: len(getattr(self, name)) for name, _ in whole[1:] if getattr(self, name) is not None}
        if len(set(lengths.values())) > 1:
            raise DataError(f"arrays of one completion disagree in length: {lengths}; each needs one value per token")

    def _convert(self, name: str, values: object, dtype: np.dtype[np.int32] | np.dtype[np.float32]) -> None:
        if values is None and (name, dtype) in _MAYBE:
            return
        try:
            array = exact(values, dtype)
            if array.ndim != 1:
                raise ValueError(f"the shape is {list(array.shape)}")
        except (ValueError, OverflowError) as error:
            raise DataError(f"{name} of a completion is a list of {dtype}: {error}") from None
        object.__setattr__(self, name, array)


_INT, _FLOAT = np.dtype(np.int32), np.dtype(np.float32)
_MAYBE = (("entropy", _FLOAT), ("square", _FLOAT))


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One observation, what the policy said to it, and what came of that: the unit of credit.

    `anchor` and `info["admissible"]` are from before the action, everything else from after it. `action` is `""`
    where the completion could not be read; `invalid` then says why (it also says why the world refused an action).
    `agent` is the speaker. `kind` is `act`, or for what a context let the policy say without a step of the world:
    `speak` (a summary, a memory) and `answer` (an action that the context kept for itself). `relation` and `kept` say
    how the prompt continues this speaker's last one (see `agentrl.Prompt`). `columns` holds what methods add.
    """

    observation: str
    completion: Completion
    action: str
    reward: float
    anchor: str
    rewards: Mapping[str, float] = field(default_factory=dict)  # named parts, sum to `reward`
    invalid: str = ""
    info: Info = field(default_factory=lambda: EMPTY)
    agent: str = AGENT
    kind: Literal["act", "speak", "answer"] = "act"
    relation: Relation = "start"
    kept: int = 0
    columns: dict[str, object] = field(default_factory=dict)


class Outcome(str, Enum):
    """Why a trajectory ended."""

    TERMINATED = "terminated"
    TURN_LIMIT = "turn_limit"
    TOKEN_LIMIT = "token_limit"
    CONTEXT_LIMIT = "context_limit"
    TIME_LIMIT = "time_limit"
    ENV_ERROR = "env_error"
    POLICY_ERROR = "policy_error"
    SANDBOX_ERROR = "sandbox_error"
    CANCELLED = "cancelled"

    @property
    def failed(self) -> bool:
        """Whether our machinery is to blame: kept on disk and counted, never trained on, never a reward."""
        return self in _FAILED


_FAILED = frozenset(
    {Outcome.TIME_LIMIT, Outcome.ENV_ERROR, Outcome.POLICY_ERROR, Outcome.SANDBOX_ERROR, Outcome.CANCELLED}
)


@dataclass(frozen=True, slots=True, eq=False)
class Final:
    """What a world showed after the last action; credit may need it where a limit ended the trajectory."""

    observation: str
    anchor: str
    info: Info = field(default_factory=lambda: EMPTY)

    @property
    def admissible(self) -> Sequence[str]:
        """Actions the world would still take; empty where it lists none."""
        return _words(self.info.get("admissible"))


@dataclass(frozen=True, slots=True)
class Task:
    """What one reset begins. `key` is stable and carries a content hash; it is known after the reset.

    `prefix` holds turns that are replayed after the reset and compared: a start in the middle of a task that can be
    written down. `copies` is the number of trajectories wanted (0: as many as the collector's group size).
    """

    split: str
    index: int
    seed: int = 0
    key: str = ""
    prefix: tuple[Turn, ...] = ()
    copies: int = 0

    @property
    def options(self) -> dict[str, object]:
        """What `reset(options=…)` takes."""
        return {"split": self.split, "index": self.index}


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The turns of one run of one task. Trajectories with the same `group` began from the same task and seed.

    A branch names its `parent` ("<trajectory id>@<turn>"), holds that one's first `inherited` turns, and counts them
    in its return; they are stored once and trained once, with the parent. `hidden` is reference material of the world
    (solution, gold calls, rubric, persona) for judges and credits, and never part of a prompt.
    """

    turns: tuple[Turn, ...]
    task: Task
    group: str
    outcome: Outcome
    member: int = 0
    attempt: int = 0
    seed: int = 0
    parent: str | None = None
    inherited: int = 0
    branch: int = 0  # number among the branches off the same turn
    final: Final | None = None
    labels: Mapping[str, str] = field(default_factory=dict)  # arm, stage, kind of branch
    hidden: Info = field(default_factory=lambda: EMPTY)
    columns: dict[str, object] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0  # wall clock, not part of equality across resumes

    @property
    def id(self) -> str:
        """Unique in a run: "12.3-1" is attempt 1 of member 3 of group 12, "12.3-1@7.2" branch 2 off its turn 7."""
        if self.parent is None:
            return f"{self.group}.{self.member}-{self.attempt}"
        return f"{self.parent}.{self.branch}" + (f"-{self.attempt}" if self.attempt else "")

    @property
    def rewards(self) -> Floats:
        """float64 [T], the reward of each turn."""
        return np.fromiter((turn.reward for turn in self.turns), np.float64, len(self.turns))

    @property
    def episode_return(self) -> float:
        """Undiscounted sum of rewards."""
        return float(self.rewards.sum())

    @property
    def success(self) -> bool:
        """What the world said last in `info["success"]`; False where it never said."""
        return bool(self.turns and self.turns[-1].info.get("success", False))

    @property
    def tokens(self) -> int:
        """Number of sampled tokens, inherited ones left out."""
        return sum(len(turn.completion.ids) for turn in self.turns[self.inherited :])

    @cached_property
    def next_act(self) -> NDArray[np.int64]:
        """int64 [T], position of the first turn from this one on that acted on the world; of the last that did where
        none follows.

        A spoken or answered turn has the value of that one: `values[trajectory.next_act]`.
        """
        positions = np.arange(len(self.turns))
        acts = positions[[turn.kind == "act" for turn in self.turns]]
        return acts[np.searchsorted(acts, positions).clip(max=len(acts) - 1)] if len(acts) else positions

    def seen_by(self, speaker: str) -> Trajectory:
        """This trajectory as one speaker lived it: its own turns, each with the rewards that came until its next one.

        Where a world says `info["rewards_by"]` (speaker → number), that is what the speaker was paid, else the turn's
        reward. The same object where nobody else spoke or was paid. What came before its first turn is left out.
        """
        if all(turn.agent == speaker and "rewards_by" not in turn.info for turn in self.turns):
            return self
        turns: list[Turn] = []
        inherited = 0
        for position, turn in enumerate(self.turns):
            if "rewards_by" in turn.info:
                turn = _paid(turn, speaker)
            if turn.agent == speaker:
                turns.append(turn)
                inherited += position < self.inherited
            elif turns and (turn.reward or turn.rewards or turn.info.get("success") is not None):
                turns[-1] = _joined(turns[-1], turn)
        return replace(self, turns=tuple(turns), inherited=inherited)


def _paid(turn: Turn, speaker: str) -> Turn:
    """A turn with what it paid to one speaker. Raises DataError for something that is no number by speaker."""
    paid = turn.info["rewards_by"]
    reward = paid.get(speaker, 0.0) if isinstance(paid, Mapping) else None
    if not isinstance(reward, (int, float)):
        raise DataError(f"info['rewards_by'] is {paid!r}; it is a mapping, speaker → number")
    return replace(turn, reward=float(reward), rewards={"paid": float(reward)})


def _joined(own: Turn, other: Turn) -> Turn:
    """A speaker's turn with the reward, its parts and the success that somebody else's turn brought."""
    parts = {name: own.rewards.get(name, 0.0) + other.rewards.get(name, 0.0) for name in (*own.rewards, *other.rewards)}
    info = {**own.info, **({"success": other.info["success"]} if "success" in other.info else {})}
    return replace(own, reward=own.reward + other.reward, rewards=parts, info=info)


def _words(value: object) -> Sequence[str]:
    return tuple(str(word) for word in value) if isinstance(value, Iterable) and not isinstance(value, str) else ()


@dataclass(frozen=True, slots=True)
class Draw:
    """The n-th task that a run asks for, numbered over the whole run; plain data, kept in commits."""

    number: int
    task: Task
    copies: int
    seed: int
    update: int


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The trajectories of one draw (or of a second stage of it), all attempts, by member and attempt."""

    key: str
    draw: int
    trajectories: tuple[Trajectory, ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """What one update learns from: whole groups, by draw number."""

    update: int
    groups: tuple[Group, ...]
    speakers: tuple[str, ...] = (AGENT,)
    """Who is trained."""
    rejected: tuple[Group, ...] = ()
    """Groups that the sampler did not keep: recorded and counted, not trained."""

    @cached_property
    def trajectories(self) -> tuple[Trajectory, ...]:
        """Every trajectory of every group that was kept, failed attempts included."""
        return tuple(trajectory for group in self.groups for trajectory in group.trajectories)

    @cached_property
    def recorded(self) -> tuple[Trajectory, ...]:
        """Those, then those of rejected groups."""
        return self.trajectories + tuple(t for group in self.rejected for t in group.trajectories)

    @cached_property
    def usable(self) -> tuple[Trajectory, ...]:
        """Those that credit and trainer may see."""
        return tuple(trainable(self.trajectories))


def groups(trajectories: Sequence[Trajectory]) -> dict[str, list[int]]:
    """Positions of the trajectories of each group, groups in order of first appearance."""
    members: dict[str, list[int]] = {}
    for position, trajectory in enumerate(trajectories):
        members.setdefault(trajectory.group, []).append(position)
    return members


def trainable(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """The trajectories that credit may see: not failed, and with at least one turn of their own."""
    return [t for t in trajectories if not t.outcome.failed and len(t.turns) > t.inherited]
