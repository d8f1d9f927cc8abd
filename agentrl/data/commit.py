"""One committed update on disk: its files, and whether they are still what was committed.

An update is a folder with `commit.json` (number, stage, time, and size and checksum of every other file),
`trajectories.parquet`, `metrics.json`, `state.json` and perhaps `checkpoint/`. It is written elsewhere and renamed into
place, so a folder that is there is complete, unless the disk or a hand has changed it since.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentrl.data.durable import Fingerprint, fingerprint
from agentrl.data.jsontext import to_json
from agentrl.data.reader import read_advantages, read_trajectories
from agentrl.data.types import Advantage, Trajectory
from agentrl.errors import RecordError

SCHEMA_VERSION = 1

_KEYS = {"schema_version", "update", "stage", "committed_at", "has_checkpoint", "files"}


@dataclass(frozen=True, slots=True)
class Commit:
    """One committed update of a run."""

    update: int
    stage: str
    folder: Path
    committed_at: str
    """Time in UTC, ISO 8601."""
    has_checkpoint: bool
    files: Mapping[str, Fingerprint]
    """Of every other file, by its path inside `folder`."""

    @classmethod
    def read(cls, folder: Path) -> Commit:
        """Raises RecordError where `commit.json` is missing or damaged; looks at no other file."""
        data = read_json(folder / "commit.json")
        if not isinstance(data, dict) or set(data) != _KEYS or folder.name != folder_name(data["update"]):
            raise RecordError(f"{folder / 'commit.json'} is damaged: it is not the record of this update")
        if data.pop("schema_version") != SCHEMA_VERSION:
            raise RecordError(
                f"{folder} was written by another version of agentrl, which manifest.json names: use that"
            )
        return cls(folder=folder, **data)

    def write(self, path: Path) -> None:
        """Write `commit.json`, which `read` takes."""
        data = {name: getattr(self, name) for name in _KEYS if name != "schema_version"}
        path.write_text(json.dumps({"schema_version": SCHEMA_VERSION} | data, indent=1, sort_keys=True))

    @property
    def checkpoint(self) -> Path:
        """The folder with what `write_checkpoint` wrote. Raises RecordError where there is none."""
        if not self.has_checkpoint:
            raise RecordError(f"update {self.update} in {self.folder} has no checkpoint (any more)")
        return self.folder / "checkpoint"

    @property
    def metrics(self) -> dict[str, float]:
        """As committed; what was not finite is NaN."""
        metrics = read_json(self.folder / "metrics.json")
        return {name: math.nan if value is None else value for name, value in metrics.items()}

    @property
    def state(self) -> dict[str, object]:
        state: dict[str, object] = read_json(self.folder / "state.json")
        return state

    def trajectories(self) -> list[Trajectory]:
        return read_trajectories(self.folder / "trajectories.parquet")

    def advantages(self) -> list[Advantage | None]:
        """One entry per trajectory, None where it got no credit."""
        return read_advantages(self.folder / "trajectories.parquet")

    def damage(self, *, but: str = "") -> str:
        """What is wrong with the first file that is not what was committed (leaving out `but`); empty if all are well."""
        for name, committed in self.files.items():
            path = self.folder / name
            if name == but:
                continue
            try:
                found = fingerprint(path)
            except OSError as error:
                return f"{path} cannot be read ({error.strerror})"
            if found["bytes"] != committed["bytes"]:
                return f"{path} has {found['bytes']} bytes, {committed['bytes']} were committed"
            if found["sha256"] != committed["sha256"]:
                return f"{path} has another content than was committed (its checksum differs)"
        return ""


def folder_name(update: int) -> str:
    """Name of the folder of an update; sorted by name, updates are in order."""
    return f"{update:06d}" if isinstance(update, int) else str(update)


def read_json(path: Path) -> Any:
    """Raises RecordError where the file is missing or is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise RecordError(f"{path} is damaged: {error}") from error


def metrics_json(metrics: Mapping[str, float]) -> str:
    """One line of JSON; JSON has no NaN and no infinity, both become null."""
    return to_json({name: float(value) for name, value in metrics.items()})


def state_json(state: Mapping[str, object]) -> str:
    """JSON that reads back as exactly the same state. Raises RecordError naming the first value that would not."""
    _refuse_lossy(dict(state), "state")
    return json.dumps(state)


def _refuse_lossy(value: object, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise RecordError(f"{where} has the key {key!r}; JSON keeps only strings as keys: use str() and int()")
            _refuse_lossy(item, f"{where}.{key}")
    elif type(value) is list:
        for position, item in enumerate(value):
            _refuse_lossy(item, f"{where}[{position}]")
    elif value is not None and not isinstance(value, (str, int, float)):
        raise RecordError(
            f"{where} is a {type(value).__name__}, which does not read back as what it was; the state of a part may hold "
            "dicts with string keys, lists, strings, numbers, booleans and None: write tuples and arrays as lists"
        )
