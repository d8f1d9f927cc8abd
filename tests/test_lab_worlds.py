"""The small worlds of the lab: the kit for each, and what each of them promises to the tests of a method."""

from __future__ import annotations

import doctest
import pickle
import random
import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import test_conformance
from lab_support import NAMES, OTHER_SETTINGS, WORLDS, begin, lopsided, make, play, played_return

import agentrl
import agentrl_envs.lab
from agentrl.testing import check_environment
from agentrl_envs.lab.exact import uniform

FOLDER = Path(agentrl_envs.lab.__file__).parent


def test_the_conformance_test_finds_all_fifteen() -> None:
    checked = {name for _, name in test_conformance.installed("environment")}
    assert {name for name in checked if name.startswith("lab_")} == {f"lab_{name}" for name in NAMES}
    assert len(NAMES) == 15


@pytest.mark.parametrize(("name", "settings"), WORLDS)
def test_each_world_passes_the_kit(name: str, settings: dict[str, Any]) -> None:
    report = check_environment(lambda: make(name, **settings), actions=200)
    assert report.passed, report.failures
    skipped = [result.check for result in report.results if result.verdict == "skipped"]
    assert skipped == ["another_process_gives_the_same_bytes"]  # test_conformance.py does that one


@pytest.mark.parametrize("name", NAMES)
def test_each_world_is_short_and_says_what_it_is_for(name: str) -> None:
    lines = (FOLDER / f"{name}.py").read_text("utf-8").splitlines()
    assert len(lines) <= 60
    text = type(make(name)).__doc__ or ""
    assert "\n    For " in text
    assert "\n    By hand" in text


@pytest.mark.parametrize(("name", "settings"), WORLDS)
def test_no_task_is_in_both_splits(name: str, settings: dict[str, Any]) -> None:
    world = make(name, **settings)
    assert not set(world.tasks["train"]) & set(world.tasks["valid"])
    keys = {
        split: [_key(world, split, index) for index in range(min(size, 60))] for split, size in world.splits.items()
    }
    assert not set(keys["train"]) & set(keys["valid"])
    assert min(map(len, keys.values())) >= 2


def _key(world: Any, split: str, index: int) -> str:
    """The hash of the content, without split and index."""
    return str(world.reset(options={"split": split, "index": index})[1]["task"].rsplit("-", 1)[1])


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"hidden_rule", "feedback"}))
def test_a_table_trained_on_train_has_met_every_observation_of_valid(name: str) -> None:
    """Except where an observation names the task: there only what is remembered or told helps."""
    world, seen = make(name), {}
    for split, size in world.splits.items():
        seen[split] = set()
        for index in range(size):
            world.reset(options={"split": split, "index": index})
            seen[split] |= {world.look(state).observation for state in world.states()}
    assert seen["valid"] <= seen["train"]


@pytest.mark.parametrize("turns", [0, 1])
@pytest.mark.parametrize(("name", "settings"), WORLDS)
def test_snapshots_repeat_the_play_and_its_luck(name: str, settings: dict[str, Any], turns: int) -> None:
    world, other = make(name, **settings), make(name, **settings)
    world.reset(options={"index": 1})  # without a seed: the world makes a generator of its own
    for _ in range(turns):
        world.step(world.expert_action())
    snapshot = pickle.loads(pickle.dumps(world.snapshot()))
    over, plays = world.scene.done, []
    for target in (world, other, world):
        target.restore(snapshot)
        plays.append([] if over else [*play(target, lopsided, random.Random(1))])
    assert plays[0] == plays[1] == plays[2]
    assert plays[0] or name in ("feedback", "hidden_rule")


def test_continuations_of_the_noisy_world_are_independent_once_reseeded() -> None:
    world = begin("noisy", "left", 4)
    world.step("left")
    snapshot, node, count = world.snapshot(), world.node, 1500

    def sample(seeded: bool) -> list[float]:
        values = []
        for seed in range(count):
            world.restore(snapshot)
            if seeded:
                world.reseed(seed)
            values.append(played_return(world, lambda _, actions: [1.0, 0.0], random.Random(0)))
        return values

    assert len(set(sample(seeded=False))) == 1
    independent = np.array(sample(seeded=True))
    exact = world.exact_values(lambda _, actions: [1.0, 0.0]).v[node]
    assert abs(independent.mean() - exact) < 4 * independent.std() / np.sqrt(count)
    assert abs(np.corrcoef(independent[:-1], independent[1:])[0, 1]) < 4 / np.sqrt(count)
    assert np.array_equal(independent[:3], sample(seeded=True)[:3])


def test_only_the_noisy_world_draws_random_numbers() -> None:
    for name in NAMES:
        world = make(name)
        world.reset(seed=0, options={"index": 0})
        before = world.np_random.bit_generator.state
        for _ in play(world, uniform, random.Random(0)):
            pass
        assert (world.np_random.bit_generator.state != before) == (name == "noisy")


@pytest.mark.parametrize("name", NAMES)
def test_a_refused_action_changes_no_state_and_says_why(name: str) -> None:
    world = make(name)
    with pytest.raises(gymnasium.error.ResetNeeded):
        world.step("left")
    observation, info = world.reset(seed=0, options={"index": 0})
    place = world.place
    after, reward, terminated, truncated, told = world.step("no such action")
    assert (after, reward, terminated, truncated, world.place) == (observation, 0.0, False, False, place)
    assert (told["invalid"], told["admissible"]) == ("not possible here and now", info["admissible"])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *[("aliased", {"rooms": 4}), ("aliased", {"hidden": 1.5}), ("aliased", {"max_turns": 3})],
        *[("decisive", {"turns": 1}), ("feedback", {"tries": 0}), ("late", {"delay": 0})],
        *[("length_trap", {"most": 0}), ("noisy", {"slip": 0.5}), ("noisy", {"cells": 3}), ("planted", {"length": 2})],
        *[("pennies", {"matcher": "a", "hider": "a"}), ("pennies", {"heads": 0.0}), ("slow_good", {"rounds": 0})],
        *[("slow_good", {"sleep": -1.0}), ("slow_good", {"fast_s": 20.0}), ("stopping", {"early": 1.0})],
        *[("three_tasks", {"easy": 4}), ("two_routes", {"ways": 0})],
    ],
)
def test_settings_that_do_not_fit_are_refused(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(agentrl.ConfigError, match=r"give .*"):
        make(name, **settings)


def test_every_world_with_settings_is_tried_with_other_ones() -> None:
    assert {name for name, _ in OTHER_SETTINGS} == set(NAMES) - {"calls", "said"}


PAGE = Path(__file__).parents[1] / "docs/worlds-of-the-lab.md"


def test_the_page_counts_states_and_tasks_of_every_world() -> None:
    rows = re.findall(r"^\| `lab_(\w+)` \|.*\| (\d+) \| (\d+), (\d+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    counts = []
    for name in NAMES:
        world = make(name)
        world.reset(options={"index": 0})
        counts.append((name, len(world.states()), world.splits["train"], world.splits["valid"]))
    assert [(name, *map(int, numbers)) for name, *numbers in rows] == counts


def test_the_example_of_the_page_runs() -> None:
    results = doctest.testfile(str(PAGE), module_relative=False)
    assert results.attempted > 0
    assert not results.failed
