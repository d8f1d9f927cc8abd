"""The evaluation protocol: every task played once, failures counted apart, tasks paired when two are compared."""

from __future__ import annotations

import math
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

FAILED_SHARE = 0.05
"""A larger share of plays that failed is worth a warning."""


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
    success: bool | None
    """None where neither the world nor a setting says what success is."""
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

    @property
    def says_success(self) -> bool:
        """Whether any play says what success is; then one that says nothing was none."""
        return any(play.success is not None for play in self.plays)

    @cached_property
    def success(self) -> Interval:
        """Success rate, with `rate_interval`; NaN where nothing says what success is."""
        if self.plays and not self.says_success:
            return Interval(math.nan, math.nan, math.nan, len({play.task for play in self.plays}))
        return rate_interval([bool(play.success) for play in self.plays], [play.task for play in self.plays])

    @property
    def bounds(self) -> tuple[float, float]:
        """The success rate if every play that failed had been lost, and if it had been won."""
        counted, everything = self.success.n, self.success.n + self.failures
        won = self.success.value * counted if counted else 0.0
        return (won / everything, (won + self.failures) / everything) if everything else (math.nan, math.nan)

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
        """`success`, `low`, `high`, `tasks`; where there were any, `failures`, and success if they were `all_lost`, `all_won`."""
        if not self.failures:
            return self.success.summary()
        lost, won = self.bounds
        return self.success.summary() | {"failures": self.failures, "all_lost": lost, "all_won": won}

    def notes(self) -> dict[str, str]:
        """What a person should know before the numbers are believed, by what it is about."""
        notes: dict[str, str] = {}
        count, failures = len(self.plays) + self.failures, self.failures
        why = ", ".join(f"{number} {outcome}" for outcome, number in self.failed.items())
        reason = next((f"; the first: {t.error}" for t in self.trajectories if t.outcome.failed), "")
        if not self.plays:
            notes["failures"] = f"no play was counted: all {count} failed by machinery ({why}){reason}"
        elif failures > FAILED_SHARE * count:
            known = f"; with them success lies between {self.bounds[0]:.1%} and {self.bounds[1]:.1%}"
            notes["failures"] = (
                f"{failures} of {count} plays failed by machinery ({why}) and are not counted"
                f"{known if self.says_success else ''}{reason}"
            )
        if self.plays and not self.says_success:
            notes["success"] = (
                'this world does not say what success is, so none is reported, and "best" is picked by the return; '
                'let it give info["success"], or set [player] success_above'
            )
        tasks = Counter(play.task for play in self.plays)
        if len(tasks) < len(self.plays):
            key, times = tasks.most_common(1)[0]
            notes["keys"] = (
                f"{len(self.plays)} plays have {len(tasks)} different task keys ({key!r} {times} times), and plays with "
                'the same key count as one task; different tasks need different keys in info["task"]'
            )
        return notes

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
    `paired_difference`). Raises DataError where no task is in both, or nothing says what success is.

    >>> lost, won = Play("a", False, 0.0, 9, "turn_limit"), Play("a", True, 1.0, 3, "terminated")
    >>> compare(Evaluation((lost,)), Evaluation((won,)))["success"]
    1.0
    """
    if not (before.says_success and after.says_success):
        raise DataError("nothing says what success is, so there is no change to be compared")
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
        won.setdefault(play.task, []).append(bool(play.success))
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
