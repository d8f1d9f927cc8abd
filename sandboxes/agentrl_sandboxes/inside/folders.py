"""Directories by their descriptors: no link is followed, and nobody's missing permission is in its owner's way."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

DEEPEST = 128
"""Directories within directories that are looked at; each has a descriptor meanwhile."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking, in case the file was changed into a pipe since it was looked at, or has a lease on it.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
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


class Refused(Exception):
    """The reason, in words, why something that a program left is not taken, or is in the way."""


class Folder:
    """An open directory. Where its owner has no permission to use it, he has it until it is closed."""

    def __init__(self, name: str, parent: int | None = None) -> None:
        self._mode = -1
        try:
            self.fd = os.open(name, _DIRECTORY, dir_fd=parent)
        except PermissionError:
            self._mode = _permit(name, parent, 0o700)
            self.fd = os.open(name, _DIRECTORY, dir_fd=parent)
            return
        mode = stat.S_IMODE(os.fstat(self.fd).st_mode)
        if mode & 0o700 != 0o700:
            with contextlib.suppress(OSError):  # it is another's, or can only be read
                os.fchmod(self.fd, mode | 0o700)
                self._mode = mode

    def close(self) -> None:
        """Free it, with the permissions that it had."""
        if self._mode >= 0:
            with contextlib.suppress(OSError):  # it is another's by now
                os.fchmod(self.fd, self._mode)
        os.close(self.fd)


def open_file(name: str, parent: int) -> int:
    """A descriptor to read from, of whatever has that name and is no link."""
    try:
        return os.open(name, _FILE, dir_fd=parent)
    except PermissionError:
        mode = _permit(name, parent, 0o400)
        fd = os.open(name, _FILE, dir_fd=parent)
        os.fchmod(fd, mode)
        return fd


def write_all(fd: int, data: bytes | memoryview, at: int = 0) -> None:
    """Write all of it from this position on."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, at)
        view, at = view[count:], at + count


def in_words(error: OSError | Refused) -> str:
    """Why a file is not taken, or not written."""
    if isinstance(error, Refused):
        return str(error)
    known: str | None = _REASONS.get(error.errno or 0)
    return known or os.strerror(error.errno or 0)


def _permit(name: str, parent: int | None, more: int) -> int:
    """Give the owner a permission, never through a link; the mode that it had."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        os.chmod(f"/proc/self/fd/{handle}", mode | more)
        return mode
    finally:
        os.close(handle)
