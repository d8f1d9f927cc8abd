"""TextWorld: what it carries for every world."""

import pickle
from dataclasses import dataclass
from typing import Any

import gymnasium
import pytest

import agentrl
from agentrl import Environment, Scene, TextWorld
from agentrl.testing import check_environment


@dataclass(frozen=True)
class Rule:
    steps: tuple[int, ...]


class Counting(TextWorld):
    """Count to the task's index plus three; `roll` draws, `note` keeps a list."""

    splits = {"train": 5}
    max_turns = 6
    success_above = 0.0
    presets = {"small": {"step": 1, "limit": 3}, "large": {"step": 10, "limit": 30}}

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.rule = Rule((1,))

    def begin(self, task: agentrl.Task) -> Scene:
        self.number, self.goal = 0, task.index + 3
        self.notes = []
        self.twin = {"notes": self.notes}
        return Scene("0", admissible=("one",), hidden={"goal": self.goal})

    def act(self, action: str) -> Scene:
        if action == "roll":
            return Scene(f"rolled {self.np_random.integers(10**6)}", feedback="lucky")
        if action == "note":
            self.twin["notes"].append("x")
            return Scene(f"{len(self.notes)} notes", anchor="notes", milestones=("note",))
        self.number += self.rule.steps[0]
        arrived = self.number == self.goal
        rewards = {"goal": float(arrived), "style": 0.5 * arrived}
        return Scene(str(self.number), rewards=rewards, done=arrived, admissible=("one",))


def begun(**options: Any) -> Counting:
    world = Counting()
    world.reset(seed=1, options={"index": 0, **options})
    return world


def test_a_world_of_begin_and_act_passes_the_kit() -> None:
    report = check_environment(Counting, actions=200)
    assert report.passed, report.failures


def test_named_rewards_are_summed_and_a_rewarded_end_is_a_success() -> None:
    world = begun()
    steps = [world.step("one") for _ in range(3)]
    assert [step[1:4] for step in steps] == [(0.0, False, False), (0.0, False, False), (1.5, True, False)]
    assert [step[4]["success"] for step in steps] == [False, False, True]
    assert steps[-1][4]["rewards"] == {"goal": 1.0, "style": 0.5}


def test_a_reward_without_parts_has_the_name_that_the_world_gives() -> None:
    class Paying(TextWorld):
        reward_name = "money"

        def begin(self, task: agentrl.Task) -> str:
            return "begin"

        def act(self, action: str) -> Scene:
            return Scene("paid", True)

    world = Paying()
    world.reset()
    _, reward, terminated, _, info = world.step("x")
    assert (reward, type(reward), terminated, info["rewards"]) == (1.0, float, False, {"money": 1.0})
    assert "success" not in info


def test_a_reward_is_a_success_only_where_the_world_says_above_what() -> None:
    class Paying(TextWorld):
        def begin(self, task: agentrl.Task) -> str:
            return "begin"

        def act(self, action: str) -> Scene:
            return Scene("paid", 1.0, done=True)

    for above, said in ((None, None), (0.0, True), (1.0, False)):
        world = Paying()
        world.success_above = above
        world.reset()
        assert world.step("x")[4].get("success") is said
        assert world.step("x")[4].get("success") is said  # after the end too


def test_turns_run_out_and_then_nothing_happens() -> None:
    world = begun()
    flags = [world.step("roll")[2:4] for _ in range(6)]
    assert flags == [(False, False)] * 5 + [(False, True)]
    last = world.scene.observation
    observation, reward, terminated, truncated, info = world.step("one")
    assert (observation, reward, terminated, truncated) == (last, 0.0, False, True)
    assert (info["invalid"], "feedback" in info) == ("the task is over", False)
    assert (world.number, world.turn) == (0, 6)


def test_a_success_stays_one_after_the_end_and_pays_nothing_more() -> None:
    world = begun()
    for _ in range(3):
        world.step("one")
    for _ in range(2):
        _, reward, terminated, _, info = world.step("one")
        assert (reward, terminated, info["success"], info["rewards"]) == (0.0, True, True, {"goal": 0.0, "style": 0.0})


def test_the_world_may_say_what_is_seen_after_the_end() -> None:
    world = begun()
    world.after_the_end = "Nothing happens."
    for _ in range(3):
        world.step("one")
    assert [world.step("one")[0] for _ in range(2)] == ["Nothing happens."] * 2


def test_only_what_a_scene_holds_is_in_info() -> None:
    world = Counting()
    _, info = world.reset(options={"index": 0})
    assert info.keys() == {"task", "anchor", "rewards", "success", "invalid", "admissible", "hidden"}
    info = world.step("note")[4]
    assert info.keys() == {"task", "anchor", "rewards", "success", "invalid", "milestones"}
    assert info["anchor"] == "notes"
    assert world.step("roll")[4]["feedback"] == "lucky"


def test_the_task_key_holds_split_index_and_a_hash_of_the_content() -> None:
    _, info = Counting().reset(options={"index": 2})
    assert info["task"].startswith("train/2-")
    assert len(info["task"].partition("-")[2]) == 16


def test_a_step_or_snapshot_before_the_first_reset_is_refused() -> None:
    for early in (lambda: Counting().step("one"), lambda: Counting().snapshot()):
        with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
            early()


def test_a_snapshot_shares_nothing_with_the_live_world_and_keeps_what_is_one_object_one() -> None:
    world = begun()
    world.step("note")
    taken = world.snapshot()
    for target in (world, Counting(), world):
        target.restore(pickle.loads(pickle.dumps(taken)) if target is world else taken)
        assert [target.step("note")[0] for _ in range(2)] == ["2 notes", "3 notes"]
        assert target.twin["notes"] is target.notes
    assert world.rule == Rule((1,))


def test_an_attribute_made_after_the_snapshot_is_gone_after_restore() -> None:
    world = begun()
    taken = world.snapshot()
    world.later = 1
    world.restore(taken)
    assert not hasattr(world, "later")


def test_a_restored_world_goes_on_with_the_same_luck_until_it_is_reseeded() -> None:
    world = begun()
    taken = world.snapshot()
    first = world.step("roll")[0]
    world.restore(taken)
    assert world.step("roll")[0] == first
    rolls = set()
    for seed in (2, 3, 4, 2):
        world.restore(taken)
        world.reseed(seed)
        rolls.add(world.step("roll")[0])
    assert len(rolls) == 3
    assert first not in rolls


@pytest.mark.parametrize("on_another", [False, True])
def test_a_snapshot_from_before_the_first_draw_holds_the_luck_of_all_later_ones(on_another: bool) -> None:
    world, other = Counting(), Counting()
    world.reset(options={"index": 0})  # without a seed, and nothing is drawn for the task
    taken = pickle.loads(pickle.dumps(world.snapshot()))
    first = [world.step("roll")[0] for _ in range(3)]
    again = other if on_another else world
    for _ in range(2):
        again.restore(taken)
        assert [again.step("roll")[0] for _ in range(3)] == first
    world.reset(options={"index": 0})
    fresh = Counting()
    fresh.reset(options={"index": 0})
    fresh.snapshot()
    assert [fresh.step("roll")[0] for _ in range(3)] != first


def test_a_plain_environment_that_has_drawn_nothing_restores_its_luck_too() -> None:
    class Dice(Environment):
        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
            super().reset(seed=seed)
            return "roll", {}

        def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
            return str(self.np_random.integers(10**9)), 0.0, False, False, {}

    world = Dice()
    world.reset()
    taken = world.snapshot()
    first = world.step("")[0]
    world.restore(taken)
    assert world.step("")[0] == first


def test_resources_are_neither_pickled_nor_in_a_snapshot_and_are_made_again() -> None:
    class Served(Counting):
        resources = ("server",)

        def __init__(self) -> None:
            super().__init__()
            self.open()

        def open(self) -> None:
            self.server = iter([])  # cannot be copied

    globals()["Served"] = Served
    Served.__qualname__ = "Served"
    world = Served()
    world.reset(options={"index": 0})
    live = world.server
    world.restore(world.snapshot())
    assert world.server is live
    other = pickle.loads(pickle.dumps(world))
    assert other.server is not live
    assert other.step("one")[0] == "1"


def test_the_last_observation_is_rendered() -> None:
    world = begun()
    assert world.render() is None
    world.render_mode = "ansi"
    world.step("one")
    assert world.render() == "1"


@pytest.mark.parametrize("wrong", [None, "text", 3])
def test_a_world_that_gives_no_scene_is_named_and_stands_where_it_stood(wrong: Any) -> None:
    class Odd(Counting):
        def act(self, action: str) -> Any:
            return wrong

        def begin(self, task: agentrl.Task) -> Any:
            return super().begin(task) if task.index == 0 else 3

    world = Odd()
    world.reset(options={"index": 0})
    with pytest.raises(TypeError, match="Odd.act gave .*; it gives an agentrl.Scene"):
        world.step("one")
    assert (world.turn, world.scene.observation) == (0, "0")
    with pytest.raises(TypeError, match="Odd.begin gave 3; it gives an agentrl.Scene, or text"):
        world.reset(options={"index": 1})


def test_sizes_of_a_preset_give_way_to_what_is_set() -> None:
    assert Counting.sizes("small", step=None, limit=7) == {"step": 1, "limit": 7}
    with pytest.raises(agentrl.ConfigError, match="Did you mean 'large'"):
        Counting.sizes("larg")


def test_a_world_may_draw_its_tasks_by_weights() -> None:
    class Biased(Counting):
        def draw(self, split: str) -> int:
            return 4

    world = Biased()
    world.reset(seed=0)
    assert world.task.index == 4
