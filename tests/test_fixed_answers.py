"""What a fixed script earns, one that is played whatever is seen: under 3 % of the tasks, in every world and preset.

The labs are left out, whose tasks are few by design, and so is walking one way in the corridor: half of its exits are
there. The web shop's reward is the original's, which pays for what fits of any purchase; full success counts here.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest
from sandbox_support import needs_bubblewrap

from agentrl import Spec, default_host
from agentrl_envs.code import generate, tiny
from agentrl_envs.code.problems import Call
from agentrl_envs.search import score

MOST = 0.03
Script = Sequence[str]


def built(name: str, **settings: Any) -> Any:
    return default_host().build(Spec("environment", name, settings))


def tasks(env: Any, count: int) -> Iterator[dict[str, Any]]:
    """Reset options of the first tasks of every split."""
    for split, size in env.unwrapped.splits.items():
        yield from ({"split": split, "index": index} for index in range(min(count, size)))


def earned(env: Any, script: Script, count: int) -> tuple[float, float]:
    """The share of tasks that a script solves, and its mean return; the last action is repeated to the end."""
    returns, successes, played = 0.0, 0, 0
    for options in tasks(env, count):
        env.reset(seed=0, options=options)
        for action in itertools.chain(script, itertools.repeat(script[-1], 60)):
            _, reward, terminated, truncated, info = env.step(action)
            returns += reward
            if terminated or truncated:
                break
        successes += bool(info["success"])
        played += 1
    return successes / played, returns / played


def expert_scripts(env: Any, count: int) -> Counter[tuple[str, ...]]:
    """What the expert does, task by task."""
    found: Counter[tuple[str, ...]] = Counter()
    for options in tasks(env, count):
        env.reset(seed=0, options=options)
        script: list[str] = []
        over = False
        while not over:
            script.append(env.unwrapped.expert_action())
            _, _, terminated, truncated, _ = env.step(script[-1])
            over = terminated or truncated
        found[tuple(script)] += 1
    return found


def calls(tool: str, name: str, values: Iterable[object]) -> str:
    """One action that makes a call for each value."""
    made = [f'{{"name": "{tool}", "arguments": {{"{name}": "{value}"}}}}' for value in values]
    return f"[{', '.join(made)}]"


REFUSAL = "I cannot do that."
EVERY_AMOUNT = "I cannot: " + ", ".join(f"{cents / 100:.2f}" for cents in range(50, 2_500, 50)) + " today."
CARDS = [calls("find_member_by_card", "card", [f"C{card}" for card in range(start, start + 45)]) for start in (10, 55)]
TOOLS: dict[str, Script] = {
    "refuses": [REFUSAL],
    "is done": ["It is done."],
    "names every amount": [EVERY_AMOUNT],
    "asks who it is, then refuses": ["May I have your card number, or else your name and postcode?", REFUSAL],
    "renews the first loan": [calls("renew_loan", "loan_id", ["L1"]), "It is done."],
    "takes the first copy back": [calls("return_copy", "loan_id", ["L1"]), "It is done."],
    "pays the first fine": [calls("pay_fine", "fine_id", ["F1"]), "It is done."],
    "looks at every card": [*CARDS, calls("renew_loan", "loan_id", ["L1"]), "It is done."],
    "looks at some cards": [CARDS[0], calls("return_copy", "loan_id", ["L1"]), "It is done."],
    "looks at every card and refuses": [*CARDS, EVERY_AMOUNT],
}


@pytest.mark.parametrize("preset", ["full", "tiny"])
def test_no_fixed_script_serves_at_the_desk(preset: str) -> None:
    env = built("tools", preset=preset)
    best = max((earned(env, script, 40), name) for name, script in TOOLS.items())
    assert best[0][1] < MOST, best


@pytest.mark.parametrize("preset", ["full", "tiny"])
def test_no_fixed_answer_is_right_in_search(preset: str) -> None:
    env = built("search", preset=preset)
    golden = [env.reset(seed=0, options=options)[1]["hidden"]["answers"] for options in tasks(env, 500)]
    [(common, _)] = Counter(answer for answers in golden for answer in answers).most_common(1)
    for script in ([f"<answer>{common}</answer>"], [f"<search>{common}</search>", f"<answer>{common}</answer>"]):
        assert earned(env, script, 25)[1] < MOST
    words = Counter(word for answers in golden for word in score.normalise(answers[0]).split())
    candidates = [common, "", *(" ".join(best) for n in (1, 2) for best in _together(words, n))]
    for scored in (score.exact_match, score.f1):
        best = max((sum(scored(answer, answers) for answers in golden) / len(golden), answer) for answer in candidates)
        assert best[0] < MOST, best


def _together(words: Counter[str], count: int) -> Iterator[tuple[str, ...]]:
    return itertools.combinations([word for word, _ in words.most_common(10)], count)


@pytest.mark.parametrize("settings", [{}, {"preset": "tiny"}, {"mode": "faithful"}], ids=str)
def test_no_fixed_purchase_is_what_was_asked_for(settings: dict[str, Any]) -> None:
    env = built("webshop", **settings)
    scripts = [list(script) for script, _ in expert_scripts(env, 40).most_common(4)]
    scripts += [["click[buy now]"], ["search[<r>]", "click[buy now]"], ["search[shoes]", "click[next >]"]]
    best = max((earned(env, script, 102), script) for script in scripts)
    assert best[0][0] < MOST, best


SMALL = {"rooms": ("kitchen",), "receptacles": (6, 8), "object_types": (8, 8), "copies": (1, 1), "layouts": 1000}


@pytest.mark.parametrize(("settings", "most"), [({}, MOST), (SMALL, 0.1)], ids=["default", "of the example"])
def test_no_fixed_script_keeps_house(settings: dict[str, Any], most: float) -> None:
    """In the small kitchens of the example, five chores tried blindly one after the other settle some tasks."""
    env = built("household", expert="oracle", admissible=False, **settings)
    scripts = [script for script, _ in expert_scripts(env, 100).most_common(5)]
    every_one = [action for script in scripts for action in script]  # what cannot be done, does nothing
    best = max((earned(env, script, 60), script) for script in ([*scripts, every_one, ["look"], ["help"]]))
    assert best[0][1] < most, best


def test_no_fixed_line_mends_tiny_programs() -> None:
    for split, plans in tiny._plans().items():
        mends = Counter((line, template.lines[line]) for template, line, _ in plans)
        [(line, count)] = mends.most_common(1)
        assert count / len(plans) < MOST, (split, line)


GUESSES: dict[str, Callable[..., object]] = {
    **{repr(value): (lambda *_, value=value: value) for value in (None, 0, 1, -1, True, False, "", [], {})},
    "the first argument": lambda first, *_: first,
    "the last argument": lambda *given: given[-1],
    "its length": lambda first, *_: len(first),
}


def test_no_function_that_does_nothing_solves_the_generated_problems() -> None:
    for split in ("train", "valid", "test"):
        problems = generate.problem_list(split)
        solved = {
            name: sum(_solves(guess, p.hidden) for p in problems) / len(problems) for name, guess in GUESSES.items()
        }
        assert max(solved.values()) < MOST, (split, solved)


def _solves(guess: Callable[..., object], tests: Iterable[Any]) -> bool:
    try:
        return all(isinstance(test, Call) and repr(guess(*test.arguments)) == repr(test.expected) for test in tests)
    except Exception:  # a guess that fits no argument
        return False


@needs_bubblewrap
@pytest.mark.parametrize("preset", ["full", "tiny"])
def test_what_is_there_from_the_beginning_solves_no_problem(preset: str) -> None:
    env = built("code", preset=preset)
    assert earned(env, ["submit"], 4)[0] == 0
    env.close()


def test_who_does_not_walk_does_not_arrive() -> None:
    env = built("corridor")
    for script in (["wait"], ["open door"], ["look"], ["wait", "open door"]):
        assert earned(env, script, 40) == (0.0, 0.0)
