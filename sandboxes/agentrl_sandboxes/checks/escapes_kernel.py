"""Attempts at the kernel's dangerous parts: tracing, mounting, namespaces, io_uring."""

from agentrl_sandboxes.checks.attempts import Attempt, program

PTRACE, MOUNT, USER_NAMESPACE, IO_URING = "ptrace", "mount", "new user namespaces", "io_uring"

_CLONE_ARGUMENTS = """
def clone_flags(flags):
    if X86:
        return libc.syscall(56, flags | 17, 0, 0, 0, 0)
    return libc.syscall(220, flags | 17, 0, 0, 0, 0)
def in_child(pid):
    if pid == 0:
        os._exit(0)
    if pid > 0:
        os.waitpid(pid, 0)
        got_out()
"""

ATTEMPTS: list[Attempt] = [
    program(PTRACE, "ask to be traced", "got_out(call(101, 117, 0, 0, 0, 0) == 0)"),
    program(
        PTRACE,
        "attach to a child",
        """
pid = os.fork()
if pid == 0:
    time.sleep(0.4)
    os._exit(0)
got_out(call(101, 117, 0x4206, pid, 0, 0) == 0)
""",
    ),
    program(
        PTRACE,
        "read the memory of another process with process_vm_readv",
        """
buffer = ctypes.create_string_buffer(b"x" * 8)
pid = os.fork()
if pid == 0:
    time.sleep(0.4)
    os._exit(0)
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
there = Vector(ctypes.addressof(buffer), 8)
copy = ctypes.create_string_buffer(8)
here = Vector(ctypes.addressof(copy), 8)
got_out(call(310, 270, pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) == 8)
""",
    ),
    program(
        PTRACE,
        "open the memory of the supervisor",
        """
for pid in supervisors():
    for mode in (os.O_RDWR, os.O_RDONLY):
        try:
            os.open(f"/proc/{pid}/mem", mode)
            got_out()
        except OSError:
            pass
""",
        control="root",
    ),
    program(
        PTRACE,
        "take a descriptor of the supervisor with pidfd_getfd",
        """
for pid in supervisors():
    held = call(434, 434, pid, 0)
    for fd in range(0, 64):
        got_out(held >= 0 and call(438, 438, held, fd, 0) >= 0)
""",
        control="root",
    ),
    program(
        PTRACE,
        "lower the limits of the supervisor",
        """
import resource
for pid in supervisors():
    try:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, resource.prlimit(pid, resource.RLIMIT_NOFILE))
        got_out()
    except (OSError, ValueError):
        pass
""",
        control="root",
    ),
    program(
        MOUNT,
        "mount a file system",
        """
import tempfile
where = tempfile.mkdtemp()
if libc.mount(b"tmpfs", where.encode(), b"tmpfs", 0, None) == 0:
    libc.umount2(where.encode(), 2)
    os.rmdir(where)
    got_out()
""",
        control="root",
    ),
    program(MOUNT, "mount with the newer calls", 'got_out(call(430, 430, b"tmpfs", 0) >= 0)', control="root"),
    program(MOUNT, "change the root", 'os.chroot("/"); got_out()', control="root"),
    program(
        MOUNT,
        "enter a namespace again",
        'got_out(libc.setns(os.open("/proc/self/ns/uts", os.O_RDONLY), 0) == 0)',
        control="root",
    ),
    program(USER_NAMESPACE, "unshare a user namespace", "got_out(libc.unshare(0x10000000) == 0)"),
    program(
        USER_NAMESPACE,
        "unshare one together with everything else",
        "got_out(libc.unshare(0x10000000 | 0x00020000 | 0x40000000) == 0)",
    ),
    program(USER_NAMESPACE, "clone into a user namespace", _CLONE_ARGUMENTS + "in_child(clone_flags(0x10000000))"),
    program(
        USER_NAMESPACE,
        "clone3 into a user namespace",
        """
arguments = struct.pack("11Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)
pid = call(435, 435, ctypes.create_string_buffer(arguments, len(arguments)), len(arguments))
if pid == 0:
    os._exit(0)
if pid > 0:
    os.waitpid(pid, 0)
    got_out()
""",
    ),
    program(
        IO_URING,
        "set up a ring",
        "got_out(call(425, 425, 8, ctypes.create_string_buffer(120)) >= 0)",
    ),
    program(
        IO_URING,
        "reach the calls on a ring",
        """
call(427, 427, 1000, 0, 0, 0)
got_out(ctypes.get_errno() == errno.EBADF)
""",
    ),
]
