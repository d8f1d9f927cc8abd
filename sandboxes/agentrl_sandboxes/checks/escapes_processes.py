"""Attempts with processes: seeing the host's, outliving the call, not dying, being too many."""

from __future__ import annotations

import time

from agentrl_sandboxes.checks.attempts import PRELUDE, Attempt, Target, program, survivors

SEE, BOMB, SIGNALS, OUTLIVE = (
    "see host processes",
    "fork bomb",
    "ignore signals",
    "setsid children that outlive the call",
)

_MANY = 100  # three times what attempts are allowed

_EVERYBODY = """
if E.get("CONTROL"):
    got = os.getpid() < 50 or sys.exit(3)  # never outside a disposable pid namespace
    victim = os.fork()
    if victim == 0:
        time.sleep(30)
        os._exit(0)
try:
    os.kill(-1, 15)
except OSError:
    pass
if E.get("CONTROL"):
    got_out(os.WIFSIGNALED(os.waitpid(victim, 0)[1]))
"""


def _canary_died(target: Target, _: object) -> bool:
    time.sleep(0.1)
    return target.canaries.process.poll() is not None


def _late(name: str, code: str) -> Attempt:
    """The call has to come back soon after its time is up."""

    def run(target: Target) -> bool:
        began = time.monotonic()
        target.sandbox().python(PRELUDE + code, env=target.canaries.env, timeout_s=0.5)
        return time.monotonic() - began > 8.0 or bool(target.canaries.survivors())

    return Attempt(SIGNALS, name, run)


def _held_open(target: Target) -> bool:
    """A child keeps the output pipe; the call must not wait for it."""
    code = """
mark()
if os.fork() == 0:
    os.setsid()
    time.sleep(2)
"""
    began = time.monotonic()
    target.sandbox().python(PRELUDE + code, env=target.canaries.env, timeout_s=10.0)
    return time.monotonic() - began > 1.6


def _bomb_that_stays(target: Target) -> bool:
    """After a bomb the sandbox works, and nothing of it is left."""
    code = """
mark()
for depth in range(6):
    try:
        os.fork()
    except OSError:
        pass
time.sleep(3)
"""
    sandbox = target.sandbox()
    sandbox.python(PRELUDE + code, env=target.canaries.env, timeout_s=1.0)
    if target.canaries.survivors():
        return True
    return not sandbox.python("print(1)", timeout_s=10.0).ok


ATTEMPTS: list[Attempt] = [
    program(
        SEE,
        "find a process of the host in /proc",
        """
for pid in (name for name in os.listdir("/proc") if name.isdigit()):
    try:
        words = open(f"/proc/{pid}/cmdline").read().split("\\0")
    except OSError:
        continue
    got_out(E["CANARY_TOKEN"] in words)
""",
    ),
    program(SEE, "send a signal to a process of the host", 'os.kill(int(E["CANARY_PID"]), 0); got_out()'),
    program(
        SEE,
        "ask the kernel about a process of the host",
        """
for ask in (os.getpgid, os.getsid, os.sched_getaffinity, lambda pid: os.getpriority(os.PRIO_PROCESS, pid)):
    try:
        ask(int(E["CANARY_PID"]))
        got_out()
    except OSError:
        pass
""",
    ),
    program(SEE, "kill everything one can", _EVERYBODY, control="disposable", check=_canary_died),
    program(
        BOMB,
        "start more processes than allowed",
        f"""
alive = 0
for _ in range({_MANY}):
    try:
        if os.fork() == 0:
            time.sleep(0.7)
            os._exit(0)
    except OSError:
        break
    alive += 1
got_out(alive >= {_MANY})
""",
    ),
    program(
        BOMB,
        "start more threads than allowed",
        f"""
import threading
for _ in range({_MANY}):
    threading.Thread(target=time.sleep, args=(0.7,), daemon=True).start()
got_out(threading.active_count() > {_MANY})
""",
    ),
    Attempt(BOMB, "leave a bomb behind", _bomb_that_stays),
    _late(
        "ignore every signal that can be ignored",
        """
import signal
mark()
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
time.sleep(6)
""",
    ),
    _late(
        "block all signals, and start again in a child",
        """
import signal
mark()
signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
if os.fork() == 0:
    for _ in range(20):
        if os.fork() > 0:
            os._exit(0)
        time.sleep(0.3)
    os._exit(0)
time.sleep(6)
""",
    ),
    _late(
        "stop oneself, with a child that goes on",
        """
import signal
mark()
if os.fork() == 0:
    os.setsid()
    time.sleep(6)
    os._exit(0)
os.kill(os.getpid(), signal.SIGSTOP)
""",
    ),
    program(
        OUTLIVE,
        "leave a child in a session of its own",
        """
mark()
if os.fork() == 0:
    os.setsid()
    for fd in range(3):
        os.close(fd)
    time.sleep(6)
""",
        check=survivors,
    ),
    program(
        OUTLIVE,
        "leave a daemon after two forks",
        """
mark()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        null = os.open("/dev/null", os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        time.sleep(6)
    os._exit(0)
""",
        check=survivors,
    ),
    Attempt(OUTLIVE, "let a child hold the output open", _held_open),
]
