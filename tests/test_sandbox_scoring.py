"""Scoring in a clean second sandbox."""

from __future__ import annotations

import pytest
from sandbox_support import needs_bubblewrap, provider

from agentrl import ConfigError
from agentrl.worlds.scoring import Call, Exit, Program, Script, Solution, UnitTest, score_files

pytestmark = needs_bubblewrap
RIGHT = b"def add(a, b):\n    return a + b\n"
HALF = b"def add(a, b):\n    print('thinking')\n    return a + b if a < 5 else 0\n"
CALLS = [Call((2, 3), 5), Call((10, -4), 6)]
ADD = Solution(entry="add")
TESTS = b"""
import unittest
from solution import add
class Adding(unittest.TestCase):
    def test_small(self):
        self.assertEqual(add(2, 3), 5)
    def test_large(self):
        self.assertEqual(add(10, -4), 6)
"""
UNIT_TESTS = [UnitTest("tests.test_add.Adding.test_small"), UnitTest("tests.test_add.Adding.test_large")]


@pytest.mark.parametrize(("solution", "passed"), [(RIGHT, 2), (HALF, 1), (b"def add(a, b): return (", 0), (b"", 0)])
def test_calls_are_scored_by_what_they_return(solution: bytes, passed: int) -> None:
    with provider().create() as agent:
        agent.put("solution.py", solution)
        score = score_files(provider(), agent, ["solution.py"], CALLS, ADD)
    assert (score.passed, len(score.trials)) == (passed, 2)
    assert score.grade["level"] == "namespaces"


@pytest.mark.parametrize(("solution", "passed"), [(RIGHT, 2), (HALF, 1), (b"def add(a, b): return (", 0)])
def test_unit_tests_are_scored_by_their_seals(solution: bytes, passed: int) -> None:
    with provider().create() as agent:
        agent.put("solution.py", solution)
        beside = {"tests/test_add.py": TESTS}
        score = score_files(provider(), agent, ["solution.py"], UNIT_TESTS, Solution(), beside=beside)
    assert score.passed == passed


def test_a_score_says_how_each_test_went_in_the_order_they_were_given() -> None:
    tests = [
        Script("assert candidate(1, 1) == 2", "one"),
        Exit(("python3", "-c", "from solution import add; assert add(1, 1) == 3"), "two"),
        Call((1, 1), 3),
        Script("assert candidate(1, 1) == 3", "four"),
    ]
    with provider().create() as agent:
        agent.put("solution.py", RIGHT)
        score = score_files(provider(), agent, ["solution.py"], tests, ADD)
    assert [trial.test for trial in score.trials] == tests
    assert [trial.status for trial in score.trials] == ["passed", "failed", "wrong", "error"]
    assert score.fraction == 0.25


def test_programs_are_scored_by_what_they_print() -> None:
    tests = [Program("3\n", "9"), Program("4\n", "", judge=lambda output: int(output) == 16), Program("5\n", "26")]
    with provider().create() as agent:
        agent.put("main.py", b"import helper\nprint(helper.square(int(input())))")
        agent.put("helper.py", b"def square(x): return x ** 2")
        score = score_files(provider(), agent, ["."], tests, Solution(command=("python3", "main.py")))
    assert (score.passed, score.fraction) == (2, pytest.approx(2 / 3))


def test_a_solution_finds_the_agents_other_modules_but_none_that_replaces_a_known_one() -> None:
    with provider().create() as agent:
        agent.put("solution.py", b"from helper import add")
        agent.put_tree({"helper.py": RIGHT, "json.py": b"def dumps(*_): return '6'"})
        score = score_files(provider(), agent, ["."], CALLS, ADD)
    assert score.passed == 2


def test_a_solution_that_is_a_link_is_not_taken_over() -> None:
    with provider().create() as agent:
        agent.exec("ln -s /etc/passwd solution.py")
        score = score_files(provider(), agent, ["solution.py"], CALLS, ADD)
    assert score.passed == 0
    assert score.refused == {"solution.py": "a link"}


def test_nothing_of_the_agents_is_in_the_folder_of_the_tests() -> None:
    with provider().create() as agent:
        agent.put_tree({"solution.py": HALF, "tests/__init__.py": b"raise SystemExit", "tests/test_add.py": b""})
        beside = {"tests/test_add.py": TESTS}
        assert score_files(provider(), agent, ["."], UNIT_TESTS, Solution(), beside=beside).passed == 1


def test_one_case_leaves_nothing_for_the_next() -> None:
    cheat = b"import os, sys\nold = open('seen').read() if os.path.exists('seen') else ''\nopen('seen', 'w').write('x')\nprint(old or 'nothing')\n"
    with provider().create() as agent:
        agent.put("main.py", cheat)
        solution = Solution(command=("python3", "main.py"))
        assert score_files(provider(), agent, ["main.py"], [Program("", "nothing")] * 2, solution).passed == 2


def test_scoring_nothing_is_refused() -> None:
    with provider().create() as agent, pytest.raises(ConfigError, match="at least one"):
        score_files(provider(), agent, [], [], ADD)
