"""The code world: protocol, rewards, expert, snapshots, sandboxes."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from sandbox_support import needs_bubblewrap, provider

from agentrl import ConfigError, SandboxFault, SandboxProvider, SandboxSpec, Spec, default_host
from agentrl.parts.run_file import parse
from agentrl.parts.tables import read_tables
from agentrl.testing import check_environment
from agentrl_envs.code import reading
from agentrl_envs.code.world import Code

EXAMPLE = Path(__file__).parents[1] / "examples/code.toml"
FENCE = "```"


def world(**settings: Any) -> Code:
    return Code(provider(), **settings)


def block(code: str, tag: str = "python") -> str:
    return f"{FENCE}{tag}\n{code}\n{FENCE}"


def gold(env: Code) -> str:
    return env.place.problem.gold


@needs_bubblewrap
@pytest.mark.parametrize(
    "settings",
    [{"preset": "tiny"}, pytest.param({"timeout_s": 1.0, "grading_s": 4.0}, marks=pytest.mark.heavy)],
    ids=["tiny", "full"],
)
def test_the_world_conforms(settings: dict[str, Any]) -> None:
    report = check_environment(Spec("environment", "code", settings), actions=100)
    assert report.passed, report.failures


@needs_bubblewrap
def test_an_agent_writes_reads_the_failure_repairs_and_submits() -> None:
    env = world()
    observation, info = env.reset(seed=1, options={"split": "train", "index": 3})
    assert "Public tests:" in observation
    assert info["rewards"] == {"tests": 0.0, "solved": 0.0}
    name = env.place.problem.entry
    observation, reward, terminated, _, info = env.step(f"Let me try.\n\n{block(f'def {name}(*args): return 12345')}")
    assert observation.startswith("0 of 3 public tests pass.\nFAILED")
    assert "gave 12345, expected" in observation
    assert (reward, terminated, info["milestones"]) == (0.0, False, ())
    observation, *_, info = env.step(block(gold(env)))
    assert observation == "3 of 3 public tests pass."
    assert info["milestones"] == ("public",)
    observation, reward, terminated, truncated, info = env.step("submit")
    assert observation == "It is over: 8 of 8 hidden tests pass."
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)
    assert info["rewards"] == {"tests": 0.2, "solved": 0.8}
    assert [test["status"] for test in info["tests"]] == ["passed"] * 8
    assert info["sandbox"]["level"] == "namespaces"
    json.dumps(info)
    assert env.step("submit")[1] == 0.0
    env.close()


@needs_bubblewrap
def test_a_solution_that_is_right_in_part_gets_partial_credit() -> None:
    env = world(partial=0.5)
    env.reset(seed=0)
    hidden = env.place.problem.hidden
    table = {repr(test.arguments): test.expected for test in hidden[:6]}  # type: ignore[union-attr]
    code = f"def {env.place.problem.entry}(*args): return {table!r}.get(repr(args), 'no')"
    _, reward, terminated, _, info = env.step(f"{block(code)}\nsubmit")
    assert terminated
    assert reward == pytest.approx(0.5 * 6 / 8)
    assert not info["success"]
    assert [test["passed"] for test in info["tests"]] == [True] * 6 + [False] * 2


@needs_bubblewrap
def test_what_is_there_is_judged_when_the_turns_are_used_up() -> None:
    env = world(max_turns=2)
    env.reset(seed=0)
    env.step(block(gold(env)))
    observation, reward, terminated, truncated, info = env.step("hm")
    assert (reward, terminated, truncated, info["success"]) == (1.0, False, True, True)
    assert observation.startswith("Nothing was done: send a")


@needs_bubblewrap
def test_a_line_can_be_replaced_and_code_can_be_run_beside_the_solution() -> None:
    env = world()
    env.reset(seed=0)
    name = env.place.problem.entry
    env.step(block(f"def {name}(*args):\n    return 1\n"))
    observation, *_ = env.step("line 2: return 41 + 1")
    assert observation.startswith(f"1 def {name}(*args):\n2     return 41 + 1\n")
    observation, *_, info = env.step(f"run\n{block(f'print({name}(0), open(chr(120), chr(119)))')}")
    assert observation.startswith("42 <_io.TextIOWrapper")
    observation, *_ = env.step(f"run\n{block('import os; print(os.listdir())')}")
    assert observation == "[]", "a file of one run was there in the next"
    assert "ZeroDivisionError" in env.step(f"run\n{block('1 / 0')}")[0]
    observation, *_, info = env.step("line 9: pass")
    assert "there is no line 9" in info["invalid"]
    assert env.step(block("--- a/x\n+++ b/x\n", "diff"))[4]["invalid"]


@needs_bubblewrap
def test_loops_memory_and_floods_are_data_and_the_world_goes_on() -> None:
    env = world(timeout_s=0.4, memory_mib=64)
    env.reset(seed=0)
    name = env.place.problem.entry
    loop, hog = f"def {name}(*args):\n    while True: pass", f"def {name}(*args): return len('x' * 2**31)"
    assert "ran out of time (0.4 s)" in env.step(block(loop))[0]
    assert "emory" in env.step(block(hog))[0]
    assert "0 of 3" in env.step(block("print('x' * 100_000_000)"))[0]
    assert "3 of 3" in env.step(block(gold(env)))[0]


@needs_bubblewrap
def test_hidden_answers_never_enter_the_agents_sandbox() -> None:
    env = world()
    env.reset(seed=4)
    look = "import gc, os\nprint([o for o in gc.get_objects() if 'expected' in str(o)[:2000]][:1], os.environ, os.listdir('/tmp'))"
    observation = env.step(f"run\n{block(look)}")[0]
    for test in env.place.problem.hidden:
        if len(repr(test.arguments)) > 8:  # type: ignore[union-attr]
            assert repr(test.arguments) not in observation  # type: ignore[union-attr]


@needs_bubblewrap
@pytest.mark.parametrize("settings", [{}, {"mistakes": 1.0}, {"preset": "tiny"}])
def test_the_expert_solves_every_problem_it_is_given(settings: dict[str, Any]) -> None:
    env = world(**settings)
    for split, size in env.splits.items():
        for index in range(0, size, size // 8):
            env.reset(seed=index, options={"split": split, "index": index})
            turns, over, info = 0, False, {}
            while not over:
                _, _, terminated, truncated, info = env.step(env.expert_action())
                turns, over = turns + 1, terminated or truncated
            assert info["success"], (split, index)
            assert turns == (3 if settings.get("mistakes") else 2)
    env.close()


@needs_bubblewrap
def test_the_tiny_expert_repairs_what_noise_broke() -> None:
    env = world(preset="tiny", max_turns=20)
    for seed in range(20):
        _, info = env.reset(seed=seed)
        for turn in range(3):
            env.step(info["admissible"][(seed + turn) % (len(info["admissible"]) - 1)])
        for _ in range(4):
            _, _, over, _, info = env.step(env.expert_action())
            if over:
                break
        assert info["success"]


@needs_bubblewrap
def test_tiny_observations_are_short_and_say_all_that_matters() -> None:
    env = world(preset="tiny")
    for index in range(0, 1900, 100):
        observation, info = env.reset(seed=0, options={"split": "train", "index": index})
        assert len(observation) < 150
        assert " not " in observation
        again = env.step("test")[0]
        assert again == observation, "what is said first is what a run says"
        assert max(map(len, info["admissible"])) <= 30


@needs_bubblewrap
def test_a_snapshot_can_be_pickled_and_goes_on_elsewhere() -> None:
    env, other = world(), world()
    env.reset(seed=2)
    env.step(block("x = 1"))
    taken = pickle.loads(pickle.dumps(env.snapshot()))
    first = [env.step(block(gold(env))), env.step("submit")]
    other.restore(taken)
    assert [other.step(block(gold(other))), other.step("submit")] == first
    env.restore(taken)
    assert env.step("submit")[1] == 0.0


@needs_bubblewrap
@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("bash", "read line; echo '[1]'"),
        ("perl", 'my $line = <STDIN>; print "[1]\\n";'),
        ("awk", "{ print [1] }"),
        ("c", '#include <stdio.h>\nint main(void) { puts("[1]"); return 0; }'),
    ],
)
def test_other_languages_run_what_the_image_has(language: str, code: str) -> None:
    known = {"awk": {"command": ("awk", "-f", "solution.awk"), "file": "solution.awk"}}
    env = world(language=language, **known.get(language, {}))
    observation, _ = env.reset(seed=0)
    assert "a JSON array" in observation
    assert f"The language is {language}" in env.instructions
    with provider().create() as sandbox:
        if not sandbox.exec(f"command -v {'gcc' if language == 'c' else language}").ok:
            pytest.skip(f"the image has no {language}")
    observation, *_ = env.step(block(code, language))
    if language == "awk":
        assert "syntax error" in observation
    else:
        assert "wrote '[1]\\n'" in observation or "public tests pass" in observation
        assert "exit code" not in observation


@needs_bubblewrap
def test_a_sandbox_that_vanishes_is_a_fault_and_no_reward() -> None:
    env = world()
    env.reset(seed=0)
    env.step(block("x = 1"))
    env._sandboxes._own.close()  # type: ignore[union-attr]
    with pytest.raises(SandboxFault):
        env.step(block(gold(env)))
    assert "3 of 3" in env.step(block(gold(env)))[0]


class Nowhere(SandboxProvider):
    name = "nowhere"

    def create(self, spec: SandboxSpec | None = None) -> Any:
        raise SandboxFault("never")

    def obstacle(self) -> str:
        return "there is no Linux here. Buy one."

    def close(self) -> None:
        pass


def test_where_no_sandbox_can_be_made_the_message_says_what_to_do() -> None:
    env = Code(Nowhere())
    env.reset(seed=0)
    with pytest.raises(ConfigError, match=r"'nowhere', which does not work .* Buy one\..*sandbox = \{ name"):
        env.step(block("x = 1"))


@needs_bubblewrap
def test_a_sandbox_is_named_in_the_settings_and_shared_by_all_worlds() -> None:
    table = {"name": "bubblewrap", "warm": 3}
    one, two = (default_host().build(Spec("environment", "code", {"sandbox": table})) for _ in range(2))
    assert one._sandboxes._provider() is two._sandboxes._provider()
    with pytest.raises(ConfigError, match="warn"):
        default_host().build(
            Spec("environment", "code", {"sandbox": {"name": "bubblewrap", "warn": 3}})
        )._sandboxes._provider()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_turns": 0}, "max_turns = 0"),
        ({"partial": 1.5}, "partial = 1.5"),
        ({"mistakes": -1.0}, "mistakes = -1"),
        ({"timeout_s": 0.0}, "timeout_s"),
        ({"shown": -1}, "shown"),
        ({"language": "cobol"}, "not known. Allowed: bash, c, .*command ="),
        ({"language": "perk"}, "Did you mean 'perl'"),
        ({"language": "ruby", "command": ("ruby", "x.rb")}, "needs `file`"),
        ({"preset": "tiny", "language": "bash"}, "'tiny' is generated Python"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Code(**settings)


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ("submit", reading.Command(submit=True)),
        ("I will submit it later", None),
        ("test", reading.Command("test")),
        ("line 3: x = 1", reading.Command("edit", "x = 1", line=3)),
        ("so:\nline 3: x = 1\nsubmit", reading.Command("edit", "x = 1", line=3, submit=True)),
        (f"{FENCE}\na\n{FENCE}\nno:\n{FENCE}py\nb\n{FENCE}", reading.Command("write", "b\n")),
        (f"{FENCE}py\nb", reading.Command("write", "b")),
        (f"write a/b.py\n{FENCE}\nb\n{FENCE}", reading.Command("write", "b\n", path="a/b.py")),
        (f"{FENCE}diff\n--- a\n{FENCE}", reading.Command("patch", "--- a\n")),
        (f"run\n{FENCE}\nb\n{FENCE}", reading.Command("run", "b\n")),
        (f"{FENCE}python\nsubmit\ntest\n{FENCE}", reading.Command("write", "submit\ntest\n")),
        ("", None),
    ],
)
def test_messages_are_read(message: str, command: reading.Command | None) -> None:
    assert reading.read(message) == command if command else isinstance(reading.read(message), str)


def test_a_world_that_was_not_reset_says_so() -> None:
    with pytest.raises(gymnasium.error.ResetNeeded):
        Code().step("submit")


def test_the_world_says_that_it_blocks_and_the_example_is_a_run_file() -> None:
    assert Code.blocks
    config = parse(read_tables(EXAMPLE), default_host())
    assert config.parts["environment"].settings["preset"] == "tiny"


@needs_bubblewrap
def test_feedback_shows_the_tests_that_failed_and_in_the_end_the_hidden_ones() -> None:
    env = world()
    _, info = env.reset(seed=0)
    assert info["hidden"] == {"solution": gold(env)}
    info = env.step(block("x = 1"))[4]
    assert info["feedback"].startswith(("FAILED", "all"))
    observation, *_, info = env.step("submit")
    assert "FAILED" in info["feedback"]
    assert "FAILED" not in observation
    env.reset(seed=0)
    assert "feedback" not in env.step(block(gold(env)))[4]
