"""Attempts of a program that was left running: at programs that the caller runs later in the same sandbox."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from agentrl import AgentRLError, ExecResult, Sandbox
from agentrl_sandboxes.checks.attempts import Attempt, Target, left_running
from agentrl_sandboxes.supervised.channels import LATER_RUNS

LATER = "reach into a later run"

_WATCHER = """
mark()
known = {name for name in os.listdir("/proc") if name.isdigit()}
if os.fork():
    {leave}
os.setsid()
os.environ["LEFT"] = "1"
def attack(pid):
{attack}
until = time.time() + 5
while time.time() < until:
    for pid in [name for name in os.listdir("/proc") if name.isdigit() and name not in known]:
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read()
            if b"# hon" b"est" in words and b"python" in words.split(b"\\0")[0]:
                attack(pid)
        except (OSError, ValueError):
            pass
os._exit(0)
"""
_HONEST = [
    "python3",
    "-S",
    "-c",
    "import time  # honest\nword = bytearray(b'the right ') + b'answer'\ntime.sleep(0.6)\nprint(word.decode())",
]


def _attack(name: str, attack: str, got_out: Callable[[ExecResult, Sandbox], bool]) -> Attempt:
    body = "".join(f"    {line}\n" for line in attack.strip().split("\n"))

    def run(target: Target) -> bool:
        sandbox, env = target.sandbox(), target.canaries.env
        code = _WATCHER.replace("{attack}", body)
        with left_running(sandbox, code, env):
            result = sandbox.exec(_HONEST, env={"HONEST": "secret"}, stdin=b"hidden test", timeout_s=8.0)
            return got_out(result, sandbox)

    return Attempt(LATER, name, run, channel=LATER_RUNS)


def _wrote_into(result: ExecResult, _: Sandbox) -> bool:
    return b"forged" in result.stdout.head


def _not_as_it_was(result: ExecResult, _: Sandbox) -> bool:
    return result.exit_code != 0 or b"the right answer" not in result.stdout.head


def _learned(result: ExecResult, sandbox: Sandbox) -> bool:
    with contextlib.suppress(AgentRLError, OSError):  # nothing was learned
        return any(word in sandbox.get("learned") for word in (b"secret", b"hidden"))
    return False


ATTEMPTS: list[Attempt] = [
    _attack("write into its output", 'os.write(os.open(f"/proc/{pid}/fd/1", os.O_WRONLY), b"forged\\n")', _wrote_into),
    _attack(
        "change what it computes",
        """
for line in open(f"/proc/{pid}/maps"):
    area, rights = line.split()[:2]
    start, end = (int(x, 16) for x in area.split("-"))
    if rights.startswith("rw") and end - start < 2**26:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDWR)
        try:
            at = os.pread(memory, end - start, start).find(b"the right ")
        except OSError:
            continue
        while at >= 0:
            os.pwrite(memory, b"forged    ", start + at)
            at = os.pread(memory, end - start, start).find(b"the right ")
""",
        _wrote_into,
    ),
    _attack("end it", "os.kill(int(pid), 15)", _not_as_it_was),
    _attack("stop it", "os.kill(int(pid), 19)", _not_as_it_was),
    _attack(
        "end whatever supervises it",
        """
parent = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
if parent > 1 and parent != os.getpid():
    os.kill(parent, 9)
""",
        lambda result, sandbox: result.status not in ("exited", "timeout") or _not_as_it_was(result, sandbox),
    ),
    _attack(
        "read what it was given in its environment",
        'open("learned", "ab").write(open(f"/proc/{pid}/environ", "rb").read())',
        _learned,
    ),
    _attack(
        "take its input away",
        'open("learned", "ab").write(os.read(os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK), 100))',
        _learned,
    ),
]
