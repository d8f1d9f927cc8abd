"""What a stage does to a batch: judges write, credit is given speaker by speaker, and what does not fit is named."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from agentrl import (
    AgentRLError,
    Batch,
    Completion,
    Credited,
    DataError,
    Group,
    Outcome,
    PluginError,
    Task,
    Trajectory,
    Turn,
    training_rows,
)
from agentrl.parts.live import LiveStage, checked_advantages


def turn(agent: str, reward: float = 0.0, tokens: int = 2) -> Turn:
    ids = np.arange(tokens, dtype=np.int32)
    said = Completion("x", np.zeros(1, np.int32), ids, np.zeros(tokens, np.float32), versions=ids)
    return Turn("o", said, "a", reward, "o", agent=agent)


def trajectory(*agents: str, member: int = 0, outcome: Outcome = Outcome.TERMINATED) -> Trajectory:
    turns = tuple(turn(agent, float(number + 1), number + 1) for number, agent in enumerate(agents))
    return Trajectory(turns, Task("train", 0), "0", outcome, member)


def stage(credit: Any = None, **fields: Any) -> LiveStage:
    part: Any = None
    return LiveStage("rl", part, part, {}, [], part, part, credit, **fields)


def batch(*trajectories: Trajectory) -> Batch:
    return Batch(3, (Group("0", 0, trajectories),))


def returns(trajectories: Sequence[Trajectory]) -> list[Any]:
    return [t.rewards for t in trajectories]


def test_without_a_credit_every_turn_counts_one() -> None:
    assert [a.tolist() for a in stage().credit(batch(trajectory("agent"), trajectory("agent", "agent")))] == [  # type: ignore[union-attr]
        [1], [1, 1],
    ]  # fmt: skip


def test_failed_trajectories_are_shown_to_no_credit() -> None:
    seen: list[Any] = []

    def credit(trajectories: Sequence[Trajectory]) -> list[Any]:
        seen.extend(trajectories)
        return returns(trajectories)

    good, failed = trajectory("agent"), trajectory("agent", outcome=Outcome.ENV_ERROR)
    stage(credit).credit(batch(failed, good))
    assert seen == [good]


def test_credit_sees_one_speaker_at_a_time_and_others_get_none() -> None:
    calls: list[list[list[str]]] = []

    def credit(trajectories: Sequence[Trajectory]) -> list[Any]:
        calls.append([[t.agent for t in one.turns] for one in trajectories])
        return returns(trajectories)

    both, lone = trajectory("user", "agent", "user", "agent"), trajectory("agent", member=1)
    alone = stage(credit).credit(batch(both, lone))
    assert calls == [[["agent", "agent"], ["agent"]]]
    assert [list(a) for a in alone] == [[0, 2 + 3, 0, 4], [1]]
    calls.clear()
    together = stage(credit, trains=("agent", "user")).credit(batch(both, lone))
    assert calls == [[["agent", "agent"], ["agent"]], [["user", "user"]]]
    assert [list(a) for a in together] == [[1 + 2, 2 + 3, 3 + 4, 4], [1]]


def test_numbers_per_token_of_one_speaker_stand_beside_nothing_for_others() -> None:
    def credit(trajectories: Sequence[Trajectory]) -> list[Any]:
        return [[np.full(len(t.completion.ids), 7.0) for t in one.turns] for one in trajectories]

    (advantage,) = stage(credit).credit(batch(trajectory("user", "agent")))
    assert [np.asarray(value).tolist() for value in advantage] == [[0], [7, 7]]


def test_what_a_credit_says_besides_lands_in_the_columns_of_its_turns() -> None:
    def credit(trajectories: Sequence[Trajectory]) -> Credited:
        return Credited(returns(trajectories), {"value": [[0.5] * len(t.turns) for t in trajectories]})

    both = trajectory("agent", "user", "agent")
    stage(credit).credit(batch(both))
    assert [t.columns for t in both.turns] == [{"value": 0.5}, {}, {"value": 0.5}]


def test_a_column_that_nobody_declared_is_refused_and_its_writer_is_named() -> None:
    class Judge:
        async def annotate(self, trajectories: Sequence[Trajectory]) -> None:
            for one in trajectories:
                one.turns[0].columns["styel"] = 1.0

    def credit(trajectories: Sequence[Trajectory]) -> Credited:
        return Credited(returns(trajectories), {"valeu": [[0.5] * len(t.turns) for t in trajectories]})

    live = stage(credit, judges=[Judge()], names={"judges.0": "judge 'strict'", "credit": "credit 'mine'"})
    with pytest.raises(PluginError, match="judge 'strict' wrote the column 'styel', which nobody declared"):
        asyncio.run(live.annotate(batch(trajectory("agent"))))
    with pytest.raises(PluginError, match="credit 'mine' wrote the column 'valeu'.*value"):
        live.credit(batch(trajectory("agent")))


@pytest.mark.parametrize("values", [3, [[]], [[0.5], [0.5]]])
def test_columns_that_do_not_fit_the_turns_are_refused_naming_the_credit(values: Any) -> None:
    def credit(trajectories: Sequence[Trajectory]) -> Credited:
        return Credited(returns(trajectories), {"value": values})

    with pytest.raises(PluginError, match="credit 'mine': its column 'value' needs one value per trajectory and turn"):
        stage(credit, names={"credit": "credit 'mine'"}).credit(batch(trajectory("agent")))


def test_an_update_without_groups_says_who_gave_none() -> None:
    with pytest.raises(AgentRLError, match="The collector gave no groups"):
        asyncio.run(stage().annotate(Batch(3, ())))


def test_an_update_in_which_everything_failed_ends_with_the_reasons() -> None:
    failed = [
        dataclasses.replace(trajectory("agent", outcome=outcome, member=n), error=error)
        for n, (outcome, error) in enumerate([(Outcome.ENV_ERROR, "pipe"), (Outcome.TIME_LIMIT, "slow")] * 3)
    ]
    with pytest.raises(AgentRLError, match="update 3: all 6 trajectories failed.*env_error: pipe; time_limit: slow"):
        asyncio.run(stage().annotate(batch(*failed)))


def test_shapers_rewrite_one_after_the_other() -> None:
    def doubled(trajectories: Any, advantages: Any) -> Any:
        return [2 * a for a in advantages]

    def raised(trajectories: Any, advantages: Any) -> Any:
        return [a + 1 for a in advantages]

    shaped = stage(shapers=[doubled, raised]).shape(batch(trajectory("agent")), [np.array([3.0])])
    assert [a.tolist() for a in shaped] == [[7]]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (None, "gave None for 1 trajectories"),
        ([], "gave 0 entries for 1 trajectories"),
        ([1.0], "gave 1.0 for trajectory 0.0-0"),
        ([[1.0, 2.0]], "gave 2 advantages for the 1 turns of trajectory 0.0-0"),
        (["x"], "gave 'x' for trajectory 0.0-0"),
        ([["x"]], "gave 'x' for turn 0 of trajectory 0.0-0"),
        ([["1.0"]], "gave '1.0' for turn 0 of trajectory 0.0-0"),
        ([np.array(1.0)], "gave array\\(1.\\) for trajectory 0.0-0"),
        ([[None]], "gave None for turn 0"),
        ([[float("nan")]], "gave nan for turn 0 .*all finite"),
        ([[[1.0, 2.0, 3.0]]], r"gave \[1.0, 2.0, 3.0\] for turn 0"),
    ],
)
def test_what_is_no_advantages_is_refused_naming_who_gave_it(result: Any, words: str) -> None:
    with pytest.raises(PluginError, match=f"credit 'mine' {words}"):
        checked_advantages(result, [trajectory("agent")], "credit 'mine'")


def test_what_is_taken_from_a_credit_is_what_a_trainer_takes() -> None:
    """An array of one number stands for one token, whoever looks at it; a number, for all tokens of its turn."""
    two = trajectory("agent", "agent")  # of one token, and of two
    (advantage,) = checked_advantages([[np.array([3]), 5]], [two], "credit 'mine'")
    assert [np.asarray(value).tolist() for value in advantage] == [[3.0], [5.0, 5.0]]
    (whole,) = checked_advantages([(True, 2)], [two], "credit 'mine'")
    assert (type(whole), np.asarray(whole).tolist()) == (np.ndarray, [1.0, 2.0])
    for wrong in ([1.0, np.array([1.0])], np.array([[1.0], [1.0]])):
        with pytest.raises(PluginError, match="credit 'mine' gave .* for turn 1 of .*one for each of its 2 tokens"):
            checked_advantages([wrong], [two], "credit 'mine'")
        with pytest.raises(DataError, match="for turn 1 of .*one for each of its 2 tokens"):
            training_rows([two], [wrong])
