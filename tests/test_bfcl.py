"""BFCL: every solution, gold or damaged, scores as the benchmark's own checker scores it."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bfcl_eval", reason="pip install --no-deps bfcl-eval==2026.3.23")
pytest.importorskip("mpmath")

from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_checker as checker
from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_utils

from agentrl import DataError, Spec, ToolAction, ToolCall
from agentrl.testing import check_environment
from agentrl_envs.bfcl.calls import python_call
from agentrl_envs.bfcl.data import CATEGORIES, entries
from agentrl_envs.bfcl.world import BFCL

Solution = list[list[list[ToolCall]]]  # turns, steps, calls

_DATA = Path(multi_turn_utils.__file__).parents[2] / "data"


def gold(category: str, index: int) -> Solution:
    """The benchmark's own answer, one call a step (a few a step where these would be too many)."""
    solution: Solution = []
    for calls in entries(category)[index].gold:
        size = -(-len(calls) // 20) or 1
        solution.append([list(calls[i : i + size]) for i in range(0, len(calls), size)])
    return solution


def ours(category: str, index: int, solution: Solution) -> tuple[bool, bool]:
    """Whether our world calls it a success, and whether there was no call in a turn that wants none."""
    env = BFCL()
    env.reset(seed=0, options={"split": category, "index": index})
    for turn in solution:
        for action in (*(ToolAction(tuple(step)).write() for step in turn), "Done."):
            _, reward, terminated, _, info = env.step(action)
            assert reward == float(info["success"]), "the reward is the success"
            if terminated:
                return info["success"], not info["irrelevant_calls"]
    raise AssertionError("the episode went on after the last turn")


def theirs(category: str, index: int, solution: Solution) -> tuple[bool, bool]:
    """The same from the benchmark's code, its loop included: a 21st step in one turn ends everything."""
    task, answer = (line[index] for line in (raw(category, ""), raw(category, "possible_answer")))
    played: list[list[list[str]]] = []
    for turn in solution:
        played.append([[as_python(call) for call in step] for step in turn[:21] if step])
        if len(turn) > 20:
            break
    relevant = (
        not solution
        or checker.multi_turn_irrelevance_checker(
            played + [[]] * (len(answer["ground_truth"]) - len(played)), answer["ground_truth"]
        )["valid"]
    )
    if len(played) != len(answer["ground_truth"]):
        return False, relevant
    name = "oracle"
    verdict = checker.multi_turn_checker(played, answer["ground_truth"], task, f"multi_turn_{category}", name)
    for key in [key for key in vars(multi_turn_utils) if key.startswith(name)]:
        delattr(multi_turn_utils, key)  # it keeps its objects in module globals, by this name
    return verdict["valid"], relevant


def as_python(call: ToolCall) -> str:
    return f"{call.name}({', '.join(f'{name}={value!r}' for name, value in call.arguments.items())})"


_RAW: dict[tuple[str, str], list[Any]] = {}


def raw(category: str, folder: str) -> list[Any]:
    key = (category, folder)
    if key not in _RAW:
        text = (_DATA / folder / f"BFCL_v4_multi_turn_{category}.json").read_text(encoding="utf-8")
        _RAW[key] = [json.loads(line) for line in text.splitlines()]
    return _RAW[key]


def some_call(solution: Solution, random: np.random.Generator) -> tuple[list[ToolCall], int]:
    places = [(step, at) for turn in solution for step in turn for at in range(len(step))]
    return places[int(random.integers(len(places)))]


def drop_a_call(solution: Solution, random: np.random.Generator) -> None:
    step, at = some_call(solution, random)
    del step[at]


def repeat_a_call(solution: Solution, random: np.random.Generator) -> None:
    step, at = some_call(solution, random)
    step.insert(at, step[at])


def drop_a_turn(solution: Solution, random: np.random.Generator) -> None:
    solution[int(random.integers(len(solution)))].clear()


def swap_two_steps(solution: Solution, random: np.random.Generator) -> None:
    turn = solution[int(random.integers(len(solution)))]
    turn.reverse()


def change_an_argument(solution: Solution, random: np.random.Generator) -> None:
    step, at = some_call(solution, random)
    arguments = dict(step[at].arguments)
    if arguments:
        name = sorted(arguments)[int(random.integers(len(arguments)))]
        value = arguments[name]
        arguments[name] = {str: lambda: f"{value}x", bool: lambda: not value, list: list}.get(type(value), lambda: 3)()
    step[at] = ToolCall(step[at].name, arguments)


def forget_an_argument(solution: Solution, random: np.random.Generator) -> None:
    step, at = some_call(solution, random)
    arguments = dict(step[at].arguments)
    if arguments:
        arguments.popitem()
    step[at] = ToolCall(step[at].name, arguments)


def invent_an_argument(solution: Solution, random: np.random.Generator) -> None:
    step, at = some_call(solution, random)
    step[at] = ToolCall(step[at].name, {**step[at].arguments, "verbose": True})


def invent_a_function(solution: Solution, random: np.random.Generator) -> None:
    step, at = some_call(solution, random)
    step[at] = ToolCall(step[at].name + "s", step[at].arguments)


def call_another_function(solution: Solution, random: np.random.Generator) -> None:
    step, at = some_call(solution, random)
    other, where = some_call(solution, random)
    step[at] = ToolCall(other[where].name, step[at].arguments)


def do_everything_at_once(solution: Solution, random: np.random.Generator) -> None:
    solution[0] = [step for turn in solution for step in turn][:20]
    for turn in solution[1:]:
        turn.clear()


def act_one_turn_early(solution: Solution, random: np.random.Generator) -> None:
    at = int(random.integers(1, len(solution))) if len(solution) > 1 else 0
    solution[at - 1] += solution[at][:1]
    solution[at] = solution[at][1:]


def act_in_every_turn(solution: Solution, random: np.random.Generator) -> None:
    step, at = some_call(solution, random)
    for turn in solution:
        turn.insert(0, [step[at]])


def look_around(solution: Solution, random: np.random.Generator) -> None:
    for turn in solution:
        turn.append([ToolCall("pwd", {}), ToolCall("mean", {"numbers": [1, 2]})])


def go_on_too_long(solution: Solution, random: np.random.Generator) -> None:
    solution[int(random.integers(len(solution)))] += [[ToolCall("no_such_function", {})]] * 21


DAMAGES: list[Callable[[Solution, np.random.Generator], None]] = [
    drop_a_call,
    repeat_a_call,
    drop_a_turn,
    swap_two_steps,
    change_an_argument,
    forget_an_argument,
    invent_an_argument,
    invent_a_function,
    call_another_function,
    do_everything_at_once,
    act_one_turn_early,
    act_in_every_turn,
    look_around,
    go_on_too_long,
]


def damaged(category: str) -> Iterator[tuple[int, str, Solution]]:
    random = np.random.default_rng(CATEGORIES.index(category))
    for index in range(200):
        for damage in random.permutation(len(DAMAGES))[:3].tolist():
            solution = copy.deepcopy(gold(category, index))
            DAMAGES[damage](solution, random)
            yield index, DAMAGES[damage].__name__, [[step for step in turn if step] for turn in solution]


@pytest.mark.parametrize("category", CATEGORIES)
def test_all_200_gold_solutions_score_as_the_benchmark_scores_them(category: str) -> None:
    for index in range(200):
        solution = gold(category, index)
        assert ours(category, index, solution) == theirs(category, index, solution) == (True, True)


@pytest.mark.parametrize("category", CATEGORIES)
def test_600_damaged_solutions_score_as_the_benchmark_scores_them(category: str) -> None:
    seen: Counter[tuple[bool, bool]] = Counter()
    kinds: set[str] = set()
    for index, name, solution in damaged(category):
        mine = ours(category, index, solution)
        assert mine == theirs(category, index, solution), f"{category} {index} {name}: {solution}"
        seen[mine] += 1
        kinds.add(name)
    assert kinds == {damage.__name__ for damage in DAMAGES}
    assert sum(n for (valid, _), n in seen.items() if valid) > 50, "some damage does not matter"
    assert sum(n for (valid, _), n in seen.items() if not valid) > 250
    assert category in ("base", "long_context") or any(not relevant for _, relevant in seen)


def test_the_expert_plays_the_gold_solutions() -> None:
    env = BFCL()
    for index in (0, 57, 120):
        env.reset(seed=0, options={"split": "long_context", "index": index})
        info: dict[str, Any] = {}
        while not info.get("success"):
            _, _, over, _, info = env.step(env.expert_action())
            assert info["success"] or not over


def test_a_held_back_function_is_offered_when_its_turn_comes() -> None:
    env = BFCL()
    env.reset(seed=0, options={"split": "miss_func", "index": 0})
    assert "sort" not in {schema["function"]["name"] for schema in env.tool_schemas}
    for turn in gold("miss_func", 0)[:2]:
        for step in turn:
            env.step(ToolAction(tuple(step)).write())
        env.step("Done.")
    observation = env.step("I have no function for that.")[0]
    assert '"name": "sort"' in observation
    assert "sort" in {schema["function"]["name"] for schema in env.tool_schemas}


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "cd(folder=open('x'))",
        "cd(**{'a': 1})",
        "cd",
        "f(",
        "(" * 5_000,
        "cd(x=1, x=2)",
    ],
)
def test_python_that_is_no_plain_call_is_refused_and_never_run(text: str) -> None:
    with pytest.raises(DataError):
        python_call(text, {"cd": ["folder"]})


@pytest.mark.parametrize(
    "call",
    [
        '{"name": "power", "arguments": {"base": 9, "exponent": 999999999}}',
        '{"name": "square_root", "arguments": {"number": 2, "precision": 999999999999}}',
        '{"name": "_load_scenario", "arguments": {"scenario": {}}}',
        '{"name": "__init__", "arguments": {}}',
        '{"name": "mean", "arguments": {"not a name": []}}',
    ],
)
def test_a_hostile_call_is_an_error_the_agent_can_read(call: str) -> None:
    env = BFCL()
    index = next(i for i, entry in enumerate(entries("base")) if "MathAPI" in entry.classes)
    env.reset(seed=0, options={"split": "base", "index": index})
    observation, reward, terminated, _, info = env.step(call)
    assert observation.startswith("Error during execution: ")
    assert info["invalid"]
    assert (reward, terminated) == (0.0, False)


def test_the_world_passes_the_kit() -> None:
    report = check_environment(Spec("environment", "bfcl"), actions=2_000)
    assert report.passed, report.failures
