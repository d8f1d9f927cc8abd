"""Texts: how a problem is put, and what an agent reads about its tests."""

from __future__ import annotations

import io
from collections.abc import Sequence

from agentrl_envs.code.problems import Call, Problem, Program, Script, Test
from agentrl_envs.code.trials import Runs, Trial

MOST_FAILURES = 4
MOST_CHARACTERS = 1500


def opening(problem: Problem) -> str:
    """The task, its public tests and what the solution is in the beginning."""
    parts = [problem.statement.strip()]
    examples = [example(problem, test) for test in problem.public]
    if examples:
        parts.append("Public tests:\n" + "\n".join(examples))
    if problem.start:
        parts.append(f"The solution so far:\n{numbered(problem.start)}")
    return "\n\n".join(parts)


def example(problem: Problem, test: Test) -> str:
    """A public test, as an agent may see it."""
    if isinstance(test, Call):
        return f"{problem.entry}({test}) == {test.expected!r}"
    if isinstance(test, Program):
        return f"input:\n{shortened(test.stdin.rstrip())}\noutput:\n{shortened(test.expected.rstrip())}"
    return shortened(test.code.strip())


def report(problem: Problem, runs: Runs) -> str:
    """How many public tests pass, and what is wrong with those that do not."""
    total = len(runs.trials)
    lines = [f"{runs.passed} of {total} public tests pass." if total else "There are no public tests."]
    lines += filter(None, [failures(problem, runs.trials)])
    if runs.printed.strip():
        lines.append(f"It printed:\n{shortened(runs.printed.strip())}")
    return "\n".join(lines)


def failures(problem: Problem, trials: Sequence[Trial]) -> str:
    """What the first tests said that did not pass; empty where all passed."""
    failed = [trial for trial in trials if not trial.passed]
    more = [f"… and {len(failed) - MOST_FAILURES} more."] if len(failed) > MOST_FAILURES else []
    return "\n".join([*(failure(problem, trial) for trial in failed[:MOST_FAILURES]), *more])


def failure(problem: Problem, trial: Trial) -> str:
    """What one test said."""
    test, wrong = trial.test, trial.status == "wrong"
    if isinstance(test, Call):
        wanted = f", expected {test.expected!r}" if wrong else ""
        return shortened(f"FAILED {problem.entry}({test}) {trial.why}{wanted}")
    if isinstance(test, Program):
        wanted = f"\nexpected:\n{shortened(test.expected.rstrip(), 400)}" if wrong else ""
        return f"FAILED on input:\n{shortened(test.stdin.rstrip(), 400)}\n{trial.why}{wanted}"
    text = test.code if isinstance(test, Script) else test.name
    return f"FAILED {shortened(text.strip(), 400)}\n{trial.why}"


def brief(problem: Problem, solution: str, runs: Runs) -> str:
    """All that matters now in a few lines: the goal, the code, and the first test that fails."""
    failed = [trial for trial in runs.trials if not trial.passed]
    said = "all pass"
    if failed:
        trial = failed[0]
        wanted = f" , not {trial.test.expected!r}" if trial.status == "wrong" and isinstance(trial.test, Call) else ""
        said = shortened(f"f ( {trial.test} ) {trial.why}{wanted}", 200)
    return f"{problem.statement}\n{numbered(solution)}\n{said}"


def numbered(code: str) -> str:
    """The code with a number before each line.

    >>> print(numbered("a = 1\\nb = 2"))
    1 a = 1
    2 b = 2
    """
    return "\n".join(f"{number} {line}" for number, line in enumerate(lines(shortened(code, 20_000)), 1))


def lines(code: str) -> list[str]:
    """As Python counts them: a form feed or a separator of Unicode ends none."""
    return [line.removesuffix("\n") for line in io.StringIO(code, newline=None)]


def verdict(passed: int, total: int) -> str:
    """What an agent reads at the end."""
    return f"It is over: {passed} of {total} hidden tests pass."


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """Head and tail, where it is longer.

    >>> shortened("abcdefghij", 6)
    'abc [4 characters left out] hij'
    """
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} [{len(text) - 2 * half} characters left out] {text[-half:]}"
