"""Attempts to reach somebody: over any network, or another sandbox on the same machine."""

from __future__ import annotations

import socket

from agentrl_sandboxes.checks.attempts import Attempt, between, program
from agentrl_sandboxes.checks.canaries import Canaries

NETWORK = "reach any network"


def _no_vsock(canaries: Canaries) -> str:
    try:
        socket.socket(40, socket.SOCK_STREAM).close()
    except OSError as error:
        return f"this kernel has no vsock sockets ({error})"
    return ""


_HOLD = "\ntime.sleep(0.5)"
_SHARED = """
def shared():
    for path in ("/usr/bin/env", "/usr/lib/os-release", "/bin/sh", "/etc/passwd", "/etc/hostname"):
        if os.path.isfile(path):
            yield path
"""

ATTEMPTS: list[Attempt] = [
    program(
        NETWORK,
        "connect to a server on the host's loopback",
        'socket.create_connection(("127.0.0.1", int(E["CANARY_TCP"])), 2); got_out()',
    ),
    program(
        NETWORK,
        "connect to the host by its address",
        'socket.create_connection((E["CANARY_ADDRESS"], int(E["CANARY_ANYWHERE"])), 2); got_out()',
        needs=lambda canaries: (
            "" if canaries.env["CANARY_ADDRESS"] else "this machine has no address but the loopback's"
        ),
    ),
    program(
        NETWORK,
        "send a datagram to the host",
        """
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"hello", ("127.0.0.1", int(E["CANARY_UDP"])))
time.sleep(0.3)
""",
        check=lambda target, result: "udp" in target.canaries.heard,
    ),
    program(
        NETWORK,
        "connect to a unix socket of the host",
        'socket.socket(socket.AF_UNIX).connect(E["CANARY_FOLDER"] + "/unix"); got_out()',
    ),
    program(
        NETWORK,
        "connect to an abstract unix socket of the host",
        'socket.socket(socket.AF_UNIX).connect("\\0" + E["CANARY_TOKEN"]); got_out()',
    ),
    program(
        NETWORK,
        "open a vsock socket",
        "got_out(socket.socket(40, socket.SOCK_STREAM))",
        needs=_no_vsock,
    ),
    program(
        NETWORK,
        "open a raw socket on the link",
        "got_out(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300))",
        control="root",
    ),
    program(
        NETWORK,
        "see interfaces of the host",
        """
seen = open("/proc/net/dev").read() + " ".join(name for _, name in socket.if_nameindex())
got_out(any(name in seen for name in E["CANARY_INTERFACES"].split()))
""",
        needs=lambda canaries: (
            "" if canaries.env["CANARY_INTERFACES"] else "this machine has no interface but the loopback"
        ),
    ),
    program(NETWORK, "talk to the kernel's routing tables", "got_out(socket.socket(16, socket.SOCK_RAW, 0))"),
    between(
        "lock a file of the system that both see",
        _SHARED
        + "import fcntl\nheld = [open(path) for path in shared()]\n[fcntl.flock(f, fcntl.LOCK_EX) for f in held]"
        + _HOLD,
        _SHARED
        + """
import fcntl
for path in shared():
    try:
        fcntl.flock(open(path), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        got_out()
    except OSError:
        pass
""",
    ),
    between(
        "put a record lock on a file of the system",
        _SHARED
        + "import fcntl\nheld = [open(path) for path in shared()]\n[fcntl.lockf(f, fcntl.LOCK_SH) for f in held]"
        + _HOLD,
        _SHARED
        + """
import fcntl
for path in shared():
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
    try:
        told = struct.unpack("hhqqi4x", fcntl.fcntl(open(path), fcntl.F_GETLK, asked))
    except OSError:
        continue
    got_out(told[0] != fcntl.F_UNLCK)
""",
    ),
    between(
        "listen on an abstract unix socket",
        's = socket.socket(socket.AF_UNIX)\ns.bind("\\0two" + E["CANARY_TOKEN"])\ns.listen()' + _HOLD,
        'socket.socket(socket.AF_UNIX).connect("\\0two" + E["CANARY_TOKEN"]); got_out()',
    ),
    between(
        "listen on the loopback",
        's = socket.socket()\ns.bind(("127.0.0.1", 47113))\ns.listen()' + _HOLD,
        'socket.create_connection(("127.0.0.1", 47113), 1); got_out()',
    ),
    between(
        "leave a file in a shared folder",
        """
places = ["/tmp", "/var/tmp", "/dev/shm", "/run", "/usr", "/home", "/dev"]
made = []
for place in places:
    try:
        open(f"{place}/two{E['CANARY_TOKEN']}", "w").write("hello")
        made.append(place)
    except OSError:
        pass
time.sleep(0.5)
for place in made:
    os.unlink(f"{place}/two{E['CANARY_TOKEN']}")
""",
        """
for place in ("/tmp", "/var/tmp", "/dev/shm", "/run", "/usr", "/home", "/dev"):
    got_out(os.path.exists(f"{place}/two{E['CANARY_TOKEN']}"))
""",
    ),
    between(
        "watch a file of the system being opened",
        _SHARED
        + "until = time.time() + 0.6\nwhile time.time() < until:\n    [open(path).close() for path in shared()]",
        _SHARED
        + """
fd = libc.inotify_init1(os.O_NONBLOCK)
for path in shared():
    libc.inotify_add_watch(fd, path.encode(), 0x20)
time.sleep(0.3)
got_out(fd >= 0 and len(os.read(fd, 4096)) > 0)
""",
    ),
    between(
        "leave a message queue",
        """
queue = libc.msgget(0x7A7A, 0o1666)
time.sleep(0.5)
libc.msgctl(queue, 0, 0)
""",
        "got_out(libc.msgget(0x7A7A, 0) >= 0)",
    ),
    between(
        "see the other's processes",
        "mark()" + _HOLD,
        """
for pid in (name for name in os.listdir("/proc") if name.isdigit()):
    try:
        got_out(open(f"/proc/{pid}/comm").read().strip() == E["CANARY_TOKEN"][:15])
    except OSError:
        pass
""",
    ),
]
