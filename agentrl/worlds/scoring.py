"""Scoring out of reach: an agent's files are run in a clean sandbox, and judged by what never enters it.

A test is data: `Call`, `Program`, `Script`, `UnitTest` or `Exit`. `run_tests` tries them in a sandbox that is there;
`score_files` takes an agent's files over into a clean one first. What a program does wrong is data, too; a
SandboxFault says nothing of the solution, and is never a score.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from agentrl.errors import ConfigError
from agentrl.sandbox import ExecResult, Sandbox, SandboxProvider, SandboxSpec
from agentrl.worlds import scoring_answers as answers
from agentrl.worlds import scoring_programs as programs

MOST_TIMEOUTS = 3
"""After so many tests that ran out of time, the rest is not run any more."""


@dataclass(frozen=True)
class Call:
    """A call of the entry function, and the answer that is right; the answer never enters a sandbox."""

    arguments: tuple[object, ...]
    expected: object
    loose: bool = False  # a tuple is as good as a list, as in files whose answers are JSON

    def __str__(self) -> str:
        return ", ".join(map(repr, self.arguments))


@dataclass(frozen=True)
class Program:
    """What a program reads on standard input and has to write; compared outside the sandbox."""

    stdin: str
    expected: str
    as_json: bool = False  # the last line is compared as JSON value, else the text line by line
    judge: Callable[[str], bool] | None = field(default=None, repr=False)  # instead of `expected`: is this output right

    def __str__(self) -> str:
        return repr(self.stdin)


class _Named:
    """A test that is known by its name."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Script(_Named):
    """Assertions that run after the solution, in its process: for tests that are no plain comparison.

    They count only with a seal that needs a random word this run alone knows, so neither printing nor leaving early
    passes. Code that takes the shared process apart could still find that word: prefer `Call` and `Program`.
    """

    code: str
    name: str


@dataclass(frozen=True)
class UnitTest(_Named):
    """The id of a unittest or pytest test in files beside the solution; sealed like a `Script`."""

    name: str


@dataclass(frozen=True)
class Exit(_Named):
    """A program with arguments that has to end with exit code 0, as its supervisor tells."""

    argv: tuple[str, ...]
    name: str


Test: TypeAlias = Call | Program | Script | UnitTest | Exit


@dataclass(frozen=True)
class Solution:
    """What is tested: Python source as it is, or a command on a file."""

    source: str = ""
    entry: str = ""  # the function to call (`Class.method` works too); "" for a program
    command: tuple[str, ...] = ()  # runs the file; without one the source is run by a warm Python
    file: str = "solution.py"


@dataclass(frozen=True)
class Trial:
    """How one test went. `why` says in words what was wrong, in a way the agent may read for public tests."""

    test: Test
    passed: bool
    status: str  # passed, wrong, error, failed, or how the program ended (timeout, out_of_memory …), or not_run
    why: str = ""

    def to_data(self, position: int) -> dict[str, object]:
        """For `info`: JSON-able, without the test's contents."""
        return {"test": position, "passed": self.passed, "status": self.status, "why": self.why}


@dataclass(frozen=True)
class Score:
    """The trials of some tests, in their order, and what the solution printed beside its answers."""

    trials: tuple[Trial, ...]
    printed: str = ""
    tidy: bool = False  # the program says that it left no files; only its own next run could be misled
    refused: Mapping[str, str] = field(default_factory=dict)  # files of the agent that were not taken over, and why
    grade: Mapping[str, object] = field(default_factory=dict)  # of the clean sandbox that `score_files` made

    @property
    def passed(self) -> int:
        """How many tests passed."""
        return sum(trial.passed for trial in self.trials)

    @property
    def fraction(self) -> float:
        """Passed of all, between 0 and 1."""
        return self.passed / len(self.trials)


def score_files(
    provider: SandboxProvider,
    agent: Sandbox,
    paths: Sequence[str],
    tests: Sequence[Test],
    solution: Solution,
    *,
    beside: Mapping[str, bytes] | None = None,
    spec: SandboxSpec | None = None,
    timeout_s: float = 10.0,
    total_s: float = 60.0,
    max_mib: float = 16.0,
) -> Score:
    """Take the agent's regular files below `paths`, put them into a clean second sandbox, and run the tests there.

    The source of `solution`, where it has none, is read from its file. `beside` are files of tests: nothing of the
    agent's is taken over that is in their way or in their folders, and no compiled file. `timeout_s` is for one test,
    `total_s` for all. Raises ConfigError without tests, SandboxFault when machinery fails.
    """
    if not tests:
        raise ConfigError("scoring needs at least one test")
    tree, beside = agent.get_tree(*paths, max_mib=max_mib), beside or {}
    folders = [path.rpartition("/")[0] for path in beside if "/" in path]
    files = {**without(tree.files, [*beside, *folders]), **beside}
    if not solution.source and not solution.command:
        source = files.get(solution.file, b"").decode("utf-8", "replace")
        solution = replace(solution, source=source)
    with provider.create(spec or agent.spec) as clean:
        clean.put_tree(files)
        score = run_tests(clean, solution, tests, timeout_s=timeout_s, total_s=total_s, files=files)
        return replace(score, refused=tree.refused, grade=clean.grade())


def run_tests(
    sandbox: Sandbox,
    solution: Solution,
    tests: Sequence[Test],
    *,
    timeout_s: float = 10.0,
    total_s: float = 60.0,
    files: Mapping[str, bytes] | None = None,
) -> Score:
    """Try every test, in this sandbox, which is reset between programs; `files` are put there again each time."""
    runner = _Runner(sandbox, solution, timeout_s, total_s, files or {})
    return Score(tuple(runner.run(tests)), runner.printed, runner.tidy)


def without(files: Mapping[str, bytes], ours: Sequence[str]) -> dict[str, bytes]:
    """The files that are not in the way of ours (files or folders); compiled ones could stand in for sources."""
    return {
        path: data
        for path, data in files.items()
        if not path.endswith(".pyc") and not any(_in_the_way(path, other) for other in ours)
    }


def _in_the_way(path: str, other: str) -> bool:
    return path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/")


class _Runner:
    def __init__(
        self, sandbox: Sandbox, solution: Solution, timeout_s: float, total_s: float, files: Mapping[str, bytes]
    ) -> None:
        self._sandbox, self._solution, self._files = sandbox, solution, files
        self._timeout_s, self._total_s, self._until_s = timeout_s, total_s, time.monotonic() + total_s
        self._timeouts = 0
        self.tidy = True
        self.printed = ""

    def run(self, tests: Sequence[Test]) -> list[Trial]:
        calls = [(index, test) for index, test in enumerate(tests) if isinstance(test, Call)]
        units = [(index, test) for index, test in enumerate(tests) if isinstance(test, UnitTest)]
        trials = (self._calls(calls) if calls else {}) | (self._units(units) if units else {})
        for index, test in enumerate(tests):
            if index in trials:
                continue
            if isinstance(test, Exit):
                trials[index] = self._exit(test)
            elif self._timeouts >= MOST_TIMEOUTS or time.monotonic() > self._until_s:
                trials[index] = Trial(test, False, "not_run", "the tests before it took too long")
            elif isinstance(test, Call):
                trials |= self._calls([(index, test)], alone=True)
            elif isinstance(test, Program):
                trials[index] = self._program(test)
            elif isinstance(test, Script):
                trials[index] = self._script(test)
        return [trials[index] for index in range(len(tests))]

    def _calls(self, calls: Sequence[tuple[int, Call]], alone: bool = False) -> dict[int, Trial]:
        """All in one process; those that got no answer because it ended early are left out, unless they were alone."""
        data = [[index, answers.encode(list(test.arguments))] for index, test in calls]
        result, lines = self._python(programs.CALLS, {"entry": self._solution.entry, "calls": data})
        if "all" in lines:
            return {index: Trial(test, False, "error", lines["all"][1]) for index, test in calls}
        trials = {index: _answered(test, *lines[str(index)]) for index, test in calls if str(index) in lines}
        if alone or len(calls) == 1:
            trials |= {index: self._ended(test, result) for index, test in calls if index not in trials}
        return trials

    def _script(self, test: Script) -> Trial:
        seal = secrets.token_hex(16)
        data = {"entry": self._solution.entry, "script": test.code, "seal": seal}
        result, lines = self._python(programs.SCRIPT, data)
        kind, words = lines.get("0", ("", ""))
        if kind == "sealed" and words == _sealed(seal, "passed"):
            return Trial(test, True, "passed")
        return Trial(test, False, "error", words) if kind == "error" else self._ended(test, result)

    def _units(self, units: Sequence[tuple[int, UnitTest]]) -> dict[int, Trial]:
        """All in one process, which seals the names of those that pass."""
        seal, names = secrets.token_hex(16), [test.name for _, test in units]
        dotted = {name: _dotted(name) for name in names if "::" not in name and not name.endswith(".py")}
        stdin = json.dumps({"seal": seal, "tests": names, "dotted": dotted}).encode()
        argv, self.tidy = ["python3", "-I", "-c", programs.UNIT_TESTS], False
        lines = set(self._sandbox.exec(argv, stdin=stdin, timeout_s=self._total_s).stdout.text.split("\n"))
        return {index: _judged(test, _sealed(seal, test.name) in lines) for index, test in units}

    def _exit(self, test: Exit) -> Trial:
        in_time, self.tidy = time.monotonic() < self._until_s, False
        return _judged(test, in_time and self._sandbox.exec(test.argv, timeout_s=self._timeout_s).ok)

    def _program(self, test: Program) -> Trial:
        solution, stdin = self._solution, test.stdin.encode("utf-8", "surrogatepass")
        if not self.tidy:
            self._sandbox.reset()  # every test starts from the same files
            if self._files:
                self._sandbox.put_tree(self._files)
        self.tidy = False
        if solution.command:
            if solution.source:
                self._sandbox.put(solution.file, _bytes(solution.source))
            result = self._sandbox.exec(solution.command, stdin=stdin, timeout_s=self._timeout_s)
        else:
            source = _bytes(solution.source).decode("utf-8", "replace").replace("\0", "\ufffd")
            result = self._sandbox.python(source, stdin=stdin, timeout_s=self._timeout_s)
        self.printed += result.stderr.text
        self._timeouts += result.status == "timeout"
        return _written(test, result) if result.ok else self._ended(test, result)

    def _python(self, program: str, data: Mapping[str, object]) -> tuple[ExecResult, dict[str, tuple[str, str]]]:
        stdin = json.dumps({**data, "source": self._solution.source, "beside": bool(self._files)}).encode()
        if self._files:  # a module of the agent's must not come before one of the standard library
            result = self._sandbox.exec(["python3", "-I", "-c", program], stdin=stdin, timeout_s=self._timeout_s)
        else:
            result = self._sandbox.python(program, stdin=stdin, timeout_s=self._timeout_s)
        self.printed += result.stderr.text
        self._timeouts += result.status == "timeout"
        lines = {}
        for line in result.stdout.text.split("\n"):
            parts = line.split("\t", 2)
            if len(parts) == 3:
                lines[parts[0]] = (parts[1], parts[2])
        self.tidy = self.tidy and "tidy" in lines
        return result, lines

    def _ended(self, test: Test, result: ExecResult) -> Trial:
        words = {
            "timeout": f"ran out of time ({self._timeout_s:g} s)",
            "out_of_memory": "ran out of memory",
            "too_many_processes": "started too many processes",
            "output_cut": "wrote too much",
            "signalled": f"was ended by signal {result.signal}",
        }.get(result.status, f"ended with exit code {result.exit_code}")
        last = result.stderr.text.strip().rsplit("\n", 1)[-1]
        status = "error" if result.status == "exited" else result.status
        return Trial(test, False, status, f"{words}: {last[:300]}" if last and status == "error" else words)


def _answered(test: Call, kind: str, words: str) -> Trial:
    if kind != "answer":
        return Trial(test, False, "error", words)
    try:
        got = answers.read(words)
        loosened = answers.loosened
        right = loosened(got) == loosened(test.expected) if test.loose else got == test.expected
    except (ValueError, RecursionError):
        return Trial(test, False, "wrong", "gave something that cannot be compared")
    return Trial(test, True, "passed") if right else Trial(test, False, "wrong", f"gave {answers.shortened(repr(got))}")


def _written(test: Program, result: ExecResult) -> Trial:
    if result.stdout.missing:
        return Trial(test, False, "wrong", f"it wrote {result.stdout.total} bytes, which is too much")
    got = result.stdout.text
    if test.judge is not None:
        right = test.judge(got)
    else:
        right = answers.same_json(got, test.expected) if test.as_json else answers.same_text(got, test.expected)
    return Trial(test, True, "passed") if right else Trial(test, False, "wrong", f"wrote {answers.shortened(got)}")


def _judged(test: UnitTest | Exit, passed: bool) -> Trial:
    return Trial(test, passed, "passed" if passed else "failed", test.name)


def _sealed(seal: str, word: str) -> str:
    return hashlib.sha256(f"{seal} {word}".encode()).hexdigest()


def _dotted(name: str) -> str:
    """The id of a test as unittest loads it; `test_x (module.Class)`, as unittest prints it, works too."""
    printed = re.fullmatch(r"(\w+) \(([\w.]+)\)", name)
    if printed is None:
        return name
    method, where = printed.groups()
    return where if where.endswith(f".{method}") else f"{where}.{method}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
