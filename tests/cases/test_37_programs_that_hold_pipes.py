"""Case 37: elsewhere background children, input that nobody gives, full pipes and floods hung whoever ran the program.

A call comes back in time, says how the program ended, and leaves nothing. It did so from the first form on.
"""

from __future__ import annotations

import time

import pytest
from sandbox_support import needs_bubblewrap, provider

from agentrl import SandboxLimits, SandboxSpec

pytestmark = needs_bubblewrap

SPEC = SandboxSpec(limits=SandboxLimits(memory_mib=256, wall_s=20, flood_mib=8, output_kib=16))


@pytest.mark.parametrize(
    ("line", "timeout_s", "status", "output"),
    [
        ("sleep 30 & echo started", 5.0, "exited", "started\n"),
        ("(setsid sleep 30 &) ; echo started", 5.0, "exited", "started\n"),
        ("read line; echo got=$line; wc -c", 5.0, "exited", "got=\n0\n"),
        ("sh -c 'sleep 50 & sleep 51 & (setsid sleep 52 &) ; sleep 53'", 0.5, "timeout", ""),
        ("trap '' TERM INT HUP; while :; do :; done", 0.5, "timeout", ""),
        ("yes", 10.0, "output_cut", None),
        ("for n in $(seq 20); do (exit 0) & done; wait; echo ok", 5.0, "exited", "ok\n"),
    ],
)
def test_a_call_comes_back_whoever_holds_the_pipes(
    line: str, timeout_s: float, status: str, output: str | None
) -> None:
    with provider().create(SPEC) as sandbox:
        began = time.monotonic()
        result = sandbox.exec(line, timeout_s=timeout_s)
        assert time.monotonic() - began < timeout_s + 8
        assert result.status == status
        assert output is None or result.stdout.text == output
        assert "sleep" not in sandbox.exec("cat /proc/[0-9]*/comm").stdout.text


def test_more_than_a_pipe_holds_goes_in_and_out() -> None:
    both = "import sys; sys.stdout.write('a' * 3_000_000); sys.stderr.write('b' * 3_000_000)"
    with provider().create(SPEC) as sandbox:
        result = sandbox.exec(["python3", "-c", both])
        assert (result.stdout.total, result.stderr.total) == (3_000_000, 3_000_000)
        assert sandbox.exec("wc -c", stdin=b"x" * 10_000_000).stdout.text == "10000000\n"
        assert sandbox.exec("true", stdin=b"x" * 10_000_000).ok


def test_output_that_is_no_text_comes_back() -> None:
    with provider().create(SPEC) as sandbox:
        assert sandbox.exec(r"printf 'a\377\000b\303'").stdout.head == b"a\xff\x00b\xc3"
