"""Linux system calls that Python does not wrap: namespaces, mounts, privileges."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Iterator

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000

NOSUID, NODEV, NOEXEC, RDONLY, REMOUNT, BIND, RECURSIVE = 2, 4, 8, 1, 32, 4096, 16384
_PRIVATE, _DETACH = 1 << 18, 2

_PDEATHSIG, _SET_DUMPABLE, _SET_SECCOMP, _CAPBSET_DROP, _NO_NEW_PRIVS = 1, 4, 22, 24, 38
_CHILD_SUBREAPER = 36
_OPEN_TREE, _MOVE_MOUNT = 428, 429  # the same number on every architecture
_OPEN_TREE_CLONE, _MOVE_FROM_EMPTY_PATH = 1, 4
_AT_FDCWD = -100
_CLOSE_RANGE = 436
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_SCOPE = struct.pack("=QQQ", 0, 0, 3)  # no rule on files, none on ports; signals and abstract sockets stay inside
_LAST_CAPABILITY = 63  # dropping one that the kernel does not know fails with EINVAL and ends the loop

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


class _CapHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapData(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones. Raises OSError, as everything here does."""
    _check(_libc.unshare(flags), f"unshare {flags:#x}")


def setns(fd: int, kind: int = 0) -> None:
    """Enter the namespace behind `fd`."""
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, filesystem: str | None, flags: int = 0, data: str = "") -> None:
    """mount(2); `data` are the file system's own options."""
    kind = filesystem.encode() if filesystem else None
    result = _libc.mount(source.encode(), target.encode(), kind, flags, data.encode())
    _check(result, f"mount {filesystem or 'bind'} on {target}")


def make_private(target: str = "/") -> None:
    """Mounts made below `target` from now on stay in this mount namespace."""
    mount("none", target, None, _PRIVATE | RECURSIVE)


def unmount(target: str) -> None:
    """Detach a mount; it goes away with its last user."""
    _check(_libc.umount2(target.encode(), _DETACH), f"umount {target}")


def clone_tree(path: str) -> int:
    """A file descriptor of a detached copy of the mount at `path`, to be attached in another mount namespace."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    return _check(_libc.syscall(_OPEN_TREE, _AT_FDCWD, path.encode(), flags), f"open_tree {path}")


def attach_tree(fd: int, target: str) -> None:
    """Mount a detached tree on `target`."""
    result = _libc.syscall(_MOVE_MOUNT, fd, b"", _AT_FDCWD, target.encode(), _MOVE_FROM_EMPTY_PATH)
    _check(result, f"move_mount {target}")


def become(uid: int, gid: int) -> None:
    """Give up root for good: no groups, and real, effective and saved ids all the same."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


@contextlib.contextmanager
def acting_as(ids: tuple[int, int] | None) -> Iterator[None]:
    """Use files with this user's rights and in his name; with one's own for None."""
    if ids is not None:
        _libc.setfsgid(ids[1])
        _libc.setfsuid(ids[0])
        if _libc.setfsuid(-1) != ids[0]:
            raise OSError(errno.EPERM, f"files cannot be used as user {ids[0]}")
    try:
        yield
    finally:
        if ids is not None:
            _libc.setfsuid(os.geteuid())
            _libc.setfsgid(os.getegid())


def keep_to_oneself() -> None:
    """From now on this process and what it starts can reach no other process: not trace it, look into it or signal it.

    Needs `forbid_new_privileges` first, and Landlock as of Linux 6.12; raises OSError without.
    """
    ruleset = _check(_libc.syscall(_CREATE_RULESET, _SCOPE, len(_SCOPE), 0), "landlock_create_ruleset")
    _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def can_keep_to_oneself() -> bool:
    """Whether this kernel can do that."""
    ruleset = _libc.syscall(_CREATE_RULESET, _SCOPE, len(_SCOPE), 0)
    if ruleset >= 0:
        os.close(ruleset)
    return bool(ruleset >= 0)


def drop_capabilities() -> None:
    """No capability is left, and none can come back: the bounding set is emptied too."""
    for capability in range(_LAST_CAPABILITY + 1):
        if _libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            if ctypes.get_errno() == errno.EINVAL:
                break
            _check(-1, "prctl(PR_CAPBSET_DROP)")
    header, data = _CapHeader(0x20080522, 0), (_CapData * 2)()
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(data)), "capset")


def forbid_new_privileges() -> None:
    """From now on no execve gives privileges (setuid files do nothing)."""
    _check(_libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def set_dumpable(dumpable: bool) -> None:
    """Whether processes of the same uid may look into this one (ptrace, /proc/PID/mem)."""
    _check(_libc.prctl(_SET_DUMPABLE, int(dumpable), 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def die_with_parent(signal: int) -> None:
    """Send `signal` to this process when the process that started it is gone."""
    _check(_libc.prctl(_PDEATHSIG, signal, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def become_subreaper() -> None:
    """Orphans below this process become its children, not the first process's."""
    _check(_libc.prctl(_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")


def leave_keyring() -> None:
    """Keys of whoever started this process are not ours to hand on; without a keyring there is nothing to do."""
    _libc.syscall(250 if os.uname().machine == "x86_64" else 219, 1, None)


def set_seccomp(program: ctypes.Structure) -> None:
    """Put a filter on this thread's system calls, for good; needs `forbid_new_privileges` first."""
    _check(_libc.prctl(_SET_SECCOMP, 2, ctypes.byref(program), 0, 0), "prctl(PR_SET_SECCOMP)")


def close_from(lowest: int) -> None:
    """Close every file descriptor from `lowest` on."""
    if _libc.syscall(_CLOSE_RANGE, lowest, 0x7FFFFFFF, 0) < 0:
        os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))
