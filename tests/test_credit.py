"""What every credit must do, and the group baselines against their formulas written out as loops."""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl import Completion, ConfigError, DataError, Outcome, Task, Trajectory, Turn
from agentrl_plugins.credit.gigpo import gigpo
from agentrl_plugins.credit.grpo import grpo
from agentrl_plugins.credit.milestones import milestones
from agentrl_plugins.credit.opo import opo
from agentrl_plugins.credit.return_to_go import return_to_go
from agentrl_plugins.credit.rloo import rloo
from agentrl_plugins.credit.strata import strata
from agentrl_plugins.credit.turnwise import turnwise

CREDITS: dict[str, Callable] = {
    "grpo": grpo,
    "dr_grpo": lambda played: grpo(played, std=False),
    "rloo": rloo,
    "gigpo": gigpo,
    "gigpo_std": lambda played: gigpo(played, std=True, epsilon=0.0),
    "gigpo_turn": lambda played: gigpo(played, std=True, statistics="turn", epsilon=0.0),
    "gigpo_similar": lambda played: gigpo(played, similarity=0.5),
    "return_to_go": return_to_go,
    "turnwise": turnwise,
    "turnwise_z_drop": lambda played: turnwise(played, baseline="z", absent="drop", lone="zero", epsilon=0.0),
    "strata": lambda played: strata(played, by="turns", epsilon=0.0),
    "milestones": milestones,
    "opo": lambda played: opo(played, length="turns"),
    "return_to_go_turn": lambda played: return_to_go(played, baseline="turn", gamma=0.9),
}
PLACES = "".join(map(chr, range(65, 99)))
every_credit = pytest.mark.parametrize("credit", CREDITS.values(), ids=CREDITS)


def play(group: str, rewards: Sequence[float], anchors: str = "", invalid: Sequence[int] = ()) -> Trajectory:
    turns = tuple(
        Turn("seen", Completion("go"), "go", reward, (anchors or "x" * 99)[index], invalid="no" * (index in invalid))
        for index, reward in enumerate(rewards)
    )
    return Trajectory(turns, Task("train", 0), group, Outcome.TERMINATED)


def plain(advantages: Sequence[np.ndarray]) -> list[list[float]]:
    return [each.tolist() for each in advantages]


reward = st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0, -1.0, 10.0, 1 / 3])
one_turn = st.tuples(reward, st.sampled_from("xyz"), st.booleans())


@st.composite
def batches(draw: st.DrawFn, groups: str = "abc") -> list[Trajectory]:
    played = []
    for group in draw(st.lists(st.sampled_from(groups), min_size=1, max_size=9)):
        turns = draw(st.lists(one_turn, min_size=1, max_size=6))
        rewards, anchors, invalid = zip(*turns, strict=True)
        played.append(play(group, rewards, "".join(anchors), [i for i, bad in enumerate(invalid) if bad]))
    return played


@every_credit
@settings(max_examples=60, deadline=None)
@given(batches(), st.randoms(use_true_random=False))
def test_the_order_of_trajectories_changes_nothing_to_the_last_bit(credit, played, random):
    order = list(range(len(played)))
    random.shuffle(order)
    expected = plain(credit(played))
    assert plain(credit([played[i] for i in order])) == [expected[i] for i in order]


@every_credit
@settings(max_examples=40, deadline=None)
@given(batches())
def test_duplicates_in_other_groups_change_nothing_to_the_last_bit(credit, played):
    copies = [replace(trajectory, group=f"copy of {trajectory.group}") for trajectory in played]
    mixed = [each for pair in zip(copies, played, strict=True) for each in pair]
    assert plain(credit(mixed))[1::2] == plain(credit(played))


@every_credit
@pytest.mark.parametrize("size", [2, 3, 8, 23])
def test_identical_trajectories_get_exactly_zero(credit, size):
    for k in range(1, 30):
        every_turn, last_turn = [0.1] * k, [0.0] * (k - 1) + [0.1 * k]
        for rewards in (every_turn, last_turn):
            if credit is return_to_go and rewards is every_turn:
                continue  # its baseline is the start: a turn with less to come is rightly below it
            played = [play("g", rewards, PLACES) for _ in range(size)]
            assert not any(np.any(each) for each in credit(played))


@pytest.mark.parametrize("epsilon", [0.0, 1e-6])
def test_equal_returns_get_exactly_zero_though_their_sums_round_differently(epsilon):
    orders = list(itertools.permutations([0.1, 0.2, 0.3, 0.7]))[:23]
    assert len({sum(rewards) for rewards in orders}) > 1  # the premise: rounding says they differ
    played = [play("g", rewards) for rewards in orders]
    for std in (True, False):
        assert not any(np.any(each) for each in grpo(played, std=std, epsilon=epsilon))
    assert not any(np.any(each) for each in rloo(played))
    for statistics in ("trajectory", "turn"):
        assert not any(
            np.any(a) for a in gigpo(played, std=True, epsilon=epsilon, step_weight=0, statistics=statistics)
        )


@every_credit
def test_a_lone_trajectory_gets_no_credit_by_default(credit):
    played = [play("alone", [0, 5], "xy"), play("pair", [0, 1], "xy"), play("pair", [0, 0], "xy")]
    assert plain(credit(played))[0] == [0, 0]


@every_credit
@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome.failed])
def test_a_failed_trajectory_is_refused_instead_of_being_trained_as_reward_zero(credit, outcome):
    with pytest.raises(DataError, match=f"ended with {outcome.value}.*agentrl.trainable"):
        credit([play("g", [1]), replace(play("g", [0]), outcome=outcome)])


@every_credit
def test_nothing_in_gives_nothing_out_and_bad_numbers_are_refused(credit):
    assert credit([]) == []
    with pytest.raises(DataError, match="has no turns"):
        credit([play("g", [])])
    with pytest.raises(DataError, match="g.0-0 is nan"):
        credit([play("g", [1.0]), play("g", [0.0, float("nan")])])


@every_credit
def test_advantages_are_float64_with_one_number_per_turn_in_the_order_given(credit):
    played = [play("b", [0, 1, 0], "xyx"), play("a", [1], "x"), play("b", [0, 0], "xx")]
    advantages = credit(played)
    assert [(each.shape, each.dtype) for each in advantages] == [((3,), "f8"), ((1,), "f8"), ((2,), "f8")]


def scores_of(played):
    return [sum(turn.reward for turn in trajectory.turns) for trajectory in played]


def mates(played, trajectory):
    return [score for other, score in zip(played, scores_of(played), strict=True) if other.group == trajectory.group]


def by_formula(played, std, ddof, epsilon, lone):
    result = []
    for trajectory, score in zip(played, scores_of(played), strict=True):
        group = mates(played, trajectory)
        mean, deviation = np.mean(group), np.std(group, ddof=ddof) if len(group) > 1 else 1.0
        if len(group) == 1 and lone == "raw":
            mean = 0.0
        value = (score - mean) / (deviation + epsilon) if std else score - mean
        result.append([0.0 if max(group) == min(group) and len(group) > 1 else value] * len(trajectory.turns))
    return result


CONVENTIONS = {
    "default": {},
    "verl": {"lone": "raw"},
    "trl": {"epsilon": 1e-4},
    "trl_async": {"ddof": 0, "epsilon": 1e-8},
    "rllm": {"ddof": 0, "lone": "raw"},
    "areal": {"epsilon": 1e-5},
    "dr_grpo": {"std": False},
}
rewards_of_groups = [[0, 1, 1, 0], [3], [0.25, 0.5, 7.0], [2, 2]]
GROUPS = [play(f"g{g}", [score - 1, 1]) for g, scores in enumerate(rewards_of_groups) for score in scores]


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS)
def test_grpo_reproduces_each_convention_of_the_field(convention):
    wanted = {"std": True, "ddof": 1, "epsilon": 1e-6, "lone": "zero"} | convention
    for got, expected in zip(grpo(GROUPS, **convention), by_formula(GROUPS, **wanted), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)


def test_synchronous_and_asynchronous_conventions_differ_by_the_root_of_n_over_n_minus_1():
    ratio = grpo(GROUPS, ddof=0, epsilon=0.0)[0] / grpo(GROUPS, ddof=1, epsilon=0.0)[0]
    np.testing.assert_allclose(ratio, np.sqrt(4 / 3))


def test_a_group_whose_deviation_is_not_above_the_threshold_gets_nothing():
    played = [play("g", [0]), play("g", [1e-7])]
    assert np.any(grpo(played)[0])
    assert plain(grpo(played, min_std=1e-6)) == [[0], [0]]


@settings(max_examples=100, deadline=None)
@given(batches())
def test_rloo_is_the_return_minus_the_mean_of_the_others(played):
    for index, (trajectory, got) in enumerate(zip(played, rloo(played), strict=True)):
        others = [
            score
            for other, (mate, score) in enumerate(zip(played, scores_of(played), strict=True))
            if mate.group == trajectory.group and other != index
        ]
        expected = scores_of(played)[index] - np.mean(others) if others else 0.0
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(batches(), st.sampled_from([-3.0, 0.5, 100.0]), st.sampled_from([0.01, 2.0, 64.0]))
def test_a_shift_of_all_returns_changes_nothing_and_a_scale_only_what_is_not_normalised(played, shift, scale):
    def changed(trajectory):
        turns = [replace(turn, reward=turn.reward * scale) for turn in trajectory.turns]
        turns[-1] = replace(turns[-1], reward=turns[-1].reward + shift)
        return replace(trajectory, turns=tuple(turns))

    moved = [changed(trajectory) for trajectory in played]
    close = {"rtol": 1e-6, "atol": 1e-9}
    for before, after in zip(rloo(played), rloo(moved), strict=True):
        np.testing.assert_allclose(after, before * scale, **close)
    for before, after in zip(grpo(played, epsilon=0.0), grpo(moved, epsilon=0.0), strict=True):
        np.testing.assert_allclose(after, before, **close)


@settings(max_examples=100, deadline=None)
@given(batches("a"))
def test_group_baselines_sum_to_zero_over_the_group(played):
    for credit in (grpo, rloo):
        total = sum(each[0] for each in credit(played))
        assert abs(total) < 1e-9


@settings(max_examples=100, deadline=None)
@given(batches(), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_return_to_go_without_baseline_is_the_recurrence(played, gamma):
    for trajectory, got in zip(played, return_to_go(played, gamma=gamma, baseline="none"), strict=True):
        after, expected = 0.0, []
        for turn in reversed(trajectory.turns):
            after = turn.reward + gamma * after
            expected.append(after)
        assert got.tolist() == expected[::-1]


@settings(max_examples=60, deadline=None)
@given(batches())
def test_the_baselines_of_return_to_go_are_means_over_the_group(played):
    later = return_to_go(played, gamma=0.9, baseline="none")
    start, at_turn = (return_to_go(played, gamma=0.9, baseline=name) for name in ("group", "turn"))
    for index, trajectory in enumerate(played):
        group = [after for mate, after in zip(played, later, strict=True) if mate.group == trajectory.group]
        if len(group) == 1:
            continue
        mean_start = np.mean([after[0] for after in group])
        mean_at = [np.mean([a[t] if t < len(a) else 0.0 for a in group]) for t in range(len(later[index]))]
        np.testing.assert_allclose(start[index], later[index] - mean_start, atol=1e-12)
        np.testing.assert_allclose(at_turn[index], later[index] - mean_at, atol=1e-12)


def test_the_turn_baseline_is_unbiased_when_the_policy_chooses_where_to_stop():
    """Go on with chance p and then win with chance q, else stop: exact expectation over all groups of two."""
    p, q = 0.3, 0.6
    cases = {  # chance, rewards, d log π / d p, d log π / d q of each turn
        "stops": (1 - p, [0], [-1 / (1 - p)], [0]),
        "wins": (p * q, [0, 1], [1 / p, 0], [0, 1 / q]),
        "loses": (p * (1 - q), [0, 0], [1 / p, 0], [0, -1 / (1 - q)]),
    }
    gradient = np.zeros(2)
    for one, other in itertools.product(cases.values(), repeat=2):
        advantages = return_to_go([play("g", one[1]), play("g", other[1])], baseline="turn")
        gradient += one[0] * other[0] * np.array([advantages[0] @ one[2], advantages[0] @ one[3]])
    true_gradient = np.array([q, p])  # of the chance to win, p q
    np.testing.assert_allclose(gradient, true_gradient / 2)  # a mean that includes oneself shrinks by (n - 1) / n


def test_a_turn_that_a_branch_inherits_counts_once_in_statistics_over_turns():
    root, other = play("g", [0, 1], "xy"), play("g", [0, 0], "xz")
    branch = replace(root, turns=(root.turns[0], *play("g", [0], "w").turns), parent="g.0-0@0", inherited=1)
    # By hand, at x: 1 and 0 have the mean 0.5; counted again in the branch, with G = 0, it would be 1/3.
    step = (
        gigpo([root, other, branch], gamma=1.0)[0][0] - gigpo([root, other, branch], gamma=1.0, step_weight=0.0)[0][0]
    )
    assert step == pytest.approx(0.5)
    # At turn 0 the branch is not there yet: (1 + 0) / 2. At turn 1 it is: (1 + 0 + 0) / 3.
    credit = return_to_go([root, other, branch], baseline="turn")
    assert plain(credit[:2]) == [[0.5, pytest.approx(2 / 3)], [-0.5, pytest.approx(-1 / 3)]]
    assert credit[2][1] == pytest.approx(-1 / 3)


@pytest.mark.parametrize("credit", [gigpo, grpo, rloo, return_to_go])
def test_a_spoken_turn_costs_no_discount_and_takes_the_value_of_the_next_action(credit):
    options = {"gamma": 0.5} if credit in (gigpo, return_to_go) else {}
    short = [play("g", [0, 0, 1], "xyz"), play("g", [0, 0], "xy")]
    first, *rest = short[0].turns
    spoken = replace(first, kind="speak", action="")
    longer = [replace(short[0], turns=(first, spoken, spoken, *rest)), short[1]]
    wanted, got = plain(credit(short, **options)), plain(credit(longer, **options))
    assert got == [[wanted[0][0], *[wanted[0][1]] * 3, wanted[0][2]], wanted[1]]


def test_named_rewards_are_combined_by_weights_and_misspelt_names_are_refused():
    def named(parts):
        turn = Turn("seen", Completion("go"), "go", sum(parts.values()), "x", parts)
        return Trajectory((turn,), Task("train", 0), "g", Outcome.TERMINATED)

    played = [named({"goal": 1.0, "style": 5.0}), named({"goal": 0.0, "style": 7.0})]
    assert plain(rloo(played)) == [[-1.0], [1.0]]
    assert plain(rloo(played, reward_weights={"goal": 2.0})) == [[2.0], [-2.0]]
    with pytest.raises(DataError, match="'gaol'.*goal"):
        rloo(played, reward_weights={"gaol": 1.0})
    with pytest.raises(DataError, match="without parts"):
        rloo([*played, play("g", [1.0])], reward_weights={"goal": 1.0})


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"gamma = 1.5"):
        return_to_go(GROUPS, gamma=1.5)
    with pytest.raises(ConfigError, match="epsilon = -1"):
        grpo(GROUPS, epsilon=-1.0)


@every_credit
def test_time_grows_with_the_number_of_turns_not_with_its_square(credit):
    played = [play("g", np.ones(20_000), "x" * 20_000), play("g", np.zeros(20_000), "y" * 20_000)]
    started = time.perf_counter()
    credit(played)
    assert time.perf_counter() - started < 2.0  # about 0.1 s; O(n²) takes minutes


@pytest.mark.skipif(importlib.util.find_spec("verl") is None, reason="verl is not installed")
def test_grpo_and_rloo_equal_verl():
    import torch

    algorithms = pytest.importorskip("verl.trainer.ppo.core_algos")
    rewards = torch.tensor([[turn.reward for turn in trajectory.turns] for trajectory in GROUPS], dtype=torch.float64)
    index = np.array([trajectory.group for trajectory in GROUPS])
    theirs, _ = algorithms.compute_grpo_outcome_advantage(rewards, torch.ones_like(rewards), index)
    np.testing.assert_allclose(np.stack(grpo(GROUPS, lone="raw")), theirs.numpy(), atol=1e-6)
    theirs, _ = algorithms.compute_rloo_outcome_advantage(rewards, torch.ones_like(rewards), index)
    np.testing.assert_allclose(np.stack(rloo(GROUPS, lone="raw")), theirs.numpy(), atol=1e-6)
