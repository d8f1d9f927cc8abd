"""The live parts of one stage, and what they do to a batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agentrl.data.columns import COLUMNS, Column, check_columns
from agentrl.data.schedules import Scheduled
from agentrl.data.types import AGENT, Advantage, Advantages, Batch, Metrics, Trajectory
from agentrl.errors import AgentRLError, ConfigError, PluginError
from agentrl.parts.handover import Probe
from agentrl.parts.learning import Credit, Credited, Judge, Shaper, Trainer
from agentrl.parts.playing import Collector, Policy, Sampler, Speakers
from agentrl.parts.weights import Folder, Model, Shared, Stream, Weights


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
            name = self._name(f"judges.{number}", judge)
            writing = judge.annotate(batch.usable)
            if not inspect.isawaitable(writing):
                raise PluginError(f"{name}: annotate gave {writing!r} at once; write `async def annotate`")
            await writing
            check_columns(batch.usable, self.columns, name)
        self.played(batch)

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
        return [_together(values, trajectory) for values, trajectory in zip(spread, batch.usable, strict=True)]

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
            result = result.advantages
        return checked_advantages(result, trajectories, name)

    def shape(self, batch: Batch, advantages: Advantages) -> Advantages:
        """Advantages after every shaper, in order."""
        for number, shaper in enumerate(self.shapers):
            name = self._name(f"shapers.{number}", shaper)
            advantages = checked_advantages(shaper(batch.usable, advantages), batch.usable, name)
        return advantages

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
            own = getattr(part, "metrics", None)
            if own is not None and name != "player":
                metrics |= {f"{name}/{key}": value for key, value in own().items()}
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
        given = f"{len(result)} entries" if isinstance(result, (list, tuple)) else repr(result)[:200]
        raise PluginError(f"{name} gave {given} for {len(trajectories)} trajectories; {wanted}")
    for trajectory, value in zip(trajectories, result, strict=True):
        where = f"trajectory {trajectory.id}"
        if not hasattr(value, "__len__"):
            raise PluginError(f"{name} gave {value!r} for {where}; {wanted}")
        if len(value) != len(trajectory.turns):
            raise PluginError(
                f"{name} gave {len(value)} advantages for the {len(trajectory.turns)} turns of {where}; {wanted}"
            )
        for index, (turn, advantage) in enumerate(zip(trajectory.turns, value, strict=True)):
            if not _fits(advantage, len(turn.completion.ids)):
                raise PluginError(f"{name} gave {advantage!r} for turn {index} of {where}; {wanted}, all finite")
    return list(result)


def _fits(advantage: object, tokens: int) -> bool:
    """Whether this is a finite number, or one for each token."""
    try:
        numbers = np.asarray(advantage, np.float64)
    except (TypeError, ValueError):
        return False
    return numbers.shape in ((), (1,), (tokens,)) and bool(np.isfinite(numbers).all())


def _together(values: Sequence[object], trajectory: Trajectory) -> Advantage:
    """One Advantage from numbers and arrays: numbers only, or an array for every turn."""
    if all(np.ndim(value) == 0 for value in values):  # type: ignore[arg-type]
        return np.array(values, np.float64)
    counts = [len(turn.completion.ids) for turn in trajectory.turns]
    return [np.broadcast_to(np.asarray(value, np.float64), (n,)) for value, n in zip(values, counts, strict=True)]
