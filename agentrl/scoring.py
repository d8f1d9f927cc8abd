"""Scoring out of reach: an agent's files are judged in a clean second sandbox, and compared with what never enters it."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentrl.errors import ConfigError
from agentrl.sandbox import ExecResult, FileTree, Sandbox, SandboxProvider, SandboxSpec

CALL = """
import importlib.util, json, sys
module, function = sys.argv[1:3]
spec = importlib.util.spec_from_file_location("solution", module)
sys.path.append("")
solution = importlib.util.module_from_spec(spec)
sys.modules["solution"] = solution
spec.loader.exec_module(solution)
answer = json.dumps(getattr(solution, function)(*json.load(sys.stdin)))
sys.stdout.write("\\n" + answer + "\\n")
"""
"""Calls a function of a file with JSON arguments and prints its JSON answer on the last line."""

_RUN_TESTS = """
import sys
def main():
    nonce = sys.stdin.readline().strip()
    import hashlib, unittest
    seal = lambda name: hashlib.sha256(f"{nonce} {name}".encode()).hexdigest()
    class Sealing(unittest.TestResult):
        def addSuccess(self, test):
            passed.append(test.id())
    passed = []
    sys.path += ["", "tests"]
    suite = unittest.defaultTestLoader.discover("tests", pattern="*.py", top_level_dir="tests")
    result = suite.run(Sealing())
    for name in passed:
        sys.__stdout__.write(f"\\n{seal(name)} {name}\\n")
    for test, words in [*result.failures, *result.errors]:
        sys.__stderr__.write(f"{test.id()}: {words.splitlines()[-1]}\\n")
main()
"""


@dataclass(frozen=True, slots=True)
class ScoringCase:
    """One run of a program: what it reads, and whether what it wrote is right (a text to equal, or a judge)."""

    stdin: bytes
    expected: bytes | Callable[[bytes], bool]

    def accepts(self, output: bytes) -> bool:
        """Whether the output is right; blanks at the end do not count for a text."""
        if callable(self.expected):
            return bool(self.expected(output))
        return output.rstrip() == self.expected.rstrip()


@dataclass(frozen=True, slots=True)
class Score:
    """What came of scoring. `refused` are files of the agent that were not taken over, and why."""

    passed: int
    total: int
    results: tuple[ExecResult, ...]
    refused: Mapping[str, str]
    grade: Mapping[str, Any]  # of the sandbox that scored

    @property
    def fraction(self) -> float:
        """Passed of all, between 0 and 1."""
        return self.passed / self.total


def score_cases(
    provider: SandboxProvider,
    agent: Sandbox,
    paths: Sequence[str],
    argv: Sequence[str],
    cases: Sequence[ScoringCase],
    *,
    spec: SandboxSpec | None = None,
    timeout_s: float = 10.0,
    max_mib: float = 16.0,
) -> Score:
    """Run `argv` once per case on the agent's files, and compare outside what it wrote.

    Only regular files named by `paths` leave the agent's sandbox. Expected outputs never enter any sandbox, and how
    a run ended is told by the supervisor, so there is nothing in there to tamper with. Every case starts from the
    same files. Raises SandboxFault when machinery fails: that is no score.
    """
    if not cases:
        raise ConfigError("scoring needs at least one case")
    taken = agent.get_tree(*paths, max_mib=max_mib)
    with provider.create(spec or agent.spec) as clean:
        results = []
        for index, case in enumerate(cases):
            if index:
                clean.reset()
            clean.put_tree(taken.files)
            results.append(clean.exec(argv, stdin=case.stdin, timeout_s=timeout_s))
        passed = sum(
            result.ok and not result.stdout.missing and case.accepts(result.stdout.head + result.stdout.tail)
            for result, case in zip(results, cases, strict=True)
        )
        return Score(passed, len(cases), tuple(results), taken.refused, clean.grade())


def score_calls(
    provider: SandboxProvider,
    agent: Sandbox,
    path: str,
    function: str,
    calls: Sequence[tuple[Sequence[Any], Any]],
    *,
    spec: SandboxSpec | None = None,
    timeout_s: float = 10.0,
) -> Score:
    """Score a Python function: `calls` are pairs of JSON-able arguments and the JSON-able answer that is right.

    Answers cross as JSON, so an object that claims to equal everything is not even an answer.
    """
    cases = [
        ScoringCase(json.dumps(list(arguments)).encode(), _last_line_equals(answer)) for arguments, answer in calls
    ]
    argv = ["python3", "-I", "-c", CALL, path, function]
    return score_cases(provider, agent, [path], argv, cases, spec=spec, timeout_s=timeout_s)


def score_tests(
    provider: SandboxProvider,
    agent: Sandbox,
    paths: Sequence[str],
    tests: Mapping[str, bytes],
    names: Sequence[str],
    *,
    spec: SandboxSpec | None = None,
    timeout_s: float = 60.0,
    max_mib: float = 16.0,
) -> Score:
    """Run unittest files `tests` (name → contents) on the agent's files; `names` are the ids that have to pass.

    A test counts only with a seal that needs a random word this run alone knows, so neither output that looks like
    success nor leaving early passes. Tests and the agent's code share a process, though: code that takes that process
    apart could find the word. Where the answer can be compared from outside, `score_cases` leaves nothing to find.
    """
    if not names:
        raise ConfigError("scoring needs the names of the tests that have to pass")
    taken = agent.get_tree(*paths, max_mib=max_mib)
    nonce = secrets.token_hex(16)
    with provider.create(spec or agent.spec) as clean:
        clean.put_tree(_beside_tests(taken))
        clean.put_tree({f"tests/{name}": data for name, data in tests.items()})
        result = clean.exec(["python3", "-I", "-c", _RUN_TESTS], stdin=nonce.encode() + b"\n", timeout_s=timeout_s)
        said = set((result.stdout.head + result.stdout.tail).decode(errors="replace").splitlines())
        passed = sum(f"{hashlib.sha256(f'{nonce} {name}'.encode()).hexdigest()} {name}" in said for name in names)
        return Score(passed if result.ok else 0, len(names), (result,), taken.refused, clean.grade())


def _beside_tests(taken: FileTree) -> dict[str, bytes]:
    """The agent's files without what would be taken for ours."""
    return {path: data for path, data in taken.files.items() if path.split("/")[0] != "tests"}


def _last_line_equals(answer: Any) -> Callable[[bytes], bool]:
    def judge(output: bytes) -> bool:
        lines = output.decode("utf-8", "replace").rstrip().splitlines()
        try:
            return bool(lines) and bool(json.loads(lines[-1]) == answer)
        except ValueError:
            return False

    return judge
