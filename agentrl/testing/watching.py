"""The kits for judges and loggers: they look at what was played, and leave everything else as it was."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from agentrl.data.columns import COLUMNS, Column, check_columns
from agentrl.data.types import Completion, Outcome, Task, Trajectory, Turn
from agentrl.parts.learning import Judge, Logger
from agentrl.parts.weights import Model
from agentrl.testing.compare import written
from agentrl.testing.report import CheckSkipped, Report, checks_of, finish, gate, require, run_checks
from agentrl.testing.sample_plays import sample_plays
from agentrl.testing.samples import (
    sample_branches,
    sample_trajectories,
    with_spoken_turns,
    with_two_speakers,
)

LONGEST_SILENCE_S = 0.5
"""So long may nothing else run while a judge is awaited."""


def check_judge(
    make: Callable[[], Judge],
    *,
    name: str = "?",
    columns: Mapping[str, Column] = COLUMNS,
    failing: Callable[[], Judge] | None = None,
    model: Model | None = None,
) -> Report:
    """Put a judge through the kit.

    `failing` gives the same judge with a scorer and a policy that always fail. `model`: whose ids the plays have that
    it is given, the sample model's unless told.
    """
    return run_checks("judge", name, checks_of(_JudgeKit(make, name, columns, failing, model)))


def check_logger(make: Callable[[], Logger], *, name: str = "?") -> Report:
    """Put a logger through the kit."""
    return run_checks("logger", name, checks_of(_LoggerKit(make)))


class _JudgeKit:
    def __init__(
        self,
        make: Callable[[], Judge],
        name: str,
        columns: Mapping[str, Column],
        failing: Callable[[], Judge] | None,
        model: Model | None,
    ) -> None:
        self._make, self._name, self._columns = make, f"judge {name!r}", columns
        self._failing, self._model = failing, model

    def _judged(self, trajectories: Sequence[Trajectory], judge: Judge | None = None) -> Sequence[Trajectory]:
        finish((judge or self._make()).annotate(trajectories))
        return trajectories

    @gate
    def it_can_be_awaited(self) -> str:
        trajectories = sample_plays(self._model)
        awaited = self._make().annotate(trajectories)
        require(asyncio.iscoroutine(awaited), f"annotate gave {awaited!r}; it is an `async def`")
        result = finish(awaited)
        require(result is None, f"annotate returned {result!r}; a judge writes into `turn.columns` and returns nothing")
        names = sorted({name for t in trajectories for turn in t.turns for name in turn.columns})
        names += sorted({name for t in trajectories for name in t.columns})
        return f"writes {', '.join(names)}" if names else "writes nothing here"

    def it_writes_columns_that_are_declared(self) -> None:
        for trajectories in _every_kind(self._model):
            check_columns(self._judged(trajectories), self._columns, self._name)

    def its_values_fit_their_columns(self) -> None:
        for trajectories in _every_kind(self._model):
            for trajectory in self._judged(trajectories):
                self._require_fitting(trajectory.columns, 0)
                for turn in trajectory.turns[trajectory.inherited :]:
                    self._require_fitting(turn.columns, len(turn.completion.ids))

    def it_writes_nothing_but_columns(self) -> None:
        for trajectories in _every_kind(self._model):
            before = written(trajectories, without=frozenset({"columns"}))
            order = list(trajectories)
            self._judged(trajectories)
            same = len(order) == len(trajectories) and all(a is b for a, b in zip(order, trajectories, strict=True))
            require(same, "it changes the list that it is given")
            require(written(trajectories, without=frozenset({"columns"})) == before, "it changes more than columns")

    def it_leaves_other_trajectories_alone(self) -> None:
        trajectories = sample_plays(self._model)
        given, others = trajectories[:2], trajectories[2:]
        before = written(others)
        self._judged(given)
        require(written(others) == before, "it writes into trajectories that it was not given")

    def what_a_branch_inherits_is_left_to_its_parent(self) -> None:
        branch = sample_branches()[-1]
        before = written(branch.turns[: branch.inherited])
        self._judged([branch])
        require(written(branch.turns[: branch.inherited]) == before, "it writes into turns that a branch inherits")

    def columns_of_others_stay(self) -> None:
        trajectories = sample_plays(self._model)
        for turn in (turn for t in trajectories for turn in t.turns):
            turn.columns["judged"] = {"another judge": 0.5}
            turn.columns["value"] = 0.25
        for turn in (turn for t in self._judged(trajectories) for turn in t.turns):
            scores = turn.columns.get("judged")
            kept = isinstance(scores, Mapping) and scores.get("another judge") == 0.5 and "value" in turn.columns
            require(kept, "a score that another judge had written is gone; add yours to it")

    def every_kind_of_trajectory_is_taken(self) -> None:
        for trajectories in (*_every_kind(self._model), []):
            self._judged(trajectories)

    def it_does_not_stop_everything_else(self) -> str:
        silence = min(self._silence(), self._silence())  # a busy machine is silent now and then, and not twice
        require(
            silence < LONGEST_SILENCE_S,
            f"nothing else could run for {silence:.1f} s; await what takes long, or give it to a thread",
        )
        return f"longest silence {silence * 1000:.0f} ms"

    def failures_leave_names_out(self) -> str:
        if self._failing is None:
            raise CheckSkipped("it asks neither a scorer nor a policy")
        right, left = sample_plays(self._model), sample_plays(self._model)
        self._judged(right)
        self._judged(left, self._failing())  # what it raised would lose all that it wrote
        count = 0
        for known, made in zip(_turns(right), _turns(left), strict=True):
            wanted = dict(_entries(known.columns))
            for name, value in _entries(made.columns):
                same = written(value) == written(wanted.get(name))  # then it asked nobody for it
                require(same, f"where what it asks fails, it makes up {value!r} for {name!r}; leave the name out")
                count += 1
        return f"{count} values do not depend on what it asks" if count else ""

    def _require_fitting(self, columns: Mapping[str, object], tokens: int) -> None:
        for name, value in columns.items():
            column = self._columns.get(name)
            if column is None or value is None:
                continue  # it_writes_columns_that_are_declared says so; None is nothing written
            if column.dtype == "json":
                json.dumps(value)
            else:
                column.checked(value, tokens, f"a turn of {tokens} tokens")

    def _silence(self) -> float:
        """The longest time in which the event loop ran nothing else."""
        longest = 0.0
        judge, trajectories = self._make(), sample_plays(self._model)

        async def listen() -> None:
            nonlocal longest
            last = time.perf_counter()
            while True:
                await asyncio.sleep(0.005)
                now = time.perf_counter()
                longest, last = max(longest, now - last), now

        async def both() -> None:
            nonlocal longest
            listener = asyncio.create_task(listen())
            await asyncio.sleep(0.02)
            longest = 0.0
            await judge.annotate(trajectories)
            await asyncio.sleep(0.02)
            listener.cancel()

        finish(both())
        return longest


class _LoggerKit:
    METRICS: Mapping[str, float] = MappingProxyType({"success": 0.5, "train/loss": -0.25, "cost/tokens": 1e9})

    def __init__(self, make: Callable[[], Logger]) -> None:
        self._make = make

    def _logged(self, *updates: tuple[int, Mapping[str, float]]) -> None:
        """Log these updates with a new logger, and close it."""
        logger = self._make()
        try:
            for update, metrics in updates:
                logger.log(update, metrics)
        finally:
            _close(logger)

    @gate
    def it_takes_metrics(self) -> None:
        logger = self._make()
        try:
            result: object = logger.log(0, dict(self.METRICS))  # type: ignore[func-returns-value]
        finally:
            _close(logger)
        require(result is None, f"log returned {result!r}; nobody awaits or reads it")

    def numbers_that_are_none_are_taken(self) -> None:
        self._logged((0, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.0}), (1, {"a": 1.0}))

    def updates_may_go_back(self) -> None:
        self._logged((0, self.METRICS), (5, self.METRICS), (3, self.METRICS), (4, self.METRICS), (4, self.METRICS))

    def names_may_come_and_go(self) -> None:
        self._logged((0, {"a": 1.0}), (1, {"during/success": 0.5}), (2, {}), (3, {"a": 2.0, "ü/∑ 🤖": 1.0}))

    def its_metrics_stay_as_they_were(self) -> None:
        metrics = dict(self.METRICS)
        self._logged((0, metrics))
        require(metrics == dict(self.METRICS), "it changes the metrics that it is given")

    def closing_twice_is_safe(self) -> None:
        logger = self._make()
        logger.log(0, self.METRICS)
        _close(logger)
        _close(logger)

    def closing_without_an_update_is_safe(self) -> None:
        _close(self._make())


def _every_kind(model: Model | None) -> Iterator[list[Trajectory]]:
    """Trajectories of every kind that a judge may meet: played, branched, spoken, of two speakers, without tokens."""
    yield sample_plays(model)
    yield sample_branches()
    yield with_spoken_turns(sample_trajectories(groups=1))
    yield with_two_speakers(sample_trajectories(groups=1))
    text_only = Turn("How are you?", Completion("Fine."), "Fine.", 0.0, "How are you?")
    yield [Trajectory((text_only,), Task("train", 0), "text", Outcome.TERMINATED)]


def _turns(trajectories: Sequence[Trajectory]) -> list[Turn]:
    return [turn for trajectory in trajectories for turn in trajectory.turns]


def _entries(columns: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Every value of some columns; of a column of named scores, each of them."""
    for name, value in columns.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{key}", entry) for key, entry in value.items())
        else:
            yield name, value


def _close(logger: Logger) -> None:
    close = getattr(logger, "close", None)
    if close is not None:
        close()
