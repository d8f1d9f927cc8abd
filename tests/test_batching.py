"""Batching: every token once, weights that sum to one, micro-batches within their budget, turns drawn without bias."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl import Row, Sampling
from agentrl_plugins.trainers.batching import drawn_turns, microbatches, minibatches, scored, token_weights

shapes = st.lists(
    st.tuples(st.integers(2, 300), st.integers(0, 4), st.integers(0, 2), st.sampled_from([1.0, 0.7])),
    min_size=1,
    max_size=25,
)


def row(length, trajectory=0, group="g", temperature=1.0, sampled=1):
    mask = np.zeros(length, bool)
    mask[length - sampled :] = True
    zeros = np.zeros(length, np.float32)
    turn = np.where(mask, 0, -1).astype(np.int32)
    return Row(np.zeros(length, np.int32), mask, zeros, zeros, turn, trajectory, group, Sampling(temperature))


def rows_of(shape):
    """Trajectory numbers are unique over groups, as they are in an update."""
    return [row(length, 10 * group + number, f"g{group}", heat) for length, number, group, heat in shape]


def test_every_token_weighs_the_same():
    rows = [row(9, sampled=3), row(5, sampled=1)]
    assert token_weights(rows, "token").tolist() == [0.25, 0.25]


def test_every_trajectory_weighs_the_same_whatever_its_rows():
    rows = [row(9, 0, sampled=3), row(9, 0, sampled=1), row(9, 1, sampled=2)]
    assert token_weights(rows, "trajectory").tolist() == [0.125, 0.125, 0.25]


def test_every_task_weighs_the_same_and_its_trajectories_inside_it():
    rows = [row(9, 0, "a", sampled=2), row(9, 1, "a", sampled=4), row(9, 2, "b", sampled=5)]
    assert token_weights(rows, "task").tolist() == pytest.approx([1 / 8, 1 / 16, 1 / 10])


def test_with_scope_all_every_token_but_the_first_of_a_row_is_scored():
    assert scored(row(5, sampled=2), "sampled").tolist() == [3, 4]
    assert scored(row(5, sampled=2), "all").tolist() == [1, 2, 3, 4]
    assert token_weights([row(5), row(7)], "token", "all").tolist() == [0.1, 0.1]


@given(shapes, st.sampled_from(["token", "trajectory", "task"]), st.sampled_from(["sampled", "all"]))
@settings(deadline=None, max_examples=60)
def test_weights_sum_to_one(shape, aggregation, scope):
    rows = rows_of(shape)
    weights = token_weights(rows, aggregation, scope)
    assert sum(w * len(scored(r, scope)) for w, r in zip(weights, rows, strict=True)) == pytest.approx(1.0)


@given(shapes, st.integers(16, 400))
@settings(deadline=None, max_examples=60)
def test_microbatches_hold_every_row_once_within_the_budget_and_with_one_sampling(shape, budget):
    rows = rows_of(shape)
    parts = microbatches(rows, budget)
    assert sorted(i for part in parts for i in part) == list(range(len(rows)))
    for part in parts:
        assert len(part) == 1 or sum(len(rows[i].ids) for i in part) <= budget
        assert len({rows[i].sampling for i in part}) == 1


@given(shapes, st.integers(16, 400))
@settings(deadline=None, max_examples=60)
def test_a_trajectory_that_is_a_unit_is_never_cut(shape, budget):
    rows = [row(length, 10 * group + number, f"g{group}") for length, number, group, _ in shape]
    parts = microbatches(rows, budget, "trajectory")
    assert sorted(i for part in parts for i in part) == list(range(len(rows)))
    for part in parts:
        units = {rows[i].trajectory for i in part}
        assert {i for i in range(len(rows)) if rows[i].trajectory in units} == set(part)
        assert len(units) == 1 or sum(len(rows[i].ids) for i in part) <= budget


def turns_of(trajectory, *turns):
    """A row of two tokens for each turn and one that nobody sampled before it."""
    turn = np.concatenate([[-1, one, one] for one in turns]).astype(np.int32)
    zeros = np.zeros(len(turn), np.float32)
    return Row(np.zeros(len(turn), np.int32), turn >= 0, zeros, zeros, turn, trajectory, "g", Sampling())


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_drawn_turns_weigh_every_token_once_on_average(count):
    rows = [turns_of(0, 0), turns_of(0, 1, 2), turns_of(0, 3, 4), turns_of(1, 0), turns_of(1, 1)]
    random = np.random.default_rng(0)
    drawn = [np.concatenate(drawn_turns(rows, count, random)) for _ in range(2000)]
    error = np.std(drawn, 0) / len(drawn) ** 0.5
    assert (np.abs(np.mean(drawn, 0) - 1) <= 4 * error + 1e-6).all()


def test_so_many_turns_of_each_trajectory_are_drawn_whatever_its_rows():
    rows = [turns_of(0, 0), turns_of(0, 1, 2), turns_of(1, 0, 1), turns_of(2, 5)]
    shares = drawn_turns(rows, 2, np.random.default_rng(0))
    for trajectory, whole, expected in ((0, 3, 2), (1, 2, 2), (2, 1, 1)):
        own = [(r, s) for r, s in zip(rows, shares, strict=True) if r.trajectory == trajectory]
        turns = {int(t) for r, s in own for t in r.turn[r.sampled & (s > 0)]}
        assert len(turns) == expected
        assert {float(s) for r, share in own for s in share[r.sampled]} <= {0.0, np.float32(whole / expected)}
    assert drawn_turns(rows, None, np.random.default_rng(0)) == [None] * 4


def test_microbatches_cost_about_the_same():
    rows = [row(length) for length in (10, 200, 30, 100, 50, 60)]
    lengths = [sorted(len(rows[i].ids) for i in part) for part in microbatches(rows, 260)]
    assert lengths == [[10, 200], [30, 50, 60, 100]]


@given(shapes, st.sampled_from(["token", "trajectory", "task"]), st.integers(1, 6))
@settings(deadline=None, max_examples=60)
def test_minibatches_hold_every_row_once_and_cut_no_unit_of_the_aggregation(shape, aggregation, count):
    rows = rows_of(shape)
    parts = minibatches(rows, aggregation, np.random.default_rng(0), count=count, tokens=None)
    assert 1 <= len(parts) <= count
    assert sorted(i for part in parts for i in part) == list(range(len(rows)))
    units = {"token": lambda i: i, "trajectory": lambda i: rows[i].trajectory, "task": lambda i: rows[i].group}
    for unit in {units[aggregation](i) for i in range(len(rows))}:
        assert sum(any(units[aggregation](i) == unit for i in part) for part in parts) == 1


def test_minibatches_by_tokens_are_about_that_large_and_shuffled_by_their_generator():
    rows = [row(50, number) for number in range(60)]
    parts = minibatches(rows, "token", np.random.default_rng(0), count=1, tokens=500)
    assert [len(part) for part in parts] == [10] * 6
    again = minibatches(rows, "token", np.random.default_rng(0), count=1, tokens=500)
    other = minibatches(rows, "token", np.random.default_rng(1), count=1, tokens=500)
    assert parts == again != other
    assert parts[0] != sorted(parts[0])
