"""Files in and out of a sandbox; runs inside it, as the program's own user, and follows no link."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentrl_sandboxes.inside.messages import FileEntry

if TYPE_CHECKING:
    import tarfile  # only archives pay for it

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REASONS = {
    errno.ENOENT: "missing",
    errno.ELOOP: "a link",
    errno.ENOTDIR: "a link, or not a directory on the way",
    errno.EISDIR: "a directory",
    errno.EEXIST: "there already",
    errno.ENOSPC: "no space left in the sandbox",
    errno.EFBIG: "larger than a file may be",
    errno.EACCES: "not permitted",
    errno.EPERM: "not permitted",
    errno.EROFS: "on a read-only part of the sandbox",
}


class _Refused(Exception):
    """The reason, in words, why one file is not taken."""


def put(entries: Sequence[FileEntry], payload: bytes, base: str = ".") -> dict[str, str]:
    """Write files; `entries` are [path, size, mode], contents follow each other in `payload`. Path → why not."""
    refused: dict[str, str] = {}
    start = 0
    for path, size, mode in entries:
        data = memoryview(payload)[start : start + size]
        start += size
        try:
            _write(base, path, data, mode)
        except _Refused as reason:
            refused[path] = str(reason)
        except OSError as error:
            refused[path] = _reason(error)
    return refused


def get(paths: list[str], max_bytes: int, max_files: int, base: str = ".") -> tuple[dict[str, bytes], dict[str, str]]:
    """Regular files by path, those in directories included, and path → why not for others."""
    files: dict[str, bytes] = {}
    refused: dict[str, str] = {}
    room = [max_bytes, max_files]
    for path in paths:
        try:
            parent, name = _open_parent(base, path)
        except (OSError, _Refused) as error:
            refused[path] = _reason(error) if isinstance(error, OSError) else str(error)
            continue
        _collect(parent, name, path, room, files, refused)
        os.close(parent)
    return files, refused


def send(paths: list[str], max_bytes: int, max_files: int, out: int) -> None:
    """`get`, written to `out`: one JSON line {"files": [[path, size], …], "refused": {path: why}}, then all contents."""
    files, refused = get(paths, max_bytes, max_files)
    head = {"files": [[path, len(data)] for path, data in files.items()], "refused": refused}
    _write_all(out, json.dumps(head).encode() + b"\n")
    for data in files.values():
        _write_all(out, data)


def copy_tree(source: str, target: str) -> None:
    """Copy what is below `source` into `target`: directories, regular files, links as links, modes and times."""
    for entry in os.scandir(source):
        there = os.path.join(target, entry.name)
        info = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(entry.path), there)
        elif stat.S_ISDIR(info.st_mode):
            os.mkdir(there, 0o700)
            copy_tree(entry.path, there)
        elif stat.S_ISREG(info.st_mode):
            copy_file(entry.path, there)
        else:
            continue  # sockets and pipes are of a process, and processes are not part of a snapshot
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(there, stat.S_IMODE(info.st_mode))
            os.utime(there, ns=(info.st_atime_ns, info.st_mtime_ns))


def copy_file(source: str, target: str) -> None:
    """Copy the contents of one file into a new one."""
    with open(source, "rb") as reader, open(target, "xb") as writer:
        while chunk := reader.read(2**20):
            writer.write(chunk)


def archive(folders: list[str], out: int) -> None:
    """Write a tar archive of everything below `folders`: directories, regular files and links with modes and times."""
    import tarfile  # only this pays for it

    with open(out, "wb", closefd=False) as writer, tarfile.open(fileobj=writer, mode="w|") as tar:
        for folder in folders:
            tar.add(folder, arcname=folder.lstrip("/"), filter=_lasting)


def unpack(source: int) -> None:
    """Undo `archive`, with the rights of whoever runs this."""
    import tarfile

    with open(source, "rb", closefd=False) as reader, tarfile.open(fileobj=reader, mode="r|") as tar:
        if hasattr(tarfile, "fully_trusted_filter"):
            tar.extraction_filter = tarfile.fully_trusted_filter
        tar.extractall("/")


def empty(folder: str) -> None:
    """Remove everything below a directory of one's own, without following links."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            os.chmod(entry.path, 0o700)
            empty(entry.path)
            os.rmdir(entry.path)
        else:
            os.unlink(entry.path)


def _lasting(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Sockets and pipes are of a process, and processes are not part of a snapshot."""
    return info if info.isreg() or info.isdir() or info.issym() or info.islnk() else None


def _collect(
    parent: int, name: str, path: str, room: list[int], files: dict[str, bytes], refused: dict[str, str]
) -> None:
    try:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            folder = os.open(name, _DIRECTORY, dir_fd=parent)
            for child in sorted(os.listdir(folder)):
                _collect(folder, child, os.path.normpath(f"{path}/{child}"), room, files, refused)
            os.close(folder)
        else:
            files[path] = _read(parent, name, info, room)
    except _Refused as reason:
        refused[path] = str(reason)
    except OSError as error:
        refused[path] = _reason(error)


def _read(parent: int, name: str, info: os.stat_result, room: list[int]) -> bytes:
    if stat.S_ISLNK(info.st_mode):
        raise _Refused("a link")
    if not stat.S_ISREG(info.st_mode):
        raise _Refused("not a regular file")
    if room[1] <= 0:
        raise _Refused("more files than asked for")
    # Not blocking, in case the file was changed into a pipe since it was looked at.
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _Refused("not a regular file")
        data = file.read(room[0] + 1)
    if len(data) > room[0]:
        raise _Refused("larger than asked for")
    room[0] -= len(data)
    room[1] -= 1
    return data


def _write(base: str, path: str, data: memoryview, mode: int) -> None:
    parent, name = _open_parent(base, path, create=True)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)  # replaced, never written through: it may be a link, also a hard one
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            _write_all(fd, data)
            os.fchmod(fd, mode & 0o777)
        finally:
            os.close(fd)
    finally:
        os.close(parent)


def _open_parent(base: str, path: str, create: bool = False) -> tuple[int, str]:
    """The directory that holds `path`, reached without following any link, and the last part of the path."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise _Refused("a path with '..'")
    if "\0" in path:
        raise _Refused("a path with a NUL byte")
    folder = os.open("/" if path.startswith("/") else base, _DIRECTORY)
    for part in parts[:-1]:
        inner = _descend(folder, part, create)
        os.close(folder)
        folder = inner
    return folder, parts[-1] if parts else "."


def _descend(folder: int, part: str, create: bool) -> int:
    try:
        return os.open(part, _DIRECTORY, dir_fd=folder)
    except FileNotFoundError:
        if not create:
            raise
    os.mkdir(part, 0o755, dir_fd=folder)
    return os.open(part, _DIRECTORY, dir_fd=folder)


def _write_all(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _reason(error: OSError) -> str:
    known: str | None = _REASONS.get(error.errno or 0)
    return known or os.strerror(error.errno or 0)
