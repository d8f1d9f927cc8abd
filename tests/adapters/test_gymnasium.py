"""The Gymnasium adapter: spaces in words, the toy-text worlds, text worlds as they are."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from adapter_support import assert_conforms, build
from gymnasium import spaces

from agentrl import ConfigError, Environment, UnicodeText
from agentrl_envs.adapters.gymnasium import Gymnasium
from agentrl_envs.adapters.spaces import choices, form, read, show


def newest(name: str) -> str:
    """Its id with the version that the installed Gymnasium has."""
    return max(found for found in gymnasium.registry if found.rsplit("-v", 1)[0] == name)


class Echo(gymnasium.Env[Any, Any]):
    """Gives back as observation what it got as action."""

    def __init__(self, space: gymnasium.Space[Any]) -> None:
        self.observation_space = self.action_space = space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.action_space.seed(seed)
        return self.action_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return action, 0.0, False, False, {}


@pytest.mark.parametrize(
    "name", ["FrozenLake", "FrozenLake8x8", "Taxi", "CliffWalking", "Blackjack", "CartPole", "Pendulum"]
)
def test_worlds_of_gymnasium_conform(name: str) -> None:
    assert_conforms("gymnasium", id=newest(name))


def test_an_id_after_a_colon_names_the_world() -> None:
    env = build(f"gymnasium:{newest('FrozenLake')}")
    assert env.reset(seed=0)[0].startswith("[S]")


def test_worlds_with_text_spaces_are_given_as_they_are() -> None:
    env = build("gymnasium:agentrl/corridor-v0")
    assert isinstance(env.unwrapped, Environment)
    assert not isinstance(env.unwrapped, Gymnasium)


def test_the_frozen_lake_is_crossed_in_words() -> None:
    env = build("gymnasium", id=newest("FrozenLake"), settings={"is_slippery": False})
    observation, info = env.reset(seed=0)
    assert info["admissible"] == ("left", "down", "right", "up")
    for action in ("down", "DOWN", " right ", "1", "right"):
        observation, reward, terminated, _, info = env.step(action)
        assert not terminated
        assert not info["invalid"]
    observation, reward, terminated, _, info = env.step("right")
    assert (reward, terminated, info["success"]) == (1.0, True, True)
    assert "row 4, column 4, on G" in observation


def test_a_refused_action_leaves_the_world_and_counts_as_a_turn() -> None:
    env = build("gymnasium", id=newest("FrozenLake"), max_turns=2)
    before, _ = env.reset(seed=0)
    observation, _, _, truncated, info = env.step("jump")
    assert observation == before
    assert "left, down, right, up" in info["invalid"]
    assert not truncated
    assert env.step("jump")[3]


def test_actions_can_be_renamed() -> None:
    env = build("gymnasium", id=newest("Blackjack"), action_names=["enough", "card"])
    env.reset(seed=0)
    assert env.step("enough")[2]
    with pytest.raises(ConfigError, match="2 different names"):
        build("gymnasium", id=newest("Blackjack"), action_names=["one"])


def test_the_taxi_lists_only_moves_that_change_something() -> None:
    env = build("gymnasium", id=newest("Taxi"))
    observation, info = env.reset(seed=0)
    assert "drop off" not in info["admissible"]
    assert "The passenger waits at" in observation


def test_the_end_of_the_cliff_walk_is_a_success_though_it_costs() -> None:
    env = build("gymnasium", id=newest("CliffWalking"))
    env.reset(seed=0)
    for action in ["up", *["right"] * 11]:
        assert not env.step(action)[2]
    assert env.step("down")[4]["success"]


def test_seeds_kept_for_validation_are_never_trained_on() -> None:
    env = build("gymnasium", id=newest("Taxi"), valid=50)
    keys = {
        split: {env.reset(options={"split": split, "index": index})[1]["task"] for index in range(50)}
        for split in ("train", "valid")
    }
    assert len(keys["train"] | keys["valid"]) == 100


@pytest.mark.parametrize(
    ("space", "text", "value"),
    [
        (spaces.Discrete(3, start=5), "6", 6),
        (spaces.Box(-1, 1, (2,)), "[0.5, -0.25]", np.array([0.5, -0.25], np.float32)),
        (spaces.Box(-1, 1, (2,)), "0.5, -0.25", np.array([0.5, -0.25], np.float32)),
        (spaces.MultiBinary(3), "[1, 0, 1]", np.array([1, 0, 1], np.int8)),
        (spaces.MultiDiscrete([3, 2]), "2, 1", np.array([2, 1])),
        (spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1, (1,))]), "[1, [0.5]]", (1, np.array([0.5], np.float32))),
        (spaces.Dict(a=spaces.Discrete(2), b=spaces.MultiBinary(1)), '{"a": 1, "b": [0]}', {"a": 1, "b": [0]}),
    ],
    ids=str,
)
def test_actions_of_every_kind_are_read_and_shown(space: Any, text: str, value: Any) -> None:
    got = read(space, text)
    assert space.contains(got)
    assert show(space, got) == show(space, value)
    assert form(space)


@pytest.mark.parametrize("text", ["", "nan", "[NaN]", "2", "[2, 0]", "{" * 3000, "1e999", "[[1]]", '{"a": 1}', "1 2"])
def test_what_does_not_fit_a_box_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="JSON list of numbers"):
        read(spaces.Box(-1, 1, (2,)), text)


def test_finite_actions_are_listed() -> None:
    assert choices(spaces.MultiBinary(2)) == ("[0, 0]", "[0, 1]", "[1, 0]", "[1, 1]")
    assert choices(spaces.MultiDiscrete([2, 1])) == ("[0, 0]", "[1, 0]")
    assert choices(spaces.Tuple([spaces.Discrete(2), spaces.Discrete(1)])) == ("[0, 0]", "[1, 0]")
    assert choices(spaces.Discrete(1000)) is None
    assert choices(spaces.Box(0, 1, (1,))) is None


def test_a_world_of_dicts_is_played_in_json() -> None:
    env = Gymnasium(Echo(spaces.Dict(gear=spaces.Discrete(3), speed=spaces.Box(0, 9, (1,)))), max_turns=5)
    env.reset(seed=0)
    assert env.step('{"gear": 2, "speed": [3.5]}')[0] == "gear: 2\nspeed: [3.5]"
    assert env.step('{"gear": 2}')[4]["invalid"]


def test_pictures_are_refused_with_a_reason() -> None:
    with pytest.raises(ConfigError, match="at most 2,000"):
        Gymnasium(Echo(spaces.Box(0, 255, (64, 64, 3), np.uint8)))
    with pytest.raises(ConfigError, match="cannot be put into words"):
        Gymnasium(Echo(spaces.Dict(a=spaces.Sequence(spaces.Discrete(2)))))


def test_an_unknown_id_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="NoSuchWorld"):
        build("gymnasium:NoSuchWorld-v0")


def test_text_inside_a_tuple_may_be_anything() -> None:
    env = Gymnasium(Echo(spaces.Tuple([UnicodeText(), spaces.Discrete(2)])))
    env.reset(seed=0)
    assert env.step('["שלום", 1]')[0] == "(שלום, 1)"
