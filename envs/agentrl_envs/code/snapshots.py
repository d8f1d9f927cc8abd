"""Snapshots: the folder of files that a record of SWE-bench begins with."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentrl import ConfigError
from agentrl_envs.code.problems import Problem, Repository

MOST_FILES, MOST_MIB = 20_000, 64
_SKIPPED = {".git", "__pycache__", ".hg", "node_modules"}


def swe_problem(record: Mapping[str, Any], repositories: Path, command: tuple[str, ...]) -> Problem:
    """Jimenez et al. 2024. The folder is named by instance_id, or by `repo` with / as __; it is at its base commit."""
    names = [str(record["instance_id"]), str(record.get("repo", "")).replace("/", "__")]
    folder = next((repositories / name for name in names if name and (repositories / name).is_dir()), None)
    if folder is None:
        raise ConfigError(
            f"there is no folder with the files of {names[0]!r}: {str(repositories)!r} should hold {' or '.join(map(repr, filter(None, names)))}"
        )
    files, executable = read_folder(str(folder))
    needed, kept = _names(record["FAIL_TO_PASS"]), _names(record.get("PASS_TO_PASS") or [])
    if not needed:
        raise ValueError("FAIL_TO_PASS names no test, so that doing nothing would be right")
    own = record.get("test_cmd") or ()
    chosen = tuple(own.split()) if isinstance(own, str) else tuple(own)
    repository = Repository(
        files, executable, record.get("test_patch") or "", needed, kept, chosen or command, record.get("patch") or ""
    )
    return Problem(names[0], str(record["problem_statement"]), "", (), (), gold=repository.gold, repository=repository)


@functools.lru_cache(maxsize=64)
def read_folder(folder: str) -> tuple[Mapping[str, bytes], frozenset[str]]:
    """Regular files by path, and those that can be executed. Raises ConfigError for a folder that is too large."""
    files: dict[str, bytes] = {}
    executable, size = set(), 0
    for root, names, here in os.walk(folder):
        names[:] = sorted(name for name in names if name not in _SKIPPED)
        for name in sorted(here):
            path = Path(root, name)
            if path.is_symlink() or not path.is_file():
                continue
            relative = path.relative_to(folder).as_posix()
            files[relative] = path.read_bytes()
            size += len(files[relative])
            if os.access(path, os.X_OK):
                executable.add(relative)
            if len(files) > MOST_FILES or size > MOST_MIB * 2**20:
                raise ConfigError(
                    f"{folder!r} holds more than {MOST_FILES} files or {MOST_MIB} MiB; take away what no test needs"
                )
    return files, frozenset(executable)


def _names(data: str | Sequence[str]) -> tuple[str, ...]:
    """A list, or one as JSON text."""
    return tuple(json.loads(data) if isinstance(data, str) else data)
