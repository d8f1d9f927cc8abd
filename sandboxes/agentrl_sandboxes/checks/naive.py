"""A sandbox that makes every mistake on purpose, so that each attempt to escape can be seen to succeed somewhere."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from agentrl import Command, ExecResult, FileTree, Output, OutputStream, Sandbox, SandboxProvider, SandboxSpec
from agentrl_sandboxes.inside import trees

_MARKER = re.compile(rb"__EXIT:(\d+)")


class Naive(SandboxProvider):
    """No isolation, time-outs that end one process, exit codes read from output, files read by name."""

    name = "naive"

    def __init__(self, *, leak: int = -1) -> None:
        """`leak`: a descriptor that programs inherit, as one that somebody forgot to close."""
        self._leaks = (leak,) if leak >= 0 else ()

    def create(self, spec: SandboxSpec | None = None) -> NaiveSandbox:
        return NaiveSandbox(spec or SandboxSpec(), self._leaks)

    def obstacle(self) -> str:
        return ""

    def close(self) -> None:
        pass


class NaiveSandbox(Sandbox):
    """Never use it: it is what the escape suite is tested against."""

    abilities: frozenset[str] = frozenset()

    def __init__(self, spec: SandboxSpec, leaks: tuple[int, ...]) -> None:
        self.spec = spec
        self._leaks = leaks
        self.folder = Path(tempfile.mkdtemp(prefix="agentrl-naive-"))

    def run(self, command: Command, *, on_output: Output | None = None) -> ExecResult:
        argv = list(command.argv)
        if argv[0] == "python3":
            argv[:1] = [sys.executable, "-S"]  # without the packages of this environment it starts sooner
        line = '"$@"; code=$?; echo; echo "__EXIT:$code"; exit $code'  # the program can print such a line, too
        process = subprocess.Popen(
            ["sh", "-c", line, "sh", *argv], cwd=self.folder / command.cwd, env={**os.environ, **command.env, "CONTROL": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=self._leaks,
        )  # fmt: skip
        try:
            out, err = process.communicate(command.stdin, command.timeout_s or self.spec.limits.wall_s)
        except subprocess.TimeoutExpired:
            process.terminate()  # the shell; what it started lives on
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=0.2)
            return ExecResult("timeout")
        marker = _MARKER.search(out)
        code = int(marker[1]) if marker else process.returncode
        return ExecResult("exited", code, None, OutputStream(out, b"", len(out)), OutputStream(err, b"", len(err)))

    def put_tree(self, files: Mapping[str, bytes], *, executable: Collection[str] = ()) -> None:
        for path, data in files.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(data)

    def get_tree(self, *paths: str, max_mib: float = 64.0, max_files: int = 10_000) -> FileTree:
        files: dict[str, bytes] = {}
        for path in paths or (".",):
            start = self.folder / path
            for file in start.rglob("*") if start.is_dir() else [start]:
                if not file.is_dir():
                    files[str(file.relative_to(self.folder) if file.is_relative_to(self.folder) else file)] = _read(
                        file
                    )
        return FileTree(files, {})

    def reset(self) -> None:
        shutil.rmtree(self.folder)
        self.folder.mkdir()

    def grade(self) -> dict[str, object]:
        return {"sandbox": "naive", "level": "none"}

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a program that was left running may write there still
            trees.empty(str(self.folder))
            self.folder.rmdir()


def run_disposable(code: str, env: Mapping[str, str], timeout_s: float = 20.0) -> int:
    """Run an attempt that would hurt this machine: unprotected, but in a pid namespace that ends with it. Exit code.

    Raises PermissionError where such a namespace cannot be made.
    """
    argv = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-I", "-c", code]
    try:
        process = subprocess.Popen(argv, env={**os.environ, **env, "CONTROL": "1"}, start_new_session=True)
    except FileNotFoundError as error:
        raise PermissionError("there is no program `unshare`") from error
    try:
        status = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
    if status == 1:
        raise PermissionError("a disposable pid namespace cannot be made here (it needs root)")
    return status


def _read(file: Path) -> bytes:
    with open(file, "rb") as opened:
        return opened.read()
