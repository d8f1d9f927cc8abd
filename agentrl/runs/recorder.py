"""The recorder: makes an update durable, then tells the watchers."""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Protocol, TypeVar

from agentrl.data.record import Commit, Run, model_place
from agentrl.data.types import Advantage, Advantages, Batch, Metrics
from agentrl.errors import AgentRLError, PluginError, RecordError
from agentrl.parts.faults import metrics_of
from agentrl.parts.live import LiveStage
from agentrl.parts.playing import Policy
from agentrl.parts.run_file import Stage
from agentrl.runs.parts import RunParts
from agentrl.runs.progress import Progress
from agentrl.runs.report import collected_metrics, token_metrics
from agentrl.runs.signals import interrupts_wait
from agentrl.worlds.buffer import Buffer

Kept = TypeVar("Kept")


@dataclass(frozen=True, eq=False)
class Committed:
    """An update that is on disk."""

    update: int
    stage: Stage
    batch: Batch
    metrics: Metrics


class Watcher(Protocol):
    """Is told of every update after it is durable, in the order of the list."""

    async def committed(self, event: Committed) -> None: ...


class Recorder:
    """Commits the updates of one stage."""

    def __init__(
        self, run: Run, parts: RunParts, stage: Stage, buffer: Buffer, watchers: Sequence[Watcher], progress: Progress,
        seconds: Callable[[], float],
    ) -> None:  # fmt: skip
        """`seconds()`: spent on the run so far."""
        self._run, self._parts, self._stage, self._live = run, parts, stage, parts.stage(stage)
        self._buffer, self._watchers, self._progress, self._seconds = buffer, watchers, progress, seconds
        self._last = time.perf_counter()

    async def commit(self, batch: Batch, advantages: Advantages, metrics: Metrics) -> None:
        """Everything about the update to disk, then every watcher. Raises RecordError where that fails."""
        self._progress.phase = "committing"
        metrics = self._gathered(batch, metrics)
        with interrupts_wait():
            await self._write(batch, advantages, metrics)
        event = Committed(batch.update, self._stage, batch, metrics)
        for watcher in self._watchers:
            await watcher.committed(event)
        self._progress.phase = "collecting"

    def _gathered(self, batch: Batch, trained: object) -> Metrics:
        if not isinstance(trained, Mapping) or not all(isinstance(value, Real) for value in trained.values()):
            name = self._live.names.get("trainer", "the trainer")
            raise PluginError(f"{name} gave {trained!r:.500}; an update gives metrics, a dict of numbers by name")
        live, now = self._live, time.perf_counter()
        metrics = collected_metrics(batch.recorded, self._stage.trains)
        metrics |= self._parts.player(self._stage.name).metrics() | self._buffer.metrics() | live.metrics()
        for policy in {id(p): p for p in live.speakers.values() if isinstance(p, Policy)}.values():
            for name, value in metrics_of(policy, f"policy {type(policy).__name__}").items():
                metrics[f"policy/{name}"] = metrics.get(f"policy/{name}", 0.0) + value
        for key, model in self._parts.models.items():
            metrics |= {f"{key}/{name}": value for name, value in metrics_of(model, f"model {key}").items()}
        metrics |= {f"{key}/failed": float(count) for key, count in live.failures.items()}
        live.failures.clear()
        metrics |= {f"train/{name}": float(value) for name, value in trained.items()}
        metrics |= token_metrics(batch, self._stage.trains, metrics)
        metrics["seconds"], self._last = now - self._last, now
        return metrics

    async def _write(self, batch: Batch, advantages: Advantages, metrics: Metrics) -> None:
        update, run = batch.update, self._run
        last = update + 1 == self._buffer.last
        with run.draft(f"writing the checkpoint of update {update}") as draft:
            plan = self._parts.config.evaluation
            best = plan is not None and self._stage.evaluate and plan.plays_after(update + 1)  # it may be the best one
            wanted = last or best or (update + 1) % self._parts.config.checkpoint_every == 0
            if wanted:
                await self._checkpoint(draft / "checkpoint")
            run.commit(
                update,
                self._stage.name,
                trajectories=batch.recorded,
                advantages=_aligned(batch, advantages),
                metrics=metrics,
                state=self._state(),
                write_checkpoint=(draft / "checkpoint").rename if wanted else None,
                columns=self._parts.host.columns,
            )
        self._progress.done = update + 1

    async def _checkpoint(self, folder: Path) -> None:
        for name, model in self._parts.models.items():
            await model.save(folder / model_place(name))
        for name, live in self._parts.live.items():
            for place, part in _saved(live, folder, name == self._stage.name):
                await maybe(part.save(place))

    def _state(self) -> dict[str, object]:
        stages = {
            name: {key: part.state() for key, part in _stateful(live).items()}
            for name, live in self._parts.live.items()
        }
        versions = {name: model.version.update for name, model in self._parts.models.items()}
        return {"seconds": self._seconds(), "buffer": self._buffer.state(), "stages": stages, "versions": versions}


def kept_state(last: Commit, key: str, kind: type[Kept] | tuple[type[Kept], ...]) -> Kept:
    """What an update kept for a resume. Raises RecordError where it is not there."""
    value = last.state.get(key)
    if not isinstance(value, kind):
        raise RecordError(
            f"{last.folder / 'state.json'} holds no {key!r}, so nothing can go on from it: it was written by an earlier "
            "version, or by something else than a run"
        )
    return value


async def restore(live: LiveStage, state: Mapping[str, object], checkpoint: Path, current: bool) -> None:
    """Trainer and parts of a stage as they were. Raises RecordError for what cannot be restored, naming the part."""
    for place, part in _saved(live, checkpoint, current):
        if part is not live.trainer or place.exists():
            with _restoring(live, part):
                await maybe(part.load(place))
    for key, part in _stateful(live).items():
        with _restoring(live, part):
            if key not in state:
                raise RecordError("the run kept none")
            part.restore(state[key])


@contextlib.contextmanager
def _restoring(live: LiveStage, part: object) -> Iterator[None]:
    try:
        yield
    except (AgentRLError, ArithmeticError, LookupError, TypeError, ValueError, OSError) as error:
        key = next((key for key, other in live.observers.items() if other is part), "trainer")
        raise RecordError(
            f"the state of {live.names.get(key, key)} cannot be restored: {type(error).__name__}: {error}"
        ) from error


def _saved(live: LiveStage, checkpoint: Path, current: bool) -> Iterator[tuple[Path, Any]]:
    """Parts of a stage that write folders of their own, and where in a checkpoint; the trainer first."""
    if _has(live.trainer, "save", "load"):
        yield checkpoint / "trainer" if current else checkpoint / "stages" / live.name, live.trainer
    for key, part in live.observers.items():
        if _has(part, "save", "load"):
            yield checkpoint / "parts" / live.name / key, part


def _stateful(live: LiveStage) -> dict[str, Any]:
    return {key: part for key, part in live.observers.items() if _has(part, "state", "restore")}


def _has(part: object, *methods: str) -> bool:
    return all(hasattr(part, method) for method in methods)


async def maybe(result: object) -> object:
    """The value, awaited where it has to be."""
    return await result if inspect.isawaitable(result) else result


def _aligned(batch: Batch, advantages: Advantages) -> list[Advantage | None]:
    by_id = {trajectory.id: value for trajectory, value in zip(batch.usable, advantages, strict=True)}
    return [by_id.get(trajectory.id) for trajectory in batch.recorded]
