"""Files that survive a crash: synced writes, checksums, one writer per folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from agentrl.errors import RecordError

CHECKSUMS = "checksums.json"
"""In a folder that was written whole: what every other file in it must still be."""


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


def fingerprints(folder: Path) -> dict[str, Fingerprint]:
    """Of every file in a folder, by its path inside it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): Fingerprint.of(path) for path in paths}


def damage(folder: Path, files: Mapping[str, Fingerprint]) -> str:
    """What is wrong with the first file that is not what was written; empty if all are well. Stray files do not count."""
    for name, then in files.items():
        path = folder / name
        try:
            now = Fingerprint.of(path)
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"
        if now != then:
            return f"{path} is not what was committed ({now.bytes} bytes, {then.bytes} then)"
    return ""


def keep_checksums(folder: Path) -> None:
    """Write down what every file in a folder is."""
    files = {name: asdict(value) for name, value in fingerprints(folder).items()}
    (folder / CHECKSUMS).write_text(json.dumps(files, indent=1), encoding="utf-8")


def folder_damage(folder: Path, *, only: str = "") -> str:
    """`damage` by the folder's own checksums, of `only` one file if that is given; folders of earlier versions pass."""
    path = folder / CHECKSUMS
    if not path.exists():
        return ""
    try:
        files = {name: Fingerprint(**value) for name, value in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return f"{path} is damaged: {error}"
    return damage(folder, {name: then for name, then in files.items() if only in ("", name)})


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


RESUMED = "go on with --resume; what was committed before is intact"
BEGUN = "begin again; nothing was made"


@contextmanager
def explained(doing: str, *, then: str = RESUMED) -> Iterator[None]:
    """Turn an operating system's error into a RecordError that says what was being done and what to do."""
    try:
        yield
    except Timeout:
        raise  # of a lock: an OSError by name only
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "Mend the cause")
        raise RecordError(f"{doing} failed: {error}. {advice}, then {then}") from error
    except UnicodeEncodeError as error:  # of a path; what is in our files is UTF-8 everywhere
        raise RecordError(
            f"{doing} failed: this locale cannot write such a name ({error}). Set PYTHONUTF8=1, or a locale of UTF-8 "
            f"such as LC_ALL=C.UTF-8, then {then}"
        ) from error


_ADVICE = {
    errno.ENOSPC: "The disk is full: free some space",
    errno.EDQUOT: "The disk quota is used up: free some space",
    errno.EFBIG: "The file may not grow that far: raise the limit (ulimit -f)",
    errno.EACCES: "Make the folder writable for this user",
    errno.EPERM: "Make the folder writable for this user",
    errno.EROFS: "The file system is mounted read-only: mount it writable",
    errno.ENOLCK: "Use a file system with locks",
    errno.ENOSYS: "Use a file system with locks",
}


class FolderLock:
    """At most one process writes a folder. The lock goes with its process, however that ends; forked children drop it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: BaseFileLock | None = None

    @property
    def held(self) -> bool:
        """Whether this object is the writer, in this process."""
        return self._lock is not None and self._lock.is_locked

    def acquire(self) -> None:
        """Become the writer; nothing to do if this object already is. Raises RecordError if somebody else is."""
        if self.held:
            return
        lock = FileLock(  # a new one: none that a fork has copied; and no soft one, which would outlive its process
            self._path, timeout=0, mode=0o644, thread_local=False, fallback_to_soft=False, on_acquired=_sign
        )
        try:
            with explained(f"locking {self._path}"):
                lock.acquire()
        except Timeout:
            owner = self._path.read_text(encoding="utf-8", errors="replace") or "another process"
            raise RecordError(
                f"{self._path.parent} is being written by {owner}; wait for it, stop it, or start a run of another name"
            ) from None
        self._lock = lock

    def release(self) -> None:
        """Let others write; safe twice."""
        if self._lock is not None and self.held:
            self._lock.release(force=True)
        self._lock = None


def _sign(descriptor: int) -> None:
    """Who holds it is only said for the message above; a full disk may refuse it."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
