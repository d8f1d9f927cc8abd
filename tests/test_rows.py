"""Training rows hold exactly the tokens that were sampled, once each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl import Completion, DataError, Outcome, Task, Trajectory, Turn, relation, training_rows


def completion(prompt: list[int], ids: list[int]) -> Completion:
    n = len(ids)
    return Completion(
        "x",
        np.array(prompt, np.int32),
        np.array(ids, np.int32),
        np.arange(n, dtype=np.float32) - 1.0,
        None,
        np.zeros(n, np.int32),
    )


def trajectory(*completions: Completion, outcome: Outcome = Outcome.TERMINATED) -> Trajectory:
    turns = tuple(Turn("o", c, "a", 0.0, "o") for c in completions)
    return Trajectory(turns, Task("train", 0), "g", outcome)


def test_prompts_append_realign_or_fork() -> None:
    before = completion([1, 2], [3, 4])
    assert relation(None, before.prompt_ids) == "start"
    assert relation(before, np.array([1, 2, 3, 4, 5])) == "append"
    assert relation(before, np.array([1, 2, 3, 9, 5])) == "realign"
    assert relation(before, np.array([1, 2])) == "realign"
    assert relation(before, np.array([1, 7, 3, 4])) == "fork"


def test_a_growing_context_is_one_row_with_turn_masks() -> None:
    rows = training_rows(
        [trajectory(completion([1, 2], [3, 4]), completion([1, 2, 3, 4, 5], [6]))], [np.array([2.0, -1.0])]
    )
    (row,) = rows
    assert row.ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert row.sampled.tolist() == [False, False, True, True, False, True]
    assert row.advantages.tolist() == [0, 0, 2, 2, 0, -1]
    assert row.turn.tolist() == [-1, -1, 0, 0, -1, 1]
    assert row.logprobs.tolist() == [0, 0, -1, 0, 0, -1]


def test_a_fork_is_a_row_of_its_own() -> None:
    rows = training_rows([trajectory(completion([1], [2]), completion([9], [3]))], [np.array([1.0, 5.0])])
    assert [row.ids.tolist() for row in rows] == [[1, 2], [9, 3]]
    assert [row.advantages.max() for row in rows] == [1.0, 5.0]


def test_realigned_tokens_are_context_and_untrained() -> None:
    (row,) = training_rows([trajectory(completion([1], [2, 3]), completion([1, 8, 8, 4], [5]))], [np.array([1.0, 2.0])])
    assert row.ids.tolist() == [1, 8, 8, 4, 5]
    assert row.sampled.tolist() == [False, False, False, False, True]


def test_advantages_may_be_per_token() -> None:
    (row,) = training_rows([trajectory(completion([1], [2, 3]))], [[np.array([0.5, -0.5])]])
    assert row.advantages.tolist() == [0, 0.5, -0.5]


@pytest.mark.parametrize(
    "credit", [[], [np.array([1.0, 2.0])], [np.array([np.nan])], [[np.array([1.0, 2.0, 3.0])]], [np.array([np.inf])]]
)
def test_lengths_that_disagree_and_numbers_that_are_none_are_errors(credit: Any) -> None:
    with pytest.raises(DataError):
        training_rows([trajectory(completion([1], [2, 3]))], credit)


def test_a_failed_trajectory_is_refused() -> None:
    with pytest.raises(DataError, match="never trained on"):
        training_rows([trajectory(completion([1], [2]), outcome=Outcome.ENV_ERROR)], [np.array([1.0])])


def test_arrays_of_a_completion_must_agree() -> None:
    with pytest.raises(DataError, match="disagree in length"):
        Completion("x", ids=np.array([1, 2], np.int32))


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5), st.booleans()), min_size=1, max_size=8))
def test_every_sampled_token_is_trained_exactly_once(shape: list[tuple[int, int, bool]]) -> None:
    history: list[int] = []
    completions, token = [], 0
    for observed, said, forgets in shape:
        history = ([] if forgets else history) + [1000 + token + i for i in range(observed)]
        ids = list(range(token, token + said))
        completions.append(completion(history, ids))
        history = history + ids
        token += said
    rows = training_rows([trajectory(*completions)], [np.ones(len(shape))])
    trained = np.concatenate([row.ids[row.sampled] for row in rows])
    assert sorted(trained.tolist()) == list(range(token))
