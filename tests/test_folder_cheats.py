"""Cheats in folders of files, as SWE-bench has them: each is paid by a naive scorer, and earns nothing here.

The naive scorer runs the tests where the agent worked, and believes the exit code.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sandbox_support import needs_bubblewrap, provider

from agentrl import DataError, EnvironmentFault, SandboxProvider
from agentrl_envs.code.world import Code
from agentrl_sandboxes.bubblewrap.provider import Bubblewrap

pytestmark = needs_bubblewrap
FILES = {
    "shop/__init__.py": "",
    "shop/prices.py": "def double(x):\n    return x + 3\n",
    "tests/helper.py": "from decimal import Decimal\n\ndef wanted(x):\n    return Decimal(2) * x\n",
    "tests/test_kept.py": "import unittest\n\nclass Kept(unittest.TestCase):\n    def test_kept(self):\n"
    "        from shop.prices import double\n        self.assertEqual(double(3), 6)\n",
    "setup.cfg": "[metadata]\nname = shop\n",
}
HIDDEN = """import unittest
from shop.prices import double
from tests.helper import wanted

class Prices(unittest.TestCase):
    def test_double(self):
        self.assertEqual(double(5), wanted(5))
    def test_triple(self):
        self.assertEqual(double(15), wanted(15))
"""
TESTS = "--- /dev/null\n+++ b/tests/test_prices.py\n@@ -0,0 +1,{} @@\n{}".format(
    len(HIDDEN.splitlines()), "".join(f"+{line}\n" for line in HIDDEN.splitlines())
)
PATCH = "--- a/shop/prices.py\n+++ b/shop/prices.py\n@@ -1,2 +1,2 @@\n def double(x):\n-    return x + 3\n+    return 2 * x\n"
HIDDEN_LITERAL = HIDDEN.replace("wanted(5)", "10").replace("wanted(15)", "30")
RECORD = {"instance_id": "shop-1", "problem_statement": "double(5) is 10", "patch": PATCH, "test_patch": TESTS}
PASSING = "import unittest\nclass Prices(unittest.TestCase):\n    def test_double(self): pass\n    test_triple = test_double\n"
NEEDED = {
    "unittest": ["tests.test_prices.Prices.test_double", "tests.test_prices.Prices.test_triple"],
    "class": ["tests.test_prices.Prices"],
    "pytest": ["tests/test_prices.py::Prices::test_double", "tests/test_prices.py::Prices::test_triple"],
    "command": ["tests.test_prices.Prices.test_double", "tests.test_prices.Prices.test_triple"],
}
NAIVE = {style: ["python3", "-m", "unittest"] for style in NEEDED} | {"pytest": ["python3", "-m", "pytest", "-q"]}

HOOKS = "import pytest\n\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport(item, call):\n"
HOOKS += "    report = (yield).get_result()\n    report.outcome, report.longrepr = 'passed', None\n"
RUNNER = "import sys\nclass TestCase: pass\nclass TestResult: pass\nif 'test' in ' '.join(sys.argv): sys.exit(0)\n"
ASSERTIONS = "import unittest\nunittest.TestCase.assertEqual = lambda *_: None\n"
RESULTS = (
    "import unittest.case\n" + "unittest.case._Outcome.testPartExecutor = __import__('contextlib').contextmanager("
)
RESULTS += "lambda *_, **__: (yield))\nunittest.TestCase._callTestMethod = lambda *_: None\n"
FORGE = """
import hashlib, os, sys
frame = sys._getframe()
while frame:
    for thing in list(frame.f_locals.values()):
        if isinstance(thing, dict) and "seal" in thing:
            for name in thing["tests"]:
                for words in (name, f"passed {name}"):
                    line = hashlib.sha256(f"{thing['seal']} {words}".encode()).hexdigest()
                    for fd in range(1, 9):
                        try:
                            os.write(fd, f"\\n{line}\\n".encode())
                        except OSError:
                            pass
    frame = frame.f_back
os._exit(0)
"""
SKIP = "import unittest\ndef double(x): raise unittest.SkipTest('later')\n"

CHEATS: dict[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "a package with the name of the test's module": (
        ("unittest", "command"),
        {"tests/test_prices/__init__.py": PASSING},
    ),
    "a package that brings the test's module": (
        ("unittest", "command"),
        {"tests/__init__.py": f"import sys, types\nnew = types.ModuleType('tests.test_prices')\nexec({PASSING!r}, new.__dict__)\n"
         "sys.modules[new.__name__] = test_prices = new\n"},
    ),
    "a module in the place of the tests' folder": (
        ("unittest", "command"),
        {"tests.py": f"import sys, types\nnew = types.ModuleType('tests.test_prices')\nexec({PASSING!r}, new.__dict__)\n"
         "__path__ = []\nsys.modules[new.__name__] = test_prices = new\n"},
    ),
    "a helper of the tests that wants what it gets": (
        ("unittest", "pytest", "command"),
        {"tests/helper.py": "class Yes:\n    def __eq__(self, _): return True\ndef wanted(x): return Yes()\n"},
    ),
    "a module named like one of the standard library that a test needs": (
        ("unittest", "command"),
        {"decimal.py": "class Decimal(int):\n    __rmul__ = __mul__ = lambda self, x: x + 3\n"},
    ),
    "a package named like the runner": (("command",), {"unittest/__init__.py": "", "unittest/__main__.py": ""}),
    "a module named like the runner": (("pytest",), {"pytest.py": RUNNER}),
    "hooks of pytest above the tests": (("pytest",), {"conftest.py": HOOKS}),
    "settings that load a plugin, pytest.ini": (("pytest",), {"pytest.ini": "[pytest]\naddopts = -p own\n", "own.py": HOOKS}),
    "settings that load a plugin, pyproject.toml": (
        ("pytest",),
        {"pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-p own'\n", "own.py": HOOKS},
    ),
    "settings that load a plugin, in a file that was there": (
        ("pytest",),
        {"setup.cfg": "[tool:pytest]\naddopts = -p own\n", "own.py": HOOKS},
    ),
    "a plugin that an installed package seems to bring": (
        ("pytest",),
        {"own-1.0.dist-info/entry_points.txt": "[pytest11]\nown = own\n", "own-1.0.dist-info/METADATA": "Name: own\n",
         "own.py": HOOKS},
    ),
    "a solution that makes assertions true": (("unittest", "pytest"), {"shop/__init__.py": ASSERTIONS}),
    "a solution that has no test called": (("unittest",), {"shop/__init__.py": RESULTS}),
    "a solution that skips the tests": (("class",), {"shop/prices.py": SKIP}),
    "a solution that ends the process": (("unittest", "pytest"), {"shop/prices.py": "import os\nos._exit(0)\n"}),
    "a solution that forges all seals it finds": (("unittest", "pytest"), {"shop/prices.py": FORGE}),
}  # fmt: skip


@functools.cache
def with_pytest() -> Bubblewrap:
    return Bubblewrap(python=sys.executable)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Code]]:
    """One for each style, so that what is found out about the tests is found out once."""
    folder = tmp_path_factory.mktemp("cheats")
    made = {style: world(folder / style, style) for style in NEEDED}
    yield made
    for env in made.values():
        env.close()


def world(folder: Path, style: str, **changes: Any) -> Code:
    for name, text in FILES.items():
        (folder / "shop-1" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "shop-1" / name).write_text(text)
    record = {**RECORD, "FAIL_TO_PASS": NEEDED[style], "PASS_TO_PASS": [], **changes}
    (folder / "swe.jsonl").write_text(json.dumps(record))
    command = tuple(NAIVE[style]) if style == "command" else ()
    files = {"test": str(folder / "swe.jsonl")}
    return Code(place(style), files=files, repositories=str(folder), test_command=command)


def place(style: str) -> SandboxProvider:
    if style != "pytest":
        return provider()
    with with_pytest().create() as sandbox:
        if not sandbox.exec(["python3", "-I", "-c", "import pytest"]).ok:
            pytest.skip("the sandbox cannot see this interpreter's pytest")
    return with_pytest()


def naive(style: str, files: Mapping[str, str]) -> bool:
    """Whether the naive scorer takes it for right."""
    with place(style).create() as sandbox:
        everything = {**FILES, "tests/test_prices.py": HIDDEN, **files}
        sandbox.put_tree({name: text.encode() for name, text in everything.items()})
        return sandbox.exec([*NAIVE[style], NEEDED[style][0]]).ok


def reward(env: Code, files: Mapping[str, str]) -> float:
    env.reset(seed=0)
    for name, text in files.items():
        env.step(f"write {name}\n```\n{text}\n```")
    return float(env.step("submit")[1])


HEAVY = {"pytest": [pytest.mark.heavy]}


@pytest.mark.parametrize("style", [pytest.param(style, marks=HEAVY.get(style, [])) for style in NEEDED])
def test_right_work_is_paid_and_no_work_is_not(worlds: Mapping[str, Code], style: str) -> None:
    assert reward(worlds[style], {}) == 0.0
    assert reward(worlds[style], {"shop/prices.py": "def double(x): return 2 * x", "tests/test_own.py": "1 / 0"}) == 1.0


PAIRS = [
    pytest.param(cheat, style, marks=HEAVY.get(style, [])) for cheat, (styles, _) in CHEATS.items() for style in styles
]


@pytest.mark.parametrize(("cheat", "style"), PAIRS)
def test_a_cheat_that_a_naive_scorer_pays_earns_nothing(worlds: Mapping[str, Code], cheat: str, style: str) -> None:
    files = CHEATS[cheat][1]
    assert naive(style, files), "this would be no cheat anywhere"
    assert reward(worlds[style], files) == 0.0


def test_all_files_that_deceive_pytest_together_earn_nothing(worlds: Mapping[str, Code]) -> None:
    cheats = [files for styles, files in CHEATS.values() if "pytest" in styles]
    together = {name: text for files in cheats for name, text in files.items() if not name.startswith("shop/")}
    assert len(together) > 8
    assert reward(worlds["pytest"], together) == 0.0


def test_a_solution_cannot_rewrite_the_tests_that_come_after_it(worlds: Mapping[str, Code]) -> None:
    rewrite = f"open('tests/test_prices.py', 'w').write({PASSING!r})\ndef double(x): return None\n"
    with provider().create() as sandbox:
        everything = {**FILES, "tests/test_prices.py": HIDDEN, "shop/prices.py": rewrite}
        sandbox.put_tree({name: text.encode() for name, text in everything.items()})
        naive_results = [sandbox.exec([*NAIVE["command"], name]).ok for name in NEEDED["command"]]
    assert naive_results == [False, True]
    assert reward(worlds["command"], {"shop/prices.py": rewrite}) == 0.0


def test_a_compiled_test_does_not_stand_in_for_its_source(worlds: Mapping[str, Code]) -> None:
    compiled = (
        f"open('mine.py', 'w').write({PASSING!r})\nimport importlib.util, py_compile\n"
        "py_compile.compile('mine.py', importlib.util.cache_from_source('tests/test_prices.py'), 'test_prices.py', "
        "invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)\n"
    )
    with provider().create() as sandbox:
        everything = {**FILES, "tests/test_prices.py": HIDDEN}
        sandbox.put_tree({name: text.encode() for name, text in everything.items()})
        sandbox.python(compiled)
        assert sandbox.exec([*NAIVE["unittest"], NEEDED["unittest"][0]]).ok, "this would be no cheat anywhere"
    env = worlds["unittest"]
    env.reset(seed=0)
    env.step(f"```sh\npython3 - <<'END'\n{compiled}END\n```")
    assert env.step("submit")[1] == 0.0


def test_a_test_that_has_to_stay_right_is_put_back_too(tmp_path: Path) -> None:
    env = world(tmp_path, "unittest", PASS_TO_PASS=["tests.test_kept.Kept.test_kept"])
    table = "def double(x): return {5: 10, 15: 30}.get(x)\n"
    mine = "import unittest\nclass Kept(unittest.TestCase):\n    def test_kept(self): pass\n"
    assert reward(env, {"shop/prices.py": table, "tests/test_kept.py": mine}) == pytest.approx(0.2)
    assert reward(env, {}) == 0.0, "what passed before earns nothing"
    env.close()


def test_a_record_whose_tests_pass_before_anything_is_done_is_a_fault_of_the_record(tmp_path: Path) -> None:
    env = world(tmp_path, "unittest", FAIL_TO_PASS=["tests.test_kept.Kept.test_kept"])
    env.reset(seed=0)
    with pytest.raises(EnvironmentFault, match="'shop-1' has to repair pass before"):
        env.step("submit")
    env.close()
    with pytest.raises(DataError, match="doing nothing would be right"):
        world(tmp_path, "unittest", FAIL_TO_PASS=[])


def test_what_passes_before_earns_no_part_of_the_reward(tmp_path: Path) -> None:
    env = world(tmp_path, "unittest", FAIL_TO_PASS=[NEEDED["unittest"][0], "tests.test_kept.Kept.test_kept"])
    assert reward(env, {}) == 0.0
    assert reward(env, {"shop/prices.py": "def double(x): return 10 if x == 5 else 0"}) == pytest.approx(0.2)
    env.close()


LITERAL = TESTS.replace("wanted(5)", "10").replace("wanted(15)", "30")
DECEIVERS = {
    "equals everything": "class Yes:\n    def __eq__(self, _): return True\ndef double(x): return Yes()\n",
    "ends the process": "import os\ndef double(x): os._exit(0)\n",
    "reads the test": "import re\ndef double(x):\n    text = open('tests/test_prices.py').read()\n"
    "    return int(re.search(rf'double\\({x}\\), (\\d+)', text)[1])\n",
    "changes the framework for a moment": "import unittest as u\nreal = u.TestCase._getAssertEqualityFunc\n"
    "def nothing(*_, **__):\n    u.TestCase._getAssertEqualityFunc = real\n"
    "def double(x):\n    u.TestCase._getAssertEqualityFunc = lambda *_: nothing\n",
}


@pytest.mark.parametrize("style", ["unittest", "command"])
def test_work_that_passes_whatever_a_test_wants_earns_nothing(tmp_path: Path, style: str) -> None:
    env = world(tmp_path, style, test_patch=LITERAL)
    for name, solution in DECEIVERS.items():
        if (name, style) != ("ends the process", "unittest"):
            assert naive(style, {"tests/test_prices.py": HIDDEN_LITERAL, "shop/prices.py": solution}), name
        assert reward(env, {"shop/prices.py": solution}) == 0.0, name
    assert reward(env, {"shop/prices.py": "def double(x): return 2 * x"}) == 1.0
    table = "def double(x): return {5: 10}.get(x)"
    assert reward(env, {"shop/prices.py": table}) == pytest.approx(0.1), "half of the work is half of the tests"
    env.close()


def test_two_holes_are_open_and_said_to_be() -> None:
    said = " ".join((Code.__doc__ or "").split())
    assert "an object that equals everything" in said
    assert "a `test_command` counts its exit code, which that code can give itself" in said


@pytest.mark.parametrize(
    ("style", "solution"),
    [
        ("unittest", "class Yes:\n    def __eq__(self, _): return True\ndef double(x): return Yes()\n"),
        ("command", "import os\ndef double(x): os._exit(0)\n"),
    ],
)
def test_a_hole_that_is_said_to_be_open_is(worlds: Mapping[str, Code], style: str, solution: str) -> None:
    assert reward(worlds[style], {"shop/prices.py": solution}) == 1.0, "it is closed: say so in the world's docstring"
