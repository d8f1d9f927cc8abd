"""Asks another process of this Python, in which nothing of this one is left."""

from __future__ import annotations

import os
import subprocess
import sys

from agentrl.testing.report import LIMIT_S, CheckFailed, require


def in_another_process(code: str, *arguments: str, stdin: bytes = b"") -> str:
    """The last line that some code prints there. Raises CheckFailed where it fails, or takes longer than `LIMIT_S`."""
    path = os.pathsep.join(path for path in sys.path if path)
    env = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "12345"}
    try:
        run = subprocess.run(
            [sys.executable, "-c", code, *arguments], input=stdin, capture_output=True, env=env, check=False,
            timeout=LIMIT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise CheckFailed(f"the other process had not ended after {LIMIT_S} s") from None
    errors = run.stderr.decode(errors="replace").strip()
    require(run.returncode == 0, f"the other process failed: {errors[-300:]}")
    return run.stdout.decode(errors="replace").strip().rpartition("\n")[2]
