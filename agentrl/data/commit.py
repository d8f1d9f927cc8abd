"""One committed update on disk: its files, and whether they are still what was committed.

An update is a folder with `commit.json` (number, stage, time, size and checksum of every other file, and its own),
`trajectories.parquet`, `metrics.json`, `state.json` and perhaps `checkpoint/`. It is written elsewhere and renamed into
place, so a folder that is there is complete, unless the disk or a hand has changed it since.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentrl.data.durable import Fingerprint, damage
from agentrl.data.reader import read_advantages, read_trajectories
from agentrl.data.types import Advantage, Trajectory
from agentrl.errors import RecordError


class Commit(BaseModel):
    """One committed update of a run; all but `folder` is in `commit.json`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    update: int = Field(ge=0)
    stage: str
    committed_at: str
    """Time in UTC, ISO 8601."""
    has_checkpoint: bool
    files: dict[str, Fingerprint]
    """Of every other file, by its path inside `folder`."""
    folder: Path = Field(exclude=True)

    @classmethod
    def read(cls, folder: Path) -> Commit:
        """Raises RecordError where `commit.json` is missing or damaged; looks at no other file."""
        path = folder / "commit.json"
        facts = read_json(path)
        if facts.pop("checksum", None) not in (None, _checksum(facts)):  # None: earlier versions wrote none
            raise RecordError(f"{path} is damaged: it is not what was committed")
        try:
            commit = cls.model_validate_json(json.dumps(facts | {"folder": str(folder)}))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise RecordError(
                f"{path} is damaged, or of another version, which manifest.json names ({place}: {first['msg']})"
            ) from None
        if folder.name != f"{commit.update:06d}" or not {"metrics.json", "state.json"} <= commit.files.keys():
            raise RecordError(f"{path} is damaged: it is not the record of this update")
        return commit

    def write(self, path: Path) -> None:
        """Write `commit.json`, which `read` takes."""
        facts = json.loads(self.model_dump_json())
        path.write_text(json.dumps({**facts, "checksum": _checksum(facts)}, indent=1), encoding="utf-8")

    @property
    def checkpoint(self) -> Path:
        """The folder with what `write_checkpoint` wrote. Raises RecordError where there is none."""
        if not self.has_checkpoint:
            raise RecordError(f"update {self.update} in {self.folder} has no checkpoint (any more)")
        return self.folder / "checkpoint"

    @property
    def metrics(self) -> dict[str, float]:
        """As committed; what was not finite is NaN."""
        metrics = self._checked("metrics.json")
        return {name: value if isinstance(value, (int, float)) else math.nan for name, value in metrics.items()}

    @property
    def state(self) -> dict[str, object]:
        return self._checked("state.json")

    def trajectories(self) -> list[Trajectory]:
        return read_trajectories(self.folder / "trajectories.parquet")

    def advantages(self) -> list[Advantage | None]:
        """One entry per trajectory, None where it got no credit."""
        return read_advantages(self.folder / "trajectories.parquet")

    def damage(self, *, but: Collection[str] = ()) -> str:
        """What is wrong with the first file that is not what was committed (leaving out `but`); empty if all are well."""
        return damage(self.folder, {name: then for name, then in self.files.items() if name not in but})

    def _checked(self, name: str) -> dict[str, object]:
        """A JSON file of this update. Raises RecordError where it is not what was committed."""
        content = read_json(self.folder / name)
        if problem := damage(self.folder, {name: self.files[name]}):
            raise RecordError(problem)
        return content


def read_json(path: Path) -> dict[str, object]:
    """A JSON object. Raises RecordError where the file is missing or holds none."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise RecordError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path} is damaged: it holds no JSON object")
    return value


def _checksum(facts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def state_json(state: Mapping[str, object]) -> str:
    """JSON that reads back as exactly the same state. Raises RecordError naming the first value that would not."""
    try:
        _refuse_lossy(dict(state), "state")
    except RecursionError:
        raise RecordError("state holds something that contains itself; the state of a part is plain data") from None
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
