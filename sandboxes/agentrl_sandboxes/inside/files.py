"""Files in and out of a sandbox, with the rights of its programs and never more.

Reading has bounds of its own, and follows no link: a program may have left anything there, and may go on changing it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from agentrl_sandboxes.inside.folders import DEEPEST, Folder, Refused, in_words, open_file, write_all
from agentrl_sandboxes.inside.messages import FileAnswer, FileEntry, Task

_NAMES = 2**22  # characters of all paths of one reading
_BATCH = 2**20  # bytes of contents, or of names, that are sent together
_UNKNOWN = 2**16  # bytes that are looked for where a size does not say how much there is

Send = Callable[[FileAnswer, bytes], None]
"""Takes an answer and the contents of its files."""


class Places(NamedTuple):
    """Where paths lead: as this process sees them, or for a worker, which looks from outside, by `writable` and `root`."""

    workspace: str
    writable: dict[str, str] | None = None  # what a program may write to → where that is for this process
    root: str = "/"  # where every other absolute path begins


def serve(places: Places, task: Task, payload: bytes, send: Send) -> None:
    """Do what `task` says, putting or getting; the last answer says `end`, so that one knows that it came to its end."""
    if "files" in task:
        send({"refused": put(places, task["files"], payload)}, b"")
    else:
        reading = Reading(task["max_bytes"], task["max_files"])
        _send_batches(reading.files(places, task["paths"]), send)
        _send_refused(reading.refused, send)
    send({"end": True}, b"")


def put(places: Places, entries: Sequence[FileEntry], payload: bytes) -> dict[str, str]:
    """Write files; `entries` are [path, size, mode], contents follow each other in `payload`. Path → why not."""
    refused: dict[str, str] = {}
    start = 0
    for path, size, mode in entries:
        data = memoryview(payload)[start : start + size]
        start += size
        try:
            _write(places, path, data, mode)
        except (OSError, Refused) as error:
            refused[path] = in_words(error)
    return refused


class Reading:
    """One reading of regular files: how much more may be taken, and path → why not for what was not."""

    def __init__(self, max_bytes: int, max_files: int) -> None:
        self.refused: dict[str, str] = {}
        self._bytes, self._files = max_bytes, max_files
        self._entries, self._names = 4 * max_files + 1000, _NAMES
        self._open: list[tuple[Folder, Iterator[str], str]] = []  # the directories that it is in

    def files(self, places: Places, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Path and contents of each, those in directories included."""
        for path in paths:
            try:
                folder, name = _parent(places, path)
            except (OSError, Refused) as error:
                self.refused[path] = in_words(error)
                continue
            try:
                yield from self._walk(folder, name, path)
            finally:
                for inner, _, _ in self._open:
                    inner.close()
                self._open.clear()
                folder.close()

    def _walk(self, folder: Folder, name: str, path: str) -> Iterator[tuple[str, bytes]]:
        data = self._look(folder, name, path)
        if data is not None:
            yield path, data
        while self._open:
            inner, names, where = self._open[-1]
            child = next(names, None)
            if child is None:
                self._open.pop()[0].close()
                continue
            at = os.path.normpath(f"{where}/{child}")
            self._entries -= 1
            self._names -= len(at)
            if min(self._entries, self._names) < 0:
                self.refused[where] = "more than is looked at"
                return
            data = self._look(inner, child, at)
            if data is not None:
                yield at, data

    def _look(self, folder: Folder, name: str, path: str) -> bytes | None:
        """The contents of a file; a directory is entered."""
        try:
            info = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
            if not stat.S_ISDIR(info.st_mode):
                return self._read(folder, name, info)
            if len(self._open) >= DEEPEST:
                raise Refused(f"deeper than {DEEPEST} directories")
            inner = Folder(name, folder.fd)
            self._open.append((inner, iter(sorted(os.listdir(inner.fd))), path))
        except (OSError, Refused) as error:
            self.refused[path] = in_words(error)
        return None

    def _read(self, folder: Folder, name: str, info: os.stat_result) -> bytes:
        if stat.S_ISLNK(info.st_mode):
            raise Refused("a link")
        if not stat.S_ISREG(info.st_mode):
            raise Refused("not a regular file")
        if self._files <= 0:
            raise Refused("more files than asked for")
        if info.st_size > self._bytes:
            raise Refused("larger than asked for")
        with os.fdopen(open_file(name, folder.fd), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Refused("not a regular file")
            data = file.read(min(self._bytes, max(info.st_size, _UNKNOWN)) + 1)
        if len(data) > self._bytes:
            raise Refused("larger than asked for")
        self._bytes -= len(data)
        self._files -= 1
        return data


def _write(places: Places, path: str, data: memoryview, mode: int) -> None:
    folder, name = _parent(places, path, create=True)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder.fd)  # replaced, never written through: it may be a link, also a hard one
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=folder.fd)
        try:
            write_all(fd, data)
            os.fchmod(fd, mode & 0o777)
        finally:
            os.close(fd)
    finally:
        folder.close()


def _parent(places: Places, path: str, create: bool = False) -> tuple[Folder, str]:
    """The directory that holds `path`, reached without following any link, and the last part of the path."""
    start, parts = _locate(places, path, create)
    folder = Folder(start)
    for part in parts[:-1]:
        try:
            inner = _descend(folder, part, create)
        finally:
            folder.close()
        folder = inner
    return folder, parts[-1] if parts else "."


def _locate(places: Places, path: str, to_write: bool) -> tuple[str, list[str]]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Refused("a path with '..'")
    if "\0" in path:
        raise Refused("a path with a NUL byte")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise Refused("a path that no file can have") from None
    if not path.startswith("/"):
        return places.workspace, parts
    for folder, where in (places.writable or {}).items():
        own = folder.strip("/").split("/")
        if parts[: len(own)] == own:
            return where, parts[len(own) :]
    if to_write and places.writable is not None:
        raise Refused("on a read-only part of the sandbox")
    return places.root, parts


def _descend(folder: Folder, part: str, create: bool) -> Folder:
    try:
        return Folder(part, folder.fd)
    except FileNotFoundError:
        if not create:
            raise
    os.mkdir(part, 0o755, dir_fd=folder.fd)
    return Folder(part, folder.fd)


def _send_batches(files: Iterator[tuple[str, bytes]], send: Send) -> None:
    index: list[tuple[str, int]] = []
    contents: list[bytes] = []
    weight = 0
    for path, data in files:
        index.append((path, len(data)))
        contents.append(data)
        weight += len(path) + len(data)
        if weight > _BATCH:
            send({"files": index}, b"".join(contents))
            index, contents, weight = [], [], 0
    send({"files": index}, b"".join(contents))


def _send_refused(refused: dict[str, str], send: Send) -> None:
    batch: dict[str, str] = {}
    weight = 0
    for path, reason in refused.items():
        batch[path] = reason
        weight += len(path) + len(reason)
        if weight > _BATCH:
            send({"refused": batch}, b"")
            batch, weight = {}, 0
    send({"refused": batch}, b"")
