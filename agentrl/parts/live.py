"""The live parts of one stage, and what they do to a batch."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agentrl.data.columns import COLUMNS, Column, check_columns, check_values
from agentrl.data.rows import advantage_of
from agentrl.data.schedules import Scheduled
from agentrl.data.types import AGENT, Advantages, Batch, Draw, Group, Metrics, Trajectory
from agentrl.errors import AgentRLError, ConfigError, DataError, PluginError
from agentrl.parts.faults import awaited, in_words, interrupts, metrics_of, short
from agentrl.parts.handover import Probe
from agentrl.parts.learning import Credit, Credited, Judge, Shaper, Trainer
from agentrl.parts.playing import Collector, Policy, Sampler, Speakers
from agentrl.parts.weights import Folder, Model, Shared, Stream, Weights

log = logging.getLogger(__name__)


@dataclass
class LiveStage:
    """What a stage is made of. `names` says for each part which plugin made it, for messages."""

    name: str
    model: Model
    trainer: Trainer
    speakers: Speakers
    policies: Sequence[Policy]
    """Those that play with the trained model's weights."""
    collector: Collector
    sampler: Sampler
    credits: Credit | None
    trains: tuple[str, ...] = (AGENT,)
    shapers: Sequence[Shaper] = ()
    judges: Sequence[Judge] = ()
    observers: Mapping[str, object] = field(default_factory=dict)
    """Parts by name, in the order in which they observe a batch; those with state enter the commit."""
    columns: Mapping[str, Column] = field(default_factory=lambda: dict(COLUMNS))
    names: Mapping[str, str] = field(default_factory=dict)
    played: Callable[[Batch], None] = lambda batch: None
    """Told of every batch before it is credited."""
    probe: Probe = field(default_factory=Probe)
    scheduled: Mapping[str, Scheduled[float]] = field(default_factory=dict)
    """Settings that follow a schedule, by part and name."""
    judge_timeout_s: float = 3600.0
    failures: Counter[str] = field(default_factory=Counter)
    """How often judges and those who watch failed since metrics were last taken; one for all stages of a run."""

    async def collect(self, draw: Draw) -> list[Group]:
        """What the collector plays for a draw."""
        collecting = self.collector.collect(draw, self.speakers)
        return await awaited(collecting, self._name("collector", self.collector), "collect")

    async def train(self, batch: Batch, advantages: Advantages) -> Metrics:
        """New weights of the model, and what the trainer says of the update."""
        updating = self.trainer.update(batch, advantages)
        return await awaited(updating, self._name("trainer", self.trainer), "update")

    async def annotate(self, batch: Batch) -> None:
        """Let judges write columns. Raises AgentRLError where every trajectory of the update failed."""
        if not batch.usable:
            errors = sorted({f"{t.outcome.value}: {t.error}" for t in batch.trajectories})
            reasons = f"First reasons: {'; '.join(errors[:3])}" if errors else "The collector gave no groups."
            raise AgentRLError(
                f"update {batch.update}: all {len(batch.trajectories)} trajectories failed, so there is nothing to learn "
                f"from. {reasons}"
            )
        for number, judge in enumerate(self.judges):
            await self._judged(f"judges.{number}", judge, batch)
        self.played(batch)

    async def _judged(self, key: str, judge: Judge, batch: Batch) -> None:
        """Let a judge write. One that fails, or does not end in time, is counted and named, and has written nothing.

        Raises ConfigError, and PluginError for a column that nobody declared: these are wrong in every update.
        """
        name = self._name(key, judge)
        columns = [t.columns for t in batch.usable] + [turn.columns for t in batch.usable for turn in t.turns]
        before = [dict(written) for written in columns]
        try:
            async with asyncio.timeout(self.judge_timeout_s) as limit:
                writing: object = judge.annotate(batch.usable)
                if not inspect.isawaitable(writing):
                    raise TypeError(f"annotate gave {short(writing)} at once; write `async def annotate`")
                if (result := await writing) is not None:
                    raise TypeError(f"annotate gave {short(result)}; a judge writes into columns and gives nothing")
            check_columns(batch.usable, self.columns, name)
            check_values(batch.usable, self.columns, name)
            new = {n for now, then in zip(columns, before, strict=True) for n in now.keys() - then.keys()}
            batch.judged[name] = f"wrote {', '.join(sorted(new)) or 'nothing'}"
        except (ConfigError, PluginError):
            raise
        except BaseException as error:  # a service may fail in any way
            if interrupts(error):
                raise
            for written, kept in zip(columns, before, strict=True):
                written.clear()
                written.update(kept)
            self.failures[key] += 1
            batch.judged[name] = "failed"
            why = f"judge_timeout_s = {self.judge_timeout_s} is over" if limit.expired() else in_words(error)
            log.warning("%s failed in update %d, and what it wrote is left out: %s", name, batch.update, why)

    def credit(self, batch: Batch) -> Advantages:
        """Advantages of `batch.usable`, speaker by speaker; 1 for every turn where the stage names no credit."""
        if self.credits is None:
            return [np.ones(len(trajectory.turns)) for trajectory in batch.usable]
        if self.trains == (AGENT,) and all(t.seen_by(AGENT) is t for t in batch.usable):
            return self._credited(batch.usable)
        spread: list[list[object]] = [[0.0] * len(trajectory.turns) for trajectory in batch.usable]
        for speaker in self.trains:
            places = [i for i, t in enumerate(batch.usable) if any(turn.agent == speaker for turn in t.turns)]
            seen = [batch.usable[i].seen_by(speaker) for i in places]
            for i, advantage in zip(places, self._credited(seen), strict=True):
                own = (j for j, turn in enumerate(batch.usable[i].turns) if turn.agent == speaker)
                for j, value in zip(own, advantage, strict=True):
                    spread[i][j] = value
        return checked_advantages(spread, batch.usable, self._name("credit", self.credits))

    def _credited(self, trajectories: Sequence[Trajectory]) -> Advantages:
        assert self.credits is not None
        name = self._name("credit", self.credits)
        result = self.credits(trajectories)
        if isinstance(result, Credited):
            for column, values in result.columns.items():
                try:
                    for trajectory, per_turn in zip(trajectories, values, strict=True):
                        for turn, value in zip(trajectory.turns, per_turn, strict=True):
                            turn.columns[column] = value
                except (TypeError, ValueError) as error:
                    raise PluginError(
                        f"{name}: its column {column!r} needs one value per trajectory and turn: {error}"
                    ) from error
            check_columns(trajectories, self.columns, name)
            check_values(trajectories, self.columns, name)
            result = result.advantages
        return checked_advantages(result, trajectories, name)

    def shape(self, batch: Batch, advantages: Advantages) -> Advantages:
        """Advantages after every shaper, in order."""
        for number, shaper in enumerate(self.shapers):
            name = self._name(f"shapers.{number}", shaper)
            advantages = checked_advantages(shaper(batch.usable, advantages), batch.usable, name)
        return advantages

    async def publish(self, update: int) -> Weights:
        """The model's weights after so many updates, in a way that all its policies know."""
        publishing = self.model.publish(update, via=accepted(self.policies))
        return await awaited(publishing, self._name("model", self.model), "publish")

    async def refresh(self, weights: Weights) -> None:
        """Hand weights to every policy; returns when they have arrived and a probe agrees."""
        await self.probe.refresh(self.policies, weights, self.model)

    def observe(self, batch: Batch) -> None:
        """Tell every part that wants to know of the batch, in a fixed order."""
        for part in self.observers.values():
            observe = getattr(part, "observe", None)
            if observe is not None:
                observe(batch)

    def metrics(self) -> Metrics:
        """Numbers of parts since the last call, prefixed with the part's name, and settings that follow a schedule."""
        metrics = self.probe.metrics()
        metrics |= {f"setting/{name}": float(setting.now) for name, setting in self.scheduled.items()}
        for name, part in self.observers.items():
            if name != "player":
                metrics |= {f"{name}/{key}": value for key, value in metrics_of(part, self._name(name, part)).items()}
        return metrics

    def _name(self, key: str, part: object) -> str:
        return self.names.get(key, getattr(part, "__name__", type(part).__name__))


def accepted(policies: Sequence[Policy]) -> type[Shared] | type[Folder] | type[Stream]:
    """The way of taking weights over that all these policies know; Shared where there are none. Raises ConfigError."""
    ways: list[type[Shared] | type[Folder] | type[Stream]] = [Shared, Folder, Stream]
    for way in ways:
        if all(way in policy.accepts for policy in policies):
            return way
    named = "; ".join(f"{type(p).__name__}: {', '.join(sorted(w.__name__ for w in p.accepts))}" for p in policies)
    raise ConfigError(f"these policies take weights over in no common way ({named}); use one engine for both")


def checked_advantages(result: object, trajectories: Sequence[Trajectory], name: str) -> Advantages:
    """What a credit or shaper gave, if it is advantages. Raises PluginError naming it."""
    wanted = "it gives a list with, for each trajectory, one number per turn or one array per turn"
    if not isinstance(result, (list, tuple)) or len(result) != len(trajectories):
        given = f"{len(result)} entries" if isinstance(result, (list, tuple)) else short(result)
        raise PluginError(f"{name} gave {given} for {len(trajectories)} trajectories; {wanted}")
    try:
        return [advantage_of(trajectory, values) for trajectory, values in zip(trajectories, result, strict=True)]
    except DataError as error:
        raise PluginError(f"{name} gave {error}; {wanted}, all finite") from error
