"""Problems: what is asked for, and the tests that say whether it was done."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from agentrl import scoring

Call: TypeAlias = scoring.Call
Program: TypeAlias = scoring.Program
Script: TypeAlias = scoring.Script
Test: TypeAlias = Call | Program | Script


@dataclass(frozen=True)
class Problem:
    """One thing to program. `entry` is the function to write (`Class.method` works too); "" asks for a program."""

    name: str
    statement: str
    entry: str
    public: tuple[Test, ...]  # shown, and run for the agent
    hidden: tuple[Test, ...]  # decide the reward
    gold: str = ""  # a solution that passes all tests, if one is known
    start: str = ""  # what the solution is in the beginning
    passing: frozenset[int] = frozenset()  # positions of the hidden tests that it passes already
    preamble: str = ""  # code that is put before every solution
    opening: str = ""  # what is read first; empty: the statement, the public tests and the start
    candidates: tuple[str, ...] = ()  # edits worth trying, for `info["admissible"]`; empty: any text is
    repository: Repository | None = None  # set: the solution is a folder of files

    def __deepcopy__(self, memo: object) -> Problem:
        return self  # never changed, so snapshots share it

    @functools.cached_property
    def digest(self) -> str:
        """Twelve hex digits that depend on everything in it: two problems that share it are one."""
        repository = self.repository
        content = (
            self.statement, self.entry, self.start, self.preamble, self.public, self.hidden,
            repository and (sorted(repository.files.items()), repository.needed, repository.tests),
        )  # fmt: skip
        return hashlib.blake2b(repr(content).encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


@dataclass(frozen=True)
class Repository:
    """A folder to repair, as in SWE-bench: files, the patch that adds the tests, and which tests have to pass."""

    files: Mapping[str, bytes]
    executable: frozenset[str]
    tests: str  # a patch, applied for grading only; what it touches is taken from it and not from the agent
    needed: tuple[str, ...]  # fail before, have to pass after (FAIL_TO_PASS)
    kept: tuple[str, ...] = ()  # pass before, have to pass after (PASS_TO_PASS)
    command: tuple[str, ...] = ()  # runs one test, its id is added; empty: pytest or unittest ids, run by Python
    gold: str = field(default="", repr=False)  # the patch that solves it
