"""Judging: a folder that was worked on meets the tests of its problem, which nobody could prepare for."""

from __future__ import annotations

import re
import threading
import weakref
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agentrl import EnvironmentFault, Sandbox, SandboxProvider, scoring
from agentrl_envs.code.controls import with_other_wishes
from agentrl_envs.code.problems import Problem, Repository
from agentrl_envs.code.trials import Trial
from agentrl_envs.code.workplace import Sandboxes

MOST_MIB = 64.0
APPLY = (
    "cat > /tmp/change.diff && "
    "if command -v git > /dev/null; then git apply --whitespace=nowarn /tmp/change.diff; "
    "else patch -p1 --forward --batch -i /tmp/change.diff; fi"
)
"""Applies a patch that comes as standard input."""


@dataclass(frozen=True)
class Tests:
    """What decides about a folder, as it is before an agent comes."""

    files: Mapping[str, bytes]
    executable: frozenset[str]  # of all files
    passing: frozenset[str] = frozenset()  # tests that the files pass as they are: nothing is earned by these
    changed: Mapping[str, bytes] = field(default_factory=dict)  # the files with other wishes
    controls: frozenset[str] = frozenset()  # tests that the known solution passes, and fails when they are changed


class Judge:
    """Runs the tests of one problem. What it finds out about them is kept as long as the sandboxes' provider lives."""

    def __init__(self, problem: Problem, repository: Repository, sandboxes: Sandboxes, timeout_s: float) -> None:
        self._name, self._repository, self._sandboxes, self._timeout_s = problem.name, repository, sandboxes, timeout_s
        self._key = problem.digest, repository.kept, repository.command, repository.gold

    def trials(self, theirs: Mapping[str, bytes]) -> tuple[Trial, ...]:
        """Every test, on an agent's files. One that passes both as it is and when it wants something else was deceived."""
        tests, repository = self._tests(), self._repository
        trials = self._run(theirs, tests.files, (*repository.needed, *repository.kept), tests.executable)
        doubted = [str(trial.test) for trial in trials if trial.passed and str(trial.test) in tests.controls]
        again = self._run(theirs, tests.changed, doubted, tests.executable) if doubted else ()
        deceived = _passed(again)
        return tuple(
            replace(trial, passed=False, status="failed", why=f"{trial.test} passes whatever it wants")
            if str(trial.test) in deceived
            else trial
            for trial in trials
        )

    def counted(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """The tests that the problem is about, without those that pass before anything is done."""
        needed = trials[: len(self._repository.needed)]
        return [trial for trial in needed if str(trial.test) not in self._tests().passing]

    def _tests(self) -> Tests:
        with _LOCKS[self._key]:  # several worlds may begin with the same problem
            known = _KNOWN.setdefault(self._sandboxes.provider, {})
            if self._key not in known:
                known[self._key] = self._find_out()
            return known[self._key]

    def _find_out(self) -> Tests:
        """Raises EnvironmentFault for tests that tell nothing."""
        repository, name = self._repository, self._name
        with self._sandboxes.fresh() as clean:
            tests = _tests_of(clean, repository, name)
        before = self._run(repository.files, tests.files, repository.needed, tests.executable)
        tests = replace(tests, passing=_passed(before))
        if tests.passing.issuperset(repository.needed):
            raise EnvironmentFault(f"all tests that {name!r} has to repair pass before anything is done")
        changed, right = with_other_wishes(tests.files), self._right_files()
        if not changed or right is None:
            return tests
        changed = {**tests.files, **changed}
        passed = _passed(self._run(right, tests.files, (*repository.needed, *repository.kept), tests.executable))
        still = _passed(self._run(right, changed, sorted(passed), tests.executable))
        return replace(tests, changed=changed, controls=passed - still)

    def _right_files(self) -> Mapping[str, bytes] | None:
        """The files with the known solution, where there is one."""
        repository = self._repository
        if not repository.gold:
            return None
        with self._sandboxes.fresh() as clean:
            clean.put_tree(repository.files, executable=repository.executable)
            limit_s = clean.spec.limits.wall_s
            applied = clean.exec(APPLY, stdin=repository.gold.encode("utf-8", "replace"), timeout_s=limit_s).ok
            return clean.get_tree(max_mib=MOST_MIB).files if applied else None

    def _run(
        self,
        theirs: Mapping[str, bytes],
        beside: Mapping[str, bytes],
        names: Sequence[str],
        executable: Collection[str],
    ) -> tuple[Trial, ...]:
        """In a clean sandbox, on these files and those of the tests."""
        repository, patched = self._repository, touched(self._repository.tests)
        base, theirs = ({p: d for p, d in files.items() if p not in patched} for files in (repository.files, theirs))
        command = repository.command
        trials = [scoring.Exit((*command, name), name) if command else scoring.UnitTest(name) for name in names]
        with self._sandboxes.fresh() as clean:
            return scoring.score_tree(
                clean, theirs, trials, scoring.Solution(), beside=beside, base=base, allowed=touched(repository.gold),
                executable=executable, timeout_s=self._timeout_s, total_s=clean.spec.limits.wall_s,
            ).trials  # fmt: skip


_KNOWN: weakref.WeakKeyDictionary[SandboxProvider, dict[object, Tests]] = weakref.WeakKeyDictionary()
_LOCKS: defaultdict[object, threading.Lock] = defaultdict(threading.Lock)


def touched(patch: str) -> tuple[str, ...]:
    """The paths that a patch changes, makes, removes or renames.

    >>> touched("--- a/x.py\\n+++ b/x.py\\nrename from y.py\\n")
    ('x.py', 'y.py')
    """
    found = re.findall(r"^(?:(?:---|\+\+\+) (?:[ab]/)?|rename (?:from|to) )([^\t\n]+)", patch, re.MULTILINE)
    return tuple(dict.fromkeys(path for path in found if path != "/dev/null"))


def _passed(trials: Sequence[Trial]) -> frozenset[str]:
    return frozenset(str(trial.test) for trial in trials if trial.passed)


def _tests_of(clean: Sandbox, repository: Repository, name: str) -> Tests:
    """The files that the tests' patch touches, patched where nothing of an agent's is, and those that tests are named by."""
    paths, files = touched(repository.tests), repository.files
    named = {path: files[path] for test in repository.needed + repository.kept for path in _named(test, files)}
    if not repository.tests:
        return Tests(named, repository.executable)
    ours = {path: files[path] for path in paths if path in files}
    clean.put_tree(ours, executable=repository.executable & ours.keys())
    result = clean.exec(APPLY, stdin=repository.tests.encode(), timeout_s=clean.spec.limits.wall_s)
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
