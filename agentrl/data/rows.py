"""Training rows: the token sequences a trainer learns from, cut out of trajectories without losing or padding a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agentrl.data.types import Completion, Floats, Ids, Logprobs, Sampling, Trajectory, Turn
from agentrl.errors import DataError

Relation = Literal["start", "append", "realign", "fork"]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One token sequence; several turns share it as long as each prompt appends to what was there."""

    ids: Ids  # int32 [L]
    sampled: NDArray[np.bool_]  # [L], whether the policy sampled this token and it is trained on
    logprobs: Logprobs  # [L], behaviour log-probs where sampled, else 0
    advantages: Logprobs  # [L], where sampled, else 0
    turn: Ids  # [L], index of the turn where sampled, else -1
    reference: Logprobs | None  # [L], reference log-probs where sampled, if the turns carry them
    trajectory: int  # position in the update
    group: str
    sampling: Sampling


def relation(previous: Completion | None, prompt_ids: Ids) -> Relation:
    """How a prompt continues the completion before it.

    `append`: previous prompt and completion, then more. `realign`: the same prompt, but the completion's tokens were
    written differently. `fork`: anything else.
    """
    if previous is None:
        return "start"
    start, end = len(previous.prompt_ids), len(previous.prompt_ids) + len(previous.ids)
    if len(prompt_ids) < start or not np.array_equal(prompt_ids[:start], previous.prompt_ids):
        return "fork"
    if len(prompt_ids) >= end and np.array_equal(prompt_ids[start:end], previous.ids):
        return "append"
    return "realign"


def training_rows(trajectories: Sequence[Trajectory], advantages: Sequence[Floats | Sequence[Floats]]) -> list[Row]:
    """The rows of all trajectories, in order. `advantages`: per trajectory [T], or T arrays [C] (one per token).

    Raises DataError where lengths disagree or an advantage is not finite: nothing is padded over.
    """
    if len(trajectories) != len(advantages):
        raise DataError(
            f"{len(trajectories)} trajectories but {len(advantages)} advantages; a credit returns one entry per trajectory"
        )
    rows: list[Row] = []
    for position, (trajectory, credit) in enumerate(zip(trajectories, advantages, strict=True)):
        if trajectory.outcome.failed:
            raise DataError(
                f"trajectory {trajectory.id} ended with {trajectory.outcome.value}: failed trajectories are never trained on"
            )
        if len(credit) != len(trajectory.turns):
            raise DataError(
                f"trajectory {trajectory.id} has {len(trajectory.turns)} turns but {len(credit)} advantages"
            )
        rows.extend(_rows_of(trajectory, credit, position))
    return rows


def _rows_of(trajectory: Trajectory, credit: Floats | Sequence[Floats], position: int) -> list[Row]:
    rows: list[Row] = []
    open_turns: list[tuple[int, Turn]] = []
    for index, turn in enumerate(trajectory.turns):
        if open_turns and relation(open_turns[-1][1].completion, turn.completion.prompt_ids) == "fork":
            rows.append(_row(open_turns, credit, trajectory, position))
            open_turns = []
        open_turns.append((index, turn))
    if open_turns:
        rows.append(_row(open_turns, credit, trajectory, position))
    return [row for row in rows if row.sampled.any()]


def _row(
    turns: list[tuple[int, Turn]], credit: Floats | Sequence[Floats], trajectory: Trajectory, position: int
) -> Row:
    last = turns[-1][1].completion
    ids = np.concatenate([last.prompt_ids, last.ids]).astype(np.int32)
    sampled = np.zeros(len(ids), np.bool_)
    logprobs, spread = np.zeros(len(ids), np.float32), np.zeros(len(ids), np.float32)
    reference = np.zeros(len(ids), np.float32) if "reference" in turns[0][1].extras else None
    turn_of = np.full(len(ids), -1, np.int32)
    for index, turn in turns:
        completion = turn.completion
        span = slice(len(completion.prompt_ids), len(completion.prompt_ids) + len(completion.ids))
        if not np.array_equal(ids[span], completion.ids):
            continue  # realigned: its tokens are context now, and untrained
        sampled[span] = True
        logprobs[span] = completion.logprobs
        spread[span] = _per_token(credit[index], len(completion.ids), trajectory, index)
        turn_of[span] = index
        if reference is not None:
            reference[span] = turn.extras["reference"]
    return Row(ids, sampled, logprobs, spread, turn_of, reference, position, trajectory.group, last.sampling)


def _per_token(value: float | Floats, tokens: int, trajectory: Trajectory, index: int) -> Floats | float:
    if np.ndim(value) and len(value) != tokens:  # type: ignore[arg-type]
        raise DataError(f"turn {index} of {trajectory.id} has {tokens} tokens but {len(value)} advantages")  # type: ignore[arg-type]
    if not np.isfinite(value).all():
        raise DataError(f"the advantage of turn {index} of {trajectory.id} is {value}, which is not finite")
    return value
