"""The Reasoning Gym adapter."""

from __future__ import annotations

import random

import pytest
from adapter_support import assert_conforms, build

from agentrl import ConfigError

pytest.importorskip("reasoning_gym")


@pytest.mark.parametrize("name", ["chain_sum", "knights_knaves", "spell_backward"])
def test_data_sets_conform(name: str) -> None:
    assert_conforms("reasoning_gym", id=name)


@pytest.mark.filterwarnings("ignore:loadtxt")
def test_a_data_set_that_draws_from_global_generators_leaves_them_alone() -> None:
    env = build("reasoning_gym:pool_matrix")
    random.seed(3)
    before = random.getstate()
    observation = env.reset(options={"index": 4})[0]
    assert random.getstate() == before
    random.seed(4)
    assert env.reset(options={"index": 4})[0] == observation


def test_the_score_comes_with_the_last_attempt_or_the_right_answer() -> None:
    env = build("reasoning_gym:chain_sum", attempts=3)
    env.reset(options={"split": "valid", "index": 0})
    answer = env.expert_action()
    observation, reward, terminated, _, _ = env.step(f"it is {answer}")
    assert (reward, terminated) == (0.0, False)
    assert "2 attempts left" in observation
    _, reward, terminated, _, info = env.step(answer)
    assert (reward, terminated, info["success"]) == (1.0, True, True)


def test_settings_reach_the_data_set() -> None:
    env = build("reasoning_gym:chain_sum", settings={"min_terms": 9, "max_terms": 9})
    assert sum(env.reset(seed=0)[0].count(sign) for sign in ("+ ", "- ")) == 8
    with pytest.raises(ConfigError, match="cannot make"):
        build("reasoning_gym:chain_sum", settings={"no_such": 1})
    with pytest.raises(ConfigError, match="Did you mean 'chain_sum'"):
        build("reasoning_gym:chain_sums")
