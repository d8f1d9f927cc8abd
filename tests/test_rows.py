"""Training rows hold exactly the tokens that were sampled, once each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl import (
    COLUMNS,
    Column,
    Completion,
    DataError,
    Outcome,
    PluginError,
    Sampling,
    Task,
    Trajectory,
    Turn,
    relation,
    training_rows,
)
from agentrl.data.columns import check_columns


def completion(prompt: Sequence[int], ids: Sequence[int], **changes: Any) -> Completion:
    n = len(ids)
    made = Completion(
        "x",
        np.array(prompt, np.int32),
        np.array(ids, np.int32),
        np.arange(n, dtype=np.float32) - 1.0,
        None,
        np.zeros(n, np.int32),
    )
    return dataclasses.replace(made, **changes)


def trajectory(*completions: Completion, outcome: Outcome = Outcome.TERMINATED, **changes: Any) -> Trajectory:
    """Turns of one speaker, with the relations that whoever made the prompts would have noted."""
    before = [None, *completions]
    turns = tuple(
        Turn("o", c, "a", 0.0, "o", relation=how, kept=kept)
        for last, c in zip(before, completions, strict=False)
        for how, kept in [relation(last, c.prompt_ids)]
    )
    return dataclasses.replace(Trajectory(turns, Task("train", 0), "g", outcome), **changes)


def with_turn(whole: Trajectory, index: int, **changes: Any) -> Trajectory:
    turns = list(whole.turns)
    turns[index] = dataclasses.replace(turns[index], **changes)
    return dataclasses.replace(whole, turns=tuple(turns))


def test_a_prompt_starts_appends_or_is_new_and_says_how_much_it_kept() -> None:
    before = completion([1, 2], [3, 4])
    assert relation(None, before.prompt_ids) == ("start", 0)
    assert relation(before, np.array([1, 2, 3, 4, 5], np.int32)) == ("append", 4)
    assert relation(before, np.array([1, 2, 3, 4], np.int32)) == ("append", 4)
    assert relation(before, np.array([1, 2, 3, 9, 5], np.int32)) == ("new", 3)
    assert relation(before, np.array([1, 2], np.int32)) == ("new", 2)
    assert relation(before, np.array([1, 7, 3, 4], np.int32)) == ("new", 1)
    assert relation(before, np.array([], np.int32)) == ("new", 0)


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


def test_a_prompt_that_keeps_nothing_is_a_row_of_its_own() -> None:
    rows = training_rows([trajectory(completion([1], [2]), completion([9], [3]))], [np.array([1.0, 5.0])])
    assert [row.ids.tolist() for row in rows] == [[1, 2], [9, 3]]
    assert [row.advantages.max() for row in rows] == [1.0, 5.0]


def test_a_turn_whose_words_a_later_prompt_rewrote_is_trained_in_a_row_of_its_own() -> None:
    rows = training_rows([trajectory(completion([1], [2, 3]), completion([1, 8, 8, 4], [5]))], [np.array([1.0, 2.0])])
    assert [row.ids.tolist() for row in rows] == [[1, 2, 3], [1, 8, 8, 4, 5]]
    assert [row.ids[row.sampled].tolist() for row in rows] == [[2, 3], [5]]
    assert [row.turn.max() for row in rows] == [0, 1]


def test_turns_sampled_in_different_ways_do_not_share_a_row() -> None:
    warm = completion([1, 2, 3], [4], sampling=Sampling(0.5))
    rows = training_rows([trajectory(completion([1], [2]), warm)], [np.ones(2)])
    assert [row.sampling for row in rows] == [Sampling(), Sampling(0.5)]
    assert [row.ids[row.sampled].tolist() for row in rows] == [[2], [4]]


def test_a_turn_without_tokens_is_no_row_and_what_follows_may_append_to_its_prompt() -> None:
    said, silent, on = completion([1], [2]), completion([9], []), completion([9, 5], [6])
    rows = training_rows([trajectory(said, silent, on)], [np.ones(3)])
    assert [row.ids.tolist() for row in rows] == [[1, 2], [9, 5, 6]]
    rows = training_rows([trajectory(said, completion([1, 2, 3], []), completion([1, 2, 3, 4], [5]))], [np.ones(3)])
    assert [row.ids.tolist() for row in rows] == [[1, 2, 3, 4, 5]]


def test_a_prompt_that_is_said_to_append_and_does_not_is_refused() -> None:
    wrong = with_turn(trajectory(completion([1], [2]), completion([1, 9], [3])), 1, relation="append")
    with pytest.raises(DataError, match="turn 0 of .* says that later prompts append to it"):
        training_rows([wrong], [np.ones(2)])


def test_each_speaker_has_rows_of_its_own_and_only_trained_ones_have_any() -> None:
    whole = trajectory(completion([1], [2]), completion([7], [8]), completion([1, 2, 3], [4]), completion([7, 8], [9]))
    talk = with_turn(with_turn(whole, 1, agent="user", relation="start"), 3, agent="user", relation="append")
    talk = with_turn(talk, 2, relation="append")
    both = training_rows([talk], [np.arange(4.0)], speakers=("agent", "user"))
    assert {row.agent: row.ids.tolist() for row in both} == {"agent": [1, 2, 3, 4], "user": [7, 8, 9]}
    assert {row.agent: row.turn[row.sampled].tolist() for row in both} == {"agent": [0, 2], "user": [1, 3]}
    (agent,) = training_rows([talk], [np.arange(4.0)])
    assert (agent.agent, agent.ids.tolist()) == ("agent", [1, 2, 3, 4])
    assert training_rows([talk], [np.arange(4.0)], speakers=("judge",)) == []


def test_inherited_turns_are_trained_once_with_the_parent() -> None:
    parent = trajectory(completion([1], [2]), completion([1, 2, 3], [4]))
    other = trajectory(completion([1], [2]), completion([1, 2, 3], [5]), parent=f"{parent.id}@1", inherited=1)
    rows = training_rows([parent, other], [np.array([1.0, 2.0]), np.array([9.0, 3.0])])
    assert [row.ids.tolist() for row in rows] == [[1, 2, 3, 4], [1, 2, 3, 5]]
    assert [row.ids[row.sampled].tolist() for row in rows] == [[2, 4], [5]]
    assert rows[1].advantages.tolist() == [0, 0, 0, 3]


def test_tokens_under_a_mask_are_context() -> None:
    masked = with_turn(
        trajectory(completion([1], [2, 3]), completion([1, 2, 3], [4])), 0, columns={"mask": np.array([True, False])}
    )
    (row,) = training_rows([masked], [np.array([2.0, 3.0])])
    assert row.ids.tolist() == [1, 2, 3, 4]
    assert row.sampled.tolist() == [False, False, True, True]
    assert row.advantages.tolist() == [0, 0, 2, 3]
    assert row.turn.tolist() == [-1, -1, 0, 1]
    assert row.logprobs.tolist() == [0, 0, 0, -1]


def test_a_turn_that_is_masked_as_a_whole_makes_no_row() -> None:
    masked = with_turn(trajectory(completion([1], [2])), 0, columns={"mask": np.ones(1, np.bool_)})
    assert training_rows([masked], [np.ones(1)]) == []


def test_columns_lie_over_the_tokens_they_belong_to() -> None:
    wide = Column("wide", "float32", "token", shape=(2,), fill=-1.0)
    whole = with_turn(
        trajectory(completion([1], [2, 3]), completion([1, 2, 3, 4], [5])),
        1,
        columns={"value": 0.5, "wide": [[6.0, 7.0]]},
    )
    whole = with_turn(whole, 0, columns={"reference": np.array([-0.25, -0.5], np.float32)})
    (row,) = training_rows([whole], [np.ones(2)], columns=(COLUMNS["reference"], COLUMNS["value"], wide))
    assert row.columns["reference"].tolist() == [0, -0.25, -0.5, 0, 0]
    assert row.columns["value"].tolist() == [0, 0, 0, 0, 0.5]
    assert row.columns["wide"].tolist() == [[-1, -1]] * 4 + [[6, 7]]
    (plain,) = training_rows([whole], [np.ones(2)])
    assert plain.columns == {}


def test_a_value_per_trajectory_stands_at_every_sampled_token() -> None:
    worth = Column("worth", "float32", "trajectory", fill=-1.0)
    whole = trajectory(completion([1], [2, 3]), completion([1, 2, 3, 4], [5]), columns={"worth": 0.5})
    (row,) = training_rows([whole], [np.ones(2)], columns=(worth,))
    assert row.columns["worth"].tolist() == [-1, 0.5, 0.5, -1, 0.5]


def test_a_column_of_words_cannot_lie_over_tokens() -> None:
    whole = with_turn(trajectory(completion([1], [2])), 0, columns={"judged": {"style": 1}})
    with pytest.raises(DataError, match="column 'judged' of trajectory .* holds json, which no token can carry"):
        training_rows([whole], [np.ones(1)], columns=(COLUMNS["judged"],))


@pytest.mark.parametrize("value", [np.zeros(3, np.float32), np.zeros((2, 2), np.float32), 0.5])
def test_a_column_of_another_shape_is_refused(value: object) -> None:
    whole = with_turn(trajectory(completion([1], [2, 3])), 0, columns={"reference": value})
    with pytest.raises(DataError, match=r"column 'reference' of trajectory .* it takes \[2\]"):
        training_rows([whole], [np.ones(1)], columns=(COLUMNS["reference"],))


def test_an_undeclared_column_is_refused_and_its_writer_is_named() -> None:
    whole = with_turn(trajectory(completion([1], [2])), 0, columns={"valu": 0.5})
    with pytest.raises(PluginError, match=r"judge 'mine' wrote the column 'valu', which nobody declared.*value"):
        check_columns([whole], COLUMNS, "judge 'mine'")
    check_columns([with_turn(whole, 0, columns={"value": 0.5})], COLUMNS, "judge 'mine'")


def test_a_column_of_turns_is_no_column_of_trajectories() -> None:
    whole = dataclasses.replace(trajectory(completion([1], [2])), columns={"value": 0.5})
    with pytest.raises(PluginError, match="wrote the column 'value' into a trajectory; it is declared per turn"):
        check_columns([whole], COLUMNS, "credit 'mine'")


@pytest.mark.parametrize(
    ("declaration", "reason"),
    [
        (("two words", "float32", "token"), "a name is made of letters"),
        (("words", "text", "token"), "kept per turn or per trajectory"),
        (("wide", "float32", "turn", (3,)), "further axes are for columns per token"),
        (("wide", "float32", "token", (-1, -1)), "at most one of them -1"),
        (("wide", "float32", "token", (0,)), "give lengths"),
        (("half", "float16", "turn"), "dtype = 'float16'. Did you mean 'float64'"),
        (("mine", "float32", "tokens"), "per = 'tokens'. Did you mean 'token'"),
        (("mine", "float32", "token", (), None), "fill = None; a column of numbers"),
        (("reward", "float32", "turn"), "the name of a column that every table has"),
    ],
)
def test_a_declaration_that_no_table_can_hold_is_refused(declaration: Any, reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        Column(*declaration)


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


def test_a_completion_holds_arrays_of_its_types_whatever_it_was_given() -> None:
    said: Any = {"ids": [3, 4], "logprobs": [-0.5, -1.0], "versions": (7, 7), "prompt_ids": np.array([1, 2])}
    made = Completion("x", **said)
    assert {name: getattr(made, name).dtype.name for name in said} == {
        "ids": "int32", "logprobs": "float32", "versions": "int32", "prompt_ids": "int32"
    }  # fmt: skip
    (row,) = training_rows([trajectory(made)], [np.ones(1)])
    assert (row.ids.tolist(), row.logprobs.tolist()) == ([1, 2, 3, 4], [0, 0, -0.5, -1])


@pytest.mark.parametrize("ids", [[0.5], [2**40], ["1"], [[1]], None, 3])
def test_ids_that_are_none_are_refused_where_they_are_made(ids: Any) -> None:
    with pytest.raises(DataError, match="ids of a completion"):
        Completion("x", ids=ids, logprobs=np.zeros(1, np.float32), versions=np.zeros(1, np.int32))


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5), st.sampled_from(["goes on", "forgets", "rewrites"])),
                min_size=1, max_size=8))  # fmt: skip
def test_every_sampled_token_is_trained_exactly_once(shape: list[tuple[int, int, str]]) -> None:
    history: list[int] = []
    completions, token, prompts = [], 0, 0
    for observed, said, how in shape:
        if how == "rewrites":  # a template that drops old thoughts: other tokens where sampled ones stood
            history = [one if one >= 1000 else 5000 + one for one in history]
        prompts += observed
        history = ([] if how == "forgets" else history) + [1000 + prompts + i for i in range(observed)]
        ids = list(range(token, token + said))
        completions.append(completion(history, ids))
        history = history + ids
        token += said
    rows = training_rows([trajectory(*completions)], [np.ones(len(shape))])
    trained = np.concatenate([row.ids[row.sampled] for row in rows])
    assert sorted(trained.tolist()) == list(range(token))
    for row in rows:
        assert all(
            row.ids[: len(c.prompt_ids) + len(c.ids)].tolist() == [*c.prompt_ids, *c.ids]
            for i, c in enumerate(completions)
            if i in row.turn
        ), "a row does not hold exactly what was read when its turns were sampled"
