"""Demonstrations with noise: whatever is done beside the expert's script is an action that exists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import pytest
import worlds
from sandbox_support import needs_bubblewrap

from agentrl import ConfigError, Spec, default_host
from agentrl_plugins.policies.scripted import Expert

NOISY = 0.7
LISTING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("household", {}),
    ("webshop", {"preset": "tiny"}),
    ("webshop", {}),
    ("search", {"preset": "tiny"}),
    ("tools", {"preset": "tiny"}),
    ("corridor", {}),
)
FREE: tuple[tuple[str, dict[str, Any]], ...] = (("household", {"admissible": False}), ("search", {}), ("tools", {}))


def _infos(env: Any, policy: Expert, tasks: int) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    """Before, the action, after: of every turn of some plays."""
    for seed in range(tasks):
        _, info = env.reset(seed=seed)
        for turn in range(60):
            action = policy.act(env, info, 100 * seed + turn)
            _, _, terminated, truncated, after = env.step(action)
            yield info, action, after
            info = after
            if terminated or truncated:
                break


@pytest.mark.parametrize(("name", "settings"), LISTING, ids=str)
def test_noise_takes_only_actions_that_the_world_lists_and_would_run(name: str, settings: dict[str, Any]) -> None:
    env = default_host().build(Spec("environment", name, settings))
    for _, action, after in _infos(env, Expert(noise=NOISY), 30):
        assert not after["invalid"], (action, after["invalid"])


@needs_bubblewrap
def test_noise_in_the_tiny_code_world_chooses_among_the_lines_that_may_be_wrong() -> None:
    env = default_host().build(Spec("environment", "code", {"preset": "tiny"}))
    for before, action, after in _infos(env, Expert(noise=NOISY), 5):
        assert action in before["admissible"]
        assert not after["invalid"]
    env.close()


@pytest.mark.parametrize(("name", "settings"), FREE, ids=str)
def test_noise_is_refused_where_no_action_is_listed(name: str, settings: dict[str, Any]) -> None:
    env = default_host().build(Spec("environment", name, settings))
    with pytest.raises(ConfigError, match=r"noise = 1\.0.*admissible.*noise = 0"):
        list(_infos(env, Expert(noise=1.0), 1))
    assert list(_infos(env, Expert(), 1))


def test_where_the_list_is_empty_for_once_the_expert_acts() -> None:
    env = worlds.Counting()
    _, info = env.reset(seed=0)
    assert Expert(noise=1.0).act(env, {**info, "admissible": ()}, 0) == env.expert_action()


def test_a_world_with_a_space_of_its_own_gives_samples_of_it() -> None:
    class Sides(gymnasium.Space[str]):
        def sample(self, mask: Any = None, probability: Any = None) -> str:
            return "heads" if self.np_random.random() < 0.5 else "tails"

    env = worlds.Counting()
    env.action_space = Sides(dtype=str)  # type: ignore[arg-type]
    picks = {Expert(noise=1.0).act(env, {}, seed) for seed in range(20)}
    assert picks == {"heads", "tails"}
