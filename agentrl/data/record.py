"""A run folder that survives `kill -9`: the update is the unit of durability.

::

    run.toml         the run file as it was run           summary.json …   whatever write_json put here
    manifest.json    versions, seed, a copy of run.toml   metrics.jsonl    one line per update, derived
    updates/000000/  one folder per update (commit.py)    lock             who writes
    codec/           words to ids, for each model         run.log          what the run logged
    evaluations/     one folder per evaluation            .tmp/            half-written things; recover empties it
    replaced/        updates that were played again, or that came after a damaged one

Everything is written in `.tmp/`, synced, and renamed into place last. So a process may die at any moment: what carries
its final name is complete, and the next `recover` throws the rest away. Whatever a resume needs has checksums: the
files of an update in its commit.json, those of a folder that was written whole in its checksums.json.
"""

from __future__ import annotations

import itertools
import json
import logging
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import tomli_w

from agentrl.data.columns import COLUMNS, Column
from agentrl.data.commit import Commit, state_json
from agentrl.data.durable import (
    BEGUN,
    FolderLock,
    explained,
    fingerprints,
    folder_damage,
    keep_checksums,
    move,
    sync,
    sync_tree,
)
from agentrl.data.jsontext import to_json
from agentrl.data.manifest import MANIFEST, RUN_FILE, manifest_of, now, read_begun, with_copy
from agentrl.data.table import write_trajectories
from agentrl.data.types import Advantage, Trajectory
from agentrl.errors import AgentRLError, RecordError

log = logging.getLogger(__name__)

_NOT_NEEDED = ("trajectories.parquet", "metrics.json")
"""Of an update, to go on from it."""


def model_place(name: str) -> str:
    """Where a run and its checkpoints keep a model: `model`, or `models/NAME` for one of [models]."""
    return "model" if name == "model" else f"models/{name}"


class Run:
    """One run folder. Anybody may read it; the first write makes this process its only writer, until `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config, self.begun, self.manifest = read_begun(folder)
        """`config` is what run.toml says now, `begun` what it said when the run began (None: an earlier version)."""
        self._updates, self._drafts = folder / "updates", folder / ".tmp"
        self._lock = FolderLock(folder / "lock")
        self._known: list[Commit] | None = None
        """The commits, remembered by the only writer."""

    @classmethod
    def create(cls, parent: Path, name: str, config: Mapping[str, object], manifest: Mapping[str, object]) -> Run:
        """A new folder `parent/name`, or `name-2`, `name-3` … where that exists: nothing is ever overwritten.

        Raises RecordError for a name that is no file name, a config that TOML cannot hold, a folder nobody may write.
        """
        if not name or name.startswith(".") or Path(name).name != name:
            raise RecordError(f"{name!r} cannot name a run: use letters, digits, '-', '_' and '.', not first a '.'")
        try:
            toml = tomli_w.dumps(config)
        except (TypeError, ValueError) as error:
            raise RecordError(f"run.toml cannot hold this configuration: {error}") from error
        with explained(f"creating a run in {parent}", then=BEGUN):
            parent.mkdir(parents=True, exist_ok=True)
            folder = _claim(parent, name)
            try:
                (folder / "updates").mkdir()
                (folder / RUN_FILE).write_text(toml, encoding="utf-8")
                (folder / MANIFEST).write_text(_pretty(with_copy(manifest, toml)), encoding="utf-8")
                sync_tree(folder)
                sync(parent)
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """A run that exists. Raises RecordError where the folder is none, or its creation was interrupted."""
        if not is_run(folder):
            missing = [name for name in (RUN_FILE, MANIFEST, "updates") if not (folder / name).exists()]
            what = "is not a run folder" if folder.is_dir() else "does not exist or is not a folder"
            raise RecordError(f"{folder} {what}: {', '.join(missing)} missing; `agentrl train RUN.toml` makes one")
        return cls(folder)

    def begin_with(self, config: Mapping[str, object], **facts: object) -> None:
        """Let the run go on with another run file, and add facts to the manifest. Raises RecordError."""
        toml = tomli_w.dumps(config)
        self.write_bytes(RUN_FILE, toml.encode())
        self.write_json(MANIFEST, with_copy(self.manifest | facts, toml))
        self.config, self.begun, self.manifest = read_begun(self.folder)

    @contextmanager
    def locked(self) -> Iterator[Run]:
        """Be the only writer for the length of the block. Raises RecordError where another process is."""
        self._lock.acquire()
        try:
            yield self
        finally:
            self.close()

    def close(self) -> None:
        """Let others write; safe twice."""
        self._known = None
        self._lock.release()

    def commits(self) -> list[Commit]:
        """The committed updates in order. One whose `commit.json` is damaged is omitted, and logged."""
        if self._known is not None and self._lock.held:
            return list(self._known)
        commits = []
        for folder in self._update_folders():
            try:
                commits.append(Commit.read(folder))
            except RecordError as error:
                log.warning("omitted: %s", error)
        self._known = list(commits) if self._lock.held else None
        return commits

    def history(self) -> list[tuple[Commit, dict[str, float]]]:
        """The committed updates with their metrics. One whose metrics are damaged is omitted, and logged."""
        history = []
        for commit in self.commits():
            try:
                history.append((commit, commit.metrics))
            except RecordError as error:
                log.warning("omitted from metrics, summary and curve: %s", error)
        return history

    def model_folder(self, name: str = "model") -> Path:
        """The model that the run ended with, or else that of its newest checkpoint. Raises RecordError without one.

        What is damaged is logged and passed over.
        """
        place, problems = model_place(name), list[str]()
        for folder, problem in self._models(place):
            if not problem:
                if problems:
                    log.warning("%s. Instead %s is taken", "; ".join(problems), folder)
                return folder
            problems.append(problem)
        if problems:
            raise RecordError(f"{self.folder} holds no {place} that is whole: {'; '.join(problems)}")
        raise RecordError(f"{self.folder} holds no {place} yet: let it train to its first checkpoint")

    def _models(self, place: str) -> Iterator[tuple[Path, str]]:
        """Every folder of a model, the newest first, and what is wrong with it."""
        if (self.folder / place).is_dir():
            yield self.folder / place, folder_damage(self.folder / place)
        for commit in reversed(self.commits()):
            if commit.has_checkpoint and (commit.checkpoint / place).is_dir():
                yield commit.checkpoint / place, commit.damage(but=_NOT_NEEDED)

    def commit(
        self,
        update: int,
        stage: str,
        *,
        trajectories: Sequence[Trajectory],
        advantages: Sequence[Advantage | None] | None,
        metrics: Mapping[str, float],
        state: Mapping[str, object],
        write_checkpoint: Callable[[Path], object] | None,
        columns: Mapping[str, Column] = COLUMNS,
    ) -> Commit:
        """Make an update durable: when this returns it survives anything, when it raises nothing has changed.

        `advantages`: one entry per trajectory, None for one without credit. `write_checkpoint` fills a folder.
        Raises RecordError for a full disk and whatever else hinders writing, and for an update that is there already.
        """
        target = self._updates / f"{update:06d}"
        if target.exists():
            raise RecordError(f"update {update} is committed in {target} already; updates are never overwritten")
        state_text = state_json(state)
        with self.draft(f"committing update {update}") as draft:
            write_trajectories(draft / "trajectories.parquet", trajectories, advantages, update=update, columns=columns)
            numbers = to_json({name: float(value) for name, value in metrics.items()})
            (draft / "metrics.json").write_text(numbers, encoding="utf-8")
            (draft / "state.json").write_text(state_text, encoding="utf-8")
            if write_checkpoint is not None:
                (draft / "checkpoint").mkdir()
                write_checkpoint(draft / "checkpoint")
            commit = Commit(
                update=update,
                stage=stage,
                folder=target,
                committed_at=now(),
                has_checkpoint=write_checkpoint is not None,
                files=fingerprints(draft),
            )
            commit.write(draft / "commit.json")
            sync_tree(draft)
            move(draft, target)
        if self._known is not None:
            self._known.append(commit)
        line, path = _metrics_line(commit, commit.metrics), self.folder / "metrics.jsonl"
        with explained("appending to metrics.jsonl"), path.open("a", encoding="utf-8") as file:
            file.write(line)
        return commit

    def recover(self) -> Commit | None:
        """Go back to the newest update that a run can go on from, and return it; None means from the beginning.

        Half-written things are deleted. Updates after it are played again, and go to `replaced/`: those without a
        checkpoint of their own, and, if a newer checkpoint is damaged, all that came after the newest good one, which
        is logged. Raises RecordError where only damaged checkpoints are left, having moved no update.
        """
        self._lock.acquire()
        self._known = None
        with explained(f"recovering {self.folder}"):
            if self._drafts.exists():
                shutil.rmtree(self._drafts, ignore_errors=True) if self._drafts.is_dir() else self._drafts.unlink()
            problems: list[str] = []
            newer: list[Path] = []
            last = None
            for folder in reversed(self._update_folders()):
                last, problem = _usable(folder)
                if last is not None:
                    break
                newer.append(folder)
                problems += [problem] if problem else []
            if problems and last is None:
                raise RecordError(
                    f"{self.folder} cannot be resumed: {'; '.join(problems)}; and there is no older checkpoint. Put the "
                    f"damaged files back from a copy, or start again: agentrl train {self.folder / 'run.toml'}"
                )
            self._set_aside(newer, problems, last)
            self._tidy()
        return last

    def _set_aside(self, newer: Sequence[Path], problems: Sequence[str], last: Commit | None) -> None:
        """Take updates out of the run, the newest (maybe damaged) last: after dying in the middle it is found again."""
        if newer:
            aside = _claim(self.folder, "replaced")
            log.warning(
                "%sGoing on after update %s; what came later is kept in %s",
                "; ".join(problems) + ". " if problems else "",
                "none" if last is None else last.update,
                aside,
            )
            for folder in reversed(newer):
                move(folder, aside / folder.name)

    def _tidy(self) -> None:
        """Finish a pruning that was cut short, and derive metrics.jsonl anew."""
        for commit in self.commits():
            if not commit.has_checkpoint:
                shutil.rmtree(commit.folder / "checkpoint", ignore_errors=True)
            if "trajectories.parquet" not in commit.files:
                (commit.folder / "trajectories.parquet").unlink(missing_ok=True)
        self.write_bytes("metrics.jsonl", "".join(_metrics_line(*update) for update in self.history()).encode())

    def prune(self, keep: Collection[int]) -> None:
        """Delete the checkpoints (not the trajectories) of all updates but these and the newest. Raises RecordError."""
        for commit in [commit for commit in self.commits() if commit.has_checkpoint][:-1]:
            if commit.update not in keep:
                self._drop(commit, "checkpoint")

    def prune_trajectories(self, keep: int) -> None:
        """Delete the tables of trajectories of all but the newest `keep` updates. Raises RecordError."""
        for commit in self.commits()[:-keep]:
            if "trajectories.parquet" in commit.files:
                self._drop(commit, "trajectories.parquet")

    def _drop(self, commit: Commit, name: str) -> None:
        files = {path: value for path, value in commit.files.items() if path.split("/")[0] != name}
        still = commit.has_checkpoint and name != "checkpoint"
        without = commit.model_copy(update={"files": files, "has_checkpoint": still})
        with self.draft(f"pruning update {commit.update}") as draft:
            without.write(draft / "commit.json")
            sync(draft / "commit.json")
            move(draft / "commit.json", commit.folder / "commit.json")
            target = commit.folder / name
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        if self._known is not None:
            self._known = [without if known.update == commit.update else known for known in self._known]

    def write_json(self, name: str, data: object) -> Path:
        """Write a small file, whole or not at all; numbers that are not finite become null. Raises RecordError."""
        return self.write_bytes(name, _pretty(data).encode())

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Write a small file, whole or not at all, in place of one of that name. Raises RecordError."""
        return self.write_folder(name, lambda path: path.write_bytes(data))

    def write_folder(self, name: str, write: Callable[[Path], object]) -> Path:
        """Let `write` make a new folder or file, which then takes the place of one of that name. Raises RecordError.

        A folder gets checksums of all its files.
        """
        target = self._target(name)
        with self.draft(f"writing {target}") as draft:
            new = draft / "new"
            write(new)
            if new.is_dir():
                keep_checksums(new)
            sync_tree(new)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir() or (target.exists() and new.is_dir()):  # a file takes a file's place in one step
                move(target, draft / "old")
            move(new, target)
        return target

    @contextmanager
    def draft(self, doing: str) -> Iterator[Path]:
        """An empty folder to prepare something in; gone afterwards, with whatever is still in it."""
        self._lock.acquire()
        with explained(f"{doing} in {self.folder}"):
            self._drafts.mkdir(exist_ok=True)
            draft = _claim(self._drafts, "draft")
        try:
            with explained(f"{doing} in {self.folder}"):
                yield draft
        except AgentRLError:
            raise
        except Exception as error:  # writers are plugins: safetensors and torch have errors of their own for full disks
            raise RecordError(f"{doing} in {self.folder} failed: {type(error).__name__}: {error}") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _target(self, name: str) -> Path:
        target = self.folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts or target.is_relative_to(self._updates):
            raise RecordError(f"{name!r} is not a place for a file of a run: give a path inside it, outside updates/")
        return target

    def _update_folders(self) -> list[Path]:
        with explained(f"reading {self._updates}"):
            return sorted((p for p in self._updates.iterdir() if p.name.isdecimal()), key=lambda path: int(path.name))


def is_run(folder: Path) -> bool:
    """Whether a run was made here; a file of it may have been lost since."""
    updates = folder / "updates"
    return updates.is_dir() and ((folder / MANIFEST).exists() or any(updates.iterdir()))


def _claim(parent: Path, name: str) -> Path:
    """Make the first of `name`, `name-2`, `name-3` … that does not exist; two processes never get the same one."""
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError


def _pretty(data: object) -> str:
    return json.dumps(json.loads(to_json(data)), indent=2) + "\n"


def _metrics_line(commit: Commit, metrics: Mapping[str, float]) -> str:
    return to_json({"update": commit.update, "stage": commit.stage} | dict(metrics)) + "\n"


def _usable(folder: Path) -> tuple[Commit | None, str]:
    """The commit in a folder if a run can go on from it, else what is damaged ("" if it only has no checkpoint)."""
    try:
        commit = Commit.read(folder)
    except RecordError as error:
        return None, str(error)
    if not commit.has_checkpoint:
        return None, ""
    problem = commit.damage(but=_NOT_NEEDED)
    return (None, problem) if problem else (commit, "")


__all__ = ["Commit", "Run", "manifest_of", "model_place"]
