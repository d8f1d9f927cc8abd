"""Attempts to use more than allowed: memory, disk, output."""

from __future__ import annotations

from agentrl import ExecResult
from agentrl_sandboxes.checks.attempts import LIMITS, Attempt, Target, program

MEMORY, DISK, FLOOD = "memory bomb", "disk bomb", "output flood of 1 GB"

_MUCH_MIB = 200  # well above what attempts are allowed, supervisors and all
_HOLD = "\ntime.sleep(0.4)\ngot_out()\n"


def _kept_too_much(_: Target, result: ExecResult) -> bool:
    kept = sum(len(part) for stream in (result.stdout, result.stderr) for part in (stream.head, stream.tail))
    return kept > 2.2 * LIMITS.output_kib * 1024


def _fill(folder: str) -> str:
    return f"""
chunk, written = b"x" * 2**20, 0
os.makedirs({folder!r}, exist_ok=True)
def clear():
    for name in os.listdir({folder!r}):
        if name.startswith(E["CANARY_TOKEN"]):
            os.unlink({folder!r} + "/" + name)
try:
    for number in range(60):
        with open({folder!r} + f"/{{E['CANARY_TOKEN']}}{{number}}", "wb") as file:
            file.write(chunk)
            written += 1
except OSError:
    pass
if E.get("CONTROL"):
    clear()
got_out(written >= 60)
"""


_FLOOD = """
chunk, left = b"x" * 2**20, int(E.get("FLOOD_MIB", 64 if E.get("CONTROL") else 1000))
while left:
    {writes}
    left -= 1
"""

ATTEMPTS: list[Attempt] = [
    program(MEMORY, "fill one large block", f"block = bytearray(b'x') * ({_MUCH_MIB} * 2**20)" + _HOLD),
    program(
        MEMORY,
        "fill memory that is shared between processes",
        f"""
import mmap
block = mmap.mmap(-1, {_MUCH_MIB} * 2**20)
for start in range(0, len(block), 4096):
    block[start] = 1
"""
        + _HOLD,
    ),
    program(
        MEMORY,
        "fill a little in each of many processes",
        f"""
children = []
for _ in range(16):
    pid = os.fork()
    if pid == 0:
        block = bytearray(b"x") * ({_MUCH_MIB} * 2**20 // 16)
        time.sleep(0.8)
        os._exit(0)
    children.append(pid)
got_out(all(os.waitpid(pid, 0)[1] == 0 for pid in children))
""",
    ),
    program(
        MEMORY,
        "fill files that have no name",
        f"""
fds = []
for _ in range({_MUCH_MIB} // 4):
    fds.append(os.memfd_create("x"))
    os.write(fds[-1], b"x" * 4 * 2**20)
"""
        + _HOLD,
    ),
    program(DISK, "write one large file", 'open("large", "wb").write(b"x" * 2**20 * 60)\ngot_out()'),
    program(DISK, "write many files into the workspace", _fill(".")),
    program(DISK, "write many files into /tmp", _fill("/tmp")),
    program(DISK, "write many files into shared memory", _fill("/dev/shm")),
    program(
        DISK,
        "make a great many empty files",
        """
made = 0
try:
    os.mkdir("many")
    for number in range(4_500):
        os.close(os.open(f"many/{number}", os.O_CREAT | os.O_WRONLY))
        made += 1
except OSError:
    pass
got_out(made == 4_500)
""",
    ),
    program(FLOOD, "write 1 GB to standard output", _FLOOD.format(writes="os.write(1, chunk)"), check=_kept_too_much),
    program(
        FLOOD,
        "write 1 GB to both streams, where that much is allowed",
        _FLOOD.format(writes="os.write(2, chunk[: 2**19]); os.write(1, chunk[: 2**19])"),
        check=lambda target, result: _kept_too_much(target, result) or result.status == "timeout",
        flood_mib=4000,
        timeout_s=20.0,
    ),
]
