"""THE MAIN PATH: collect → credit → update → notify. Read this file first."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentrl.runs.assemble import Assembler, StageParts
from agentrl.parts.run_file import RunConfig, Stage, parse, read_tables
from agentrl.parts.contracts import Advantages, Collector, Policy
from agentrl.runs.curve import draw_curve
from agentrl.errors import AgentRLError, ConfigError
from agentrl.evaluation.protocol import Evaluation
from agentrl.evaluation.protocol import evaluate as play_and_count
from agentrl.parts.host import Host, default_host
from agentrl.runs.progress import Progress
from agentrl.data.record import Commit, Run, manifest_of
from agentrl.runs.report import collected_metrics, summarise
from agentrl.data.types import Task, Trajectory, trainable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """Where a run lies and what came of it."""

    folder: Path
    summary: Mapping[str, Any]


def train(
    source: Path | str | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    host: Host | None = None,
    progress: Progress | None = None,
) -> Result:
    """Train as a run file (or its tables) says, in a new run folder. Raises AgentRLError."""
    host = host or default_host()
    config = parse(read_tables(source, overrides), host)
    run = Run.create(config.runs, config.name, config.tables, manifest_of(config.seed))
    return _Training(config, host, run, progress or Progress()).run_to_end()


def resume(folder: Path | str, *, host: Host | None = None, progress: Progress | None = None) -> Result:
    """Go on with a run after its last committed update, exactly as if it had never stopped. Raises AgentRLError."""
    host = host or default_host()
    run = Run.open(Path(folder))
    return _Training(parse(run.config, host), host, run, progress or Progress()).run_to_end()


def evaluate(
    source: Path | str | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    model: Path | str | None = None,
    host: Host | None = None,
) -> Evaluation:
    """Play the held-out tasks of a run file with its policy, or of a run folder with the model it ended with.

    `model`: any Hugging Face model folder to take instead. Raises AgentRLError.
    """
    host = host or default_host()
    folder = Path(source) if not isinstance(source, Mapping) and Path(source).is_dir() else None
    tables = read_tables(Run.open(folder).config if folder else source, overrides)
    if model is not None:
        tables["model"] = {"name": "pretrained", "path": str(model)}
    if isinstance(tables.get("evaluation"), dict):
        tables["evaluation"]["every"] = 0  # of training: any split may be played now
    config = parse(tables, host)
    if config.evaluation is None:
        raise ConfigError("there is no [evaluation] table; it names the split and the number of tasks")
    assembler = Assembler(config, host)
    try:
        if folder is not None and model is None and assembler.model is not None:
            assembler.model.load(Run.open(folder).model_folder())
        collector = assembler.collector(config.stages[-1], assembler.dialect, group_size=1)
        plan = config.evaluation
        policy = assembler.evaluation_policy(plan.policy)
        return asyncio.run(play_tasks(collector, policy, plan.split, plan.tasks, plan.seed))
    finally:
        assembler.close()


class _Training:
    def __init__(self, config: RunConfig, host: Host, run: Run, progress: Progress) -> None:
        self.config, self.host, self.run, self.progress = config, host, run, progress
        self.total = sum(stage.updates for stage in config.stages)
        self.earlier_seconds = 0.0
        self.started = time.perf_counter()

    def run_to_end(self) -> Result:
        """Every stage that is not finished, then the summary; the run folder is locked meanwhile."""
        progress = self.progress
        progress.run, progress.folder, progress.total = self.config.name, str(self.run.folder), self.total
        try:
            with self.run.locked():
                last = self.run.recover()
                if last is not None:
                    self.earlier_seconds = float(last.state["seconds"])
                self._forget_evaluations_after(last.update + 1 if last is not None else 0)
                return asyncio.run(self._main(last))
        finally:
            self.run.close()

    def _forget_evaluations_after(self, done: int) -> None:
        """Tables of updates that will be made again, after a fall back to an older checkpoint."""
        for path in self.run.folder.glob("evaluations/*.json"):
            if int(path.stem) > done:
                path.unlink()

    @property
    def seconds(self) -> float:
        """Seconds spent on this run, those before a resume included (but not what a crash threw away)."""
        return self.earlier_seconds + time.perf_counter() - self.started

    async def _main(self, last: Commit | None) -> Result:
        assembler = Assembler(self.config, self.host)
        self.assembler = assembler
        self.loggers = [self.host.build(spec, folder=self.run.folder) for spec in self.config.loggers]
        done = last.update + 1 if last is not None else 0
        first = 0
        if last is not None and assembler.model is not None:
            assembler.model.load(last.checkpoint / "model")
            assembler.model.version = done
            await self._refresh(assembler.engine)
        try:
            for stage in self.config.stages:
                if done < first + stage.updates:
                    await self._stage(stage, first, max(done, first), last)
                first += stage.updates
            await self._evaluate_at(self.total, self.config.stages[-1])
            return self._finish()
        finally:
            for logger in self.loggers:
                logger.close()
            assembler.close()

    async def _stage(self, stage: Stage, first: int, start: int, last: Commit | None) -> None:
        """Updates `start` to the end of a stage whose first update is `first`, counted over the whole run."""
        if start == first and stage.evaluate:
            await self._evaluate_at(first, stage)
        parts = self.assembler.stage(stage)
        if start > first:
            assert last is not None
            parts.trainer.load(last.checkpoint / "trainer")
            for name, part in parts.stateful().items():
                part.restore(last.state[name])
        self.progress.begin_stage(stage.name, stage.updates, start - first)
        try:
            for update in range(start, first + stage.updates):
                await self._update(update, parts)
                self.progress.update = update - first + 1
        finally:
            parts.close()

    async def _update(self, update: int, parts: StageParts) -> None:
        started = time.perf_counter()
        progress = self.progress
        progress.phase = "collecting"
        tasks = parts.sampler.next(update)
        trajectories = await parts.collector.collect(parts.policy, tasks, seed=seed_of(self.config.seed, update))
        usable = _usable(trajectories, update)
        for judge in parts.judges:
            await judge.annotate(usable)
        self.host.manager.hook.on_trajectories(update=update, trajectories=trajectories)
        metrics = (
            collected_metrics(trajectories) | parts.collector.metrics() | _prefixed("policy", parts.policy.metrics())
        )

        progress.phase = "updating"
        advantages: Advantages = parts.credit(usable)
        for shaper in parts.shapers:
            advantages = shaper(usable, advantages)
        metrics |= _prefixed("train", parts.trainer.update(usable, advantages))
        model = parts.trainer.model
        model.version = update + 1
        await self._refresh(parts.policy, self.assembler.engine)
        parts.sampler.observe(trajectories)

        if self._evaluates_during(update, parts.stage):
            progress.phase = "evaluating"
            metrics |= await self._during(parts.stage)
        metrics["seconds"] = time.perf_counter() - started
        progress.phase = "committing"
        self._commit(update, parts, trajectories, _aligned(trajectories, usable, advantages), metrics)
        for logger in self.loggers:
            logger.log(update, metrics)
        self.host.manager.hook.on_update(update=update, metrics=metrics)
        progress.metrics, progress.phase = metrics, ""

    def _commit(
        self,
        update: int,
        parts: StageParts,
        trajectories: Sequence[Trajectory],
        advantages: Sequence[Any],
        metrics: Mapping[str, float],
    ) -> None:
        def write_checkpoint(folder: Path) -> None:
            parts.trainer.model.save(folder / "model")
            parts.trainer.save(folder / "trainer")

        state = {name: part.state() for name, part in parts.stateful().items()} | {"seconds": self.seconds}
        with _interrupts_wait():
            self.run.commit(
                update,
                parts.stage.name,
                trajectories=trajectories,
                advantages=advantages,
                metrics=metrics,
                state=state,
                write_checkpoint=write_checkpoint,
            )
            self.progress.done = update + 1
            self.run.prune(
                keep={update, update - 1, self._best(update, metrics)}
            )  # one more, should the last be damaged

    def _best(self, update: int, metrics: Mapping[str, float]) -> int:
        """The update with the highest success on the split that `[evaluation] during_split` names; else this one."""
        scores = {commit.update: commit.metrics.get("during/success") for commit in self.run.commits()}
        scores[update] = metrics.get("during/success")
        known = {number: score for number, score in scores.items() if score is not None and not math.isnan(score)}
        return max(known, key=lambda number: (known[number], number)) if known else update

    def _evaluates_during(self, update: int, stage: Stage) -> bool:
        plan = self.config.evaluation
        return plan is not None and plan.every > 0 and stage.evaluate and (update + 1) % plan.every == 0

    async def _during(self, stage: Stage) -> dict[str, float]:
        plan = self.config.evaluation
        assert plan is not None
        assert plan.during_split is not None
        result = await self._play(stage, plan.during_split, plan.during_tasks)
        return {"during/success": result.success.value, "during/return": result.mean_return.value}

    async def _evaluate_at(self, update: int, stage: Stage) -> None:
        """Play the held-out tasks with the weights after `update` updates, unless that is on disk already."""
        name = f"evaluations/{update:06d}.json"
        plan = self.config.evaluation
        if plan is None or update == 0 or (self.run.folder / name).exists():
            return
        self.progress.phase = "evaluating"
        result = await self._play(stage, plan.split, plan.tasks)
        self.run.write_json(name, result.to_json())
        self.progress.phase = ""

    async def _play(self, stage: Stage, split: str, tasks: int) -> Evaluation:
        plan = self.config.evaluation
        assert plan is not None
        policy = self.assembler.evaluation_policy(plan.policy)
        await self._refresh(policy)
        collector = self.assembler.collector(stage, self.assembler.dialect, group_size=1)
        try:
            return await play_tasks(collector, policy, split, tasks, plan.seed)
        finally:
            policy.metrics()  # its counters are for the updates

    async def _refresh(self, *policies: Policy | None) -> None:
        for policy in {id(policy): policy for policy in policies if policy is not None}.values():
            assert self.assembler.model is not None
            await policy.refresh(self.assembler.model)

    def _finish(self) -> Result:
        self.progress.stage, self.progress.phase = "finishing", "writing the model"
        model = self.assembler.model
        if model is not None:
            self.run.write_folder("model", model.save)
        summary = summarise(self.run, self.config, self.seconds)
        self.run.write_json("summary.json", summary)
        picture = draw_curve(self.run, summary)
        if picture:
            self.run.write_bytes("curve.png", picture)
        return Result(self.run.folder, summary)


async def play_tasks(collector: Collector, policy: Policy, split: str, tasks: int, seed: int) -> Evaluation:
    """Play the first `tasks` tasks of a split once each; closes the collector."""
    chosen = [Task(split, index, seed=seed_of(seed, index) % 2**31) for index in range(tasks)]
    try:
        return await play_and_count(collector, policy, chosen, seed=seed_of(seed, -1))
    finally:
        collector.close()


def seed_of(*parts: int) -> int:
    """A 63-bit seed that is the same in every process.

    >>> seed_of(1, 2) == seed_of(1, 2) != seed_of(2, 1)
    True
    """
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def _usable(trajectories: Sequence[Trajectory], update: int) -> list[Trajectory]:
    usable = trainable(trajectories)
    if usable:
        return usable
    errors = sorted({f"{t.outcome.value}: {t.error}" for t in trajectories})
    raise AgentRLError(
        f"update {update}: all {len(trajectories)} trajectories failed, so there is nothing to learn from. "
        f"First reasons: {'; '.join(errors[:3])}"
    )


def _aligned(trajectories: Sequence[Trajectory], usable: Sequence[Trajectory], advantages: Advantages) -> list[Any]:
    by_id = {trajectory.id: advantage for trajectory, advantage in zip(usable, advantages, strict=True)}
    return [by_id.get(trajectory.id) for trajectory in trajectories]


def _prefixed(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in metrics.items()}


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C during the block takes effect after it, so that a write is always finished."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting:
        raise KeyboardInterrupt


__all__ = ["Result", "evaluate", "resume", "seed_of", "train"]
