"""Training rows: the token sequences a trainer learns from, cut so that every sampled token is trained exactly once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agentrl.data.columns import COLUMNS, Column, token_column
from agentrl.data.types import AGENT, Advantage, Completion, Floats, Ids, Logprobs, Relation, Sampling, Trajectory, Turn
from agentrl.errors import DataError

Span = tuple[int, Turn, slice]  # index of the turn, the turn, where its sampled tokens lie in the row


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One token sequence; several turns of one speaker share it as long as each prompt appends to what was there."""

    ids: Ids  # int32 [L]
    sampled: NDArray[np.bool_]  # [L], whether the policy sampled this token and it is trained on
    logprobs: Logprobs  # [L], behaviour log-probs where sampled, else 0
    advantages: Logprobs  # [L], where sampled, else 0
    turn: Ids  # [L], index of the turn where sampled, else -1
    trajectory: int  # position in the update
    group: str
    sampling: Sampling
    columns: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)  # [L, …] by name, those asked for
    agent: str = AGENT


def relation(before: Completion | None, prompt_ids: Ids) -> tuple[Relation, int]:
    """How a prompt continues a completion, and how many leading tokens it shares with that one's prompt and ids.

    `append`: prompt and completion, then more. `new`: anything else. `start`: there was nothing before.
    """
    if before is None:
        return "start", 0
    end = len(before.prompt_ids) + len(before.ids)
    if before.prompt_ids.tobytes() + before.ids.tobytes() == prompt_ids[:end].tobytes():
        return "append", end  # the usual case: twice as fast as the search below
    sequence = np.concatenate((before.prompt_ids, before.ids))
    length = min(len(sequence), len(prompt_ids))
    differs = sequence[:length] != prompt_ids[:length]
    first = int(differs.argmax()) if length else 0
    kept = first if length and differs[first] else length
    return ("append" if kept == end else "new"), kept


def training_rows(
    trajectories: Sequence[Trajectory],
    advantages: Sequence[Advantage],
    *,
    speakers: Collection[str] = (AGENT,),
    columns: Collection[Column] = (),
) -> list[Row]:
    """The rows of all trajectories, in order. `advantages`: per trajectory [T], or T arrays [C] (one per token).

    Turns of speakers that are not trained, inherited turns and tokens under `mask` are context. Of `columns`, those
    that a row's turns carry are spread over its tokens. Raises DataError where lengths disagree or an advantage is
    not finite: nothing is padded over.
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
        for turns in _chains(trajectory, speakers):
            row = _row(turns, credit, trajectory, position, columns)
            if row.sampled.any():
                rows.append(row)
    return rows


def _chains(trajectory: Trajectory, speakers: Collection[str]) -> Iterator[list[tuple[int, Turn]]]:
    """Turns that share a row: one speaker's, each prompt appending to the one before."""
    open_turns: dict[str, list[tuple[int, Turn]]] = {}
    for index in range(trajectory.inherited, len(trajectory.turns)):
        turn = trajectory.turns[index]
        if turn.agent not in speakers:
            continue
        if not len(turn.completion.ids):
            if turn.relation != "append" and turn.agent in open_turns:
                yield open_turns.pop(turn.agent)  # what comes next may append to this prompt, not to the one before
            continue
        chain = open_turns.get(turn.agent)
        if (
            chain is not None
            and turn.relation == "append"
            and turn.completion.sampling == chain[-1][1].completion.sampling
        ):
            chain.append((index, turn))
            continue
        if chain is not None:
            yield chain
        open_turns[turn.agent] = [(index, turn)]
    yield from open_turns.values()


def _row(
    turns: list[tuple[int, Turn]],
    credit: Advantage,
    trajectory: Trajectory,
    position: int,
    columns: Collection[Column],
) -> Row:
    last = turns[-1][1].completion
    ids = np.concatenate([last.prompt_ids, last.ids]).astype(np.int32)
    sampled = np.zeros(len(ids), np.bool_)
    logprobs, spread = np.zeros(len(ids), np.float32), np.zeros(len(ids), np.float32)
    turn_of = np.full(len(ids), -1, np.int32)
    spans: list[tuple[Turn, slice]] = []
    for index, turn in turns:
        completion = turn.completion
        span = slice(len(completion.prompt_ids), len(completion.prompt_ids) + len(completion.ids))
        if not np.array_equal(ids[span], completion.ids):
            raise DataError(
                f"turn {index} of {trajectory.id} says that later prompts append to it, but they hold other tokens; "
                "whoever made the prompt must call it new"
            )
        sampled[span] = True
        logprobs[span] = completion.logprobs
        spread[span] = _per_token(credit[index], len(completion.ids), trajectory, index)
        turn_of[span] = index
        spans.append((turn, span))
    _take_out_masked(spans, sampled, logprobs, spread, turn_of, trajectory.id)
    extra = {
        column.name: token_column(column, spans, len(ids), f"trajectory {trajectory.id}")
        for column in columns
        if any(column.name in turn.columns for turn, _ in spans)
    }
    return Row(
        ids, sampled, logprobs, spread, turn_of, position, trajectory.group, last.sampling, extra, turns[0][1].agent
    )


def _take_out_masked(
    spans: Sequence[tuple[Turn, slice]],
    sampled: NDArray[np.bool_],
    logprobs: Logprobs,
    advantages: Logprobs,
    turn_of: Ids,
    where: str,
) -> None:
    if not any("mask" in turn.columns for turn, _ in spans):
        return
    masked = token_column(COLUMNS["mask"], spans, len(sampled), f"trajectory {where}").astype(np.bool_)
    sampled &= ~masked
    for values, nothing in ((logprobs, 0), (advantages, 0), (turn_of, -1)):
        values[masked] = nothing


def _per_token(value: float | Floats, tokens: int, trajectory: Trajectory, index: int) -> Floats | float:
    if np.ndim(value) and np.size(value) != tokens:
        raise DataError(f"turn {index} of {trajectory.id} has {tokens} tokens but {np.size(value)} advantages")
    if not np.isfinite(value).all():
        raise DataError(f"the advantage of turn {index} of {trajectory.id} is {value}, which is not finite")
    return value
