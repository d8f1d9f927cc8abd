"""Attempts to reach another sandbox through what the kernel has only one of: device files, namespaces, pages of files."""

from agentrl_sandboxes.checks.attempts import OTHER, Attempt, between, program
from agentrl_sandboxes.supervised.channels import DEVICES, NAMELESS, NAMESPACES, PAGES, TERMINALS

_HOLD = "\ntime.sleep(0.5)"
_DEVICE_FILES = """
import fcntl
def opened(mode=os.O_RDONLY):
    for path in ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"):
        try:
            yield os.open(path, mode)
        except OSError:
            pass
"""
_PROC_FILES = """
import fcntl
def opened(mode=os.O_RDONLY):
    for name in ("version", "uptime", "cpuinfo", "filesystems", "kcore", "keys", "timer_list", "sched_debug"):
        try:
            yield os.open(f"/proc/{name}", mode)
        except OSError:
            pass
"""
_NAMESPACE_FILES = """
import fcntl
def opened(mode=os.O_RDONLY):
    for name in os.listdir("/proc/self/ns"):
        try:
            yield os.open(f"/proc/self/ns/{name}", mode)
        except OSError:
            pass
"""
_NAMELESS_FILES = """
import fcntl, select
keep = select.epoll()
def opened(mode=os.O_RDONLY):
    yield keep.fileno()
    yield call(290, 19, 0, 0)
"""
_LOCK = """
for fd in opened():
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pass
"""
_TRY_LOCK = """
for fd in opened():
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_UN)  # two names may be one file
    except BlockingIOError:
        got_out()
    except OSError:
        pass
"""
_RECORD_LOCK = """
for fd in opened(os.O_RDWR):
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX)
    except OSError:
        pass
"""
_TRY_RECORD_LOCK = """
for fd in opened(os.O_RDWR):
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        got_out(error.errno in (errno.EAGAIN, errno.EACCES))
    except OSError:
        pass
"""
_OPEN_FILE_LOCK = """
held = list(opened(os.O_RDWR))
for fd in held:
    try:
        fcntl.fcntl(fd, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
    except OSError:
        pass
"""
_TRY_OPEN_FILE_LOCK = """
for fd in opened(os.O_RDWR):
    try:
        told = struct.unpack("hhqqi4x", fcntl.fcntl(fd, 36, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)))
    except OSError:
        continue
    got_out(told[0] != fcntl.F_UNLCK)
"""
_WATCH = """
fd = libc.inotify_init1(os.O_NONBLOCK)
for path in {paths}:
    libc.inotify_add_watch(fd, path.encode(), {events})
time.sleep(0.3)
got_out(fd >= 0 and len(os.read(fd, 4096)) > 0)
"""
_DEVICE_NAMES = '("/dev/null", "/dev/zero", "/dev/full", "/dev/urandom")'
_FUTEX = """
import mmap
path = next(path for path in ("/usr/bin/env", "/bin/sh") if os.path.isfile(path))
page = mmap.mmap(os.open(path, os.O_RDONLY), 4096, prot=mmap.PROT_READ)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
word = libc.mmap(None, 4096, 1, 1, os.open(path, os.O_RDONLY), 0)
value = struct.unpack("=I", page[:4])[0]
"""

ATTEMPTS: list[Attempt] = [
    between(
        "lock a device file",
        _DEVICE_FILES + _LOCK.replace("opened()", "list(opened())") + _HOLD,
        _DEVICE_FILES + _TRY_LOCK,
        channel=DEVICES,
    ),
    between(
        "put a record lock on a device file",
        _DEVICE_FILES + "held = list(opened(os.O_RDWR))\nopened = lambda mode: held\n" + _RECORD_LOCK + _HOLD,
        _DEVICE_FILES + _TRY_RECORD_LOCK,
        channel=DEVICES,
    ),
    between(
        "put a lock of an open file on a device file",
        _DEVICE_FILES + _OPEN_FILE_LOCK + _HOLD,
        _DEVICE_FILES + _TRY_OPEN_FILE_LOCK,
        channel=DEVICES,
    ),
    between(
        "watch a device file being opened",
        f"until = time.time() + 0.6\nwhile time.time() < until:\n    [open(path).close() for path in {_DEVICE_NAMES}]",
        _WATCH.format(paths=_DEVICE_NAMES, events="0x20"),
        channel=DEVICES,
    ),
    between(
        "watch a device file being written to",
        "until = time.time() + 0.6\nfd = os.open('/dev/null', os.O_WRONLY)\nwhile time.time() < until:\n    os.write(fd, b'x')",
        _WATCH.format(paths='("/dev/null",)', events="2"),
        channel=DEVICES,
    ),
    between(
        "lock a file of /proc, masked or not",
        _PROC_FILES + _LOCK.replace("opened()", "list(opened())") + _HOLD,
        _PROC_FILES + _TRY_LOCK,
    ),
    between(
        "lock a file of a namespace",
        _NAMESPACE_FILES + _LOCK.replace("opened()", "list(opened())") + _HOLD,
        _NAMESPACE_FILES + _TRY_LOCK,
        channel=NAMESPACES,
    ),
    between(
        "lock a file that has no name",
        _NAMELESS_FILES + _LOCK.replace("opened()", "list(opened())") + _HOLD,
        _NAMELESS_FILES + _TRY_LOCK,
        channel=NAMELESS,
    ),
    between(
        "wait for a futex on a page of a system file",
        _FUTEX
        + "libc.syscall(202 if X86 else 98, ctypes.c_void_p(word), 0, value, ctypes.byref((ctypes.c_long * 2)(1, 0)), 0, 0)",
        _FUTEX + "got_out(libc.syscall(202 if X86 else 98, ctypes.c_void_p(word), 1, 10, 0, 0, 0) > 0)",
        channel=PAGES,
    ),
    program(
        OTHER,
        "take more terminals than one's share, of which there are few for all",
        """
held = []
try:
    for _ in range(100):
        held.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
except OSError:
    pass
got_out(len(held) == 100)
""",
        channel=TERMINALS,
    ),
]
