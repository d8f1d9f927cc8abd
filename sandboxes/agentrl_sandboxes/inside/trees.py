"""Whole directories: copied, archived, emptied. However deep or odd they are, that takes bounded memory and no recursion."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from agentrl_sandboxes.inside.folders import DEEPEST, Folder, Refused, in_words, open_file, write_all

if TYPE_CHECKING:
    import tarfile  # only archives pay for it


def copy_tree(source: str, target: str) -> None:
    """Copy a directory to a new one: directories, regular files, links as links, modes and times.

    Raises Refused where there is no room for it, or it goes too deep.
    """
    os.mkdir(target, 0o700)
    ahead = [(Folder(source), Folder(target))]
    names = [iter(os.listdir(ahead[0][0].fd))]
    try:
        while ahead:
            (there, here), name = ahead[-1], next(names[-1], None)
            if name is None:
                _finish(there.fd, here.fd)
                for folder in ahead.pop():
                    folder.close()
                names.pop()
            elif _copy_entry(there.fd, here.fd, name):
                if len(ahead) >= DEEPEST:
                    raise Refused(f"there are files below {DEEPEST} directories")
                ahead.append((Folder(name, there.fd), Folder(name, here.fd)))
                names.append(iter(os.listdir(ahead[-1][0].fd)))
    except OSError as error:
        raise Refused(in_words(error)) from error
    finally:
        for pair in ahead:
            for folder in pair:
                folder.close()


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


def empty(path: str) -> None:
    """Remove everything below a directory of one's own, without following links and however deep it goes."""
    top = Folder(path)
    try:
        while _empty_once(top):
            pass
    finally:
        top.close()


def _empty_once(top: Folder) -> bool:
    """Whether something is left: directories that were too deep have been moved to the top."""
    prefix = os.urandom(8).hex()
    ahead = [(top, "", _full_folders(top))]
    moved = 0
    while True:
        folder, name, full = ahead[-1]
        if full and len(ahead) < DEEPEST:
            inner = Folder(full[-1], folder.fd)
            ahead.append((inner, full.pop(), _full_folders(inner)))
            continue
        for each in full:
            with contextlib.closing(Folder(each, folder.fd)):  # moving one needs the permission to write there
                os.rename(each, f"{prefix}{moved}", src_dir_fd=folder.fd, dst_dir_fd=top.fd)
            moved += 1
        ahead.pop()
        if not ahead:
            return moved > 0
        folder.close()
        os.rmdir(name, dir_fd=ahead[-1][0].fd)


def _full_folders(folder: Folder) -> list[str]:
    """Remove what can be removed at once; the directories that are left."""
    return [name for name in os.listdir(folder.fd) if _remove(name, folder.fd)]


def _remove(name: str, parent: int) -> bool:
    """Remove a file or an empty directory; whether it is a directory that has something in it."""
    try:
        os.unlink(name, dir_fd=parent)
    except (IsADirectoryError, PermissionError):
        try:
            os.rmdir(name, dir_fd=parent)
        except OSError:
            return True
    return False


def _copy_entry(there: int, here: int, name: str) -> bool:
    """Copy one entry of a directory; whether it is a directory, of which only the name is copied."""
    info = os.stat(name, dir_fd=there, follow_symlinks=False)
    if stat.S_ISDIR(info.st_mode):
        os.mkdir(name, 0o700, dir_fd=here)
        return True
    if stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(name, dir_fd=there), name, dir_fd=here)
    elif stat.S_ISREG(info.st_mode):
        reader = open_file(name, there)
        writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=here)
        try:
            _copy_data(reader, writer)
            _finish(reader, writer)
        finally:
            os.close(reader)
            os.close(writer)
    return False  # sockets and pipes are of a process, and processes are not part of a snapshot


def _copy_data(reader: int, writer: int) -> None:
    """Only what is there: a file can be far larger than what it holds."""
    size, at = os.fstat(reader).st_size, 0
    while at < size:
        try:
            at = os.lseek(reader, at, os.SEEK_DATA)
        except OSError:  # nothing but a hole is left
            break
        end = min(os.lseek(reader, at, os.SEEK_HOLE), size)
        while at < end:
            data = os.pread(reader, min(2**20, end - at), at)
            if not data:
                return  # it was cut meanwhile
            write_all(writer, data, at)
            at += len(data)
    os.ftruncate(writer, size)


def _finish(there: int, here: int) -> None:
    """Mode and times of a copy."""
    info = os.fstat(there)
    os.fchmod(here, stat.S_IMODE(info.st_mode))
    os.utime(here, ns=(info.st_atime_ns, info.st_mtime_ns))


def _lasting(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Sockets and pipes are of a process, and processes are not part of a snapshot."""
    return info if info.isreg() or info.isdir() or info.issym() or info.islnk() else None
