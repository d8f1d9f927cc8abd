"""Generated problems: every solution passes its tests, no two are the same, and what is wrong is noticed."""

from __future__ import annotations

import ast
import builtins
import itertools
from collections import Counter

import numpy as np
import pytest
from sandbox_support import needs_bubblewrap, provider

from agentrl.worlds.scoring_answers import same_text
from agentrl_envs.code import generate, tiny
from agentrl_envs.code.mutants import mutant
from agentrl_envs.code.problems import Call, Problem, Program, Script
from agentrl_envs.code.trials import Language, Runs, run_tests

SPLITS = ("train", "valid", "test")
EVERY = [problem for split in SPLITS for problem in generate.problem_list(split)]
PYTHON = Language()
ADD = Problem("add", "", "add", (), (Call((2, 3), 5), Call((10, -4), 6), Call((0, 0), 0)))


def try_out(problem: Problem, solution: str, language: Language = PYTHON) -> Runs:
    with provider().create() as sandbox:
        return run_tests(sandbox, problem, solution, problem.hidden, language)


def test_there_are_enough_generated_problems_and_no_two_ask_for_the_same() -> None:
    assert len(EVERY) >= 300
    assert len({problem.statement for problem in EVERY}) == len({problem.gold for problem in EVERY}) == len(EVERY)
    assert generate.split_sizes() == {split: len(generate.problem_list(split)) for split in SPLITS}


def test_families_of_the_test_split_are_in_no_other() -> None:
    families = {split: {p.name.split("/")[0] for p in generate.problem_list(split)} for split in SPLITS}
    assert not families["test"] & (families["train"] | families["valid"])
    assert len(families["test"]) >= 5


def test_every_problem_has_tests_that_are_not_shown_and_answers_that_differ() -> None:
    for problem in EVERY:
        shown, hidden = ({repr(test) for test in tests} for tests in (problem.public, problem.hidden))
        assert len(shown) == 3
        assert len(hidden) == 8
        assert not shown & hidden
        calls = [test for test in (*problem.public, *problem.hidden) if isinstance(test, Call)]
        assert max(Counter(repr(call.expected) for call in calls).values()) <= 9, problem.name


@needs_bubblewrap
def test_every_solution_passes_and_nearly_every_mutant_does_not() -> None:
    random, caught = np.random.default_rng(0), 0
    with provider().create() as sandbox:
        for problem in EVERY:
            runs = run_tests(sandbox, problem, problem.gold, problem.hidden, PYTHON)
            assert runs.passed == len(problem.hidden), (problem.name, [t.why for t in runs.trials if not t.passed])
        sample = EVERY[::9]
        for problem in sample:
            runs = run_tests(sandbox, problem, mutant(problem.gold, random), problem.hidden, Language(timeout_s=0.5))
            caught += runs.passed < len(problem.hidden)
    assert caught >= 0.8 * len(sample)


def test_a_mutant_is_python_and_not_the_solution() -> None:
    for problem in EVERY[::20]:
        changed = mutant(problem.gold, np.random.default_rng(3))
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(problem.gold)) or "# perhaps" in changed


@needs_bubblewrap
def test_the_same_problems_can_be_solved_by_programs_that_read_and_write() -> None:
    for problem in generate.problem_list("valid", as_program=True)[::30]:
        assert all(isinstance(test, Program) for test in problem.hidden)
        assert try_out(problem, problem.gold).passed == len(problem.hidden), problem.name


def plain(code: str) -> str:
    """A function with its names in the order in which they come, so that letters make no difference."""
    names: dict[str, str] = {}
    tree = ast.parse(code)
    for node in ast.walk(tree):
        for field in ("name", "id", "arg"):
            name = getattr(node, field, None)
            if isinstance(name, str) and not hasattr(builtins, name):
                setattr(node, field, names.setdefault(name, f"v{len(names)}"))
    return ast.unparse(tree)


def test_no_two_splits_share_a_problem_with_other_letters() -> None:
    golds = [{plain(problem.gold) for problem in generate.problem_list(split)} for split in SPLITS]
    tiny_golds = [{plain(template.gold) for template, _, _ in tiny._plans()[split]} for split in SPLITS]
    assert (
        plain("def f(a, b): return b - a") == plain("def g(x, y): return y - x") != plain("def f(a, b): return a - b")
    )
    for found in (golds, tiny_golds):
        for one, two in itertools.combinations(found, 2):
            assert not one & two


def test_no_line_that_mends_a_tiny_program_mends_one_of_another_split() -> None:
    """An expert sends that line and submits: the same line is the same script."""
    scripts = [{(line, plain_line(template, line)) for template, line, _ in tiny._plans()[split]} for split in SPLITS]
    for one, two in itertools.combinations(scripts, 2):
        assert not one & two


def plain_line(template: tiny.Template, line: int) -> str:
    return plain(template.gold).splitlines()[line]


def test_tiny_openings_are_all_different_and_none_is_there_twice() -> None:
    openings = [tiny.problem(split, index).opening for split in SPLITS for index in range(0, 600, 3)]
    assert len(set(openings)) == len(openings)
    plans = [plan for plans in tiny._plans().values() for plan in plans]
    assert len(set(plans)) == len(plans) == sum(tiny.split_sizes().values()) >= 2_000


@needs_bubblewrap
def test_tiny_problems_are_wrong_at_first_and_one_of_the_candidates_repairs_them() -> None:
    with provider().create() as sandbox:
        for split in SPLITS:
            for index in range(0, tiny.split_sizes()[split], 60):
                problem = tiny.problem(split, index)
                for tests in (problem.public, problem.hidden):
                    assert run_tests(sandbox, problem, problem.start, tests, PYTHON).passed < len(tests)
                    assert run_tests(sandbox, problem, problem.gold, tests, PYTHON).passed == len(tests)
                lines = zip(problem.start.splitlines(), problem.gold.splitlines(), strict=True)
                [(number, right)] = [(i, new) for i, (old, new) in enumerate(lines, 1) if old != new]
                assert f"line {number}: {right.strip()}" in problem.candidates


@needs_bubblewrap
@pytest.mark.parametrize(
    ("solution", "passed", "status", "why"),
    [
        ("def add(a, b):\n    print('thinking')\n    return a + b", 3, "passed", ""),
        ("def add(a, b):\n    return a + b if a < 5 else 0", 2, "wrong", "gave 0"),
        (
            "def add(a, b):\n    return a / (b + 4) and a + b",
            2,
            "error",
            "ZeroDivisionError: division by zero (line 2)",
        ),
        ("def add(a, b): return (", 0, "error", "SyntaxError: '(' was never closed (line 1)"),
        ("", 0, "error", "AttributeError: module 'solution' has no attribute 'add'"),
        ("def add(a, b):\n    import os\n    os._exit(0)", 0, "error", "ended with exit code 0"),
        ("import sys; sys.exit(0)", 0, "error", "SystemExit: 0 (line 1)"),
        ("def add(a, b):\n    while True: pass", 0, "timeout", "ran out of time (0.3 s)"),
        ("def add(a, b):\n    return 'x' * 2**34", 0, "", "emory"),
        (
            "class Yes:\n    def __eq__(self, other): return True\ndef add(a, b): return Yes()",
            0,
            "error",
            "plain values",
        ),
        ("def add(a, b):\n    return 10 ** 5000", 0, "error", "ValueError: Exceeds the limit"),
    ],
)
def test_what_a_solution_does_wrong_is_told(solution: str, passed: int, status: str, why: str) -> None:
    runs = try_out(ADD, solution, Language(timeout_s=0.3 if "while" in solution else 4.0))
    assert runs.passed == passed
    trial = next((trial for trial in runs.trials if not trial.passed), runs.trials[0])
    assert status in trial.status
    assert why in trial.why


@needs_bubblewrap
def test_a_call_that_ends_the_program_does_not_take_the_others_with_it() -> None:
    runs = try_out(ADD, "import os\ndef add(a, b):\n    return a + b if a != 10 else os._exit(3)")
    assert [trial.passed for trial in runs.trials] == [True, False, True]


@needs_bubblewrap
def test_after_three_time_outs_the_rest_is_not_run() -> None:
    problem = Problem("slow", "", "f", (), tuple(Call((i,), i) for i in range(8)))
    runs = try_out(problem, "def f(n):\n    while True: pass", Language(timeout_s=0.2))
    assert [trial.status for trial in runs.trials] == ["timeout"] * 2 + ["not_run"] * 6


@needs_bubblewrap
def test_all_tests_together_have_a_limit() -> None:
    problem = Problem("slow", "", "", (), (Program("", "1"), Program("", "1")))
    assert [trial.status for trial in try_out(problem, "print(1)", Language(total_s=0.0)).trials] == ["not_run"] * 2
    assert [trial.status for trial in try_out(problem, "print(1)").trials] == ["passed"] * 2


@needs_bubblewrap
def test_values_that_are_no_json_are_compared_as_python_does() -> None:
    answer = {1: (2, {"x", "y"}), "k": [None, True, 1.5]}
    problem = Problem("values", "", "f", (), (Call((answer,), answer), Call(([1, 2],), [1, 2]), Call(((1,),), [1])))
    assert [trial.passed for trial in try_out(problem, "def f(x): return x").trials] == [True, True, False]


@needs_bubblewrap
def test_assertions_count_only_when_they_were_reached() -> None:
    script = Script("assert abs(add(0.1, 0.2) - 0.3) < 1e-9", "near")
    problem = Problem("script", "", "add", (), (script,))
    good = "def add(a, b): return a + b"
    for solution, passed in (
        (good, 1),
        (f"{good} + 1", 0),
        (f"{good}\nprint('\\n0\\tsealed\\tpassed')\nimport os; os._exit(0)", 0),
    ):
        assert try_out(problem, solution).passed == passed


@needs_bubblewrap
def test_one_run_of_a_program_leaves_nothing_for_the_next() -> None:
    cheat = "import os\nprint(os.path.exists('seen'))\nopen('seen', 'w').close()"
    problem = Problem("files", "", "", (), (Program("", "False"), Program("", "False")))
    assert try_out(problem, cheat).passed == 2
    assert try_out(problem, cheat, Language(("python3", "solution.py"))).passed == 2


@pytest.mark.parametrize(
    ("got", "wanted", "same"),
    [("3 \n", "3", True), ("1.0", "1", True), ("a  b", "a b", True), ("1\n2", "1 2", False), ("NaN", "x", False)],
)
def test_outputs_are_compared_line_by_line(got: str, wanted: str, same: bool) -> None:
    assert same_text(got, wanted) is same
