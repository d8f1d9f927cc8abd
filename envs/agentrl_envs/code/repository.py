"""Repositories: a folder of files is repaired, as in SWE-bench, and judged by tests that come with the judging."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from agentrl import DataError, Sandbox
from agentrl_envs.code import report
from agentrl_envs.code.judging import APPLY, MOST_MIB, Judge
from agentrl_envs.code.problems import Problem
from agentrl_envs.code.reading import Command
from agentrl_envs.code.trials import Trial
from agentrl_envs.code.workplace import Sandboxes, Workplace, told


class Folder(Workplace):
    """A folder in a sandbox that stays open while it is worked on."""

    def __init__(self, problem: Problem, sandboxes: Sandboxes, timeout_s: float) -> None:
        assert problem.repository is not None
        self.problem, self._repository = problem, problem.repository
        self._sandboxes, self._timeout_s = sandboxes, timeout_s
        self._judge = Judge(problem, problem.repository, sandboxes, timeout_s)
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
        return self._judge.trials(self.sandbox.get_tree(max_mib=MOST_MIB).files)

    def counted(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        return self._judge.counted(trials)

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
        result = self.sandbox.exec(APPLY, stdin=patch.encode("utf-8", "replace"), timeout_s=self._timeout_s)
        if not result.ok:
            return self._refuse(f"the patch does not apply\n{told(result, self._timeout_s)}")
        self._patched = self._patched or patch.strip() == self._repository.gold.strip()
        return "The patch is applied.", ""

    def _refuse(self, why: str) -> tuple[str, str]:
        return f"Nothing was done: {why}", why.partition("\n")[0]
