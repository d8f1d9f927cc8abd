"""Trials: a solution is run on the tests of its problem, by the rules of `agentrl.scoring`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from agentrl import Sandbox, scoring
from agentrl_envs.code.problems import Problem, Test

Trial: TypeAlias = scoring.Trial
Runs: TypeAlias = scoring.Score


@dataclass(frozen=True)
class Language:
    """What runs a solution: Python as it is, or a command on a file."""

    command: tuple[str, ...] = ()
    file: str = "solution.py"
    timeout_s: float = 4.0  # for one test
    total_s: float = 45.0  # for all tests together; those that come later are not run

    def source(self, problem: Problem, solution: str) -> str:
        """The solution, with what the problem puts before it."""
        return f"{problem.preamble}\n{solution}" if problem.preamble and not self.command else solution


def run_tests(sandbox: Sandbox, problem: Problem, solution: str, tests: Sequence[Test], language: Language) -> Runs:
    """Try every test, in this sandbox. Raises SandboxFault when machinery fails: that says nothing of the solution."""
    written = scoring.Solution(language.source(problem, solution), problem.entry, language.command, language.file)
    return scoring.run_tests(sandbox, written, tests, timeout_s=language.timeout_s, total_s=language.total_s)
