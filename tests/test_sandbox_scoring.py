"""Scoring in a clean second sandbox."""

from __future__ import annotations

import pytest
from sandbox_support import needs_bubblewrap, provider

from agentrl import ConfigError
from agentrl.scoring import ScoringCase, score_calls, score_cases, score_tests

pytestmark = needs_bubblewrap
RIGHT = b"def add(a, b):\n    return a + b\n"
HALF = b"def add(a, b):\n    print('thinking')\n    return a + b if a < 5 else 0\n"
CALLS = [([2, 3], 5), ([10, -4], 6)]
TESTS = b"""
import unittest
from solution import add
class Adding(unittest.TestCase):
    def test_small(self):
        self.assertEqual(add(2, 3), 5)
    def test_large(self):
        self.assertEqual(add(10, -4), 6)
"""
NAMES = ["test_add.Adding.test_small", "test_add.Adding.test_large"]


@pytest.mark.parametrize(("solution", "passed"), [(RIGHT, 2), (HALF, 1), (b"def add(a, b): return (", 0), (b"", 0)])
def test_calls_are_scored_by_what_they_return(solution: bytes, passed: int) -> None:
    with provider().create() as agent:
        agent.put("solution.py", solution)
        score = score_calls(provider(), agent, "solution.py", "add", CALLS)
    assert (score.passed, score.total) == (passed, 2)
    assert score.grade["level"] == "namespaces"


@pytest.mark.parametrize(("solution", "passed"), [(RIGHT, 2), (b"def add(a, b): return (", 0)])
def test_unittest_files_are_scored_by_their_seals(solution: bytes, passed: int) -> None:
    with provider().create() as agent:
        agent.put("solution.py", solution)
        score = score_tests(provider(), agent, ["solution.py"], {"test_add.py": TESTS}, NAMES)
    assert score.passed == passed


def test_one_failed_test_does_not_hide_those_that_passed() -> None:
    with provider().create() as agent:
        agent.put("solution.py", HALF)
        assert score_tests(provider(), agent, ["solution.py"], {"test_add.py": TESTS}, NAMES).passed == 1


def test_programs_are_scored_by_what_they_print() -> None:
    cases = [ScoringCase(b"3\n", b"9\n"), ScoringCase(b"4\n", lambda out: int(out) == 16), ScoringCase(b"5\n", b"26")]
    with provider().create() as agent:
        agent.put("main.py", b"print(int(input()) ** 2)")
        score = score_cases(provider(), agent, ["main.py"], ["python3", "main.py"], cases)
    assert (score.passed, score.fraction) == (2, pytest.approx(2 / 3))


def test_a_solution_that_is_a_link_is_not_taken_over() -> None:
    with provider().create() as agent:
        agent.exec("ln -s /etc/passwd solution.py")
        score = score_calls(provider(), agent, "solution.py", "add", CALLS)
    assert score.passed == 0
    assert score.refused == {"solution.py": "a link"}


def test_one_case_leaves_nothing_for_the_next() -> None:
    cheat = b"import os, sys\nold = open('seen').read() if os.path.exists('seen') else ''\nopen('seen', 'w').write('x')\nprint(old or 'nothing')\n"
    cases = [ScoringCase(b"", b"nothing"), ScoringCase(b"", b"nothing")]
    with provider().create() as agent:
        agent.put("main.py", cheat)
        assert score_cases(provider(), agent, ["main.py"], ["python3", "main.py"], cases).passed == 2


def test_scoring_nothing_is_refused() -> None:
    with provider().create() as agent, pytest.raises(ConfigError, match="at least one"):
        score_cases(provider(), agent, [], ["true"], [])
