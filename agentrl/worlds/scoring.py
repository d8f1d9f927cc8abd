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
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from agentrl.errors import ConfigError, SandboxFault
from agentrl.sandbox import ExecResult, Sandbox, SandboxProvider, SandboxSnapshot, SandboxSpec
from agentrl.worlds import scoring_answers as answers
from agentrl.worlds import scoring_programs as programs
from agentrl.worlds.scoring_files import files_to_score

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
    """Assertions about `candidate`, the entry function: for tests that are no plain comparison.

    They run in a process of their own, and the solution in another, which gets arguments and gives plain values. What a
    test uses of the solution beside its entry (a class, to make arguments of) is called there, too. Changes of an
    argument in place are not seen.
    """

    code: str
    name: str


@dataclass(frozen=True)
class UnitTest(_Named):
    """The id of a unittest or pytest test in files beside the solution.

    It counts only with a seal that needs a random word this run alone knows, and while tests that must fail do fail:
    neither printing, nor leaving early, nor a test framework that says yes to everything passes. Tests share their process
    with the solution, though: code that is written to deceive one of them (an object that equals everything) can.
    """

    name: str


@dataclass(frozen=True)
class Exit(_Named):
    """A program with arguments that has to end with exit code 0, as its supervisor tells; so can a solution that it runs."""

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
    base: Mapping[str, bytes] | None = None,
    spec: SandboxSpec | None = None,
    timeout_s: float = 10.0,
    total_s: float = 60.0,
    max_mib: float = 16.0,
) -> Score:
    """Take the agent's regular files below `paths`, put them into a clean second sandbox, and run the tests there.

    The source of `solution`, where it has none, is read from its file. `beside` are files of tests, `base` what there was
    before the agent came: see `files_to_score`. `timeout_s` is for one test, `total_s` for all. Raises ConfigError
    without tests, SandboxFault when machinery fails.
    """
    if not tests:
        raise ConfigError("scoring needs at least one test")
    tree = agent.get_tree(*paths, max_mib=max_mib)
    with provider.create(spec or agent.spec) as clean:
        score = score_tree(
            clean, tree.files, tests, solution, beside=beside, base=base, timeout_s=timeout_s, total_s=total_s
        )
        return replace(score, refused=tree.refused, grade=clean.grade())


def score_tree(
    clean: Sandbox,
    theirs: Mapping[str, bytes],
    tests: Sequence[Test],
    solution: Solution,
    *,
    beside: Mapping[str, bytes] | None = None,
    base: Mapping[str, bytes] | None = None,
    allowed: Collection[str] = (),
    executable: Collection[str] = (),
    timeout_s: float = 10.0,
    total_s: float = 60.0,
) -> Score:
    """`score_files` for an agent's files that were taken already, in a sandbox that is clean."""
    files, executable = dict(theirs), set(executable)
    if beside or base or any(isinstance(test, (UnitTest, Exit)) for test in tests):
        files = files_to_score(theirs, beside or {}, base or {}, allowed)
    clean.put_tree(files, executable=executable & files.keys())
    if not solution.source and not solution.command:
        source = files.get(solution.file, b"").decode("utf-8", "replace")
        solution = replace(solution, source=source)
    runner = _Runner(clean, solution, timeout_s, total_s, files, executable & files.keys())
    return Score(tuple(runner.run(tests)), runner.printed, runner.tidy)


def run_tests(
    sandbox: Sandbox,
    solution: Solution,
    tests: Sequence[Test],
    *,
    timeout_s: float = 10.0,
    total_s: float = 60.0,
) -> Score:
    """Try every test, in this sandbox, which is reset between programs."""
    runner = _Runner(sandbox, solution, timeout_s, total_s, {}, ())
    return Score(tuple(runner.run(tests)), runner.printed, runner.tidy)


class _Runner:
    def __init__(
        self,
        sandbox: Sandbox,
        solution: Solution,
        timeout_s: float,
        total_s: float,
        files: Mapping[str, bytes],
        executable: Collection[str],
    ) -> None:
        self._sandbox, self._solution, self._files, self._executable = sandbox, solution, files, executable
        self._timeout_s, self._total_s, self._until_s = timeout_s, total_s, time.monotonic() + total_s
        self._timeouts = 0
        self._start: SandboxSnapshot | None = None
        self.tidy = True
        self.printed = ""

    def run(self, tests: Sequence[Test]) -> list[Trial]:
        calls = [(index, test) for index, test in enumerate(tests) if isinstance(test, Call)]
        units = [(index, test) for index, test in enumerate(tests) if isinstance(test, UnitTest)]
        runs = bool(units) + sum(isinstance(test, (Program, Exit)) for test in tests)
        if self._files and runs > 1 and "snapshot" in self._sandbox.abilities:
            self._start = self._sandbox.snapshot()
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
        result, lines = self._python(programs.SCRIPT, {"entry": self._solution.entry, "script": test.code})
        if result.status == "exited" and "ready" not in lines:  # nothing of the solution has run
            raise SandboxFault(f"the program that runs assertions did not begin: {result.stderr.text[-300:]}")
        kind, words = lines.get("0", ("", ""))
        if kind == "passed" and result.ok:
            return Trial(test, True, "passed")
        return Trial(test, False, "error", words) if kind == "error" else self._ended(test, result)

    def _units(self, units: Sequence[tuple[int, UnitTest]]) -> dict[int, Trial]:
        """All in one process, which seals what became of them; none counts unless those that must fail did."""
        seal, names, own = secrets.token_hex(16), [test.name for _, test in units], f"test_{secrets.token_hex(4)}"
        self._renew()
        self._sandbox.put(f"{own}.py", programs.CONTROL.encode())
        pytests = any("::" in name or name.endswith(".py") for name in names)
        controls = [f"{own}.py::Control::{name}" if pytests else f"{own}.Control.{name}" for name in programs.CONTROLS]
        names += controls  # at the end, when the solution has done to the framework what it wanted to
        dotted = {name: _dotted(name) for name in names if "::" not in name and not name.endswith(".py")}
        stdin = json.dumps({"seal": seal, "tests": names, "dotted": dotted}).encode()
        argv = ["python3", "-I", "-c", programs.compiled(programs.UNIT_TESTS)]
        result = self._sandbox.exec(argv, stdin=stdin, timeout_s=self._total_s)
        lines = set(result.stdout.text.split("\n"))
        sound = all(_sealed(seal, f"failed {name}") in lines for name in controls)
        return {index: _judged(test, sound and _sealed(seal, f"passed {test.name}") in lines) for index, test in units}

    def _exit(self, test: Exit) -> Trial:
        if time.monotonic() > self._until_s:
            return _judged(test, False)
        self._renew()
        return _judged(test, self._sandbox.exec(test.argv, timeout_s=self._timeout_s).ok)

    def _renew(self) -> None:
        """Every program finds the same files."""
        if not self.tidy and self._start is not None:
            self._sandbox.restore(self._start)
        elif not self.tidy:
            self._sandbox.reset()
            if self._files:
                self._sandbox.put_tree(self._files, executable=self._executable)
        self.tidy = False

    def _program(self, test: Program) -> Trial:
        solution, stdin = self._solution, test.stdin.encode("utf-8", "surrogatepass")
        self._renew()
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
        program = programs.compiled(program)
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
        right, gave = answers.compared(words, test.expected, loose=test.loose)
    except ValueError:
        return Trial(test, False, "wrong", "gave something that cannot be compared")
    return Trial(test, True, "passed") if right else Trial(test, False, "wrong", f"gave {answers.shortened(gave)}")


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
