"""The tiny preset: functions of a few lines with one wrong line, for models that are trained from nothing in minutes."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from agentrl_envs.code import report
from agentrl_envs.code.generate import solution
from agentrl_envs.code.problems import Call, Problem
from agentrl_envs.code.trials import Runs, Trial

SHOWN, HIDDEN = 2, 4
_NAMES = (("d", "e"), ("x", "y"), ("m", "n"), ("p", "q"), ("u", "v"), ("g", "h"))
_NUMBERS = range(2, 11)
_SIGNS = {"plus": "+", "minus": "-", "times": "*"}
_DONE = (*_SIGNS, "above", "below", "at least", "at most")
"""What is done with a number."""


@dataclass(frozen=True)
class Template:
    """A function with its alternatives: for each line that may be wrong, what else might stand there."""

    goal: str
    lines: tuple[str, ...]
    choices: tuple[tuple[int, tuple[str, ...]], ...]  # index of a line, and all that may stand there
    inputs: str  # a letter for each argument: n number, l list, w word
    held: tuple[int, ...] = ()  # index of the lines with a number that belongs to the split
    split: str = "train"

    @property
    def gold(self) -> str:
        return "\n".join(self.lines) + "\n"

    def bugs(self) -> Iterator[tuple[int, str]]:
        """Index and text of every wrong line; of a held-out function, only lines that nothing in training mends alike."""
        for index, texts in self.choices:
            if self.split != "train" and index not in self.held:
                continue
            indent = self.lines[index][: len(self.lines[index]) - len(self.lines[index].lstrip())]
            yield from ((index, indent + text) for text in texts if indent + text != self.lines[index])

    def with_line(self, index: int, text: str) -> str:
        return "\n".join((*self.lines[:index], text, *self.lines[index + 1 :])) + "\n"


def _split(done: str, number: int) -> str:
    """A fifth of what is done with some number is for validation, a fifth for the test, in even steps."""
    return ("valid", "test", "train", "train", "train")[(2 * _DONE.index(done) + number) % 5]


@functools.cache
def split_sizes() -> dict[str, int]:
    return {split: len(found) for split, found in _plans().items()}


@functools.lru_cache(maxsize=20_000)
def problem(split: str, index: int) -> Problem:
    """What is done to which number decides the split: a function is in one split, whatever its letters and what is wrong.

    So is the line that mends it. Functions without numbers are few, and all for training.
    """
    template, line, text = _plans()[split][index]
    calls = _calls(template)
    solve = solution(template.with_line(line, text), "f")
    caught = [call for call in (*calls[HIDDEN:], *calls) if _answer(solve, call.arguments) != call.expected]
    shown = (caught[0], next(call for call in reversed(calls) if call is not caught[0]))
    candidates = tuple(f"line {at + 1}: {choice}" for at, choices in template.choices for choice in choices)
    hidden = calls[:HIDDEN]
    passing = frozenset(i for i, call in enumerate(hidden) if _answer(solve, call.arguments) == call.expected)
    made = Problem(
        f"{template.goal}/{line + 1}", template.goal, "f", shown, hidden, template.gold,
        start=template.with_line(line, text), passing=passing, candidates=candidates,
    )  # fmt: skip
    first = Trial(shown[0], False, "wrong", f"gave {_answer(solve, shown[0].arguments)!r}")
    return dataclasses.replace(made, opening=report.brief(made, made.start, Runs((first,))))


@functools.cache
def _plans() -> dict[str, list[tuple[Template, int, str]]]:
    """All that can be wrong, in an order without order."""
    found: dict[str, list[tuple[Template, int, str]]] = {"train": [], "valid": [], "test": []}
    for template in _templates():
        found[template.split] += [
            (template, line, text) for line, text in template.bugs() if _caught(template, line, text)
        ]
    for number, plans in enumerate(found.values()):
        np.random.default_rng(number).shuffle(plans)
    return found


def _caught(template: Template, line: int, text: str) -> bool:
    """Whether the tests notice; a line that is as right as ours is no bug."""
    solve = solution(template.with_line(line, text), "f")
    return any(_answer(solve, call.arguments) != call.expected for call in _calls(template)[:HIDDEN])


@functools.cache
def _calls(template: Template) -> tuple[Call, ...]:
    """Inputs in such an order that the first ones tell apart as many wrong lines as they can."""
    random = np.random.default_rng(list(hashlib.blake2b(template.gold.encode(), digest_size=8).digest()))
    solve = solution(template.gold, "f")
    drawn = {repr(arguments): arguments for arguments in (_draw(template.inputs, random) for _ in range(24))}
    rest = [Call(arguments, _answer(solve, arguments)) for arguments in drawn.values()]
    wrong = [solution(template.with_line(*bug), "f") for bug in template.bugs()]
    kills = {
        id(call): {i for i, other in enumerate(wrong) if _answer(other, call.arguments) != call.expected}
        for call in rest
    }
    chosen: list[Call] = []
    left = set(range(len(wrong)))
    while len(chosen) < HIDDEN + SHOWN:
        best = max(rest, key=lambda call: len(kills[id(call)] & left))
        chosen.append(best)
        rest.remove(best)
        left -= kills[id(best)]
    return tuple(chosen)


def _answer(solve: Callable[..., object], arguments: Sequence[object]) -> object:
    try:
        return solve(*[list(x) if isinstance(x, list) else x for x in arguments])
    except (IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        return type(error)


def _draw(inputs: str, random: np.random.Generator) -> tuple[object, ...]:
    def one(kind: str) -> object:
        if kind == "l":
            return [int(x) for x in random.integers(1, 10, size=3)]
        if kind == "w":
            return "".join(random.choice(list("abc"), size=3).tolist())
        return int(random.integers(1, 13))

    return tuple(one(kind) for kind in inputs)


def _templates() -> Iterator[Template]:
    for a, b in _NAMES:
        yield from _two(a, b)
        yield from _loops(a, b)
        yield from _items(a)
        for k in _NUMBERS:
            yield from _constant(a, k)
        yield from _steps(a, b)


def _one_line(head: str, goals: dict[str, str], inputs: str) -> Iterator[Template]:
    texts = tuple(f"return {code}" for code in goals.values())
    for goal, code in goals.items():
        yield Template(goal, (f"def f({head}):", f"  return {code}"), ((1, texts),), inputs)


def _two(a: str, b: str) -> Iterator[Template]:
    goals = {
        f"{a} plus {b}": f"{a} + {b}",
        f"{a} minus {b}": f"{a} - {b}",
        f"{a} times {b}": f"{a} * {b}",
        f"larger of {a} and {b}": f"max({a}, {b})",
        f"smaller of {a} and {b}": f"min({a}, {b})",
        f"{b} minus {a}": f"{b} - {a}",
    }
    yield from _one_line(f"{a}, {b}", goals, "nn")


def _constant(a: str, k: int) -> Iterator[Template]:
    goals = {f"{a} {word} {k}": f"{a} {sign} {k}" for word, sign in _SIGNS.items()}
    goals[f"{a} plus {k + 1}"] = f"{a} + {k + 1}"
    tests = {"above": ">", "below": "<", "at least": ">=", "at most": "<="}
    questions = {f"is {a} {words} {k}": f"{a} {sign} {k}" for words, sign in tests.items()}
    templates = (*list(_one_line(a, goals, "n"))[:3], *_one_line(a, questions, "n"))
    for done, template in zip(_DONE, templates, strict=True):
        yield dataclasses.replace(template, held=(1,), split=_split(done, k))
    for words, sign in (("at most", ">"), ("at least", "<")):
        lines = (f"def f({a}):", f"  if {a} {sign} {k}:", f"    return {k}", f"  return {a}")
        line_2 = tuple(f"if {a} {other} {k}:" for other in "<>")
        choices = ((1, line_2), (2, (f"return {k}", f"return {a}")), (3, (f"return {a}", f"return {k}")))
        yield Template(f"{a} but {words} {k}", lines, choices, "n", (1,), _split(words, k))


def _loops(a: str, b: str) -> Iterator[Template]:
    steps = {
        "sum": f"+= {a}",
        "count": "+= 1",
        "product": f"*= {a}",
        "last": f"= {a}",
        "sum of squares": f"+= {a} * {a}",
    }
    texts = tuple(f"{b} {step}" for step in steps.values())
    for goal, step in steps.items():
        first = 1 if goal == "product" else 0
        lines = (f"def f({a}s):", f"  {b} = {first}", f"  for {a} in {a}s:", f"    {b} {step}", f"  return {b}")
        choices = ((1, (f"{b} = 0", f"{b} = 1")), (3, texts), (4, (f"return {b}", f"return {a}")))
        yield Template(f"{goal} of {a}s", lines, choices, "l")


def _items(a: str) -> Iterator[Template]:
    goals = {
        f"first of {a}s": f"{a}s[0]",
        f"second of {a}s": f"{a}s[1]",
        f"last of {a}s": f"{a}s[-1]",
        f"length of {a}s": f"len({a}s)",
        f"largest of {a}s": f"max({a}s)",
        f"smallest of {a}s": f"min({a}s)",
    }
    yield from _one_line(f"{a}s", goals, "l")
    words = {
        f"{a} twice": f"{a} + {a}",
        f"{a} backwards": f"{a}[::-1]",
        f"{a} in capitals": f"{a}.upper()",
        f"{a} without its first": f"{a}[1:]",
        f"{a} without its last": f"{a}[:-1]",
    }
    yield from _one_line(a, words, "w")


def _steps(a: str, b: str) -> Iterator[Template]:
    """Two things in turn, both of one split; for each first one, one second of each sign."""
    for (word, sign), k, (then, other) in itertools.product(_SIGNS.items(), _NUMBERS, _SIGNS.items()):
        split = _split(word, k)
        alike = [n for n in _NUMBERS if _split(then, n) == split]
        n = alike[k % len(alike)]
        lines = (f"def f({a}):", f"  {b} = {a} {sign} {k}", f"  return {b} {other} {n}")
        first = tuple(f"{b} = {a} {each} {k}" for each in _SIGNS.values())
        second = (*(f"return {b} {each} {n}" for each in _SIGNS.values()), f"return {a} {other} {n}")
        goal = f"{b} is {a} {word} {k} , then {b} {then} {n}"
        yield Template(goal, lines, ((1, first), (2, second)), "n", (1, 2), split)
