"""GiGPO against its definition written out as loops, and the mistakes that implementations of it have shipped."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl import Completion, ConfigError, Outcome, Task, Trajectory, Turn
from agentrl_plugins.credit.anchors import merge_similar
from agentrl_plugins.credit.gigpo import gigpo

Step = tuple[str, float, bool]  # anchor, reward, invalid


def play(group: str, steps: Sequence[Step | tuple[str, float]]) -> Trajectory:
    turns = tuple(
        Turn("what was seen", Completion("go"), "go", step[1], step[0], invalid="no" if step[2:] == (True,) else "")
        for step in steps
    )
    return Trajectory(turns, Task("train", 0), group, Outcome.TERMINATED)


def plain(advantages: Sequence[np.ndarray]) -> list[list[float]]:
    return [[round(value, 9) for value in each.tolist()] for each in advantages]


@st.composite
def batches(draw: st.DrawFn) -> list[Trajectory]:
    step = st.tuples(st.sampled_from("xyz"), st.sampled_from([0.0, 0.1, 1.0, -0.5]), st.booleans())
    groups = draw(st.lists(st.sampled_from("ab"), min_size=1, max_size=8))
    return [play(group, draw(st.lists(step, min_size=1, max_size=6))) for group in groups]


def relative(value, pool, std, ddof, epsilon):
    if len(pool) == 1 or max(pool) - min(pool) < 1e-11:
        return 0.0
    centred = value - np.mean(pool)
    return centred / (np.std(pool, ddof=ddof) + epsilon) if std else centred


def by_definition(played, gamma, step_weight, std, statistics, invalid_penalty, ddof, epsilon):
    """The facts, point by point, for each turn on its own; O(n²) and proud of it."""

    def rest(trajectory, t):
        return sum(gamma**k * turn.reward for k, turn in enumerate(trajectory.turns[t:]))

    def lost(turn):
        return invalid_penalty if turn.invalid else 0.0

    result = []
    for trajectory in played:
        group = [mate for mate in played if mate.group == trajectory.group]
        returns = [sum(turn.reward for turn in mate.turns) for mate in group]
        own, row = sum(turn.reward for turn in trajectory.turns), []
        for t, turn in enumerate(trajectory.turns):
            if len(group) == 1:
                episode = 0.0
            elif statistics == "turn":
                pool = [total - lost(u) for mate, total in zip(group, returns, strict=True) for u in mate.turns]
                episode = relative(own - lost(turn), pool, std, ddof, epsilon)
            else:
                varies = max(returns) - min(returns) > 1e-11
                scale = np.std(returns, ddof=ddof) + epsilon if std else 1.0
                episode = relative(own, returns, std, ddof, epsilon) - (lost(turn) / scale if varies or not std else 0)
            peers = [rest(m, k) - lost(u) for m in group for k, u in enumerate(m.turns) if u.anchor == turn.anchor]
            row.append(episode + step_weight * relative(rest(trajectory, t) - lost(turn), peers, std, ddof, epsilon))
        result.append(row)
    return result


@settings(max_examples=150, deadline=None)
@given(
    batches(),
    st.fixed_dictionaries(
        {
            "gamma": st.sampled_from([0.0, 0.5, 0.95, 1.0]),
            "step_weight": st.sampled_from([0.0, 0.4, 1.0]),
            "std": st.booleans(),
            "statistics": st.sampled_from(["trajectory", "turn"]),
            "invalid_penalty": st.sampled_from([0.0, 0.1]),
            "ddof": st.sampled_from([0, 1]),
            "epsilon": st.sampled_from([1e-6, 1e-3]),
        }
    ),
)
def test_gigpo_equals_its_definition_under_every_setting(played, chosen):
    for got, expected in zip(gigpo(played, **chosen), by_definition(played, **chosen), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(batches())
def test_the_step_term_sums_to_zero_over_the_turns_of_an_anchor_group(played):
    sums: dict[tuple[str, str], float] = {}
    for trajectory, both, episode in zip(played, gigpo(played), gigpo(played, step_weight=0.0), strict=True):
        for turn, value in zip(trajectory.turns, both - episode, strict=True):
            key = (trajectory.group, turn.anchor)
            sums[key] = sums.get(key, 0.0) + value
    assert all(abs(total) < 1e-9 for total in sums.values())


def test_statistics_run_over_trajectories_by_default_and_over_turns_when_asked():
    long, short = play("g", [("a", 0), ("b", 0), ("c", 3)]), play("g", [("d", 0)])
    assert plain(gigpo([long, short])) == [[1.5, 1.5, 1.5], [-1.5]]  # mean of 3 and 0
    assert plain(gigpo([long, short], statistics="turn")) == [[0.75, 0.75, 0.75], [-2.25]]  # mean of 3, 3, 3 and 0


@pytest.mark.parametrize("statistics", ["trajectory", "turn"])
def test_23_equal_returns_give_exactly_zero_in_std_mode(statistics):
    for k in range(1, 40):
        steps = [(f"place {t}", 0.1 if t % 2 else 0.7) for t in range(k)]
        played = [play("g", steps) for _ in range(23)]
        assert not any(np.any(each) for each in gigpo(played, std=True, statistics=statistics, epsilon=0.0))


def test_the_penalty_for_an_invalid_turn_reaches_no_other_turn_of_its_trajectory():
    fine = [("a", 0.0), ("b", 0.0), ("c", 1.0)]
    stumbles = [("a", 0.0), ("b", 0.0, True), ("c", 1.0)]
    before = gigpo([play("g", fine), play("g", fine), play("g", [("a", 0.0)])])
    after = gigpo([play("g", stumbles), play("g", fine), play("g", [("a", 0.0)])])
    # Its own episode score loses 0.1; at b the mean of the two returns moves by 0.05 for both of them.
    changes = [(new - old).round(9).tolist() for new, old in zip(after, before, strict=True)]
    assert changes == [[0, -0.15, 0], [0, 0.05, 0], [0]]
    assert plain(gigpo([play("g", stumbles), play("g", fine)], invalid_penalty=0.0)) == [[0, 0, 0], [0, 0, 0]]


def test_an_invalid_turn_never_explodes_where_all_returns_are_equal():
    played = [play("g", [("a", 0.0, True), ("b", 0.0)]), play("g", [("c", 0.0), ("d", 0.0)])]
    assert plain(gigpo(played)) == [[-0.1, 0], [0, 0]]
    assert plain(gigpo(played, std=True)) == [[0, 0], [0, 0]]  # not -0.1 / 1e-6


def test_lone_trajectories_follow_the_stated_policy():
    alone = [play("g", [("a", 0.0), ("b", 2.0, True)])]
    for statistics in ("trajectory", "turn"):
        assert plain(gigpo(alone, statistics=statistics)) == [[0, 0]]
    assert plain(gigpo(alone, lone="raw")) == [[2.0, 1.9]]


def test_a_lone_anchor_gets_no_step_term_and_equal_anchors_of_other_groups_are_no_peers():
    played = [play("g", [("a", 1.0)]), play("g", [("b", 0.0)]), play("h", [("a", 5.0)]), play("h", [("b", 5.0)])]
    assert plain(gigpo(played)) == [[0.5], [-0.5], [0], [0]]


def test_the_anchor_is_the_turns_anchor_not_its_observation():
    played = [play("g", [("a", 1.0)]), play("g", [("a", 0.0)])]  # all observations are equal anyway
    apart = [play("g", [("a", 1.0)]), play("g", [("b", 0.0)])]
    assert plain(gigpo(played)) == [[1.0], [-1.0]]
    assert plain(gigpo(apart)) == [[0.5], [-0.5]]


def test_each_advantage_belongs_to_the_turn_that_earned_it():
    """At one anchor, only turn k of trajectory k pays: its own step term must be the largest of its trajectory."""
    played = [play("g", [("same", float(t == k)) for t in range(5)]) for k in range(5)]
    for k, advantages in enumerate(gigpo(played, gamma=0.5)):
        assert int(np.argmax(advantages)) == k
        assert np.all(np.diff(advantages[: k + 1]) > 0)  # nearer to the reward, more credit


def test_similar_anchors_are_merged_only_when_asked_and_only_inside_a_group():
    near = [play("g", [("You are at shelf 1.", 1.0)]), play("g", [("You are at shelf 2.", 0.0)])]
    assert plain(gigpo(near)) == [[0.5], [-0.5]]
    assert plain(gigpo(near, similarity=0.9)) == [[1.0], [-1.0]]
    across = [play("g", [("You are at shelf 1.", 1.0)]), play("h", [("You are at shelf 2.", 0.0)])]
    assert plain(gigpo(across, similarity=0.9)) == [[0], [0]]
    with pytest.raises(ConfigError, match="similarity = 0"):
        gigpo(near, similarity=0.0)


def test_similarity_does_not_misjudge_texts_of_more_than_200_characters():
    one, other = "1" + "ab" * 150, "2" + "ab" * 150
    assert (
        difflib.SequenceMatcher(None, one, other).ratio() < 0.5
    )  # the premise: by default popular letters never start a match
    assert len(set(merge_similar([one, other], 0.95).values())) == 1


def test_the_greedy_clusters_do_not_depend_on_the_order_of_the_anchors():
    texts = ["aaaa", "aaab", "aabb", "abbb", "bbbb"]
    clusters = merge_similar(texts, 0.7)
    assert clusters == merge_similar(texts[::-1], 0.7)
    assert clusters == {"aaaa": "aaaa", "aaab": "aaaa", "aabb": "aabb", "abbb": "aabb", "bbbb": "bbbb"}
