"""Problems from files: HumanEval, MBPP, LiveCodeBench and SWE-bench, in their own formats."""

from __future__ import annotations

import base64
import gzip
import json
import os
import pickle
import sys
import zlib
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from sandbox_support import needs_bubblewrap, provider

from agentrl import ConfigError, DataError, EnvironmentFault
from agentrl_envs.code.formats import humaneval
from agentrl_envs.code.problems import Call, Script
from agentrl_envs.code.world import Code
from agentrl_sandboxes.bubblewrap.provider import Bubblewrap

HUMANEVAL = {
    "task_id": "HumanEval/900",
    "prompt": (
        "from typing import List\n\ndef half(n):\n    return n // 2\n\n"
        "def halves(numbers: List[int]) -> List[int]:\n"
        '    """Halve all.\n\n    >>> halves([4, 6])\n    [2, 3]\n    """\n'
    ),
    "entry_point": "halves",
    "canonical_solution": "    return [half(n) for n in numbers]\n",
    "test": (
        "\n\nMETADATA = {'author': 'x'}\n\ndef check(candidate):\n    assert candidate([2, 4]) == [1, 2]\n"
        "    assert candidate([]) == []\n    assert True, 'a note'\n"
    ),
}
NEAR = {
    **HUMANEVAL,
    "task_id": "HumanEval/901",
    "prompt": 'def third(x: float) -> float:\n    """A third.\n    >>> third(3.0)\n    1.0\n    """\n',
    "entry_point": "third",
    "canonical_solution": "    return x / 3\n",
    "test": "def check(candidate):\n    for x in range(9):\n        assert abs(candidate(x) - x / 3) < 1e-6\n",
}
MBPP = {
    "task_id": 901,
    "text": "Write a function to add two numbers.",
    "code": "def add_two(a, b):\r\n  return a + b",
    "test_list": [
        "assert add_two(1, 2) == 3",
        "assert add_two((1,), (2,)) == (1, 2)",
        "assert round(add_two(.1, .2), 3) == 0.3",
    ],
    "test_setup_code": "",
    "challenge_test_list": ["assert add_two('a', 'b') == 'ab'"],
}
SANITIZED = {
    "source_file": "x",
    "task_id": 902,
    "prompt": "Write a function to find the root.",
    "code": "import math\ndef root(n):\n  return math.sqrt(n)",
    "test_imports": ["import math"],
    "test_list": ["assert math.isclose(root(4), 2)", "assert root(9) == 3.0"],
}


def packed(cases: list[dict[str, str]]) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()


STDIN = {
    "question_title": "Sum",
    "question_content": "Read two numbers and print their sum.",
    "platform": "atcoder",
    "question_id": "abc900_a",
    "starter_code": "",
    "public_test_cases": json.dumps([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]),
    "private_test_cases": packed([{"input": "5 -7\n", "output": "-2\n", "testtype": "stdin"}]),
    "metadata": "{}",
    "gold": "print(sum(map(int, input().split())))\n",
}
FUNCTIONAL = {
    **STDIN,
    "question_id": "3900",
    "question_content": "Return the pairs of neighbours.",
    "starter_code": "class Solution:\n    def pairs(self, nums: List[int], k: int) -> List[List[int]]:\n        ",
    "public_test_cases": json.dumps(
        [{"input": "[1, 2, 3]\n0", "output": "[[1, 2], [2, 3]]", "testtype": "functional"}]
    ),
    "private_test_cases": packed([{"input": "[]\n1", "output": "[]", "testtype": "functional"}]),
    "metadata": json.dumps({"func_name": "pairs"}),
    "gold": "class Solution:\n    def pairs(self, nums: List[int], k: int):\n        return list(zip(nums, nums[1:]))\n",
}


def write(path: Path, *records: dict[str, Any]) -> str:
    text = "".join(json.dumps(record) + "\n" for record in records)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(records)), path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(json.dumps(list(records)) if path.suffix == ".json" else text, encoding="utf-8")
    return str(path)


@needs_bubblewrap
@pytest.mark.parametrize(
    ("suffix", "records", "hidden"),
    [
        (".jsonl", (HUMANEVAL, NEAR), (2, 1)),
        (".jsonl.gz", (HUMANEVAL,), (2,)),
        (".parquet", (HUMANEVAL, NEAR), (2, 1)),
        (".json", (MBPP,), (4,)),
        (".jsonl", (SANITIZED,), (2,)),
        (".parquet", (MBPP,), (4,)),
        (".jsonl", (STDIN, FUNCTIONAL), (2, 2)),
        (".parquet", (FUNCTIONAL,), (2,)),
    ],
)
def test_the_experts_solution_passes_and_a_wrong_one_does_not(
    tmp_path: Path, suffix: str, records: tuple[dict[str, Any], ...], hidden: tuple[int, ...]
) -> None:
    env = Code(provider(), files={"test": write(tmp_path / f"problems{suffix}", *records)})
    assert env.splits == {"test": len(records)}
    for index, count in enumerate(hidden):
        for solution, reward in ((None, 1.0), ("```\nprint('no')\n```", 0.0)):
            env.reset(seed=0, options={"split": "test", "index": index})
            said = env.step(solution or env.expert_action())[0]
            assert ("3 of 3" in said or "1 of 1" in said) is (solution is None), said
            _, got, terminated, _, info = env.step("submit")
            assert (got, terminated, len(info["tests"])) == (reward, True, count)
    env.close()


def test_plain_assertions_become_calls_so_that_answers_stay_outside() -> None:
    assert [type(test) for test in humaneval(HUMANEVAL).hidden] == [Call, Call]
    assert [type(test) for test in humaneval(NEAR).hidden] == [Script]
    assert humaneval(HUMANEVAL).public == (Call(([4, 6],), [2, 3]),)
    assert "def half" in humaneval(HUMANEVAL).preamble
    assert "def halves" not in humaneval(HUMANEVAL).preamble


@needs_bubblewrap
def test_programs_can_be_written_in_any_language(tmp_path: Path) -> None:
    env = Code(provider(), files={"test": write(tmp_path / "lcb.jsonl", STDIN)}, language="bash")
    env.reset(seed=0)
    assert "1 of 1" in env.step("```bash\nread a b\necho $((a + b))\n```")[0]
    assert env.step("run\n```\n20 22\n```")[0] == "42"
    assert env.step("submit")[1] == 1.0
    with pytest.raises(ConfigError, match="asks for a Python function"):
        Code(provider(), files={"test": write(tmp_path / "f.jsonl", FUNCTIONAL)}, language="bash")


def test_private_tests_that_want_anything_imported_are_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, ("touch /tmp/agentrl-was-here",)

    evil = {**STDIN, "private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(Evil()))).decode()}
    with pytest.raises(DataError, match="want posix.system, and are not read"):
        Code(files={"test": write(tmp_path / "evil.jsonl", evil)})


@pytest.mark.parametrize(
    ("record", "error", "words"),
    [
        ({"question": "?"}, ConfigError, "no known format. Known are swe"),
        ({**HUMANEVAL, "test": "x ="}, DataError, "record 1 .* is broken: SyntaxError"),
        ({**HUMANEVAL, "test": "def other(): pass"}, DataError, "there is no function 'check'"),
        ({**MBPP, "test_list": ["assert 1 == 1"]}, DataError, "no function can be found"),
        ({**STDIN, "public_test_cases": "[]", "private_test_cases": "[]"}, DataError, "has no tests"),
        ({"instance_id": "a", "problem_statement": "", "FAIL_TO_PASS": []}, ConfigError, "need `repositories`"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(
    tmp_path: Path, record: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Code(files={"test": write(tmp_path / "x.jsonl", record)})


def test_a_missing_or_broken_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        Code(files={"test": str(tmp_path / "nothing.jsonl")})
    for name in ("broken.jsonl", "broken.parquet", "broken.jsonl.gz"):
        (tmp_path / name).write_text("{nonsense")
        with pytest.raises(DataError, match="cannot be read"):
            Code(files={"test": str(tmp_path / name)})
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ConfigError, match="no records"):
        Code(files={"test": str(tmp_path / "empty.jsonl")})


def test_splits_that_share_a_problem_are_refused(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a.jsonl", MBPP, SANITIZED), write(tmp_path / "b.jsonl", MBPP)
    with pytest.raises(ConfigError, match="in the splits 'train' and 'test'"):
        Code(files={"train": one, "test": other})
    with pytest.raises(ConfigError, match="the same problem twice"):
        Code(files={"train": write(tmp_path / "c.jsonl", MBPP, MBPP)})


BROKEN = "def double(x):\n    return x + 3\n\n\ndef same(x):\n    return x\n"
OLD_TEST = (
    "import unittest\nfrom shop.prices import same\n\n\nclass Prices(unittest.TestCase):\n"
    "    def test_same(self):\n        self.assertEqual(same(2), 2)\n"
)
PATCH = "diff --git a/shop/prices.py b/shop/prices.py\n--- a/shop/prices.py\n+++ b/shop/prices.py\n@@ -1,4 +1,4 @@\n def double(x):\n-    return x + 3\n+    return x * 2\n \n \n"
TEST_PATCH = (
    "diff --git a/tests/test_prices.py b/tests/test_prices.py\n--- a/tests/test_prices.py\n+++ b/tests/test_prices.py\n"
    "@@ -5,3 +5,7 @@\n class Prices(unittest.TestCase):\n     def test_same(self):\n         self.assertEqual(same(2), 2)\n+\n"
    "+    def test_double(self):\n+        from shop.prices import double\n+        self.assertEqual(double(5), 10)\n"
)
NEEDED, KEPT = "tests.test_prices.Prices.test_double", "test_same (tests.test_prices.Prices)"
SWE = {
    "instance_id": "acme__shop-1",
    "repo": "acme/shop",
    "base_commit": "0" * 40,
    "problem_statement": "double(5) should be 10.",
    "patch": PATCH,
    "test_patch": TEST_PATCH,
    "FAIL_TO_PASS": json.dumps([NEEDED]),
    "PASS_TO_PASS": json.dumps([KEPT]),
}


def repository(tmp_path: Path, **changes: Any) -> Code:
    folder = tmp_path / "repositories/acme__shop"
    for name, text in {
        "shop/__init__.py": "",
        "shop/prices.py": BROKEN,
        "tests/test_prices.py": OLD_TEST,
        "run.sh": "echo hi\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "run.sh").chmod(0o755)
    settings, where = changes.pop("settings", {}), changes.pop("provider", None) or provider()
    path = write(tmp_path / "swe.jsonl", {**SWE, **changes})
    return Code(where, files={"test": path}, repositories=str(tmp_path / "repositories"), **settings)


@needs_bubblewrap
def test_the_gold_patch_of_a_repository_is_worth_the_whole_reward(tmp_path: Path) -> None:
    env = repository(tmp_path)
    observation, _ = env.reset(seed=0)
    assert (
        observation
        == "double(5) should be 10.\n\nFiles:\nrun.sh\nshop/__init__.py\nshop/prices.py\ntests/test_prices.py"
    )
    assert "```diff" in env.instructions
    assert env.step(env.expert_action())[0] == "The patch is applied."
    _, reward, terminated, _, info = env.step(env.expert_action())
    assert (reward, terminated, info["success"]) == (1.0, True, True)
    assert [test["why"] for test in info["tests"]] == [NEEDED, KEPT]
    env.close()


@needs_bubblewrap
def test_an_agent_works_in_a_repository_with_shell_and_files(tmp_path: Path) -> None:
    env = repository(tmp_path, settings={"max_turns": 20})
    env.reset(seed=0)
    assert env.step("```sh\n./run.sh; grep -n 'x + 3' shop/prices.py\n```")[0] == "hi\n2:    return x + 3"
    assert "exit code 1" in env.step("```sh\nfalse\n```")[0]
    assert "does not apply" in env.step("```diff\n--- a/no.py\n+++ b/no.py\n@@ -1 +1 @@\n-a\n+b\n```")[4]["invalid"]
    assert "say which file" in env.step("```\nx\n```")[4]["invalid"]
    assert "Nothing was done" in env.step("write ../../etc/passwd\n```\nx\n```")[0]
    taken = pickle.loads(pickle.dumps(env.snapshot()))
    assert env.step("submit")[4]["rewards"] == {"tests": 0.0, "solved": 0.0}, "what passes is what passed before"
    env.restore(taken)
    fixed = BROKEN.replace("x + 3", "2 * x")
    assert env.step(f"write shop/prices.py\n```\n{fixed}```")[0] == "shop/prices.py is written."
    assert env.step("submit")[1] == 1.0
    env.close()


FORGE = """import hashlib, json, sys
given = json.loads(sys.stdin.read())
for name in given["tests"]:
    print("\\n" + hashlib.sha256((given["seal"] + " " + name).encode()).hexdigest(), flush=True)
"""


@needs_bubblewrap
@pytest.mark.parametrize(
    "cheat",
    [
        "write tests/test_prices.py\n```\nimport unittest\n```",
        "```sh\nrm -r tests; echo > tests\n```",
        "```sh\nrm tests/test_prices.py; mkdir -p tests/test_prices.py; touch tests/test_prices.py/x\n```",
        "write shop/prices.py\n```\nimport os\nprint('OK', flush=True)\nos._exit(0)\n```",
        f"write unittest.py\n```\n{FORGE}```",
        f"write json.py\n```\n{FORGE.replace('json, ', '')}```",
    ],
)
def test_tests_of_a_repository_cannot_be_replaced_or_left_early(tmp_path: Path, cheat: str) -> None:
    env = repository(tmp_path)
    env.reset(seed=0)
    env.step(cheat)
    _, reward, terminated, _, info = env.step("submit")
    assert terminated
    assert reward <= 0.1
    assert not info["tests"][0]["passed"]
    env.close()


@needs_bubblewrap
def test_a_new_test_file_takes_the_place_of_the_agents(tmp_path: Path) -> None:
    new = "--- /dev/null\n+++ b/tests/test_new.py\n@@ -0,0 +1,4 @@\n+import unittest\n+class New(unittest.TestCase):\n+    def test(self):\n+        import shop.prices as p; self.assertEqual(p.double(4), 8)\n"
    env = repository(tmp_path, test_patch=new, FAIL_TO_PASS=["tests.test_new.New.test"], PASS_TO_PASS=[])
    for action, passed in (("write tests/test_new.py\n```\n# mine\n```", False), (None, True)):
        env.reset(seed=0)
        env.step(action or env.expert_action())
        assert env.step("submit")[4]["success"] is passed
    env.close()


@needs_bubblewrap
def test_ids_of_pytest_are_run_where_the_image_has_it(tmp_path: Path) -> None:
    new = "--- /dev/null\n+++ b/tests/test_new.py\n@@ -0,0 +1,5 @@\n+from shop.prices import double, same\n+def test_double():\n+    assert double(4) == 2 * same(4)\n+def test_same():\n+    assert same(4) == abs(4)\n"
    names = {"FAIL_TO_PASS": ["tests/test_new.py::test_double"], "PASS_TO_PASS": ["tests/test_new.py::test_same"]}
    with Bubblewrap(python=sys.executable) as with_pytest:
        with with_pytest.create() as sandbox:
            if not sandbox.exec(["python3", "-I", "-c", "import pytest"]).ok:
                pytest.skip("the sandbox cannot see this interpreter's pytest")
        env = repository(tmp_path, test_patch=new, **names, provider=with_pytest)
        for action, passed in ((None, [True, True]), ("hm", [False, True])):
            env.reset(seed=0)
            env.step(action or env.expert_action())
            assert [test["passed"] for test in env.step("submit")[4]["tests"]] == passed
        env.close()


@needs_bubblewrap
def test_a_command_of_ones_own_runs_the_tests_one_by_one(tmp_path: Path) -> None:
    script = "case $1 in good) grep -q 'x \\* 2' shop/prices.py;; *) true;; esac"
    env = repository(
        tmp_path, FAIL_TO_PASS=["good"], PASS_TO_PASS=["other"], settings={"test_command": ("sh", "-c", script, "sh")}
    )
    for patch, passed in ((False, [False, True]), (True, [True, True])):
        env.reset(seed=0)
        if patch:
            env.step(env.expert_action())
        assert [test["passed"] for test in env.step("submit")[4]["tests"]] == passed
    env.close()


@needs_bubblewrap
def test_tests_that_do_not_apply_are_a_fault_of_the_world(tmp_path: Path) -> None:
    env = repository(tmp_path, test_patch=TEST_PATCH.replace("test_same", "test_other"))
    env.reset(seed=0)
    with pytest.raises(EnvironmentFault, match="acme__shop-1"):
        env.step("submit")
    env.close()


def test_a_repository_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="should hold 'elsewhere' or 'acme__shop-2'"):
        repository(tmp_path, instance_id="elsewhere", repo="acme/shop-2")
