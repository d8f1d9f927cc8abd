"""Trials: a solution is run on tests in a sandbox, and what it answered is compared outside."""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from agentrl import ExecResult, Sandbox
from agentrl_envs.code import wire
from agentrl_envs.code.problems import Call, Problem, Program, Script, Test

MOST_TIMEOUTS = 3
"""After so many tests that ran out of time, the rest is not run any more."""

_BEGIN = """
import sys, json, os, types
def main():
    given = json.loads(sys.stdin.buffer.read())
    answers, sys.stdout = os.dup(1), sys.stderr
    os.dup2(2, 1)
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    def load():
        exec(compile(given["source"], "solution.py", "exec"), module.__dict__)
    def told(error):
        at, frame = [], error.__traceback__
        while frame is not None:
            at += [frame.tb_lineno] if frame.tb_frame.f_code.co_filename == "solution.py" else []
            frame = frame.tb_next
        if isinstance(error, SyntaxError):
            at = [error.lineno] if error.filename == "solution.py" else []
        words = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"[:300]
        return words.rstrip(": ") + (f" (line {at[-1]})" if at else "")
    def tidy():
        for place in (".", "/tmp", "/dev/shm", os.path.expanduser("~")):
            try:
                if os.listdir(place):
                    return
            except OSError:
                pass
        say("tidy", "", "")
    def say(*line):
        os.write(answers, ("\\n" + "\\t".join(line) + "\\n").encode("utf-8", "backslashreplace"))
"""
_CALLS = (
    wire.ENCODER
    + _BEGIN
    + """
    try:
        load()
        found = module
        for name in given["entry"].split("."):
            found = getattr(found() if isinstance(found, type) else found, name)
    except BaseException as error:
        return say("all", "error", told(error))
    for index, arguments in given["calls"]:
        try:
            say(str(index), "answer", json.dumps(encode(found(*decode(arguments)))))
        except Exception as error:
            say(str(index), "error", told(error))
    tidy()
main()
"""
)
_SCRIPT = (
    _BEGIN
    + """
    import hashlib
    try:
        load()
        found = module
        for name in filter(None, given["entry"].split(".")):
            found = getattr(found() if isinstance(found, type) else found, name)
        module.__dict__["candidate"] = found
        exec(compile(given["script"], "test.py", "exec"), module.__dict__)
    except BaseException as error:
        return say("0", "error", told(error))
    say("0", "sealed", hashlib.sha256(f"{given['seal']} passed".encode()).hexdigest())
main()
"""
)


@dataclass(frozen=True)
class Trial:
    """How one test went. `why` says in words what was wrong, in a way the agent may read for public tests."""

    test: Test
    passed: bool
    status: str  # passed, wrong, error, or how the program ended (timeout, out_of_memory …), or not_run
    why: str = ""

    def to_data(self, position: int) -> dict[str, Any]:
        """For `info`: JSON-able, without the test's contents."""
        return {"test": position, "passed": self.passed, "status": self.status, "why": self.why}


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
    runner = _Runner(sandbox, problem.entry, language.source(problem, solution), language)
    return Runs(tuple(runner.run(tests)), runner.printed, runner.tidy)


@dataclass(frozen=True)
class Runs:
    """The trials of some tests, and what the solution printed beside its answers."""

    trials: tuple[Trial, ...]
    printed: str = ""
    tidy: bool = False  # the program says that it left no files; only its own next run could be misled

    @property
    def passed(self) -> int:
        return sum(trial.passed for trial in self.trials)


class _Runner:
    def __init__(self, sandbox: Sandbox, entry: str, source: str, language: Language) -> None:
        self._sandbox, self._entry, self._source, self._language = sandbox, entry, source, language
        self._timeouts = 0
        self._until_s = time.monotonic() + language.total_s
        self.tidy = True
        self.printed = ""

    def run(self, tests: Sequence[Test]) -> list[Trial]:
        calls = [(index, test) for index, test in enumerate(tests) if isinstance(test, Call)]
        found = self._calls(calls) if calls else {}
        for index, test in enumerate(tests):
            if index in found:
                continue
            if self._timeouts >= MOST_TIMEOUTS or time.monotonic() > self._until_s:
                found[index] = Trial(test, False, "not_run", "the tests before it took too long")
            elif isinstance(test, Call):
                found |= self._calls([(index, test)], alone=True)
            else:
                found[index] = self._program(test) if isinstance(test, Program) else self._script(test)
        return [found[index] for index in range(len(tests))]

    def _calls(self, calls: Sequence[tuple[int, Call]], alone: bool = False) -> dict[int, Trial]:
        """All in one process; those that got no answer because it ended early are left out, unless they were alone."""
        given = [[index, wire.encode(list(test.arguments))] for index, test in calls]
        result, said = self._python(_CALLS, {"entry": self._entry, "calls": given})
        if "all" in said:
            return {index: Trial(test, False, "error", said["all"][1]) for index, test in calls}
        found = {index: _answered(test, *said[str(index)]) for index, test in calls if str(index) in said}
        if alone or len(calls) == 1:
            found |= {index: self._ended(test, result) for index, test in calls if index not in found}
        return found

    def _script(self, test: Script) -> Trial:
        seal = secrets.token_hex(16)
        result, said = self._python(_SCRIPT, {"entry": self._entry, "script": test.code, "seal": seal})
        kind, words = said.get("0", ("", ""))
        if kind == "sealed" and words == hashlib.sha256(f"{seal} passed".encode()).hexdigest():
            return Trial(test, True, "passed")
        return Trial(test, False, "error", words) if kind == "error" else self._ended(test, result)

    def _program(self, test: Program) -> Trial:
        language, stdin = self._language, test.stdin.encode("utf-8", "surrogatepass")
        if not self.tidy:
            self._sandbox.reset()  # every test starts from the same files
        self.tidy = False
        if language.command:
            self._sandbox.put(language.file, _bytes(self._source))
            result = self._sandbox.exec(language.command, stdin=stdin, timeout_s=language.timeout_s)
        else:
            source = _bytes(self._source).decode("utf-8", "replace").replace("\0", "\ufffd")
            result = self._sandbox.python(source, stdin=stdin, timeout_s=language.timeout_s)
        self.printed += result.stderr.text
        self._timeouts += result.status == "timeout"
        if not result.ok:
            return self._ended(test, result)
        if result.stdout.missing:
            return Trial(test, False, "wrong", f"it wrote {result.stdout.total} bytes, which is too much")
        got = result.stdout.text
        right = _same_json(got, test.expected) if test.as_json else same_text(got, test.expected)
        return Trial(test, True, "passed") if right else Trial(test, False, "wrong", f"wrote {_short(got)}")

    def _python(self, program: str, given: dict[str, Any]) -> tuple[ExecResult, dict[str, tuple[str, str]]]:
        stdin = json.dumps({**given, "source": self._source}).encode()
        result = self._sandbox.python(program, stdin=stdin, timeout_s=self._language.timeout_s)
        self.printed += result.stderr.text
        self._timeouts += result.status == "timeout"
        said = {}
        for line in result.stdout.text.split("\n"):
            parts = line.split("\t", 2)
            if len(parts) == 3:
                said[parts[0]] = (parts[1], parts[2])
        self.tidy = self.tidy and "tidy" in said
        return result, said

    def _ended(self, test: Test, result: ExecResult) -> Trial:
        words = {
            "timeout": f"ran out of time ({self._language.timeout_s:g} s)",
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
        got = wire.read(words)
        right = wire.loosened(got) == wire.loosened(test.expected) if test.loose else got == test.expected
    except (ValueError, RecursionError):
        return Trial(test, False, "wrong", "gave something that cannot be compared")
    return Trial(test, True, "passed") if right else Trial(test, False, "wrong", f"gave {_short(repr(got))}")


def same_text(got: str, wanted: str) -> bool:
    """Whether two outputs agree: line by line without blanks around them, numbers by value.

    >>> same_text("1.50 a\\n", "1.5  a"), same_text("1 2", "1\\n2")
    (True, False)
    """
    lines, others = ([line.split() for line in text.strip().split("\n")] for text in (got, wanted))
    return len(lines) == len(others) and all(
        len(line) == len(other) and all(map(_same_word, line, other)) for line, other in zip(lines, others, strict=True)
    )


def _same_word(got: str, wanted: str) -> bool:
    if got == wanted:
        return True
    try:
        return Decimal(got) == Decimal(wanted)
    except InvalidOperation:
        return False


def _same_json(got: str, wanted: str) -> bool:
    lines = got.rstrip().rsplit("\n", 1)
    try:
        return bool(json.loads(lines[-1]) == json.loads(wanted))
    except (ValueError, RecursionError):
        return False


def _short(text: str, most: int = 200) -> str:
    text = text if len(text) <= most else f"{text[: most - 20]} … ({len(text)} characters)"
    return "".join(itertools.islice(text, most + 30))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
