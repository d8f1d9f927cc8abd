"""Repositories: a folder of files is repaired, as in SWE-bench, and judged by tests that come with the judging."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Tests:
    """What decides about a folder, as it is before an agent comes."""

    files: Mapping[str, bytes]
    executable: frozenset[str]  # of all files
    passing: frozenset[str] = frozenset()  # tests that the files pass as they are: nothing is earned by these


class Folder(Workplace):
    """A folder in a sandbox that stays open while it is worked on."""

    def __init__(self, problem: Problem, sandboxes: Sandboxes, timeout_s: float, known: dict[str, Tests]) -> None:
        """`known`: what is known of problems' tests already, by digest."""
        assert problem.repository is not None
        self.problem, self._repository = problem, problem.repository
        self._sandboxes, self._timeout_s, self._known = sandboxes, timeout_s, known
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
        return self._run(taken, self._tests, (*self._repository.needed, *self._repository.kept))

    def counted(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        needed = trials[: len(self._repository.needed)]
        return [trial for trial in needed if str(trial.test) not in self._tests.passing]

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

    @property
    def _tests(self) -> Tests:
        """Found out once for each problem of a world. Raises EnvironmentFault for tests that tell nothing."""
        digest, name, needed = self.problem.digest, self.problem.name, self._repository.needed
        if digest not in self._known:
            with self._sandboxes.fresh() as clean:
                tests = _tests_of(clean, self._repository, name)
            before = self._run(self._repository.files, tests, needed)
            tests = replace(tests, passing=frozenset(str(trial.test) for trial in before if trial.passed))
            if tests.passing.issuperset(needed):
                raise EnvironmentFault(f"all tests that {name!r} has to repair pass before anything is done")
            self._known[digest] = tests
        return self._known[digest]

    def _run(self, theirs: Mapping[str, bytes], tests: Tests, names: Sequence[str]) -> tuple[Trial, ...]:
        """In a clean sandbox, on these files and those of the tests."""
        repository, patched = self._repository, touched(self._repository.tests)
        base, theirs = ({p: d for p, d in files.items() if p not in patched} for files in (repository.files, theirs))
        command = repository.command
        trials = [scoring.Exit((*command, name), name) if command else scoring.UnitTest(name) for name in names]
        with self._sandboxes.fresh() as clean:
            return scoring.score_tree(
                clean, theirs, trials, scoring.Solution(), beside=tests.files, base=base, allowed=touched(repository.gold),
                executable=tests.executable, timeout_s=self._timeout_s, total_s=clean.spec.limits.wall_s,
            ).trials  # fmt: skip

    def _patch(self, patch: str) -> tuple[str, str]:
        result = self.sandbox.exec(_APPLY, stdin=patch.encode("utf-8", "replace"), timeout_s=self._timeout_s)
        if not result.ok:
            return self._refuse(f"the patch does not apply\n{told(result, self._timeout_s)}")
        self._patched = self._patched or patch.strip() == self._repository.gold.strip()
        return "The patch is applied.", ""

    def _refuse(self, why: str) -> tuple[str, str]:
        return f"Nothing was done: {why}", why.splitlines()[0]


def touched(patch: str) -> tuple[str, ...]:
    """The paths that a patch changes, makes, removes or renames.

    >>> touched("--- a/x.py\\n+++ b/x.py\\nrename from y.py\\n")
    ('x.py', 'y.py')
    """
    found = re.findall(r"^(?:(?:---|\+\+\+) (?:[ab]/)?|rename (?:from|to) )([^\t\n]+)", patch, re.MULTILINE)
    return tuple(dict.fromkeys(path for path in found if path != "/dev/null"))


def _tests_of(clean: Sandbox, repository: Repository, name: str) -> Tests:
    """The files that the tests' patch touches, patched where nothing of an agent's is, and those that tests are named by."""
    paths, files = touched(repository.tests), repository.files
    named = {path: files[path] for test in repository.needed + repository.kept for path in _named(test, files)}
    if not repository.tests:
        return Tests(named, repository.executable)
    ours = {path: files[path] for path in paths if path in files}
    clean.put_tree(ours, executable=repository.executable & ours.keys())
    result = clean.exec(_APPLY, stdin=repository.tests.encode(), timeout_s=clean.spec.limits.wall_s)
    if not result.ok:
        raise EnvironmentFault(f"the patch with the tests of {name!r} does not apply: {result.stderr.text[-300:]}")
    programs = clean.exec("find . -type f -perm -u+x").stdout.text.split("\n")
    patched = clean.get_tree(*paths, max_mib=MOST_MIB).files
    return Tests({**named, **patched}, repository.executable | {path.removeprefix("./") for path in programs})


def _named(test: str, files: Mapping[str, bytes]) -> Iterator[str]:
    """The files of tests that an id names, as a path or with dots."""
    for word in re.findall(r"[\w./-]+", test):
        parts = word.split(".")
        dotted = ("/".join(parts[:count]) + ".py" for count in range(1, len(parts) + 1))
        yield from (path for path in (word, *dotted) if path in files)
