"""The data that flows: Completion → Turn → Trajectory, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agentrl.errors import DataError

Ids = NDArray[np.int32]
Floats = NDArray[np.float64]
Logprobs = NDArray[np.float32]

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; a trainer applies the same temperature and filters before it takes log-probs."""

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0 keeps all


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a dialogue; `completion` is set on what the policy itself said, so its ids are never made twice."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    completion: Completion | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Completion:
    """What the policy said in one turn, exactly as it was sampled.

    `ids` holds every sampled token, a stop token included. `logprobs` are of the distribution really sampled from
    (after temperature and filters). `versions` says which weights sampled each token. A policy without tokens
    (a person, a script without an encoder) leaves all arrays empty.
    """

    text: str
    prompt_ids: Ids = field(default_factory=lambda: np.zeros(0, np.int32))  # [P]
    ids: Ids = field(default_factory=lambda: np.zeros(0, np.int32))  # [C]
    logprobs: Logprobs = field(default_factory=lambda: np.zeros(0, np.float32))  # [C]
    entropy: Logprobs | None = None  # [C], nats
    versions: Ids = field(default_factory=lambda: np.zeros(0, np.int32))  # [C]
    stop: Literal["stop", "length"] = "stop"
    sampling: Sampling = Sampling()

    def __post_init__(self) -> None:
        lengths = {"ids": len(self.ids), "logprobs": len(self.logprobs), "versions": len(self.versions)}
        if self.entropy is not None:
            lengths["entropy"] = len(self.entropy)
        if len(set(lengths.values())) > 1:
            raise DataError(f"arrays of one completion disagree in length: {lengths}; each needs one value per token")


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One observation, what the policy said to it, and what came of that: the unit of credit.

    `anchor` and `info["admissible"]` are from before the action, everything else from after it. `action` is `""`
    where the completion could not be read; `invalid` then says why (it also says why the world refused an action).
    """

    observation: str
    completion: Completion
    action: str
    reward: float
    anchor: str
    rewards: Mapping[str, float] = field(default_factory=lambda: _EMPTY)  # named parts, sum to `reward`
    invalid: str = ""
    info: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    agent: str = "agent"
    extras: dict[str, Any] = field(default_factory=dict)  # values, reference log-probs, judgements …


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


@dataclass(frozen=True, slots=True)
class Task:
    """What one reset begins. `key` is stable and carries a content hash; it is known after the reset."""

    split: str
    index: int
    seed: int = 0
    key: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """What `reset(options=…)` takes."""
        return {"split": self.split, "index": self.index}


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """The turns of one run of one task. Trajectories with the same `group` began from the same task and seed."""

    turns: tuple[Turn, ...]
    task: Task
    group: str
    outcome: Outcome
    member: int = 0
    attempt: int = 0
    seed: int = 0
    parent: str | None = None  # "<trajectory id>@<turn>" when branched
    error: str = ""
    seconds: float = 0.0  # wall clock, not part of equality across resumes

    @property
    def id(self) -> str:
        """Unique inside one update: group, member and attempt."""
        return f"{self.group}#{self.member}.{self.attempt}"

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
        """Number of sampled tokens."""
        return sum(len(turn.completion.ids) for turn in self.turns)


def groups(trajectories: Sequence[Trajectory]) -> dict[str, list[int]]:
    """Positions of the trajectories of each group, groups in order of first appearance."""
    found: dict[str, list[int]] = {}
    for position, trajectory in enumerate(trajectories):
        found.setdefault(trajectory.group, []).append(position)
    return found


def trainable(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """The trajectories that credit may see: not failed, and with at least one turn."""
    return [trajectory for trajectory in trajectories if not trajectory.outcome.failed and trajectory.turns]
