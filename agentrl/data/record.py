"""A run folder that survives `kill -9`: the update is the unit of durability.

::

    run.toml         the run file as it was run           summary.json …   whatever write_json put here
    manifest.json    versions, platform, seed, time       metrics.jsonl    one line per update, derived
    updates/000000/  one folder per update (commit.py)    lock             who writes
    codec/           words to ids, for each model         run.log          what the run logged
    evaluations/     one folder per evaluation            .tmp/            half-written things; recover empties it
    replaced/        updates that were played again, or that came after a damaged one

Everything is written in `.tmp/`, synced, and renamed into place last. So a process may die at any moment: what carries
its final name is complete, and the next `recover` throws the rest away.
"""

from __future__ import annotations

import datetime
import itertools
import json
import logging
import os
import platform
import shutil
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

import tomli_w

from agentrl.data.columns import COLUMNS, Column
from agentrl.data.commit import Commit, read_json, state_json
from agentrl.data.durable import Fingerprint, FolderLock, explained, move, sync, sync_tree
from agentrl.data.installation import DISTRIBUTION
from agentrl.data.jsontext import to_json
from agentrl.data.table import write_trajectories
from agentrl.data.types import Advantage, Trajectory
from agentrl.errors import AgentRLError, RecordError

log = logging.getLogger(__name__)

_PACKAGES = (DISTRIBUTION, "gymnasium", "numpy", "peft", "pyarrow", "scipy", "tokenizers", "torch", "transformers")


def manifest_of(seed: int) -> dict[str, object]:
    """What a run must say about where it was made: time, seed, platform, versions of Python and of what it stands on."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    place = {"platform": platform.platform(), "cpus": os.cpu_count()}
    return {"created": _now(), "seed": seed, **place, "versions": versions}


def model_place(name: str) -> str:
    """Where a run and its checkpoints keep a model: `model`, or `models/NAME` for one of [models]."""
    return "model" if name == "model" else f"models/{name}"


class Run:
    """One run folder. Anybody may read it; the first write makes this process its only writer, until `close`."""

    def __init__(self, folder: Path, config: dict[str, object], manifest: dict[str, object]) -> None:
        self.folder, self.config, self.manifest = folder, config, manifest
        self._updates, self._drafts = folder / "updates", folder / ".tmp"
        self._lock = FolderLock(folder / "lock")

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
        with explained(f"creating a run in {parent}"):
            parent.mkdir(parents=True, exist_ok=True)
            folder = _claim(parent, name)
            try:
                (folder / "updates").mkdir()
                (folder / "run.toml").write_text(toml)
                (folder / "manifest.json").write_text(_pretty(manifest))
                sync_tree(folder)
                sync(parent)
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """A run that exists. Raises RecordError where the folder is none, or its creation was interrupted."""
        missing = [name for name in ("run.toml", "manifest.json", "updates") if not (folder / name).exists()]
        if missing:
            what = "is not a run folder" if folder.is_dir() else "does not exist or is not a folder"
            raise RecordError(f"{folder} {what}: {', '.join(missing)} missing; `agentrl train RUN.toml` makes one")
        try:
            config = tomllib.loads((folder / "run.toml").read_text())
        except (OSError, ValueError) as error:
            raise RecordError(f"{folder / 'run.toml'} cannot be read: {error}") from error
        return cls(folder, config, read_json(folder / "manifest.json"))

    @contextmanager
    def locked(self) -> Iterator[Run]:
        """Be the only writer for the length of the block. Raises RecordError where another process is."""
        self._lock.acquire()
        try:
            yield self
        finally:
            self._lock.release()

    def close(self) -> None:
        """Let others write; safe twice."""
        self._lock.release()

    def commits(self) -> list[Commit]:
        """The committed updates in order. One whose `commit.json` is damaged is omitted, and logged."""
        commits = []
        for folder in self._update_folders():
            try:
                commits.append(Commit.read(folder))
            except RecordError as error:
                log.warning("omitted: %s", error)
        return commits

    def model_folder(self, name: str = "model") -> Path:
        """The model that the run ended with, or else that of its newest checkpoint. Raises RecordError without one."""
        place = model_place(name)
        checkpoints = [commit.checkpoint / place for commit in reversed(self.commits()) if commit.has_checkpoint]
        for folder in (self.folder / place, *checkpoints):
            if folder.is_dir():
                return folder
        raise RecordError(f"{self.folder} holds no {place} yet: let it train to its first checkpoint")

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
            (draft / "metrics.json").write_text(to_json({name: float(value) for name, value in metrics.items()}))
            (draft / "state.json").write_text(state_text)
            if write_checkpoint is not None:
                (draft / "checkpoint").mkdir()
                write_checkpoint(draft / "checkpoint")
            paths = sorted(path for path in draft.rglob("*") if path.is_file())
            commit = Commit(
                update=update,
                stage=stage,
                folder=target,
                committed_at=_now(),
                has_checkpoint=write_checkpoint is not None,
                files={str(path.relative_to(draft)): Fingerprint.of(path) for path in paths},
            )
            commit.write(draft / "commit.json")
            sync_tree(draft)
            move(draft, target)
        with explained("appending to metrics.jsonl"), (self.folder / "metrics.jsonl").open("a") as file:
            file.write(_metrics_line(commit))
        return commit

    def recover(self) -> Commit | None:
        """Go back to the newest update that a run can go on from, and return it; None means from the beginning.

        Half-written things are deleted. Updates after it are played again, and go to `replaced/`: those without a
        checkpoint of their own, and, if a newer checkpoint is damaged, all that came after the newest good one, which
        is logged. Raises RecordError where only damaged checkpoints are left, having moved no update.
        """
        self._lock.acquire()
        with explained(f"recovering {self.folder}"):
            shutil.rmtree(self._drafts, ignore_errors=True)
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
        commits = self.commits()
        for commit in commits:
            if not commit.has_checkpoint:
                shutil.rmtree(commit.folder / "checkpoint", ignore_errors=True)
            if "trajectories.parquet" not in commit.files:
                (commit.folder / "trajectories.parquet").unlink(missing_ok=True)
        self.write_bytes("metrics.jsonl", "".join(map(_metrics_line, commits)).encode())

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

    def write_json(self, name: str, data: object) -> Path:
        """Write a small file, whole or not at all; numbers that are not finite become null. Raises RecordError."""
        return self.write_bytes(name, _pretty(data).encode())

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Write a small file, whole or not at all, in place of one of that name. Raises RecordError."""
        return self.write_folder(name, lambda path: path.write_bytes(data))

    def write_folder(self, name: str, write: Callable[[Path], object]) -> Path:
        """Let `write` make a new folder or file, which then takes the place of one of that name. Raises RecordError."""
        target = self._target(name)
        with self.draft(f"writing {target}") as draft:
            write(draft / "new")
            sync_tree(draft / "new")
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():  # a file is replaced in one step
                move(target, draft / "old")
            move(draft / "new", target)
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


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _metrics_line(commit: Commit) -> str:
    return to_json({"update": commit.update, "stage": commit.stage} | commit.metrics) + "\n"


def _usable(folder: Path) -> tuple[Commit | None, str]:
    """The commit in a folder if a run can go on from it, else what is damaged ("" if it only has no checkpoint)."""
    try:
        commit = Commit.read(folder)
    except RecordError as error:
        return None, str(error)
    if not commit.has_checkpoint:
        return None, ""
    problem = commit.damage(but="trajectories.parquet")  # going on needs no trajectories
    return (None, problem) if problem else (commit, "")


__all__ = ["Commit", "Run", "manifest_of"]
