"""The corridor: a toy world with few observations."""

import itertools
import pickle
import warnings
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

import agentrl
from agentrl_envs.corridor import Corridor


def first(env: Corridor, door: bool, split: str = "train") -> dict[str, Any]:
    """Reset to the first task that begins with, or without, a door in front of one."""
    for index in itertools.count():
        observation, info = env.reset(options={"split": split, "index": index})
        if ("door" in observation) == door:
            return info
    raise AssertionError


@pytest.mark.parametrize("length", [4, 7, 30])
def test_the_expert_solves_every_task(length: int) -> None:
    env = Corridor(length=length, doors=1, max_turns=length)
    for split, index in itertools.product(env.splits, range(50)):
        env.reset(options={"split": split, "index": index})
        for _ in range(length):
            _, reward, terminated, truncated, info = env.step(env.expert_action())
            if terminated:
                break
        assert (reward, terminated, truncated, info["success"], info["rewards"]) == (
            1.0,
            True,
            False,
            True,
            {"goal": 1.0},
        )
        assert env.step("left")[1:4] == (0.0, True, False)


def test_a_door_leads_back_to_the_start() -> None:
    env = Corridor(length=9, doors=3)
    for index in range(100):
        start, _ = env.reset(options={"split": "train", "index": index})
        observation = start
        while "door" not in observation or observation == start:
            observation, _, terminated, truncated, _ = env.step(env.expert_action())
            if terminated or truncated:
                break
        else:
            assert env.step("open door")[0] == start
            return
    raise AssertionError("no door on the way in 100 tasks")


def test_waiting_changes_nothing_and_costs_a_turn() -> None:
    env = Corridor(max_turns=2)
    observation, _ = env.reset(seed=0)
    assert [env.step("wait")[:4] for _ in range(2)] == [
        (observation, 0.0, False, False),
        (observation, 0.0, False, True),
    ]


@pytest.mark.parametrize("text", ["", " ", "Left", "left\nright", "open door", "🚪" * 10_000, "\0"])
def test_other_text_does_nothing(text: str) -> None:
    env = Corridor()
    info = first(env, door=False)
    before = info["anchor"]
    observation, reward, terminated, truncated, info = env.step(text)
    assert (observation, reward, terminated, truncated, bool(info["invalid"])) == (before, 0.0, False, False, True)


def test_exactly_the_admissible_commands_run() -> None:
    env = Corridor(length=5, doors=2, max_turns=1000)
    for index, steps in itertools.product(range(20), range(5)):
        env.reset(options={"split": "train", "index": index})
        for _ in range(steps):
            info = env.step("left")[4]
        info = env.step("wait")[4]
        snapshot = env.snapshot()
        for command in ("left", "right", "wait", "open door"):
            env.restore(snapshot)
            if not info["success"]:
                assert (not env.step(command)[4]["invalid"]) == (command in info["admissible"])


def test_observations_are_few() -> None:
    env = Corridor(length=7)
    seen = set()
    for index in range(300):
        observation, _ = env.reset(options={"split": "train", "index": index})
        seen.add(observation)
        terminated = False
        while not terminated:
            observation, _, terminated, _, _ = env.step(env.expert_action())
            seen.add(observation)
    assert len(seen) <= 4 * 7


@pytest.mark.parametrize("settings", [{}, {"length": 5, "doors": 1}, {"length": 40, "doors": 10}])
def test_no_task_is_in_both_splits(settings: dict[str, int]) -> None:
    env = Corridor(**settings)
    keys = {
        split: {env.reset(options={"split": split, "index": index})[1]["task"] for index in range(200)}
        for split in env.splits
    }
    assert keys["train"]
    assert keys["valid"]
    assert not keys["train"] & keys["valid"]


def test_tasks_never_change_between_versions() -> None:
    env = Corridor()
    observations = [env.reset(options={"split": "valid", "index": index}) for index in range(2)]
    assert [(text, info["task"]) for text, info in observations] == [
        ("You are in cell 5 of 6. The exit is on the left.", "corridor-dbe3590e83c7d034"),
        ("You are in cell 4 of 6. The exit is on the left. There is a door.", "corridor-127ae88f6a0ddd60"),
    ]


def test_a_snapshot_restores_on_another_instance() -> None:
    env, other = Corridor(), Corridor()
    env.reset(seed=4)
    env.step("left")
    snapshot = env.snapshot()
    other.restore(pickle.loads(pickle.dumps(snapshot)))
    expected = [env.step("right"), env.step("wait"), env.reset()]
    assert [other.step("right"), other.step("wait"), other.reset()] == expected
    env.restore(snapshot)
    assert [env.step("right"), env.step("wait"), env.reset()] == expected


def test_gymnasium_accepts_the_world() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*No render fps.*")
        check_env(gymnasium.make("agentrl/corridor-v0").unwrapped)


@pytest.mark.parametrize("settings", [{"length": 3}, {"length": 5, "doors": 4}, {"doors": -1}, {"max_turns": 0}])
def test_impossible_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(agentrl.ConfigError, match="give a length of at least 4"):
        Corridor(**settings)


def test_steps_before_the_first_reset_are_refused() -> None:
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        Corridor().step("left")
