"""Workplaces: where an agent's solution lives between two turns, and what can be done with it there."""

from __future__ import annotations

import contextlib
import copy
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from agentrl import ExecResult, Sandbox, SandboxFault, SandboxProvider, SandboxSpec
from agentrl_envs.code import report
from agentrl_envs.code.problems import Problem
from agentrl_envs.code.reading import Command
from agentrl_envs.code.trials import Language, Runs, Trial, run_tests

MOST_SOURCE = 200_000  # characters of a solution

_SCRATCH = """
import json, sys, types
given = json.loads(sys.stdin.buffer.read())
module = types.ModuleType("solution")
sys.modules["solution"] = module
exec(compile(given["source"], "solution.py", "exec"), module.__dict__)
exec(compile(given["code"], "run.py", "exec"), module.__dict__)
"""


class Sandboxes:
    """Makes the sandboxes of one world, and knows what they truly enforce once one was made."""

    def __init__(self, provider: Callable[[], SandboxProvider], spec: SandboxSpec) -> None:
        self._provider, self._spec = provider, spec
        self.grade: Mapping[str, object] | None = None
        self._own: Sandbox | None = None
        self._since_s = 0.0

    @property
    def provider(self) -> SandboxProvider:
        """Raises ConfigError where it cannot make sandboxes."""
        return self._provider()

    def fresh(self) -> Sandbox:
        """A clean one, to be closed by the caller. Raises SandboxFault when machinery fails."""
        sandbox = self._provider().create(self._spec)
        try:
            if self.grade is None:
                self.grade = _comparable(sandbox.grade())
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    @contextlib.contextmanager
    def own(self) -> Iterator[Sandbox]:
        """The agent's: the same one each time, without files; a new one after a fault."""
        if self._own is not None and time.monotonic() - self._since_s > self._spec.ttl_s / 2:
            self.close()  # before its time to live ends in the middle of something
        if self._own is None:
            self._own, self._since_s = self.fresh(), time.monotonic()
        try:
            yield self._own
        except SandboxFault:
            self.close()
            raise

    def close(self) -> None:
        """Give the agent's one back; safe twice."""
        if self._own is not None:
            self._own.close()
            self._own = None


class Workplace(ABC):
    """One problem, being worked on. What an agent does wrong is text; SandboxFault is never caught here."""

    problem: Problem
    feedback: str = ""
    """Which tests the last action left failing, and how; the world empties it before each action."""

    @abstractmethod
    def opening(self) -> str:
        """What the agent reads first."""

    @abstractmethod
    def act(self, command: Command) -> tuple[str, str]:
        """What the agent reads next, and why nothing was done ("" if it was)."""

    @abstractmethod
    def judge(self) -> tuple[Trial, ...]:
        """The hidden tests, run in a clean second sandbox."""

    @abstractmethod
    def counted(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """Those of the hidden tests that failed before anything was done: only they earn a part of the reward."""

    @abstractmethod
    def state(self) -> object:
        """What is there now, for `load`: plain data."""

    @abstractmethod
    def load(self, state: Any) -> None:
        """Go back to a state."""

    @property
    @abstractmethod
    def written(self) -> str:
        """A text that tells states apart."""

    @abstractmethod
    def expert(self, mistake: str) -> str:
        """What to send now; `mistake` is a solution to try in vain first."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is held; safe twice."""


class OneFile(Workplace):
    """A solution of one file. It is kept here; every run finds a sandbox without other files."""

    def __init__(self, problem: Problem, sandboxes: Sandboxes, language: Language, name: str) -> None:
        self.problem, self._sandboxes, self._language, self._name = problem, sandboxes, language, name
        self.solution = problem.start
        self.passes = False  # whether all public tests passed when they were last run

    def opening(self) -> str:
        return self.problem.opening or report.opening(self.problem)

    def act(self, command: Command) -> tuple[str, str]:
        if len(command.text) > MOST_SOURCE:
            return self._refuse(f"more than {MOST_SOURCE} characters are not taken")
        if command.kind == "run":
            return self._run(command.text), ""
        if command.kind == "edit":
            return self._edit(command)
        if command.kind in ("write", "shell"):
            self.solution = command.text
            return self._tested(), ""
        if command.kind == "test":
            return self._tested(), ""
        return self._refuse("the solution is one file: send it whole, or one line of it")

    def judge(self) -> tuple[Trial, ...]:
        with self._sandboxes.fresh() as clean:
            return run_tests(clean, self.problem, self.solution, self.problem.hidden, self._language).trials

    def counted(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        return [trial for number, trial in enumerate(trials) if number not in self.problem.passing]

    def state(self) -> object:
        return self.solution, self.passes

    def load(self, state: Any) -> None:
        self.solution, self.passes = state

    @property
    def written(self) -> str:
        return self.solution

    def expert(self, mistake: str) -> str:
        gold = self.problem.gold
        if not gold:
            raise NotImplementedError(f"no solution of {self.problem.name!r} is known")
        if self.solution.strip() == gold.strip():
            return "submit"
        if self.problem.candidates:
            return _one_line(self.solution, gold)
        return f"```{self._name}\n{(mistake or gold).rstrip()}\n```"

    def close(self) -> None:
        pass  # the sandbox is the world's

    def _edit(self, command: Command) -> tuple[str, str]:
        lines = report.lines(self.solution)
        if not 1 <= command.line <= len(lines):
            return self._refuse(f"there is no line {command.line}, the solution has {len(lines)}")
        old = lines[command.line - 1]
        lines[command.line - 1] = old[: len(old) - len(old.lstrip())] + command.text.strip()
        self.solution = "\n".join(lines) + "\n"
        said = self._tested()
        return (said if self.problem.candidates else f"{report.numbered(self.solution)}\n{said}"), ""

    def _tested(self) -> str:
        with self._sandboxes.own() as sandbox:
            runs = run_tests(sandbox, self.problem, self.solution, self.problem.public, self._language)
            if not runs.tidy:
                sandbox.reset()
        self.passes = runs.passed == len(runs.trials)
        self.feedback = report.failures(self.problem, runs.trials)
        return self._told(runs)

    def _told(self, runs: Runs) -> str:
        if self.problem.candidates:
            return report.brief(self.problem, self.solution, runs)
        return report.report(self.problem, runs)

    def _run(self, text: str) -> str:
        language, source = self._language, self._language.source(self.problem, self.solution)
        with self._sandboxes.own() as sandbox:
            if language.command:
                sandbox.put(language.file, source.encode("utf-8", "replace"))
                stdin = text.encode("utf-8", "replace")
                result = sandbox.exec(language.command, stdin=stdin, timeout_s=language.timeout_s)
            else:
                stdin = json.dumps({"source": source, "code": text}).encode()
                result = sandbox.python(_SCRATCH, stdin=stdin, timeout_s=language.timeout_s)
            sandbox.reset()
        return told(result, language.timeout_s)

    def _refuse(self, why: str) -> tuple[str, str]:
        return f"Nothing was done: {why}.", why


def told(result: ExecResult, timeout_s: float) -> str:
    """What an agent reads of a run of its own."""
    said = "\n".join(filter(None, (result.stdout.text.rstrip(), result.stderr.text.rstrip())))
    how = {
        "exited": "" if result.exit_code == 0 else f"It ended with exit code {result.exit_code}.",
        "timeout": f"It ran out of time ({timeout_s:g} s).",
        "signalled": f"It was ended by signal {result.signal}.",
        "out_of_memory": "It ran out of memory.",
    }.get(result.status, f"It was ended: {result.status.replace('_', ' ')}.")
    return "\n".join(filter(None, (report.shortened(said, 4000), how))) or "It wrote nothing."


def _one_line(solution: str, gold: str) -> str:
    """The first line that is wrong, right; the whole, should the number of lines differ."""
    lines, wanted = report.lines(solution), report.lines(gold)
    if len(lines) != len(wanted):
        return f"```\n{gold}```"
    number = next((i for i, (line, want) in enumerate(zip(lines, wanted, strict=True), 1) if line != want), 1)
    return f"line {number}: {wanted[number - 1].strip()}"


def _comparable(grade: Mapping[str, object]) -> Mapping[str, object]:
    """The grade without the number of the uid on the host, which differs from process to process."""
    found, uid = copy.deepcopy(dict(grade)), grade.get("uid")
    if isinstance(uid, dict):
        found["uid"] = {name: value for name, value in uid.items() if name != "host"}
    return found
