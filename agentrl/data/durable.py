"""Files that survive a crash: synced writes, checksums, one writer per folder."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agentrl.errors import RecordError


@dataclass(frozen=True)
class Fingerprint:
    """What a file must still be."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Fingerprint:
        """Size and checksum of a file as it is now."""
        with path.open("rb") as file:
            return cls(os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest())


def sync_tree(folder: Path) -> None:
    """Return once every file and folder in here, the folder itself included, is on disk."""
    for path in [*folder.rglob("*"), folder]:
        if not path.is_symlink() and (path.is_file() or path.is_dir()):
            sync(path)


def sync(path: Path) -> None:
    """Return once this file, or the list of names in this folder, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move(source: Path, target: Path) -> None:
    """Rename inside one file system, on disk when this returns; a crash leaves one of the two names, never a half."""
    source.rename(target)
    sync(target.parent)
    sync(source.parent)


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn an operating system's error into a RecordError that says what was being done and what to do."""
    try:
        yield
    except OSError as error:
        raise RecordError(
            f"{doing} failed: {error}. {_ADVICE.get(error.errno or 0, 'Mend the cause')}, then go on with --resume; what was committed before is intact"
        ) from error


_ADVICE = {
    errno.ENOSPC: "The disk is full: free some space",
    errno.EDQUOT: "The disk quota is used up: free some space",
    errno.EFBIG: "The file may not grow that far: raise the limit (ulimit -f)",
    errno.EACCES: "Make the folder writable for this user",
    errno.EPERM: "Make the folder writable for this user",
    errno.EROFS: "The file system is mounted read-only: mount it writable",
}


class FolderLock:
    """At most one process writes a folder. The lock goes with its process, however that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._owner = 0

    def acquire(self) -> None:
        """Become the writer; nothing to do if this object already is. Raises RecordError if somebody else is."""
        if self._descriptor is not None and self._owner == os.getpid():
            return
        with explained(f"opening {self._path}"):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 200).decode(errors="replace") or "another process"
            os.close(descriptor)
            raise RecordError(
                f"{self._path.parent} is being written by {owner}; wait for it, stop it, or start a run of another name"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise RecordError(f"{self._path} cannot be locked: {error}; use a file system with locks") from error
        with suppress(OSError):  # who holds it is only said for the message above; a full disk may refuse it
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        self._descriptor, self._owner = descriptor, os.getpid()
        _held.add(descriptor)

    def release(self) -> None:
        """Let others write; safe twice."""
        if self._descriptor is not None and self._owner == os.getpid():
            _held.discard(self._descriptor)
            os.close(self._descriptor)
        self._descriptor = None


_held: set[int] = set()


def _drop_in_child() -> None:
    """A forked child shares the lock while it has it open, and would hold it after its parent died."""
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_drop_in_child)
