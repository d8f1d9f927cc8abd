"""Which files of an agent are scored, and which are put back."""

from __future__ import annotations

import pytest

from agentrl.worlds.scoring_files import files_to_score

BASE = {
    "pkg/__init__.py": b"base",
    "pkg/core.py": b"base",
    "pkg/test_core.py": b"base",
    "lib/plain.py": b"base",
    "data/json/x.json": b"base",
    "tests/conftest.py": b"base",
    "tox.ini": b"base",
    ".coveragerc": b"base",
}
BESIDE = {"pkg/test_core.py": b"ours", "tests/test_more.py": b"ours"}


@pytest.mark.parametrize(
    "path",
    [
        "tests/test_more.py",
        "tests/test_more/__init__.py",
        "tests/test_more.cpython-311-x86_64-linux-gnu.so",
        "tests",
        "tests.py",
        "tests/__init__.py",
        "tests/data/wanted.json",
        "pkg/test_core.py/x",
        "pkg/test_core.cpython-311-x86_64-linux-gnu.so",
        "pkg/test_other.py",
        "pkg/tests/x.py",
        "pkg/conftest.py",
        "conftest.py",
        "tox.ini",
        "sub/pytest.ini",
        "Makefile",
        "jest.config.js",
        "src/price.spec.ts",
        ".coveragerc",
        ".git/config",
        "pkg/.hidden/x.py",
        "a.dist-info/entry_points.txt",
        "own.pth",
        "pkg/__pycache__/core.cpython-311.pyc",
        "random.py",
        "json/__init__.py",
        "_pytest/runner.py",
        "sitecustomize.py",
        "lib/random.py",
    ],
)
def test_a_file_that_decides_is_as_it_was(path: str) -> None:
    assert files_to_score({**BASE, path: b"theirs"}, BESIDE, BASE, ()) == {**BASE, **BESIDE}


@pytest.mark.parametrize(
    "path",
    [
        "pkg/core.py",
        "pkg/random.py",
        "pkg/latest.py",
        "new/__init__.py",
        "new/types.py",
        "data/json/new.json",
        "contest.py",
        "attestation/x.py",
        "README.md",
        "lib/plain.py",
    ],
)
def test_other_files_are_the_agents(path: str) -> None:
    assert files_to_score({**BASE, path: b"theirs"}, BESIDE, BASE, ()) == {**BASE, **BESIDE, path: b"theirs"}


def test_what_the_agent_removed_stays_away_unless_it_decides() -> None:
    kept = {path: BASE[path] for path in ("tests/conftest.py", "tox.ini", ".coveragerc")}
    assert files_to_score({}, BESIDE, BASE, ()) == {**kept, **BESIDE}


def test_what_the_known_solution_changes_may_be_changed_but_no_test_of_ours() -> None:
    theirs = {"tox.ini": b"theirs", "pkg/test_core.py": b"theirs", "tests/conftest.py": b"theirs"}
    scored = files_to_score(theirs, BESIDE, BASE, ("tox.ini", "pkg/test_core.py"))
    assert scored == {".coveragerc": b"base", "tests/conftest.py": b"base", "tox.ini": b"theirs", **BESIDE}


def test_without_sources_beside_them_nothing_in_a_folder_of_tests_is_the_agents() -> None:
    theirs = {"checks/helper.py": b"theirs", "solution.py": b"theirs"}
    scored = files_to_score(theirs, {"checks/one.py": b"ours"}, {}, ())
    assert scored == {"checks/one.py": b"ours", "solution.py": b"theirs"}
