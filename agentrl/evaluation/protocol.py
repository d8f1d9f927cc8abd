"""The evaluation protocol: every task played once, failures counted apart, tasks paired when two are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Literal

import pydantic

from agentrl.data.seeds import seed_of
from agentrl.data.types import Task, Trajectory
from agentrl.errors import DataError, PluginError
from agentrl.evaluation.intervals import Interval, mean_interval, paired_difference, rate_interval
from agentrl.parts.playing import Play as Request
from agentrl.parts.playing import Player, Speakers


async def evaluate(
    player: Player, speakers: Speakers, tasks: Sequence[Task], *, seed: int, key: str = "eval"
) -> Evaluation:
    """Play every task once and count. Retries are the player's business: the last attempt is what counts.

    Raises PluginError where the player gave back fewer trajectories than tasks.
    """
    plays = [Request(task, f"{key}/{index}", 0, seed_of(seed, "evaluation", index)) for index, task in enumerate(tasks)]
    result = Evaluation.of(await player.play(speakers, plays))
    played = len(result.plays) + result.failures
    if played < len(tasks):
        raise PluginError(
            f"{type(player).__name__} gave trajectories of {played} plays for {len(tasks)} tasks; a player returns "
            "every trajectory, the failed ones included"
        )
    return result


@dataclass(frozen=True, slots=True)
class Play:
    """How one task went."""

    task: str
    """The task's stable key; where the world has none, split, index and seed."""
    success: bool
    episode_return: float
    turns: int
    outcome: str


@dataclass(frozen=True)
class Evaluation:
    """What came of playing tasks. Plays that our machinery failed are counted in `failed`, and nowhere else."""

    plays: tuple[Play, ...]
    failed: Mapping[str, int] = field(default_factory=dict)
    """Outcome → how many plays ended so, after all retries."""
    trajectories: tuple[Trajectory, ...] = field(default=(), repr=False, compare=False)
    """All that was played, failed attempts included; not part of `to_json`."""

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory]) -> Evaluation:
        """Count the last attempt of each group and member."""
        last: dict[tuple[str, int], Trajectory] = {}
        for trajectory in (trajectory for trajectory in trajectories if trajectory.parent is None):
            place = (trajectory.group, trajectory.member)
            if place not in last or trajectory.attempt >= last[place].attempt:
                last[place] = trajectory
        failed = Counter(trajectory.outcome.value for trajectory in last.values() if trajectory.outcome.failed)
        plays = tuple(_play(trajectory) for trajectory in last.values() if not trajectory.outcome.failed)
        return cls(plays, dict(failed), tuple(trajectories))

    @property
    def failures(self) -> int:
        """Plays that ended in an error and say nothing about the policy."""
        return sum(self.failed.values())

    @cached_property
    def success(self) -> Interval:
        """Success rate, with `rate_interval`."""
        return rate_interval([play.success for play in self.plays], [play.task for play in self.plays])

    @cached_property
    def mean_return(self) -> Interval:
        """Mean undiscounted return, with `mean_interval` over tasks."""
        return self._mean([play.episode_return for play in self.plays])

    @cached_property
    def mean_turns(self) -> Interval:
        """Mean number of turns, with `mean_interval` over tasks."""
        return self._mean([play.turns for play in self.plays])

    def _mean(self, values: Sequence[float]) -> Interval:
        return mean_interval(values, clusters=[play.task for play in self.plays])

    def summary(self) -> dict[str, float]:
        """`success`, `low`, `high`, `tasks` and, where there were any, `failures`."""
        return self.success.summary() | ({"failures": self.failures} if self.failures else {})

    def to_json(self) -> dict[str, object]:
        """Plain values; as a JSON text `from_json` makes an equal Evaluation of them (without trajectories)."""
        plays = [asdict(play) for play in self.plays]
        return {"schema_version": 1, "summary": self.summary(), "failed": dict(self.failed), "plays": plays}

    @classmethod
    def from_json(cls, text: bytes) -> Evaluation:
        """Raises DataError for a text that is not the JSON of `to_json`."""
        try:
            stored = _STORED.validate_json(text, strict=True)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise DataError(f"it is not a stored evaluation: {place or 'text'}: {first['msg']}") from None
        return cls(stored.plays, stored.failed)


@dataclass(frozen=True)
class _Stored:
    schema_version: Literal[1]
    failed: dict[str, int]
    plays: tuple[Play, ...]


_STORED = pydantic.TypeAdapter(_Stored)


def compare(before: Evaluation, after: Evaluation) -> dict[str, float]:
    """The change in success rate, paired by task, as `success`, `low`, `high`, `tasks`.

    Only tasks that count in both are compared: by success where each was played once, else by success rate (see
    `paired_difference`). Raises DataError where no task is in both.

    >>> lost, won = Play("a", False, 0.0, 9, "turn_limit"), Play("a", True, 1.0, 3, "terminated")
    >>> compare(Evaluation((lost,)), Evaluation((won,)))["success"]
    1.0
    """
    first, second = _by_task(before), _by_task(after)
    tasks = [task for task in first if task in second]
    if not tasks:
        raise DataError(
            f"no task counts in both evaluations ({len(first)} and {len(second)} tasks): only the same tasks can be paired"
        )
    once = all(len(first[task]) == len(second[task]) == 1 for task in tasks)
    rates = [[won[task][0] if once else sum(won[task]) / len(won[task]) for task in tasks] for won in (first, second)]
    return paired_difference(*rates).summary()


def _by_task(evaluation: Evaluation) -> dict[str, list[bool]]:
    won: dict[str, list[bool]] = {}
    for play in evaluation.plays:
        won.setdefault(play.task, []).append(play.success)
    return won


def _play(trajectory: Trajectory) -> Play:
    task = trajectory.task
    return Play(
        task=task.key or f"{task.split}/{task.index}/{task.seed}",
        success=trajectory.success,
        episode_return=trajectory.episode_return,
        turns=len(trajectory.turns),
        outcome=trajectory.outcome.value,
    )


__all__ = ["Evaluation", "Play", "compare", "evaluate"]
