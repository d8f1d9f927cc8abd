"""What each of the lab's worlds promises to the tests of a method."""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from lab_support import begin, lopsided, make

from agentrl_envs.lab.exact import Node, uniform


def _advantages(world: Any, policy: Any) -> dict[Node[Any], dict[str, float]]:
    values = world.exact_values(policy)
    return {node: values.advantages(node) for node in world.visits(policy)}


def _largest(advantages: dict[str, float]) -> float:
    return max(map(abs, advantages.values()))


@pytest.mark.parametrize("policy", [uniform, lopsided])
@pytest.mark.parametrize(
    ("name", "matters"),
    [
        ("two_routes", lambda world, state: state[0] == "doors"),
        ("decisive", lambda world, state: state[0] == world.details[0]),
        ("late", lambda world, state: state[1] == "no"),
        ("length_trap", lambda world, state: state[0] == "gates"),
    ],
)
def test_advantages_are_zero_but_where_an_action_matters(name: str, matters: Any, policy: Any) -> None:
    world = make(name)
    for index in range(5):
        world.reset(options={"index": index})
        for node, advantages in _advantages(world, policy).items():
            assert (_largest(advantages) > 1e-6) == matters(world, node.state)


def test_the_two_routes_differ_in_choices_only() -> None:
    world = begin("two_routes", "left", ("red", "blue"))
    assert [len(_after(world, "left")["admissible"]), len(_after(world, "right")["admissible"])] == [1, 4]


def _after(world: Any, *actions: str) -> dict[str, Any]:
    """`info` after these actions; the world goes back."""
    snapshot, info = world.snapshot(), {}
    for action in actions:
        info = world.step(action)[4]
    world.restore(snapshot)
    return info


def test_baselines_of_those_who_went_on_are_biased_where_the_policy_may_stop() -> None:
    """The expected update over all pairs of plays: leave-one-out gives the gradient, the mean of survivors does not."""
    world = begin("stopping", 0, 4)
    gradient = world.exact_gradient(uniform)
    exact = np.array([gradient[world.look(cell).observation, "stop"] for cell in range(4)])
    chances = 0.5 ** np.array([1, 2, 3, 4, 4])  # of stopping in cell 0, 1, 2, 3, 4
    rewards = np.array([world.transitions(cell, "stop")[0].reward for cell in range(5)])
    scores = np.array([[0.5 if cell == last else -0.5 * (cell < last) for cell in range(4)] for last in range(5)])
    leave_one_out, survivors = np.zeros(4), np.zeros(4)
    for one, two in itertools.product(range(5), repeat=2):
        update = chances[one] * chances[two] * (rewards[one] - rewards[two]) * scores[one]
        leave_one_out += update
        survivors += update * (np.arange(4) <= two)  # who is alone at a turn gets nothing there
    assert leave_one_out == pytest.approx(exact, abs=1e-12)
    assert exact @ survivors / np.linalg.norm(exact) / np.linalg.norm(survivors) < 0.95


def test_an_answer_survives_only_if_it_was_said() -> None:
    world = begin("said", "coral", 2)

    def repeat(observation: str, actions: Any) -> list[float]:
        word = observation.removeprefix("You said ").split(".")[0]
        return [float(a == f"answer {word}") for a in actions] if f"answer {word}" in actions else uniform("", actions)

    q = world.exact_values(repeat).q[Node((1, "nothing"), 1)]
    assert q == pytest.approx({"say amber": 0, "say birch": 0, "say coral": 1, "say delta": 0, "say nothing": 1 / 4})
    opening, code = world.scene.observation, world.look((1, "nothing")).observation
    later = {world.look(state).observation for state in world.states() if state[0] > 1 and state[1] != "coral"}
    assert "coral" in code
    assert not [text for text in (opening, *later) if "coral" in text]


def test_the_rule_is_learnable_across_episodes_and_not_within_one() -> None:
    world, rule, openings = make("hidden_rule"), {}, set()
    for index in range(world.splits["train"]):
        observation, info = world.reset(options={"split": "train", "index": index})
        openings.add(observation)
        _, _, terminated, _, after = world.step(info["admissible"][0])
        assert terminated
        machine, lever = re.findall(r"The (\w+) opens with the (\w+) lever", after["feedback"])[0]
        assert rule.setdefault(machine, lever) == lever
    for index in range(world.splits["valid"]):
        observation, info = world.reset(options={"split": "valid", "index": index})
        assert observation not in openings
        machine = observation.split()[1]
        assert rule[machine] == info["hidden"]["solution"]
        assert world.step(rule[machine])[1] == 1.0
    assert len(set(rule.values())) > 2
    assert make("hidden_rule", rules=1)._rule != make("hidden_rule")._rule


def test_the_slow_action_is_better_and_costs_simulated_seconds() -> None:
    world = begin("slow_good", "bread", "boots", slow_s=7.0)
    assert not world.blocks
    fast, slow = world.step("fast")[4], world.step("slow")[4]
    assert (fast["cost"], slow["cost"]) == ({"seconds": 1.0}, {"seconds": 7.0})
    assert not slow["success"]
    q = world.exact_values(uniform).q[world.node._replace(state=(1, 0), turn=1)]
    assert q["slow"] > q["fast"]
    assert q["slow"] / slow["cost"]["seconds"] < q["fast"] / fast["cost"]["seconds"]
    assert "cost" not in world.reset(options={"index": 0})[1]


def test_a_world_that_sleeps_blocks_and_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    world = begin("slow_good", "bread", "boots", sleep=0.5)
    assert world.blocks
    for action in ("fast", "no such action", "slow"):
        world.step(action)
    assert waits == [0.5, 5.0]


def test_one_call_is_enough_and_every_call_is_reported() -> None:
    world = begin("calls", "coral", "blue")
    gold = world.reset(options={"index": world.tasks["train"].index(("coral", "blue"))})[1]["hidden"]["calls"]
    wrong, right = _after(world, "lookup birch"), _after(world, "lookup coral")
    assert wrong["calls"] == [{"name": "lookup", "arguments": {"key": "birch"}, "error": "there is no record of birch"}]
    assert right["calls"] == [{**gold[0], "error": ""}]
    assert (wrong["feedback"], right["cost"]) == ("there is no record of birch", {"calls": 1.0})
    assert "calls" not in _after(world, "answer red")
    assert [_after(world, *["lookup coral"] * calls, "answer blue")["success"] for calls in (0, 1, 4)] == [True] * 3
    values = world.exact_values(lopsided)
    assert all(values.q[Node("seen", turn)]["lookup coral"] == values.v[Node("seen", turn + 1)] for turn in range(6))


def test_the_planted_mistake_is_where_the_world_says() -> None:
    for index in range(20):
        planted, right = make("planted", plays="planted"), make("planted")
        hidden = planted.reset(options={"index": index})[1]["hidden"]
        assert right.reset(options={"index": index})[1]["hidden"] == hidden
        differences, anchors = [], []
        for turn, action in enumerate(hidden["actions"]):
            mistake, correct = planted.expert_action(), right.expert_action()
            differences += [turn] if mistake != correct else []
            assert mistake == action
            one, two = planted.step(mistake), right.step(correct)
            anchors.append(one[4]["anchor"] == two[4]["anchor"])
            assert (one[0] == two[0]) or one[2]
        assert differences == [hidden["place"]]
        assert anchors[:-1] == [turn < hidden["place"] for turn in range(5)]
        assert (one[1], one[4]["success"], two[1], two[4]["success"]) == (0.0, False, 1.0, True)


def test_long_plays_earn_more_although_length_is_worth_nothing() -> None:
    """And advantages averaged over a trajectory's turns push towards lines, summed ones do not."""
    world = begin("length_trap", "red", "poem")
    paths = list(_paths(world, world.start(), 1.0))
    chances, lengths, rewards = (np.array([path[k] for path in paths]) for k in range(3))
    assert chances.sum() == pytest.approx(1)
    mean = {"length": chances @ lengths, "reward": chances @ rewards}
    covariance = chances @ ((lengths - mean["length"]) * (rewards - mean["reward"]))
    spread = (chances @ (lengths - mean["length"]) ** 2 * (chances @ (rewards - mean["reward"]) ** 2)) ** 0.5
    assert covariance / spread > 0.6
    scores = np.array([path[3] for path in paths])
    assert chances @ ((rewards - mean["reward"]) * scores) == pytest.approx(0, abs=1e-12)
    assert chances @ ((rewards - mean["reward"]) * scores / lengths) > 0.01


def _paths(world: Any, state: Any, chance: float, length: int = 0, score: float = 0.0) -> Any:
    """Every uniform play: probability, length, reward, and the sum of d log π / d logit of adding a line."""
    actions = world.look(state).admissible
    for action in actions:
        ((_, after, reward, done),) = world.transitions(state, action)
        step = (float(action == "add a line") - 0.5) if "add a line" in actions else 0.0
        here = chance / len(actions), length + 1, score + step
        if done:
            yield here[0], here[1], reward, here[2]
        else:
            yield from _paths(world, after, *here)


def test_the_two_speakers_of_pennies_take_turns_and_share_nothing() -> None:
    world = make("pennies", matcher="anna", hider="ben", heads=3.0)
    _, info = world.reset(seed=0, options={"index": 0})
    assert (info["speaker"], info["rewards_by"]) == ("ben", {"anna": 0.0, "ben": 0.0})
    heads, tails = _after(world, "heads"), _after(world, "tails")
    assert (heads["speaker"], heads["anchor"]) == ("anna", tails["anchor"])
    assert _after(world, "heads", "heads")["rewards_by"] == {"anna": 3.0, "ben": -3.0}
    assert _after(world, "heads", "tails")["rewards_by"] == {"anna": -1.0, "ben": 1.0}
    assert "speaker" not in _after(world, "tails", "tails")
    plain = begin("pennies", "cup", "noon")
    assert _after(plain, "heads", "heads")["rewards_by"] == {"agent": 1.0, "other": -1.0}


def test_in_the_equilibrium_of_pennies_nobody_gains_by_another_choice() -> None:
    for heads, share in ((1.0, 1 / 2), (3.0, 1 / 3)):
        world = begin("pennies", "cup", "noon", heads=heads)
        gradient = world.exact_gradient(functools.partial(_mixed, share))
        assert max(map(abs, gradient.values())) == pytest.approx(0, abs=1e-12)
        assert max(map(abs, world.exact_gradient(functools.partial(_mixed, share + 0.1)).values())) > 0.05


def _mixed(share: float, _: str, actions: Any) -> list[float]:
    return [share, 1 - share]


def test_three_kinds_of_tasks_come_in_turn() -> None:
    world = make("three_tasks")
    for split, index in itertools.product(world.splits, range(33)):
        info = world.reset(options={"split": split, "index": index})[1]
        assert info["kind"] == ("easy", "hard", "impossible")[index % 3]
        assert len(world.details[1]) == (2, 4, 9)[index % 3]
    assert Counter(kind for kind, _ in world.tasks["train"]) == {"easy": 33, "hard": 33, "impossible": 33}


def test_what_is_learned_on_the_hard_kind_makes_the_impossible_one_possible() -> None:
    world = make("three_tasks")
    world.reset(options={"index": 2})

    def knows_four_signs(observation: str, actions: Any) -> list[float]:
        number, sign = re.findall(r"Sign (\d): (\w+)", observation)[0]
        return [float(action == sign) for action in actions] if int(number) <= 4 else uniform("", actions)

    start = world.node
    assert world.exact_values(uniform).v[start] == pytest.approx(3.0**-9)
    assert world.exact_values(knows_four_signs).v[start] == pytest.approx(3.0**-5)


def test_feedback_says_what_was_wrong_and_the_observation_does_not_change() -> None:
    world = begin("feedback", "Doctor", "Amber")
    opening = world.scene.observation
    observation, *_, info = world.step("large black")
    assert (observation, info["feedback"]) == (opening, "The size should be small.")
    observation, *_, info = world.step("large green")
    assert (observation, info["feedback"]) == (opening, "The size should be small. The colour should be black.")
    assert "feedback" not in world.step("small black")[4]
    assert world.scene.success is None
    assert _after(begin("feedback", "Doctor", "Amber"), "small black")["success"]


def test_feedback_of_another_guest_never_names_the_right_cup() -> None:
    world = make("feedback", feedback_of="other")
    for split, size in world.splits.items():
        for index in range(size):
            solution = world.reset(options={"split": split, "index": index})[1]["hidden"]["solution"]
            for action in (a for a in world.scene.admissible if a != solution):
                words = re.findall(r"should be (\w+)", _after(world, action)["feedback"])
                assert not set(words) & set(solution.split())


@pytest.mark.parametrize(("hidden", "mixed"), [(0.0, 0), (0.3, 2), (0.6, 4), (1.0, 7)])
def test_a_share_of_the_anchors_hides_the_key(hidden: float, mixed: int) -> None:
    world = begin("aliased", "left", 2, 5, hidden=hidden)
    states = Counter(world.look(state).anchor for state in world.states())
    observations = Counter(world.look(state).observation for state in world.states())
    assert set(observations.values()) == {1}
    assert sum(count > 1 for count in states.values()) == mixed
    assert sum(world._hides) == int(8 * hidden)


def test_a_hidden_key_makes_one_anchor_of_two_values() -> None:
    world = begin("aliased", "left", 2, 5, hidden=1.0)
    values = world.exact_values(uniform)
    with_key, without = Node((2, True), 10), Node((2, False), 10)
    assert world.look(with_key.state).anchor == world.look(without.state).anchor
    assert values.v[with_key] > values.v[without] + 0.2


def test_moves_of_the_noisy_world_slip_as_often_as_they_should() -> None:
    world = begin("noisy", "left", 4, slip=0.2, noise=0.1)
    snapshot, count = world.snapshot(), 4000
    cells, rewards = Counter(), Counter()
    for seed in range(count):
        world.restore(snapshot)
        world.reseed(seed)
        reward = world.step("left")[1]
        cells[world.place] += 1
        rewards[reward] += 1
    assert set(cells) == {3, 5}
    assert abs(cells[5] / count - 0.2) < 4 * (0.2 * 0.8 / count) ** 0.5
    assert set(rewards) == {0.1, -0.1}
    assert abs(rewards[0.1] / count - 0.5) < 4 * 0.5 / count**0.5


def test_the_late_reward_comes_after_the_delay() -> None:
    world = begin("late", "red", ("walk", "read"), delay=5)
    rewards = [world.step(action)[1] for action in ("red", *("walk", "read") * 2, "walk")]
    assert rewards == [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
