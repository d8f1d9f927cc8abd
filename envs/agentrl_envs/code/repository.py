"""Repositories: a folder of files is repaired, as in SWE-bench, and judged by tests that come with the judging."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

from agentrl import DataError, EnvironmentFault, Sandbox
from agentrl_envs.code import report
from agentrl_envs.code.problems import Problem, Repository, Script
from agentrl_envs.code.reading import Command
from agentrl_envs.code.trials import Trial
from agentrl_envs.code.workplace import Sandboxes, Workplace, told

MOST_MIB = 64.0
_APPLY = (
    "cat > /tmp/change.diff && "
    "if command -v git > /dev/null; then git apply --whitespace=nowarn /tmp/change.diff; "
    "else patch -p1 --forward --batch -i /tmp/change.diff; fi"
)
_RUN = """
import hashlib, json, os, sys, unittest
def main():
    given = json.loads(sys.stdin.buffer.read())
    passed, said = [], os.dup(1)
    os.dup2(2, 1)
    pytests = [name for name in given["tests"] if "::" in name or name.endswith(".py")]
    if pytests:
        import pytest
    sys.path.insert(0, "")
    if pytests:
        failed = set()
        class Watch:
            def pytest_runtest_logreport(self, report):
                if not report.passed:
                    failed.add(report.nodeid)
                elif report.when == "call":
                    passed.append(report.nodeid)
        pytest.main(["-q", "-p", "no:cacheprovider", *pytests], plugins=[Watch()])
        passed[:] = [name for name in passed if name not in failed]
        passed += [name for name in pytests if name.endswith(".py") and not any(f.startswith(name) for f in failed)
                   and any(p.startswith(name + "::") for p in passed)]
    class Watching(unittest.TestResult):
        def addSuccess(self, test):
            good.append(test.id())
    for name, dotted in given["dotted"].items():
        good = []
        result = Watching()
        try:
            unittest.defaultTestLoader.loadTestsFromName(dotted).run(result)
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
        if good and result.wasSuccessful():
            passed.append(name)
    for name in passed:
        seal = hashlib.sha256(f"{given['seal']} {name}".encode()).hexdigest()
        os.write(said, f"\\n{seal}\\n".encode())
main()
"""


class Folder(Workplace):
    """A folder in a sandbox that stays open while it is worked on."""

    def __init__(self, problem: Problem, sandboxes: Sandboxes, timeout_s: float) -> None:
        assert problem.repository is not None
        self.problem, self._repository = problem, problem.repository
        self._sandboxes, self._timeout_s = sandboxes, timeout_s
        self._sandbox: Sandbox | None = None
        self._done = ""  # what was done so far; commands decide the files
        self._patched = False

    @property
    def sandbox(self) -> Sandbox:
        """Where the files are; made when it is first needed."""
        if self._sandbox is None:
            self._sandbox = self._sandboxes.fresh()
            self._sandbox.put_tree(self._repository.files, executable=self._repository.executable)
        return self._sandbox

    def opening(self) -> str:
        names = sorted(self._repository.files)
        listed = "\n".join(names[:60]) + (f"\n… {len(names)} files in all" if len(names) > 60 else "")
        return f"{report.shortened(self.problem.statement.strip(), 20_000)}\n\nFiles:\n{listed}"

    def act(self, command: Command) -> tuple[str, str]:
        if command.kind == "write" and not command.path:
            return self._refuse("say which file: `write path/of/file` on a line of its own before the block")
        if command.kind not in ("shell", "run", "patch", "write"):
            return self._refuse("send a ```sh block, a ```diff block, or `write path` and a block")
        self._done = hashlib.sha256(f"{self._done}|{command}".encode("utf-8", "replace")).hexdigest()
        if command.kind == "write":
            try:
                self.sandbox.put(command.path, command.text.encode("utf-8", "replace"))
            except DataError as error:
                return self._refuse(str(error))
            return f"{command.path} is written.", ""
        if command.kind == "patch":
            return self._patch(command.text)
        return told(self.sandbox.exec(command.text, timeout_s=self._timeout_s), self._timeout_s), ""

    def judge(self) -> tuple[Trial, ...]:
        taken = self.sandbox.get_tree(max_mib=MOST_MIB).files
        with self._sandboxes.fresh() as clean:
            _lay_out(clean, self._repository, taken, self.problem.name)
            names = (*self._repository.needed, *self._repository.kept)
            passed = self._each(clean, names) if self._repository.command else self._sealed(clean, names)
        return tuple(
            Trial(Script("", name), name in passed, "passed" if name in passed else "failed", name) for name in names
        )

    def state(self) -> object:
        files = None if self._sandbox is None else dict(self._sandbox.get_tree(max_mib=MOST_MIB).files)
        return files, self._done, self._patched

    def load(self, state: Any) -> None:
        files, self._done, self._patched = state
        self.close()
        if files is not None:
            self._sandbox = self._sandboxes.fresh()
            self._sandbox.put_tree(files, executable=self._repository.executable & files.keys())

    @property
    def written(self) -> str:
        return self._done

    def expert(self, mistake: str) -> str:
        if not self._repository.gold:
            raise NotImplementedError(f"no solution of {self.problem.name!r} is known")
        return "submit" if self._patched else f"```diff\n{self._repository.gold.rstrip(chr(10))}\n```"

    def close(self) -> None:
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None

    def _patch(self, patch: str) -> tuple[str, str]:
        result = self.sandbox.exec(_APPLY, stdin=patch.encode("utf-8", "replace"), timeout_s=self._timeout_s)
        if not result.ok:
            return self._refuse(f"the patch does not apply\n{told(result, self._timeout_s)}")
        self._patched = self._patched or patch.strip() == self._repository.gold.strip()
        return "The patch is applied.", ""

    def _each(self, clean: Sandbox, names: Sequence[str]) -> set[str]:
        """One run for each test: its exit code, told by the supervisor, decides."""
        command, until_s = self._repository.command, time.monotonic() + clean.spec.limits.wall_s
        return {
            name
            for name in names
            if time.monotonic() < until_s and clean.exec([*command, name], timeout_s=self._timeout_s).ok
        }

    def _sealed(self, clean: Sandbox, names: Sequence[str]) -> set[str]:
        """All in one process, which seals the names of those that pass: leaving early or printing passes nothing."""
        seal = secrets.token_hex(16)
        dotted = {name: _dotted(name) for name in names if "::" not in name and not name.endswith(".py")}
        stdin = json.dumps({"seal": seal, "tests": list(names), "dotted": dotted}).encode()
        limit_s = clean.spec.limits.wall_s
        result = clean.exec(["python3", "-I", "-c", _RUN], stdin=stdin, timeout_s=limit_s)
        said = set(result.stdout.text.splitlines())
        return {name for name in names if hashlib.sha256(f"{seal} {name}".encode()).hexdigest() in said}

    def _refuse(self, why: str) -> tuple[str, str]:
        return f"Nothing was done: {why}", why.splitlines()[0]


def touched(patch: str) -> tuple[str, ...]:
    """The paths that a patch changes, makes or removes.

    >>> touched("--- a/x.py\\n+++ b/x.py\\n")
    ('x.py',)
    """
    found = re.findall(r"^(?:---|\+\+\+) (?:[ab]/)?([^\t\n]+)", patch, re.MULTILINE)
    return tuple(dict.fromkeys(path for path in found if path != "/dev/null"))


def _lay_out(clean: Sandbox, repository: Repository, taken: Any, name: str) -> None:
    """The agent's files, but what the tests touch as it was, and then the tests."""
    tests = touched(repository.tests)
    ours = {path: data for path, data in repository.files.items() if path in tests}
    theirs = {
        path: data
        for path, data in taken.items()
        if not path.endswith(".pyc") and not any(_in_the_way(path, test) for test in tests)
    }  # compiled files could stand in for sources, the tests' among them
    clean.put_tree(theirs, executable=repository.executable & theirs.keys())
    clean.put_tree(ours, executable=repository.executable & ours.keys())
    if repository.tests:
        result = clean.exec(_APPLY, stdin=repository.tests.encode(), timeout_s=clean.spec.limits.wall_s)
        if not result.ok:
            raise EnvironmentFault(f"the patch with the tests of {name!r} does not apply: {result.stderr.text[-300:]}")


def _in_the_way(path: str, test: str) -> bool:
    return path == test or path.startswith(f"{test}/") or test.startswith(f"{path}/")


def _dotted(name: str) -> str:
    """The id of a test as unittest loads it; `test_x (module.Class)`, as unittest prints it, works too."""
    printed = re.fullmatch(r"(\w+) \(([\w.]+)\)", name)
    if printed is None:
        return name
    method, where = printed.groups()
    return where if where.endswith(f".{method}") else f"{where}.{method}"
