"""An attempt to escape: a program or a trick, and how one sees whether it got out."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from agentrl import ExecResult, Sandbox, SandboxLimits, SandboxProvider, SandboxSpec
from agentrl_sandboxes.checks.canaries import Canaries

GOT_OUT = 77
OTHER = "talk to another sandbox"
LIMITS = SandboxLimits(
    wall_s=20, cpu_s=20, memory_mib=128, pids=32, file_mib=8, disk_mib=16, output_kib=64, flood_mib=64
)
"""Small ones, so that passing them is cheap and harmless where nothing stops it."""

PRELUDE = """
import ctypes, errno, os, socket, struct, sys, time
E, X86 = os.environ, os.uname().machine == "x86_64"
libc = ctypes.CDLL(None, use_errno=True)
def call(x86, arm, *arguments):
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in (x86 if X86 else arm, *arguments)]
    return libc.syscall(*words)
def got_out(yes=True):
    if yes:
        sys.stdout.flush()
        os._exit(77)
def supervisors():
    return {os.getppid()} if E.get("CONTROL") else {os.getppid(), 1} - {0}
def mark():
    libc.prctl(15, E["CANARY_TOKEN"][:15].encode())
"""


Control = Literal["naive", "root", "disposable"]
"""How an attempt is seen to succeed; see `Attempt`."""


@dataclass
class Target:
    """What attempts are made at: a provider, the canaries, and the sandboxes of one attempt."""

    provider: SandboxProvider
    canaries: Canaries
    _sandboxes: list[Sandbox] = field(default_factory=list)

    def sandbox(self, **limits: float) -> Sandbox:
        """A new sandbox with small limits."""
        sandbox = self.provider.create(SandboxSpec(limits=replace(LIMITS, **limits)))  # type: ignore[arg-type]
        self._sandboxes.append(sandbox)
        return sandbox

    def clear(self) -> None:
        """Close what the attempt used, and mend what it broke."""
        for sandbox in self._sandboxes:
            sandbox.close()
        self._sandboxes.clear()
        self.canaries.mend()


@dataclass(frozen=True)
class Attempt:
    """One attempt; `run` says whether it got out.

    `control` is how it is seen to succeed: "naive" in a sandbox that makes every mistake, "root" likewise but only as
    root, "disposable" in a throw-away pid namespace because it would hurt the machine.

    `channel` names what may be stated instead of closed: by a grade that has it in `channels`.
    """

    kind: str
    name: str
    run: Callable[[Target], bool]
    control: Control = "naive"
    code: str = ""
    needs: Callable[[Canaries], str] = lambda canaries: ""  # why it cannot be seen to succeed on this machine
    channel: str = ""  # what a grade that names it in `channels` says is not closed


def program(
    kind: str,
    name: str,
    code: str,
    *,
    control: Control = "naive",
    check: Callable[[Target, ExecResult], bool] | None = None,
    needs: Callable[[Canaries], str] = lambda canaries: "",
    channel: str = "",
    timeout_s: float = 10.0,
    **limits: float,
) -> Attempt:
    """An attempt that is one Python program; it says itself that it got out, unless `check` looks from outside."""

    def run(target: Target) -> bool:
        result = target.sandbox(**limits).python(PRELUDE + code, env=target.canaries.env, timeout_s=timeout_s)
        return check(target, result) if check is not None else result.exit_code == GOT_OUT

    return Attempt(kind, name, run, control, PRELUDE + code, needs, channel)


def between(name: str, first: str, second: str, *, control: Control = "naive", channel: str = "") -> Attempt:
    """One program in one sandbox, and another in a second one meanwhile, which says whether it noticed the first."""

    def run(target: Target) -> bool:
        one, two = target.sandbox(), target.sandbox()
        env = target.canaries.env
        thread = threading.Thread(target=_hold, args=(one, PRELUDE + first, env), daemon=True)
        thread.start()
        until = time.monotonic() + 3.0
        escaped = False
        while time.monotonic() < until and not escaped:
            escaped = two.python(PRELUDE + second, env=env, timeout_s=5.0).exit_code == GOT_OUT
            if not thread.is_alive():
                break
        thread.join()
        return escaped

    return Attempt(OTHER, name, run, control, channel=channel)


def _hold(sandbox: Sandbox, code: str, env: dict[str, str]) -> None:
    with contextlib.suppress(Exception):  # a stranger's sandbox may fail in any way; the other side will not see much
        sandbox.python(code, env=env, timeout_s=5.0)


@contextlib.contextmanager
def left_running(sandbox: Sandbox, code: str, env: Mapping[str, str]) -> Iterator[None]:
    """A program that goes on: in a session, or where there are none as a child that outlives its call.

    Its first process leaves at `{leave}`.
    """
    if "python_session" in sandbox.abilities:
        with sandbox.session("python", env=env) as session:
            session.run(PRELUDE + code.replace("{leave}", "raise SystemExit"), timeout_s=5.0)
            yield
    else:
        closing = "for fd in range(3): os.close(fd)\n"  # or the call would wait for it
        sandbox.python(PRELUDE + closing + code.replace("{leave}", "os._exit(0)"), env=env, timeout_s=5.0)
        yield


def within(seconds: float, action: Callable[[], object]) -> tuple[bool, object]:
    """Whether the action ended in time, and what it returned; an exception is returned, too."""
    results: list[object] = []

    def work() -> None:
        try:
            results.append(action())
        except Exception as error:  # whatever a stranger's sandbox raises is the answer that is looked at
            results.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(results), results[0] if results else None


def survivors(target: Target, _: ExecResult) -> bool:
    """Whether a process that carries the mark is still there a moment after the call."""
    return bool(target.canaries.survivors())


def folder_changed(target: Target, _: ExecResult) -> bool:
    """Whether something of the host was written."""
    return target.canaries.changed()
