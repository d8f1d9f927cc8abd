"""The ScienceWorld adapter; needs Java."""

from __future__ import annotations

import shutil

import pytest
from adapter_support import assert_conforms, build, play_expert

from agentrl import ConfigError
from agentrl.testing.environment import transcript

pytest.importorskip("scienceworld")
pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason="ScienceWorld runs on Java")
ORDER = (
    "same_seed_and_actions_give_the_same_bytes",
    "snapshots_restore_exactly",
    "worlds_and_snapshots_can_be_pickled",
)
"""With one Java process for all tasks, the order in which things are listed depends on what was played before."""


def test_scienceworld_conforms_but_for_the_order_of_lists() -> None:
    assert_conforms("scienceworld", id="chemistry-mix", admissible=False, fresh_process=False, actions=100, but=ORDER)


def test_with_a_process_per_task_the_same_actions_give_the_same_bytes() -> None:
    env = build("scienceworld:lifespan-longest-lived", admissible=False, max_turns=10)
    first = transcript(env, seed=5, close=False)
    transcript(env, seed=9, turns=3, close=False)
    assert transcript(env, seed=5, close=False) == first
    env.reset(seed=1)
    env.step("look around")
    taken = env.snapshot()
    after = env.step("inventory")
    env.restore(taken)
    assert env.step("inventory") == after
    env.close()


def test_the_gold_path_earns_the_whole_score() -> None:
    env = build("scienceworld:find-plant", simplifications="easy", admissible=False)
    env.reset(options={"split": "test", "index": 0})
    steps = play_expert(env)
    assert steps[-1][4]["success"]
    assert sum(step[1] for step in steps) == pytest.approx(1)
    env.close()


def test_valid_actions_are_listed_and_others_refused() -> None:
    env = build("scienceworld:boil", simplifications="easy")
    _, info = env.reset(options={"split": "train", "index": 0})
    assert "look around" in info["admissible"]
    assert env.step("dance")[4]["invalid"]
    env.close()


def test_the_original_splits_are_kept() -> None:
    env = build("scienceworld:boil")
    assert env.splits == {"train": 14, "dev": 7, "test": 9}
    env.close()


def test_an_unknown_task_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'boil'"):
        build("scienceworld:bol")
