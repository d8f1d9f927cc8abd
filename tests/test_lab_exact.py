"""Exact values of the lab's worlds and of the corridor: against play, against Bellman, against figures by hand."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from lab_support import WORLDS, begin, lopsided, make, play, played_return

import agentrl
from agentrl_envs.corridor import Corridor
from agentrl_envs.lab.exact import Exact, Node, Policy, Values, uniform
from agentrl_plugins.dialects.plain import Plain
from agentrl_plugins.models.table import Table
from agentrl_plugins.policies.tabular import Tabular

WITH_CORRIDOR: list[tuple[str, dict[str, Any]]] = [*WORLDS, ("corridor", {}), ("corridor", {"length": 5, "doors": 1})]


def world_of(name: str, settings: dict[str, Any]) -> Any:
    world = Corridor(**settings) if name == "corridor" else make(name, **settings)
    world.reset(seed=0, options={"index": 3})
    return world


@pytest.mark.parametrize(("name", "settings"), WITH_CORRIDOR)
@pytest.mark.parametrize("policy", [uniform, lopsided])
def test_values_fulfil_the_bellman_equations(name: str, settings: dict[str, Any], policy: Policy) -> None:
    world = world_of(name, settings)
    values, best = world.exact_values(policy), world.optimal_values()
    for state, turn in itertools.product(world.states(), range(world.max_turns)):
        node, scene = Node(state, turn), world.look(state)
        assert tuple(values.q[node]) == tuple(scene.admissible)
        for solution in (values, best):
            for action, q in solution.q[node].items():
                ways = world.transitions(state, action)
                assert sum(way.probability for way in ways) == pytest.approx(1, abs=1e-12)
                later = [0.0 if way.done else solution.v[Node(way.state, turn + 1)] for way in ways]
                expected = sum(way.probability * (way.reward + v) for way, v in zip(ways, later, strict=True))
                assert q == pytest.approx(expected, abs=1e-12)
        chances = policy(scene.observation, scene.admissible)
        mean = sum(p * q for p, q in zip(chances, values.q[node].values(), strict=True))
        assert values.v[node] == pytest.approx(mean, abs=1e-12)
        assert best.v[node] == max(best.q[node].values()) >= values.v[node] - 1e-12
        advantages = zip(chances, values.advantages(node).values(), strict=True)
        assert sum(p * advantage for p, advantage in advantages) == pytest.approx(0, abs=1e-12)
    assert {values.v[Node(state, world.max_turns)] for state in world.states()} == {0.0}


@pytest.mark.parametrize(
    ("name", "settings", "policy"),
    [*((*world, uniform) for world in WITH_CORRIDOR), *((*world, lopsided) for world in WITH_CORRIDOR if not world[1])],
)
def test_values_meet_the_mean_of_played_returns(name: str, settings: dict[str, Any], policy: Policy) -> None:
    world, picks = world_of(name, settings), random.Random(11)
    exact, squares = world.exact_values(policy), _squares(world, policy)
    mean, node = _mean(world, None, policy, picks), world.node
    assert abs(mean - exact.v[node]) <= 4 * _error(exact.v[node], squares[node, None])
    _go_on_to_a_choice(world, policy, picks)
    node = world.node
    for action in world.scene.admissible[:3]:
        mean = _mean(world, action, policy, picks)
        assert abs(mean - exact.q[node][action]) <= 4 * _error(exact.q[node][action], squares[node, action])


def test_the_mean_of_played_returns_tells_wrong_values() -> None:
    """The comparison above with the values of another policy, which must not fit."""
    for name in ("hidden_rule", "length_trap", "slow_good", "three_tasks"):
        world = world_of(name, {})
        wrong = world.exact_values(lopsided).v[world.node]
        error = _error(wrong, _squares(world, lopsided)[world.node, None])
        assert abs(_mean(world, None, uniform, random.Random(11)) - wrong) > 4 * error, name


PLAYS = 300


def _mean(world: Any, action: str | None, policy: Policy, picks: random.Random) -> float:
    """Mean return of continuations that begin with the action; the world ends where it was."""
    start, total = world.snapshot(), 0.0
    for seed in range(PLAYS):
        world.restore(start)
        world.reseed(seed)
        reward, over = 0.0, False
        if action is not None:
            _, reward, terminated, truncated, _ = world.step(action)
            over = terminated or truncated
        total += reward + (0.0 if over else played_return(world, policy, picks))
    world.restore(start)
    return total / PLAYS


def _error(mean: float, square: float) -> float:
    """The standard error of the mean if the exact values are right; the sample's own is 0 where successes are rare."""
    return float(np.sqrt(max(square - mean**2, 0.0) / PLAYS)) + 1e-9


def _squares(world: Any, policy: Policy) -> dict[tuple[Node[Any], str | None], float]:
    """The expected squared return from every node, for each first action and (None) for one of the policy."""
    v = world.exact_values(policy).v
    squares: dict[tuple[Node[Any], str | None], float] = {}
    for turn, state in itertools.product(reversed(range(world.max_turns)), world.states()):
        node, scene = Node(state, turn), world.look(state)
        for action in scene.admissible:
            terms = []
            for chance, later, reward, done in world.transitions(state, action):
                after = Node(later, turn + 1)
                rest = 0.0 if done else 2 * reward * v[after] + squares.get((after, None), 0.0)
                terms.append(chance * (reward**2 + rest))
            squares[node, action] = sum(terms)
        chances = policy(scene.observation, scene.admissible)
        squares[node, None] = sum(p * squares[node, a] for p, a in zip(chances, scene.admissible, strict=True))
    return squares


def _go_on_to_a_choice(world: Any, policy: Policy, picks: random.Random) -> None:
    """Take the world to a later node that offers a choice, if a play comes to one."""
    start = world.snapshot()
    for _ in range(10):
        for step in play(world, policy, picks):
            if not step.over and len(world.scene.admissible) > 1:
                return
        world.restore(start)


# World, settings, details of the task, state, turns left (None: all), V of uniform play, some Q. Worked out by hand.
BY_HAND: list[tuple[Any, ...]] = [
    ("two_routes", {}, ("left", ("red", "blue")), ("fork", 0), None, 1 / 2, {"left": 1 / 2, "right": 1 / 2}),
    ("two_routes", {}, ("left", ("red", "blue")), ("meadow", 1), None, 1 / 2, {"way 1": 1 / 2, "way 4": 1 / 2}),
    ("two_routes", {}, ("left", ("red", "blue")), ("doors", 0), None, 1 / 2, {"red": 1.0, "blue": 0.0}),
    ("stopping", {}, (0, 4), 0, None, 17 / 32, {"stop": 1 / 2, "go on": 9 / 16}),
    ("stopping", {}, (0, 4), 3, None, 3 / 4, {"stop": 1 / 2, "go on": 1.0}),
    ("stopping", {}, (0, 2), 2, None, 1 / 2, {"stop": 1.0, "go on": 0.0}),
    ("decisive", {}, (3, "red"), (0, "untouched"), None, 1 / 3, {"hum": 1 / 3, "whistle": 1 / 3}),
    ("decisive", {}, (3, "blue"), (3, "untouched"), None, 1 / 3, {"red": 0.0, "blue": 1.0}),
    ("decisive", {}, (3, "red"), (4, "open"), None, 1.0, {"hum": 1.0}),
    ("decisive", {}, (3, "red"), (5, "jammed"), None, 0.0, {"wait": 0.0}),
    ("said", {}, ("coral", 2), (1, "nothing"), None, 1 / 4, {"say coral": 1 / 4, "say nothing": 1 / 4}),
    ("said", {}, ("coral", 2), (4, "amber"), None, 1 / 4, {"answer coral": 1.0, "answer amber": 0.0}),
    ("hidden_rule", {}, ("crane", (0, 1)), "shut", None, 1 / 3, {}),
    ("slow_good", {}, ("bread", "boots"), (0, 0), None, 1.4, {"slow": 1.7, "fast": 1.1}),
    ("slow_good", {}, ("bread", "boots"), (1, 1), None, 0.7, {"slow": 1.0, "fast": 0.4}),
    ("calls", {}, ("amber", "red"), "asked", 1, 1 / 6, {"lookup amber": 0.0, "answer red": 1.0}),
    ("calls", {}, ("amber", "red"), "seen", 2, 2 / 9, {"lookup delta": 1 / 6, "answer red": 1.0, "answer blue": 0.0}),
    ("planted", {}, (*("left",) * 6, 3), (0, True), None, 1 / 64, {"left": 1 / 32, "right": 0.0}),
    ("planted", {}, (*("left",) * 6, 3), (5, True), None, 1 / 2, {"left": 1.0, "right": 0.0}),
    ("planted", {}, (*("left",) * 6, 3), (5, False), None, 0.0, {"left": 0.0, "right": 0.0}),
    ("length_trap", {}, ("red", "poem"), ("gates", 0, True), None, 1 / 3, {"red": 1.0, "blue": 0.0}),
    ("length_trap", {}, ("red", "poem"), ("desk", 2, True), None, 1.0, {"add a line": 1.0, "finish": 1.0}),
    ("pennies", {}, ("cup", "noon"), ("", ""), None, 0.0, {"heads": 0.0, "tails": 0.0}),
    ("pennies", {}, ("cup", "noon"), ("heads", ""), None, 0.0, {"heads": 1.0, "tails": -1.0}),
    ("pennies", {"heads": 3.0}, ("cup", "noon"), ("", ""), None, 1 / 2, {"heads": 1.0, "tails": 0.0}),
    ("feedback", {}, ("Doctor", "Amber"), "asked", 1, 1 / 9, {"small black": 1.0, "large black": 0.0}),
    ("feedback", {}, ("Doctor", "Amber"), "asked", 2, 17 / 81, {"small black": 1.0, "large black": 1 / 9}),
    ("aliased", {}, ("left", 2, 1), (1, True), 1, 1 / 2, {"left": 1.0, "right": 0.0}),
    ("aliased", {}, ("left", 2, 1), (1, False), 2, 1 / 6, {"take": 1 / 2, "left": 0.0, "right": 0.0}),
    ("noisy", {}, ("left", 2), 1, 1, 1 / 2, {"left": 0.8, "right": 0.2}),
    ("noisy", {}, ("left", 2), 2, 2, 1 / 4, {"left": 0.4, "right": 0.1}),
    ("late", {}, ("red", ("walk", "read")), (8, "no"), None, 1 / 3, {"red": 1.0, "blue": 0.0}),
    ("late", {}, ("red", ("walk", "read")), (1, "warm"), None, 1.0, {"walk": 1.0, "read": 1.0}),
]


@pytest.mark.parametrize(("name", "settings", "details", "state", "left", "v", "some_q"), BY_HAND)
def test_values_of_uniform_play_are_those_worked_out_by_hand(
    name: str, settings: dict[str, Any], details: Any, state: Any, left: int | None, v: float, some_q: dict[str, float]
) -> None:
    world = begin(name, *details, **settings)
    turn = 0 if left is None else world.max_turns - left
    values = world.exact_values(uniform)
    assert values.v[Node(state, turn)] == pytest.approx(v, abs=1e-12)
    assert {action: values.q[Node(state, turn)][action] for action in some_q} == pytest.approx(some_q, abs=1e-12)


def test_values_of_locks_are_powers_of_a_third() -> None:
    world = make("three_tasks")
    for index, signs in enumerate((2, 4, 9)):
        world.reset(options={"index": index})
        values = world.exact_values(uniform)
        assert [values.v[Node(state, 0)] for state in range(signs)] == pytest.approx(
            [3.0**-left for left in range(signs, 0, -1)]
        )


def test_values_of_a_corridor_are_those_worked_out_by_hand() -> None:
    world = Corridor(length=4, doors=0, max_turns=3)
    world.reset(options={"index": next(i for i in range(50) if _exit_right(world, i))})
    values = world.exact_values(uniform)
    assert values.q[Node(2, 2)] == {"left": 0.0, "right": 1.0, "wait": 0.0}
    assert values.v[Node(2, 1)] == pytest.approx(1 / 3 + 1 / 9)  # to the exit, or wait and then to the exit
    assert values.v[Node(1, 1)] == pytest.approx(1 / 9)


def _exit_right(world: Corridor, index: int) -> bool:
    return "on the right" in world.reset(options={"index": index})[0]


@pytest.mark.parametrize(("name", "settings"), WORLDS)
def test_the_expert_is_optimal_from_every_state(name: str, settings: dict[str, Any]) -> None:
    world = make(name, **settings)
    for split, index in itertools.product(world.splits, range(6)):
        world.reset(seed=0, options={"split": split, "index": index % world.splits[split]})
        best, states = world.optimal_values(), world.states()
        expert = dict.fromkeys(states, 0.0)
        for _ in range(world.max_turns):
            expert = {state: _value(world, state, world.expert(state), expert) for state in states}
        assert expert == pytest.approx({state: best.v[Node(state, 0)] for state in states}, abs=1e-12)
        assert best.v[Node(world.start(), 0)] > 0


def _value(world: Exact[Any], state: Any, action: str, later: dict[Any, float]) -> float:
    assert action in (world.look(state).admissible or ())
    ways = world.transitions(state, action)
    return sum(way.probability * (way.reward + (0.0 if way.done else later[way.state])) for way in ways)


@pytest.mark.parametrize("name", ["aliased", "decisive", "noisy", "pennies", "said", "stopping"])
@pytest.mark.parametrize("sees", ["observation", "anchor"])
def test_the_gradient_is_that_of_finite_differences(name: str, sees: Any) -> None:
    world = world_of(name, {})
    gradient = world.exact_gradient(lopsided, sees=sees)
    largest = sorted(gradient, key=lambda key: -abs(gradient[key]))[:4]
    for key in largest:
        ends = [_return_with(world, key, shift, sees) for shift in (1e-4, -1e-4)]
        assert gradient[key] == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-5, abs=1e-9)
    assert abs(gradient[largest[0]]) > 1e-6


def _return_with(world: Any, key: tuple[str, str], shift: float, sees: Any) -> float:
    def shifted(text: str, actions: Any) -> list[float]:
        factors = [np.exp(shift) if (text, action) == key else 1.0 for action in actions]
        weights = np.array(lopsided(text, actions)) * factors
        return list(weights / weights.sum())

    return world.exact_values(shifted, sees=sees).v[Node(world.start(), 0)]


@pytest.mark.parametrize(("name", "settings"), WITH_CORRIDOR)
def test_visits_times_rewards_are_the_value(name: str, settings: dict[str, Any]) -> None:
    world = world_of(name, settings)
    values, total = world.exact_values(lopsided), 0.0
    for (state, _), weight in world.visits(lopsided).items():
        scene = world.look(state)
        for action, chance in zip(scene.admissible, lopsided(scene.observation, scene.admissible), strict=True):
            total += weight * chance * sum(way.probability * way.reward for way in world.transitions(state, action))
    assert total == pytest.approx(values.v[Node(world.start(), 0)], abs=1e-12)


def test_a_policy_may_act_on_anchors_alone() -> None:
    world = begin("aliased", "left", 2, 1, hidden=1.0)

    def with_the_key(text: str, actions: Any) -> list[float]:
        goal = "left" if "You have the key" in text else "take" if "take" in actions else "left"
        return [float(action == (goal if goal in actions else actions[0])) for action in actions]

    start = Node(world.start(), 0)
    assert world.exact_values(with_the_key).v[start] == 1.0
    never = world.exact_values(lambda text, actions: [float(a == actions[0]) for a in actions], sees="anchor")
    assert never.v[start] == 0.0
    texts = [text for text, _ in world.exact_gradient(uniform, sees="anchor")]
    assert len(texts) == 15  # left and right in eight rooms, but for the two ends, and one key to take
    assert not [text for text in texts if "key" in text]


def test_asking_for_values_changes_nothing_of_the_play() -> None:
    for name, settings in WITH_CORRIDOR:
        one, two = world_of(name, settings), world_of(name, settings)
        two.exact_values(lopsided), two.optimal_values(), two.visits(uniform), two.states()
        for _ in range(3):
            action = one.expert_action()
            assert one.step(action) == two.step(action)


@pytest.mark.parametrize("chances", [[0.5], [0.6, 0.6], [1.5, -0.5], [0.2, 0.3, 0.5]])
def test_a_policy_that_gives_no_distribution_is_refused(chances: list[float]) -> None:
    world = begin("stopping", 0, 3)
    with pytest.raises(agentrl.ConfigError, match="one per action"):
        world.exact_values(lambda *_: chances)


def test_values_know_the_present_node_of_a_play() -> None:
    world = begin("stopping", 0, 4)
    values: Values[Any] = world.exact_values(uniform)
    world.step("go on")
    assert world.node == Node(1, 1)
    assert values.advantages(world.node) == pytest.approx({"stop": -1 / 16, "go on": 1 / 16})


def test_values_speak_of_what_the_tabular_policy_does() -> None:
    world, model = begin("stopping", 0, 4), Table()
    for logit, cell in enumerate(world.states()):
        text, actions = world.look(cell).observation, tuple(world.look(cell).admissible or ())
        entries = model.positions(model.codec.token(text), actions)
        model.logits[entries[0]] = -float(logit)  # later stops are less likely

    def softmax(text: str, actions: Sequence[str]) -> list[float]:
        weights = np.exp(model.row(model.codec.token(text), tuple(actions)))
        return list(weights / weights.sum())

    mean = np.mean([asyncio.run(_tabular_return(world, Tabular(model, Plain()), play)) for play in range(PLAYS)])
    exact = world.exact_values(softmax).v[Node(0, 0)]
    assert exact > 0.6  # uniform play: 17/32
    assert abs(mean - exact) <= 4 * _error(exact, _squares(world, softmax)[Node(0, 0), None])


async def _tabular_return(world: Any, policy: Tabular, play: int) -> float:
    total, turn, over = 0.0, 0, False
    observation, info = world.reset(options={"index": world.task.index})
    while not over:
        dialogue = agentrl.Dialogue((agentrl.Message("user", observation),), "", 1000 * play + turn, info=info)
        observation, reward, terminated, truncated, info = world.step((await policy.act(dialogue)).text)
        total, turn, over = total + reward, turn + 1, terminated or truncated
    return total
