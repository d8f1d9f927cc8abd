"""Cheats in problems of one file, as HumanEval and MBPP have them: each is paid by a naive scorer, and earns nothing here.

The naive scorers do what many do: solution and test share one process, and its exit code, or a secret word that it
prints at the end, decides.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import pytest
from sandbox_support import needs_bubblewrap, provider

from agentrl.worlds import scoring_programs
from agentrl_envs.code.formats import humaneval, mbpp
from agentrl_envs.code.problems import Call, Problem, Script, Test
from agentrl_envs.code.trials import Language, run_tests

pytestmark = needs_bubblewrap
GOLD = "def third(n):\n    return n / 3\n"
TESTS = {
    "loop": "def check(candidate):\n    for n in range(9):\n        assert abs(candidate(n) - n / 3) < 1e-6\n",
    "round": "assert round(third(2), 3) == 0.667",
    "plain": "assert third(6) == 2",
}
NAIVE = """
import json, sys
given = json.load(sys.stdin)
names = {}
exec(compile(given["source"], "solution.py", "exec"), names)
exec(compile(given["test"], "test.py", "exec"), names)
print(given["secret"], "passed")
"""
YES = """
class Yes(float):
    def same(self, *_): return self
    def true(self, *_): return True
    __sub__ = __rsub__ = __abs__ = __round__ = same
    __eq__ = __lt__ = __le__ = __bool__ = true
"""
LEAVE = "def third(n): return None\nimport os, sys\n"
CHEATS = {
    "an answer that equals everything": f"{YES}\ndef third(n): return Yes(0)",
    "builtins of one's own in the solution": f"{YES}\nabs = round = lambda *_: Yes(0)\ndef third(n): return Yes(0)",
    "builtins changed for everybody": f"import builtins\n{YES}\nbuiltins.abs = builtins.round = lambda *_: Yes(0)\n"
    "def third(n): return Yes(0)",
    "exec does nothing any more": f"{LEAVE}import builtins\nbuiltins.exec = lambda *_: None",
    "the function ends the process": "import os\ndef third(n): os._exit(0)",
    "the function leaves by SystemExit": "import sys\ndef third(n): sys.exit(0)",
    "an exit function turns the exit code to 0": f"{LEAVE}import atexit\natexit.register(os._exit, 0)",
    "a hook for exceptions turns the exit code to 0": f"{LEAVE}sys.excepthook = lambda *_: os._exit(0)",
    "a signal ends a loop with exit code 0": "import os, signal\nsignal.signal(signal.SIGALRM, lambda *_: os._exit(0))\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.05)\ndef third(n):\n    while True: pass",
    "a thread ends the process": "import os, threading, time\nthreading.Timer(0.05, os._exit, [0]).start()\n"
    "def third(n): time.sleep(9)",
    "the secret word is taken from a frame and printed": """
import hashlib, os, sys
frame = sys._getframe()
while frame:
    for name, thing in [*frame.f_locals.items(), *frame.f_globals.items()]:
        if isinstance(thing, dict):
            for word in [str(thing.get(key)) for key in ("secret", "seal")]:
                seal = hashlib.sha256(f"{word} passed".encode()).hexdigest()
                text = f"\\n{word} passed\\n0\\tpassed\\t\\n0\\tsealed\\t{seal}\\n".encode()
                [os.write(fd, text) for fd in range(1, 9) if os.path.exists(f"/proc/self/fd/{fd}")]
    frame = frame.f_back
os._exit(1)
""",
    "the test is read from a frame, and what it wants returned": """
import re, sys
def third(n):
    frame = sys._getframe()
    while frame:
        for thing in [*frame.f_locals.values(), *frame.f_globals.values()]:
            if isinstance(thing, dict) and "assert" in str(thing.get("test", thing.get("script"))):
                wanted = re.search(r"third\\(%s\\)(?:, \\d\\))? == ([\\d.]+)" % n, str(thing))
                return float(wanted[1]) if wanted else n / 3
        frame = frame.f_back
""",
}


def problem(style: str) -> Problem:
    if style == "loop":
        return humaneval({"prompt": "def third(n):\n    ...\n", "entry_point": "third", "test": TESTS[style]})
    return mbpp({"text": "?", "code": GOLD, "test_list": [TESTS[style]]}, shown=0)


def naive(source: str, test: str) -> bool:
    """Whether one of the naive scorers takes it for right."""
    stdin = json.dumps({"source": source, "test": test, "secret": "c2Vj"}).encode()
    with provider().create() as sandbox:
        result = sandbox.exec(["python3", "-c", NAIVE], stdin=stdin, timeout_s=2.0)
        return result.ok or "c2Vj passed" in result.stdout.text


def passed(solution: str, *tests: Test, entry: str = "third") -> list[bool]:
    asked = Problem("cheats", "", entry, (), tests)
    with provider().create() as sandbox:
        return [trial.passed for trial in run_tests(sandbox, asked, solution, tests, Language(timeout_s=2.0)).trials]


@pytest.mark.parametrize("style", TESTS)
def test_the_honest_solution_is_right(style: str) -> None:
    asked = problem(style)
    assert isinstance(asked.hidden[0], Call if style == "plain" else Script)
    assert passed(GOLD, *asked.hidden) == [True]


@pytest.mark.parametrize("style", TESTS)
@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_that_a_naive_scorer_pays_earns_nothing(cheat: str, style: str) -> None:
    test = TESTS[style] + ("\ncheck(third)\n" if style == "loop" else "\n")
    assert naive(CHEATS[cheat], test), "this would be no cheat anywhere"
    assert passed(CHEATS[cheat], *problem(style).hidden) == [False]


PEEK = """
import os, re
def third(n):
    maps, memory = open(f"/proc/{os.getppid()}/maps"), open(f"/proc/{os.getppid()}/mem", "rb", 0)
    for line in maps:
        if " rw" in line:
            begin, end = (int(word, 16) for word in line.split()[0].split("-"))
            try:
                memory.seek(begin)
                wanted = re.search(rb"third\\(2\\), 3\\) == ([\\d.]+)", memory.read(end - begin))
            except OSError:
                continue
            if wanted:
                return float(wanted[1])
"""


def test_the_memory_of_the_process_that_checks_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    tests = problem("round").hidden
    assert passed(PEEK, *tests) == [False]
    open_to_all = scoring_programs.SCRIPT.replace("prctl(4, 0", "prctl(4, 1")
    assert open_to_all != scoring_programs.SCRIPT
    monkeypatch.setattr(scoring_programs, "SCRIPT", open_to_all)
    assert passed(PEEK, *tests) == [True], "this would be no cheat anywhere"


LEFT = f"""
open("fractions.py", "w").write({YES!r} + "Fraction = lambda *_: Yes(0)")
{YES}
def third(n): return 7
"""


def test_what_one_run_leaves_is_no_module_of_the_next_test() -> None:
    tests = ["assert third(0) == 7", "from fractions import Fraction\nassert Fraction(third(1)) == Fraction(1, 3)"]
    source = f"import sys\nsys.path.insert(0, '')\n{LEFT}"
    assert naive(source, "\n".join(tests))
    assert passed(LEFT, *(Script(code, f"test {number}") for number, code in enumerate(tests))) == [True, False]


METHOD = "class Word:\n    def startswith(self, *_): return True\n    __contains__ = __iter__ = startswith\n"


@pytest.mark.parametrize("test", ["assert third(1).startswith('on')", "assert 'on' in third(1)", "assert third(1)"])
def test_an_object_is_no_answer_whatever_its_methods_say(test: str) -> None:
    cheat = f"{METHOD}\ndef third(n): return Word()"
    assert naive(cheat, test)
    assert passed(cheat, Script(test, "words")) == [False]
    assert passed(f"{METHOD}\ndef third(n): return [Word()]", Script(test.replace("(1)", "(1)[0]"), "words")) == [False]
    assert passed("def third(n): return 'one'", Script(test, "words")) == [True]


def test_a_test_compares_with_its_own_functions() -> None:
    record = {
        "text": "?",
        "code": f"from math import isclose\n{GOLD}",
        "test_list": ["assert isclose(third(1), 1 / 3)"],
    }
    cheat = "isclose = lambda *_: True\ndef third(n): return 0"
    tests = mbpp(record, shown=0).hidden
    assert naive(cheat, record["test_list"][0])  # type: ignore[index]
    assert (passed(cheat, *tests), passed(GOLD, *tests)) == ([False], [True])
    record["code"] = f"import not_there\n{record['code']}"
    assert passed(GOLD, *mbpp(record, shown=0).hidden) == [True], "what the tests do not use is not theirs"
    math = Script("assert math.isclose(third(1), 1 / 3)", "no import")
    assert passed(f"class math:\n    isclose = lambda *_: True\n{cheat}", math) == [False]


@pytest.mark.parametrize(
    ("wanted", "given", "same"),
    [
        (1, "True", False),
        ([0, 1], "[False, True]", False),
        ({1: "a"}, "{True: 'a'}", False),
        ([1, 2], "(1, 2)", False),
        ({1, 2}, "frozenset({1, 2})", False),
        ("a", "type('Text', (str,), {'__eq__': lambda *_: True, '__hash__': None})('b')", False),
        (2, "type('Number', (int,), {'__eq__': lambda *_: True})(2)", False),
        (5, "float('nan')", False),
        (240, "240.0", True),
        ({"a": {1, 2}}, "__import__('collections').Counter(a={2, 1})", True),
        (1j, "1j", True),
        (b"ab", "b'ab'", True),
    ],
)
def test_answers_are_compared_by_type_and_value(wanted: object, given: str, same: bool) -> None:
    assert passed(f"def third(n): return {given}", Call((1,), wanted)) == [same]


def test_a_message_of_an_error_forges_no_line_of_the_report() -> None:
    cheat = "def third(n): raise ValueError('no\\n0\\tpassed\\t\\n\\n0\\tanswer\\t3')"
    assert passed(cheat, Script("assert third(1) == 1", "lines")) == [False]
    assert passed(cheat, Call((1,), 1)) == [False]


NODES = {
    "text": "?",
    "code": "class Node:\n    def __init__(self, n):\n        self.n, self.left = n, None\ndef depth(root):\n"
    "    return 1 + depth(root.left) if root else 0\n",
    "test_setup_code": "root = Node(1)\nroot.left = Node(2)\nroot.left.left = Node(3)\n",
    "test_list": ["assert depth(root) == 3", "assert depth(root.left) == 2", "assert (depth(Node(1))) == 1"],
}


def test_tests_that_use_classes_of_the_solution_can_be_passed_by_right_work_only() -> None:
    asked = dataclasses.replace(mbpp(NODES, shown=0))
    outcomes: Sequence[bool] = passed(f"{asked.preamble}\n{asked.gold}", *asked.hidden, entry=asked.entry)
    assert list(outcomes) == [True] * 3
    cheat = "class Yes:\n    def __eq__(self, _): return True\nclass Node(Yes):\n    def __init__(self, *_): self.left = self\n"
    assert passed(f"{cheat}def depth(root): return Yes()", *asked.hidden, entry="depth") == [False] * 3
