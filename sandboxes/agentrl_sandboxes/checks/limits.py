"""Limits: time, memory, processes and output, each reached on purpose."""

from __future__ import annotations

import time

from agentrl import SandboxProvider, require
from agentrl_sandboxes.checks.common import SMALL, Check, need_limits, small_sandbox, text_of


def a_time_out_ends_the_run_and_nothing_else(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        sandbox.put("kept", b"x")
        began = time.monotonic()
        asleep, busy = sandbox.exec(["sleep", "30"], timeout_s=0.3), sandbox.python("while 1: pass", timeout_s=0.3)
        for result in (asleep, busy):
            require(result.status == "timeout" and result.exit_code is None, f"seen: {result}")
        require(time.monotonic() - began < 10, "time-outs of 0.3 s took over 10 s")
        require(sandbox.get("kept") == b"x" and sandbox.exec("true").ok, "the sandbox cannot be used after a time-out")


def output_before_a_time_out_is_kept(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        result = sandbox.exec("echo before; sleep 30", timeout_s=0.5)
        require((result.status, text_of(result)) == ("timeout", "before\n"), f"seen: {result}")


def cpu_time_is_limited(provider: SandboxProvider) -> str | None:
    with small_sandbox(provider) as sandbox:
        need_limits(sandbox)
        result = sandbox.python("while 1: pass")
        require(result.status in ("timeout", "signalled"), f"seen: {result}")
        return f"{result.status} after {result.usage.wall_s:.1f} s"


def memory_is_limited(provider: SandboxProvider) -> str | None:
    with small_sandbox(provider) as sandbox:
        need_limits(sandbox)
        result = sandbox.python("x = []\nwhile 1: x.append(b'x' * 2**20)")
        require(result.status == "out_of_memory", f"seen: {result}")
        require(sandbox.python("print(1)").ok, "the sandbox cannot be used after it ran out of memory")
        return None


def processes_are_limited(provider: SandboxProvider) -> str | None:
    with small_sandbox(provider) as sandbox:
        need_limits(sandbox)
        result = sandbox.python("import os, time\nfor _ in range(60):\n  if os.fork() == 0: time.sleep(2); os._exit(0)")
        require(result.status == "too_many_processes", f"seen: {result}")
        require(sandbox.python("print(1)").ok, "the sandbox cannot be used after a fork bomb")
        return f"{result.processes_killed} killed"


def what_is_left_over_is_killed_and_counted(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        need_limits(sandbox)
        result = sandbox.exec("for i in 1 2 3; do setsid sleep 60 & done; exit 0")
        require(result.ok and result.processes_killed == 3, f"3 processes were left, seen: {result}")


def output_keeps_head_and_tail(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        stream = sandbox.python("print('begin', 'x' * 10**6, 'end', sep='')").stdout
        kept = len(stream.head) + len(stream.tail)
        require(stream.total == 10**6 + 9, f"{stream.total} bytes counted, 1000009 written")
        require(kept <= SMALL.output_kib * 1024 and stream.missing == stream.total - kept, f"{kept} bytes kept")
        require(stream.head.startswith(b"begin") and stream.tail.endswith(b"end\n"), "head or tail is wrong")


def a_flood_is_cut(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        result = sandbox.exec("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done | cat")
        require(result.status == "output_cut", f"seen: {result}")
        require(sandbox.exec("true").ok, "the sandbox cannot be used after a flood")


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        a_time_out_ends_the_run_and_nothing_else,
        output_before_a_time_out_is_kept,
        cpu_time_is_limited,
        memory_is_limited,
        processes_are_limited,
        what_is_left_over_is_killed_and_counted,
        output_keeps_head_and_tail,
        a_flood_is_cut,
    )
}
