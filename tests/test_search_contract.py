"""The search world keeps the contract of worlds: the kit for its presets, snapshots, hostile text, size, speed."""

from __future__ import annotations

import json
import pickle
import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl import Spec
from agentrl.testing import check_environment

pytest.importorskip("bm25s", reason="the search extra is not installed: pip install bm25s pystemmer")

from agentrl_envs.search.world import Search


@pytest.mark.parametrize(
    "chosen",
    [
        {"preset": "tiny", "anchor": "state"},
        {"preset": "tiny", "retriever": "dense"},
        {"reward": "f1", "hops": [4, 4], "top_k": 1},
    ],
)
def test_other_settings_pass_the_kit_too(chosen: dict[str, Any]) -> None:
    report = check_environment(Spec("environment", "search", chosen), actions=1_000)
    assert report.passed, report.failures
    skipped = {result.check for result in report.results if result.verdict == "skipped"}
    assert skipped == (set() if chosen.get("preset") == "tiny" else {"admissible_actions_are_sound"})


def test_a_snapshot_goes_on_alike_here_and_elsewhere_and_stays_small() -> None:
    env, other, draw = Search(), Search(), random.Random(0)
    for index in range(40):
        env.reset(seed=index)
        for _ in range(draw.randrange(4)):
            env.step(draw.choice([env.expert_action(), "<search>mayor</search>", "hm"]))
        taken = pickle.loads(pickle.dumps(env.snapshot()))
        actions = [env.expert_action(), "<search>x</search>", "<answer>y</answer>"]
        played = []
        for each in (env, other, env):
            each.restore(taken)
            played.append([each.step(action) for action in actions])
        assert played[0] == played[1] == played[2]
        assert len(pickle.dumps(taken)) < 10_000


def test_a_pickled_world_leaves_the_corpus_behind_and_plays_on() -> None:
    env = Search()
    env.reset(seed=1)
    kept = pickle.dumps(env)
    assert len(kept) < 10_000
    assert pickle.loads(kept).step(env.expert_action()) == env.step(env.expert_action())


def test_worlds_of_one_process_share_corpus_and_index() -> None:
    assert Search()._retriever is Search(hops=(1, 1))._retriever
    assert Search()._retriever is not Search(seed=1)._retriever


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=40) | st.from_regex(r"<(search|answer)>[^\n]{0,30}</(search|answer)>"), max_size=7))
def test_hostile_text_is_no_more_than_a_turn(actions: list[str]) -> None:
    env = Search(preset="tiny")
    env.reset(seed=0)
    for action in [*actions, "<search>\ud800</search>", "<search>" * 500, "<answer>\x00\ud800</answer>"]:
        observation, reward, _, _, info = env.step(action)
        observation.encode()
        assert reward == sum(info["rewards"].values())
        json.dumps(info).encode()


def test_a_thousand_steps_take_less_than_a_second() -> None:
    env = Search()
    started = time.process_time()
    steps = 0
    for index in range(400):
        env.reset(seed=0, options={"split": "train", "index": index})
        over = False
        while not over:
            _, _, terminated, truncated, _ = env.step(env.expert_action())
            steps, over = steps + 1, terminated or truncated
    assert steps / (time.process_time() - started) > 1_000
