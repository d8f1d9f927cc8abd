"""What is made once: values that all worlds of a process share, and folders that all processes do."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import agentrl

_Arguments = ParamSpec("_Arguments")
_Made = TypeVar("_Made")
_LOCK = threading.RLock()


def shared(most: int) -> Callable[[Callable[_Arguments, _Made]], Callable[_Arguments, _Made]]:
    """A decorator: equal arguments give the same object, however many threads ask; the last `most` are kept."""

    def decorate(make: Callable[_Arguments, _Made]) -> Callable[_Arguments, _Made]:
        cached = functools.lru_cache(maxsize=most)(make)

        @functools.wraps(make)
        def open_shared(*args: _Arguments.args, **settings: _Arguments.kwargs) -> _Made:
            with _LOCK:
                return cached(*args, **settings)  # type: ignore[arg-type]  # whoever calls gives what can be hashed

        return open_shared

    return decorate


def cache_folder(world: str, name: str, root: Path | None = None) -> Path:
    """The folder of something of a world: below `root`, or else below the user's cache."""
    return (root or _users_cache() / "agentrl" / world) / name


def _users_cache() -> Path:
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache)
    try:
        return Path.home() / ".cache"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"


def filled(folder: Path, fill: Callable[[Path], None]) -> Path:
    """The folder, which `fill` has filled. It is made aside and renamed, and of several processes the first one wins.

    Raises EnvironmentFault where it cannot be written.
    """
    if folder.is_dir():
        return folder
    work = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
        work.chmod(0o755)
        fill(work)
        work.rename(folder)
    except OSError as error:
        if not folder.is_dir():
            raise agentrl.EnvironmentFault(
                f"nothing can be kept in {folder}: {error}. Give a folder with room: cache = …"
            ) from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
    return folder
