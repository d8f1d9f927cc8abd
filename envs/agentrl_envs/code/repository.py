"""Repositories: a folder of files is repaired, as in SWE-bench, and judged by tests that come with the judging."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from agentrl import DataError, EnvironmentFault, Sandbox, scoring
from agentrl_envs.code import report
from agentrl_envs.code.problems import Problem, Repository
from agentrl_envs.code.reading import Command
from agentrl_envs.code.trials import Trial
from agentrl_envs.code.workplace import Sandboxes, Workplace, told

MOST_MIB = 64.0
_APPLY = (
    "cat > /tmp/change.diff && "
    "if command -v git > /dev/null; then git apply --whitespace=nowarn /tmp/change.diff; "
    "else patch -p1 --forward --batch -i /tmp/change.diff; fi"
)


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
        names, command = (*self._repository.needed, *self._repository.kept), self._repository.command
        tests = [scoring.Exit((*command, name), name) if command else scoring.UnitTest(name) for name in names]
        with self._sandboxes.fresh() as clean:
            _lay_out(clean, self._repository, taken, self.problem.name)
            limit_s = clean.spec.limits.wall_s
            solution = scoring.Solution()
            return scoring.run_tests(clean, solution, tests, timeout_s=self._timeout_s, total_s=limit_s).trials

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

    def _refuse(self, why: str) -> tuple[str, str]:
        return f"Nothing was done: {why}", why.partition("\n")[0]


def touched(patch: str) -> tuple[str, ...]:
    """The paths that a patch changes, makes or removes.

    >>> touched("--- a/x.py\\n+++ b/x.py\\n")
    ('x.py',)
    """
    found = re.findall(r"^(?:---|\+\+\+) (?:[ab]/)?([^\t\n]+)", patch, re.MULTILINE)
    return tuple(dict.fromkeys(path for path in found if path != "/dev/null"))


def _lay_out(clean: Sandbox, repository: Repository, taken: Mapping[str, bytes], name: str) -> None:
    """The agent's files, but what the tests touch as it was, and then the tests."""
    tests = touched(repository.tests)
    ours = {path: data for path, data in repository.files.items() if path in tests}
    theirs = scoring.without(taken, tests)
    clean.put_tree(theirs, executable=repository.executable & theirs.keys())
    clean.put_tree(ours, executable=repository.executable & ours.keys())
    if repository.tests:
        result = clean.exec(_APPLY, stdin=repository.tests.encode(), timeout_s=clean.spec.limits.wall_s)
        if not result.ok:
            raise EnvironmentFault(f"the patch with the tests of {name!r} does not apply: {result.stderr.text[-300:]}")
