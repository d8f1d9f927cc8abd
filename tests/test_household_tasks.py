"""Rooms and tasks of the household world come from seeds, are kept apart by split, and an expert solves them."""

import itertools
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from agentrl_envs.household.catalogue import (
    CLEAN,
    HEAT,
    HOLDS,
    LAMPS,
    LIKELY,
    OBJECTS,
    OPENABLE,
    PICK,
    RECEPTACLES,
    TASK_TYPES,
    TWO,
    WORDINGS,
)
from agentrl_envs.household.expert import EVERYTHING, expert_action
from agentrl_envs.household.game import Game
from agentrl_envs.household.world import Household

SMALL: dict[str, Any] = {
    "rooms": ("kitchen",),
    "receptacles": (6, 8),
    "object_types": (8, 8),
    "task_types": (PICK, CLEAN, HEAT, TWO),
    "max_turns": 30,
}
MIDDLE: dict[str, Any] = {"receptacles": (11, 14), "object_types": (8, 14)}
KITCHEN: dict[str, Any] = {"rooms": ("kitchen",), "receptacles": (30, 30)}


def walk(env: Household, seed: int, turns: int) -> dict[str, Any]:
    """Random admissible commands; the last info."""
    choose = random.Random(seed)
    info = env.reset(options={"split": "train", "index": seed})[1]
    for _ in range(turns):
        *_, terminated, truncated, following = env.step(choose.choice(info["admissible"]))
        if terminated or truncated:
            return env.reset(options={"split": "train", "index": seed})[1]
        info = following
    return info


def finish(env: Household) -> tuple[bool, int, dict[str, Any]]:
    """Let the expert play on: success, turns, last info."""
    for turn in itertools.count(1):
        _, _, terminated, truncated, info = env.step(env.expert_action())
        if terminated or truncated:
            return terminated, turn, info
    raise AssertionError


# Rooms and tasks.


def test_the_tables_fit_together() -> None:
    for thing, likely in LIKELY.items():
        assert all(thing in LAMPS or thing in HOLDS[place] for place in likely), thing
    for kind, stock in RECEPTACLES.items():
        assert set(stock) <= set(HOLDS)
        assert sum(count.least for name, count in stock.items() if name in OPENABLE) >= 3
        assert all(LIKELY[thing] & set(stock) for thing in OBJECTS[kind])


@pytest.mark.parametrize("recipe", [SMALL, MIDDLE, {}], ids=["small", "middle", "default"])
def test_no_task_is_in_two_splits_and_no_unseen_room_is_trained_in(recipe: dict[str, Any]) -> None:
    env = Household(**recipe)
    keys, rooms = {}, {}
    for split in env.splits:
        keys[split], rooms[split] = set(), set()
        for index in range(1000):
            keys[split].add(env.reset(options={"split": split, "index": index})[1]["task"])
            rooms[split].add(env.machine.game.layout.receptacles)
    assert not keys["train"] & keys["valid_seen"]
    assert not rooms["valid_unseen"] & (rooms["train"] | rooms["valid_seen"])
    assert rooms["valid_seen"] <= rooms["train"]
    assert all(len(found) > 700 for found in keys.values())


def test_a_key_stands_for_one_content() -> None:
    env = Household(**{**SMALL, "object_types": (1, 1), "copies": (1, 2)})
    contents: dict[str, set[Any]] = {}
    keys: dict[Any, set[str]] = {}
    for split, index in itertools.product(env.splits, range(500)):
        key = env.reset(options={"split": split, "index": index})[1]["task"]
        game = env.machine.game
        content = (game.layout.receptacles, game.objects, game.start, game.goal)
        contents.setdefault(key, set()).add(content)
        keys.setdefault(content, set()).add(key)
    assert {len(found) for found in (*contents.values(), *keys.values())} == {1}
    assert len(keys) < 1400  # the same content did come up again


@pytest.mark.parametrize(
    ("recipe", "least", "most"),
    [(SMALL, 6, 8), (MIDDLE, 11, 14), (KITCHEN, 30, 30)],
    ids=["small", "middle", "kitchen"],
)
def test_rooms_have_the_size_that_was_asked_for(recipe: dict[str, Any], least: int, most: int) -> None:
    env = Household(**recipe)
    sizes, closed = set(), []
    for index in range(200):
        env.reset(options={"split": "train", "index": index})
        sizes.add(len(env.machine.game.layout.receptacles))
        closed.append(sum(env.machine.game.layout.openable))
    assert min(sizes) == least
    assert max(sizes) == most
    assert min(closed) >= 3


def test_all_task_types_and_both_wordings_occur() -> None:
    env = Household()
    seen: Counter[str] = Counter()
    wordings = set()
    for index in range(600):
        env.reset(options={"split": "train", "index": index})
        goal = env.machine.game.goal
        seen[goal.type] += 1
        texts = [
            form.format(object=goal.object, receptacle=goal.receptacle, lamp=goal.lamp) for form in WORDINGS[goal.type]
        ]
        wordings.add((goal.type, texts.index(goal.text)))
    assert set(seen) == set(TASK_TYPES)
    assert min(seen.values()) > 20
    assert len(wordings) == 12


_TRANSCRIPT = """
import hashlib, random
from agentrl_envs.household.world import Household
env, digest, choose = Household(anchor="state"), hashlib.sha256(), random.Random(7)
for seed in range(20):
    _, info = env.reset(seed=seed, options={"split": "valid_unseen"})
    for _ in range(30):
        digest.update(repr(env.step(choose.choice(info["admissible"]))).encode())
print(digest.hexdigest())
"""


def test_the_same_seed_and_actions_give_the_same_bytes_in_another_process() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", _TRANSCRIPT], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_tasks_never_change_between_versions() -> None:
    key = Household().reset(options={"split": "train", "index": 0})[1]["task"]
    small = Household(**SMALL).reset(options={"split": "valid_unseen", "index": 0})[1]["task"]
    assert key == "pick_heat_then_place_in_recep-bread-fridge-1317cec27e834c2e"
    assert small == "pick_heat_then_place_in_recep-egg-countertop-37bb07224cd2fa8b"


# The expert.


@pytest.mark.parametrize("expert", ["search", "oracle"])
@pytest.mark.parametrize("recipe", [SMALL, MIDDLE, KITCHEN, {}], ids=["small", "middle", "kitchen", "default"])
def test_the_expert_solves_every_task_within_the_cap(recipe: dict[str, Any], expert: str) -> None:
    env = Household(**recipe, expert=expert)  # type: ignore[arg-type]
    for split, index in itertools.product(env.splits, range(80)):
        env.reset(options={"split": split, "index": index})
        success, _, info = finish(env)
        assert success, info["task"]


@pytest.mark.parametrize("expert", ["search", "oracle"])
def test_the_expert_goes_on_from_any_state(expert: str) -> None:
    env = Household(**MIDDLE, max_turns=10_000, expert=expert)  # type: ignore[arg-type]
    for seed in range(150):
        walk(env, seed, turns=seed % 60)
        success, turns, info = finish(env)
        assert success, info["task"]
        assert turns <= 60


def test_the_searching_expert_uses_only_what_was_seen() -> None:
    differed = 0
    for seed in range(60):
        env = Household(**MIDDLE, max_turns=10_000)
        walk(env, seed, turns=seed % 12)
        played = env.machine
        assert played is not None
        before = expert_action(played, played.seen), expert_action(played, EVERYTHING)
        hidden = [
            place
            for place, kind in enumerate(played.game.layout.types)
            if not played.seen >> place & 1 and kind != played.game.goal.receptacle
        ]
        inside = [played.contents[place] for place in hidden]
        random.Random(seed).shuffle(inside)
        for place, things in zip(hidden, inside, strict=True):
            played.contents[place] = things
        assert expert_action(played, played.seen) == before[0]
        differed += expert_action(played, EVERYTHING) != before[1]
    assert differed > 5  # the oracle does look


def test_every_action_of_the_expert_runs() -> None:
    env = Household(**MIDDLE)
    for index in range(60):
        env.reset(options={"split": "train", "index": index})
        terminated = False
        while not terminated:
            *_, terminated, _, info = env.step(env.expert_action())
            assert not info["invalid"]


def every_command(game: Game) -> Iterator[str]:
    places, things = game.layout.receptacles, game.objects
    yield from ("look", "inventory", "help")
    for name in (*places, *things):
        yield from (f"{verb} {name}" for verb in ("go to", "open", "close", "examine", "use"))
    for thing, place in itertools.product(things, places):
        yield from (f"take {thing} from {place}", f"move {thing} to {place}")
        yield from (f"{verb} {thing} with {place}" for verb in ("heat", "clean", "cool"))
    yield from (f"slice {thing} with {knife}" for thing, knife in itertools.product(things, things))


def test_exactly_the_admissible_commands_run() -> None:
    for seed in range(25):
        env = Household(**MIDDLE, max_turns=10_000)
        info = walk(env, seed, turns=seed * 3)
        played = env.machine
        assert played is not None
        state = played.state()
        ran = []
        for command in every_command(played.game):
            if not played.apply(command)[1]:
                ran.append(command)
            played.load(state)
        assert sorted(ran) == list(info["admissible"])


def test_only_the_object_types_that_were_named_appear() -> None:
    env = Household(objects=("mug", "apple"), rooms=("kitchen",))
    for index in range(30):
        env.reset(options={"split": "train", "index": index})
        assert set(env.machine.game.types) <= {"mug", "apple"}
