"""A whole run: built, claimed, played stage by stage, summed up. The loop itself is in `agentrl/loop.py`."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from agentrl.data.durable import explained, folder_damage
from agentrl.data.record import Commit, Run, manifest_of, model_place
from agentrl.data.types import Batch
from agentrl.errors import AgentRLError, ConfigError, RecordError
from agentrl.evaluation.protocol import Evaluation
from agentrl.loop import learn
from agentrl.parts.host import Host, default_host
from agentrl.parts.idle import check_used
from agentrl.parts.live import LiveStage
from agentrl.parts.run_file import RunFile, Stage, parse
from agentrl.parts.tables import Tables, read_tables
from agentrl.runs.check import check_parts
from agentrl.runs.curve import draw_curve
from agentrl.runs.evaluations import Evaluations, check_plan, hand_over, play_held_out
from agentrl.runs.given import with_parts
from agentrl.runs.loggers import Outlet
from agentrl.runs.parts import RunParts
from agentrl.runs.progress import Progress
from agentrl.runs.recorder import Recorder, Watcher, kept_state, restore
from agentrl.runs.report import summarise
from agentrl.runs.resuming import additions, told_of_updates
from agentrl.runs.signals import interrupts_wait, sigterm_as_ctrl_c
from agentrl.runs.watchers import CallsHooks, EvaluatesDuring, Logs, Prunes, ShowsProgress, tell
from agentrl.worlds.buffer import Buffer


@dataclass(frozen=True)
class Result:
    """Where a run lies and what came of it."""

    folder: Path
    summary: Mapping[str, object]


def train(
    source: Path | str | Mapping[str, object],
    overrides: Sequence[str] = (),
    *,
    host: Host | None = None,
    progress: Progress | None = None,
    parts: Mapping[str, object] | None = None,
) -> Result:
    """Train as a run file (or its tables) says, in a new run folder. Raises AgentRLError.

    `parts`: kind → a class or function of yours that stands for the part of that kind, with the settings that the
    run file gives it, such as `parts={"credit": my_credit}`.
    """
    progress = progress or Progress()
    tables, host = with_parts(read_tables(source, overrides), parts or {}, host or default_host())
    config = planned(tables, host=host)
    if not config.plan:
        raise ConfigError("the run file has no [[stages]]; add at least one")
    with sigterm_as_ctrl_c(), ExitStack() as stack:
        live = RunParts(config, host, stack, report=progress.step)
        asyncio.run(check_parts(config, live))
        run = Run.create(config.runs, config.name, dict(config.tables), manifest_of(config.seed))
        _keep_codecs(run, live)
        live.folder = run.folder
        return _Running(config, host, run, live, progress).run_to_end(None)


def planned(
    source: Path | str | Mapping[str, object], overrides: Sequence[str] = (), *, host: Host | None = None
) -> RunFile:
    """What a run file says, everything checked that can be checked without building a part. Raises ConfigError."""
    host = host or default_host()
    config = parse(read_tables(source, overrides), host)
    check_used(config, host)
    if config.start_from is not None:
        try:
            Run.open(config.start_from).model_folder()
        except AgentRLError as error:
            raise ConfigError(f"start_from = {str(config.start_from)!r}: {error}") from error
    return config


def check(
    source: Path | str | Mapping[str, object], overrides: Sequence[str] = (), *, host: Host | None = None
) -> RunFile:
    """Build everything that a run file names, compare it and play one task; write nothing. Raises AgentRLError."""
    host = host or default_host()
    config = planned(source, overrides, host=host)
    with ExitStack() as stack:
        asyncio.run(check_parts(config, RunParts(config, host, stack)))
    return config


def resume(
    folder: Path | str,
    *,
    longer: Mapping[str, object] | None = None,
    host: Host | None = None,
    progress: Progress | None = None,
    parts: Mapping[str, object] | None = None,
) -> Result:
    """Go on with a run after its last committed update, exactly as if it had never stopped. Raises AgentRLError.

    `longer`: the tables of a run file that gives the last stage more updates, or adds stages; an edited run.toml does
    the same. `parts`: those that `train` was given.
    """
    progress = progress or Progress()
    run = Run.open(Path(folder).expanduser())
    tables, host = with_parts(read_tables(longer or run.config), parts or {}, host or default_host())
    try:
        config = parse(tables, host)
        added = additions(run.begun, config.tables) if run.begun is not None else []
    except ConfigError as error:
        raise ConfigError(f"{run.folder / 'run.toml' if longer is None else 'the longer run file'}: {error}") from error
    with sigterm_as_ctrl_c(), run.locked(), ExitStack() as stack:
        last = run.recover()
        _check_codecs(run, config, last)
        if added:
            for note in _lengthen(run, config, host, added, last):
                progress.advise(note, f"this run is longer than it was begun: {note}")
        elif run.config is run.begun:  # run.toml could not be read
            run.begin_with(run.config)
        live = RunParts(config, host, stack, run.folder if last is not None else None, progress.step)
        if last is None:
            _keep_codecs(run, live)
            live.folder = run.folder
        return _Running(config, host, run, live, progress).run_to_end(last)


def evaluate(
    source: Path | str | Mapping[str, object],
    overrides: Sequence[str] = (),
    *,
    model: Path | str | None = None,
    host: Host | None = None,
    parts: Mapping[str, object] | None = None,
) -> Evaluation:
    """Play the held-out tasks of a run file with its policy, or of a run folder with the model it ended with.

    `model`: any Hugging Face model folder to take instead. `parts`: as for `train`. Raises AgentRLError.
    """
    folder = None if isinstance(source, Mapping) else Path(source).expanduser()
    folder = folder if folder is not None and folder.is_dir() else None
    tables = read_tables(Run.open(folder).config if folder else source)
    if model is not None:
        tables["model"] = {"name": "pretrained", "path": str(Path(model).expanduser())}
    tables = read_tables(tables, overrides)  # those of `model` are for the one that is played
    plan = tables.get("evaluation")
    if isinstance(plan, dict):
        plan["every"] = 0  # of training: any split may be played now
    tables, host = with_parts(tables, parts or {}, host or default_host())
    config = parse(tables, host)
    with sigterm_as_ctrl_c(), ExitStack() as stack:
        live = RunParts(config, host, stack, folder if model is None else None)
        return asyncio.run(_evaluated(config, live, Run.open(folder) if folder and model is None else None))


async def _evaluated(config: RunFile, live: RunParts, run: Run | None) -> Evaluation:
    plan = config.evaluation
    if plan is None:
        raise ConfigError("there is no [evaluation] table; it names the split and the number of tasks")
    if run is not None:
        for name in config.model_names:
            await live.model(name).load(run.model_folder(name))
    if live.has_model:
        live.model()
    for note in live.notes():
        logging.getLogger(__name__).warning("%s", note)
    stage = config.plan[-1] if config.plan else None
    check_plan(plan, live.splits(stage))
    return await play_held_out(live, plan, stage, plan.split, plan.tasks)


class _Running:
    """One process's share of a run."""

    def __init__(self, config: RunFile, host: Host, run: Run, live: RunParts, progress: Progress) -> None:
        self.config, self.host, self.run, self.live, self.progress = config, host, run, live, progress
        self.plan = config.plan
        self.started = time.perf_counter()
        plan = config.evaluation
        self.evaluations = Evaluations(run, live, plan, progress) if plan is not None else None
        self.loggers: list[Outlet] = []
        self.during: EvaluatesDuring | None = None
        self._next_draw, self._caught_up = 0, False

    def run_to_end(self, last: Commit | None) -> Result:
        """Every stage that is not finished, then the summary; the run folder is locked meanwhile."""
        progress = self.progress
        progress.run, progress.folder = self.config.name, str(self.run.folder)
        progress.total = sum(stage.updates for stage in self.plan)
        if last is not None:
            self.started -= float(kept_state(last, "seconds", (int, float)))
            progress.done = last.update + 1
        self._forget_evaluations_after(progress.done)
        with self.run.locked(), _log_file(self.run.folder):
            return asyncio.run(self._main(last))

    @property
    def seconds(self) -> float:
        """Seconds spent on this run, those before a resume included (but not what a crash threw away)."""
        return time.perf_counter() - self.started

    async def _main(self, last: Commit | None) -> Result:
        scope = self.live.scope
        for number, spec in enumerate(self.config.loggers):
            limit_s, name = self.config.logger_timeout_s, self.host.label(spec)
            outlet: Outlet = scope.keep(Outlet(f"loggers.{number}", name, limit_s, self.live.failures))
            await outlet.make(functools.partial(self.host.build, spec, scope))
            self.loggers.append(outlet)
        if self.evaluations is not None:
            self.during = EvaluatesDuring(self.evaluations, self.live, self.progress, self.loggers)
        done = last.update + 1 if last is not None else 0
        if last is not None:
            await self._load_models(last)
        else:
            await self.live.begin()
        for note in self.live.notes():
            self.progress.advise(note, note)
        first, played = 0, Counter[str]()
        for number, stage in enumerate(self.plan):
            if done < first + stage.updates:
                await self._stage(stage, first, max(done, first), last, played[stage.name])
            first += stage.updates
            played[stage.name] += stage.updates
            if stage.name not in [later.name for later in self.plan[number + 1 :]]:
                self.live.release(stage.name)
        if self.evaluations is not None:
            if last is not None and not self._caught_up:
                await self._catch_up(last)
            await self.evaluations.final(first, self.plan[-1])
        return await self._finish()

    async def _load_models(self, last: Commit) -> None:
        versions = kept_state(last, "versions", dict)
        for name in self.config.model_names:
            folder = last.checkpoint / model_place(name)
            if folder.exists():
                model = self.live.model(name)
                await model.load(folder)
                model.version = dataclasses.replace(model.version, update=versions.get(name, last.update + 1))

    async def _catch_up(self, last: Commit) -> None:
        """The evaluation that follows the last commit: its process may have ended before it, or before parts heard of it."""
        self._caught_up = True
        stage = next((stage for stage in self.plan if stage.name == last.stage), None)
        if self.during is not None and stage is not None:
            await self.during.after(last.update, stage)

    async def _stage(self, stage: Stage, first: int, start: int, last: Commit | None, played: int) -> None:
        """Updates `start` to the end of a stage whose first update is `first`, counted over the whole run.

        `played`: updates that the stage had when it was played before.
        """
        live = self.live.stage(stage)
        buffer = Buffer(
            start, first + stage.updates, seed=self.config.seed, staleness=stage.staleness, redraws=stage.redraws,
            next_draw=self._next_draw, speakers=stage.trains, schedules_from=first - played,
        )  # fmt: skip
        if last is not None and not self._caught_up:
            await self._restore(last, live, buffer, same=start > first)
            await self._catch_up(last)
        await hand_over(live)
        if self.evaluations is not None and start == first and first and stage.evaluate:
            await self.evaluations.final(first, stage)
        self.progress.begin_stage(stage.name, stage.updates, start - first)
        self.progress.phase = "collecting"
        live.played = self._played
        for note in getattr(live.model.codec, "notes", ()):
            self.progress.advise(note, note)
        watchers = self._watchers(first)
        recorder = Recorder(self.run, self.live, stage, buffer, watchers, self.progress, lambda: self.seconds)
        await learn(live, buffer, recorder)
        self._next_draw = buffer.next_draw

    async def _restore(self, last: Commit, live: LiveStage, buffer: Buffer, same: bool) -> None:
        """The stage that the last commit belongs to, and others that were made by then, as they stood."""
        kept = kept_state(last, "stages", dict)
        by_name = {stage.name: stage for stage in self.plan}
        repeated = {stage.name for stage in self.plan if sum(s.name == stage.name for s in self.plan) > 1}
        for name, state in kept.items():
            if (name == live.name and same) or name in repeated:
                await restore(self.live.stage(by_name[name]), state, last.checkpoint, current=name == last.stage)
        state_of_draws = kept_state(last, "buffer", dict)
        if same:
            buffer.restore(state_of_draws)
        else:
            buffer.next_draw = self._next_draw = int(state_of_draws["next_draw"])

    def _watchers(self, first: int) -> list[Watcher]:
        during: list[Watcher] = [self.during] if self.during is not None else []
        shows, prunes = ShowsProgress(self.progress, first), Prunes(self.run, self.config)
        return [shows, *during, prunes, Logs(self.loggers), CallsHooks(self.host, self.live.failures)]

    def _played(self, batch: Batch) -> None:
        self.progress.phase = "updating"
        told = {"update": batch.update, "trajectories": batch.recorded}
        tell(self.host, self.live.failures, "on_trajectories", told)

    def _forget_evaluations_after(self, done: int) -> None:
        """Evaluations of updates that will be made again, after a fall back to an older checkpoint."""
        for path in self.run.folder.glob("evaluations/*"):
            if path.name[:6].isdecimal() and int(path.name[:6]) > done:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    async def _finish(self) -> Result:
        self.progress.stage, self.progress.phase = "finishing", "writing the model"
        with interrupts_wait(), self.run.draft("writing the model") as draft:
            for name in self.config.model_names:
                await self.live.model(name).save(draft / model_place(name))
                self.run.write_folder(model_place(name), (draft / model_place(name)).rename)
        summary = summarise(self.run, self.config, self.seconds)
        self.run.write_json("summary.json", summary)
        picture = draw_curve(self.run, summary)
        if picture:
            self.run.write_bytes("curve.png", picture)
        return Result(self.run.folder, summary)


def _keep_codecs(run: Run, live: RunParts) -> None:
    """Words to ids are kept before the first update: a resumed run, an evaluation and a viewer read them from here."""
    for name in live.config.model_names:
        run.write_folder(f"codec/{name}", live.model(name).codec.save)


def _check_codecs(run: Run, config: RunFile, last: Commit | None) -> None:
    """Raises RecordError where words would become other ids than before, or where nobody knows."""
    if last is None:
        return  # they are made anew
    again = f"start again: agentrl train {run.folder / 'run.toml'}"
    if run.begun is None and not (run.folder / "codec").exists():
        raise RecordError(
            f"{run.folder} was begun by an earlier version, whose runs can be read and evaluated but not resumed; {again}"
        )
    for name in config.model_names:
        folder = run.folder / "codec" / name
        problem = folder_damage(folder) if folder.is_dir() else f"{folder} is missing"
        if problem:
            raise RecordError(f"{run.folder} cannot be resumed: {problem}. Put it back from a copy, or {again}")


def _lengthen(run: Run, config: RunFile, host: Host, added: list[str], last: Commit | None) -> list[str]:
    """Let the longer run file take the place of the run's own; the manifest says when, and what a person should know."""
    before = parse(run.begun or run.config, host)
    notes = added + told_of_updates(before.stages[-1], config, host)
    done = 0 if last is None else last.update + 1
    earlier = run.manifest.get("lengthened")
    entries = [*(earlier if isinstance(earlier, list) else []), {"after_updates": done, "notes": notes}]
    run.begin_with(config.tables, lengthened=entries)
    return notes


@contextlib.contextmanager
def _log_file(folder: Path) -> Iterator[None]:
    """Everything that agentrl logs during the block goes to `run.log` too."""
    with explained(f"opening {folder / 'run.log'}"):
        handler = _LogFile(folder / "run.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("agentrl")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        with contextlib.suppress(OSError):  # a full disk
            handler.close()


class _LogFile(logging.FileHandler):
    """A log that a full disk may cut short: what must not be lost is in the commits, and they say it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Without the traceback that logging would print."""


__all__ = ["Result", "Tables", "evaluate", "planned", "resume", "train"]
