"""Generated problems: sketches of the families, with tests computed by their own solutions."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from collections.abc import Callable, Iterator

import numpy as np

from agentrl_envs.code.families import FAMILIES, Sketch
from agentrl_envs.code.problems import Call, Problem, Program, Test

PER_FAMILY = 12
SHOWN, HIDDEN = 3, 8
_VALID_OF_5 = 1  # of five problems of a family that is not held out, as many are for validation


@functools.cache
def problem_list(split: str, *, as_program: bool = False) -> tuple[Problem, ...]:
    """All of a split. `test` has families of its own; what `valid` asks for is never asked in `train`."""
    return tuple(_problem(name, sketch, as_program) for name, sketch, belongs in _sketches() if belongs == split)


@functools.cache
def split_sizes() -> dict[str, int]:
    splits = [belongs for _, _, belongs in _sketches()]
    return {split: splits.count(split) for split in ("train", "valid", "test")}


@functools.cache
def _sketches() -> tuple[tuple[str, Sketch, str], ...]:
    """Name, sketch and split, statements all different."""
    return tuple(entry for number in range(len(FAMILIES)) for entry in _of_family(number))


def _of_family(number: int) -> Iterator[tuple[str, Sketch, str]]:
    family, count = FAMILIES[number], 0
    seen: set[str] = set()
    for attempt in range(20 * PER_FAMILY):
        sketch = family.make(np.random.default_rng((7, number, attempt)))
        if not seen.isdisjoint((sketch.statement, sketch.gold)):
            continue
        seen |= {sketch.statement, sketch.gold}
        count += 1
        digit = hashlib.blake2b(sketch.statement.encode(), digest_size=1).digest()[0] % 5
        usual = "valid" if digit < _VALID_OF_5 else "train"
        yield f"{family.name}/{count - 1}", sketch, "test" if family.held_out else usual
        if count == PER_FAMILY:
            return


def _problem(name: str, sketch: Sketch, as_program: bool) -> Problem:
    random = np.random.default_rng(list(hashlib.blake2b(sketch.statement.encode(), digest_size=8).digest()))
    calls = _calls(sketch, random, SHOWN + HIDDEN)
    if as_program:
        return _program(name, sketch, calls)
    statement = f"Write a Python function `{sketch.signature}`.\n{sketch.statement}"
    return Problem(name, statement, sketch.entry, calls[:SHOWN], calls[SHOWN:], sketch.gold)


def _calls(sketch: Sketch, random: np.random.Generator, count: int) -> tuple[Call, ...]:
    """Different inputs, those first whose answer is a new one."""
    solve = solution(sketch.gold, sketch.entry)
    found: dict[str, Call] = {}
    for _ in range(40 * count):
        arguments = sketch.draw(random)
        key = repr(arguments)
        if key not in found:
            found[key] = Call(arguments, solve(*copy.deepcopy(arguments)))
        if len(found) >= 3 * count:
            break
    answers: dict[str, int] = {}
    ranked = []
    for call in found.values():
        answer = repr(call.expected)
        answers[answer] = answers.get(answer, 0) + 1
        ranked.append((answers[answer], call))
    chosen = [call for _, call in sorted(ranked, key=lambda pair: pair[0])[:count]]
    return tuple(chosen[int(i)] for i in random.permutation(len(chosen)))


def _program(name: str, sketch: Sketch, calls: tuple[Call, ...]) -> Problem:
    """The same for any language: arguments come as a line of JSON, and the answer goes out as one."""
    tests: tuple[Test, ...] = tuple(
        Program(json.dumps(list(call.arguments)) + "\n", json.dumps(_keyed(call.expected)), as_json=True)
        for call in calls
    )
    statement = (
        f"Write a program. It reads one line, a JSON array with the arguments of `{sketch.signature}`, and writes "
        f"what this function returns as JSON on the last line.\n{sketch.statement}"
    )
    gold = f"import json\n\n{sketch.gold}\nprint(json.dumps({sketch.entry}(*json.loads(input()))))\n"
    return Problem(name, statement, "", tests[:SHOWN], tests[SHOWN:], gold)


def _keyed(value: object) -> object:
    """As JSON reads it back: keys are text."""
    return json.loads(json.dumps(value))


def solution(gold: str, entry: str) -> Callable[..., object]:
    """The function of one of our own solutions; nothing that an agent wrote ever gets here."""
    names: dict[str, Callable[..., object]] = {}
    exec(compile(gold, "gold.py", "exec"), names)
    return names[entry]
