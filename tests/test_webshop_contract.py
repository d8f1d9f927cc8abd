"""The webshop keeps the contract of worlds: expert, snapshots, hostile text, settings, size, speed."""

import json
import pickle
import random
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as within
from hypothesis import strategies as st

import agentrl

pytest.importorskip("bm25s", reason="the webshop extra is not installed: pip install bm25s pystemmer rapidfuzz")

from agentrl_envs.webshop.world import WebShop


def at_item(number: int = 0) -> WebShop:
    """On the page of the goal's product."""
    world = WebShop()
    world.reset(seed=number)
    while "click[buy now]" not in world.step(world.expert_action())[4]["admissible"]:
        pass
    return world


def test_the_expert_buys_what_is_wanted_in_every_mode() -> None:
    for settings in ({}, {"mode": "faithful"}, {"goals": "human"}, {"preset": "tiny"}, {"seed": 3}):
        world = WebShop(**settings)
        for split, size in world.splits.items():
            for index in range(0, size, max(1, size // 25)):
                world.reset(seed=index, options={"split": split, "index": index})
                for _ in range(15):
                    _, reward, over, _, info = world.step(world.expert_action())
                    if over:
                        break
                assert (reward, info["success"]) == (1.0, True), world._goal


def test_the_expert_finds_back_from_anywhere() -> None:
    world, draw = WebShop(), random.Random(0)
    for index in range(40):
        info = world.reset(seed=index)[1]
        for _ in range(12):
            clicks = [action for action in info["admissible"] if action != "click[buy now]"]
            action = draw.choice([*clicks, "search[soft dress]", "search[<c> beauty]", "search[<r>]"])
            info = world.step(action)[4]
        for _ in range(25):
            _, reward, over, _, _ = world.step(world.expert_action())
            if over:
                break
        assert over
        assert reward == 1.0


def test_snapshots_restore_exactly_and_on_another_instance() -> None:
    for settings in ({}, {"mode": "faithful", "observation": "text_rich"}):
        world, other = WebShop(**settings), WebShop(**settings)
        draw = random.Random(1)
        for index in range(30):
            info = world.reset(seed=index)[1]
            for _ in range(draw.randrange(8)):
                info = world.step(draw.choice(info["admissible"] or ["x"]))[4]
            snapshot = pickle.loads(pickle.dumps(world.snapshot()))
            actions = ["search[<r>]", world.expert_action(), "click[next >]", "click[buy now]", "search[dress]"]
            played = []
            for each in (world, other, world):
                each.restore(snapshot)
                played.append([each.step(action) for action in actions])
            assert played[0] == played[1] == played[2]


def test_an_open_world_can_be_pickled_and_goes_on_alike() -> None:
    world = at_item()
    twin = pickle.loads(pickle.dumps(world))
    assert len(pickle.dumps(world)) < 20_000
    assert twin.step("search[<r>]") == world.step("search[<r>]")
    assert twin.splits == world.splits


def test_the_same_seed_and_actions_give_the_same_bytes_in_another_process() -> None:
    code = (
        "from agentrl_envs.webshop.world import WebShop; import json\n"
        "out = []\n"
        "for settings in ({}, {'mode': 'faithful'}, {'preset': 'tiny', 'observation': 'html'}):\n"
        "    world = WebShop(**settings)\n"
        "    for seed in range(5):\n"
        "        out.append(world.reset(seed=seed))\n"
        "        for action in ('search[<r>]', 'click[next >]', world.expert_action(), world.expert_action()):\n"
        "            out.append(world.step(action))\n"
        "print(json.dumps(out))"
    )
    one, two = (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    )
    assert one == two
    assert len(one) > 10_000


@within(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=40) | st.from_regex(r"(search|click)\[[^\n]{1,30}\]"), max_size=6))
def test_hostile_text_is_no_more_than_a_turn(actions: list[str]) -> None:
    world = WebShop()
    world.reset(seed=0)
    for action in [*actions, "\ud800", "search[\ud800]", "search[" + "x" * 5000 + "]", "click[" * 200]:
        observation, reward, _, _, info = world.step(action)
        assert isinstance(observation, str)
        assert reward == pytest.approx(sum(info["rewards"].values()))
        json.dumps(info).encode()


def test_a_search_too_long_to_keep_is_refused_and_a_session_stays_small() -> None:
    world = at_item()
    assert "at most 2000 characters" in world.step(f"search[{'x' * 2001}]")[4]["invalid"]
    assert world.step(f"search[{'ä' * 2000}]")[4]["invalid"] == ""
    assert len(pickle.dumps(world.snapshot())) < 20_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"products": 0},
        {"products": 2_000_000},
        {"preset": "tiny", "products": 500},
        {"seed": -1},
        {"attributes": Path("x.json")},
        {"items": Path("/nowhere/items.json")},
        {"items": Path("x.json"), "preset": "tiny"},
        {"preset": "tiny", "goals": "human"},
    ],
)
def test_settings_that_fit_no_shop_are_refused_with_a_reason(wrong: dict[str, Any]) -> None:
    with pytest.raises(agentrl.ConfigError):
        WebShop(**wrong)


def test_unknown_tasks_are_refused_and_a_missing_index_is_drawn() -> None:
    world = WebShop()
    for options in ({"split": "valid"}, {"split": "test", "index": 500}, {"index": -1}, {"task": 3}):
        with pytest.raises(agentrl.ConfigError):
            world.reset(seed=0, options=options)
    keys = {world.reset(seed=seed, options={"split": "dev"})[1]["task"] for seed in range(20)}
    assert len(keys) > 15


def test_tiny_pages_are_short() -> None:
    world = WebShop(preset="tiny")
    assert world.splits["train"] >= 300
    longest, words = 0, set()
    for index in range(100):
        text, info = world.reset(seed=index, options={"split": "train", "index": index})
        while info["admissible"]:
            longest = max(longest, len(text.split()))
            words.update(text.split())
            text, _, _, _, info = world.step(world.expert_action())
    assert longest <= 80
    assert len(words) <= 300


def test_a_session_is_small_and_steps_are_fast() -> None:
    world = WebShop()
    recorded = []
    for index in range(60):
        world.reset(seed=index, options={"split": "train", "index": index})
        actions, over = [], False
        while not over:
            actions.append(world.expert_action())
            over = world.step(actions[-1])[2]
        recorded.append(actions)
    rates = []
    for _ in range(3):
        begin = time.process_time()
        for index, actions in enumerate(recorded):
            world.reset(options={"split": "train", "index": index})
            for action in actions:
                world.step(action)
        rates.append(sum(map(len, recorded)) / (time.process_time() - begin))
    assert max(rates) >= 5_000
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    sessions = [at_item(number) for number in range(50)]
    held = (tracemalloc.get_traced_memory()[0] - before) / len(sessions)
    tracemalloc.stop()
    assert held <= 20_000


def at_a_page(number: int) -> WebShop:
    world = WebShop()
    world.reset(seed=number)
    world.step(world.expert_action())
    world.step(world.expert_action())
    return world
