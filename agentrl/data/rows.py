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
    same = sequence[:length] == prompt_ids[:length]
    kept = length if same.all() else int(same.argmin())
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
    that were written are spread over the tokens. Raises DataError where lengths disagree or an advantage is not
    finite: nothing is padded over.
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
        checked = advantage_of(trajectory, credit)
        for turns in _chains(trajectory, speakers):
            row = _row(turns, checked, trajectory, position, columns)
            if row.sampled.any():
                rows.append(row)
    return rows


def advantage_of(trajectory: Trajectory, values: object) -> Advantage:
    """What a credit, a shaper or a file gives for a trajectory, as one of the two forms that an Advantage has.

    Numbers are float64 [T]; where a turn has an array, one number for each of its tokens, every turn gets one. Raises
    DataError where lengths disagree, and for what is not a finite number.
    """
    turns, where = trajectory.turns, f"trajectory {trajectory.id}"
    if not isinstance(values, (list, tuple)) and np.ndim(values) == 0:  # type: ignore[arg-type]
        raise DataError(f"{values!r:.200} for {where}: it has one number, or one array, for each turn")
    entries: Sequence[object] = values  # type: ignore[assignment]
    if len(entries) != len(turns):
        raise DataError(f"{len(entries)} advantages for the {len(turns)} turns of {where}")
    if isinstance(values, np.ndarray) and values.dtype == np.float64 and values.ndim == 1 and np.isfinite(values).all():
        return values
    arrays = [_numbers(value) for value in entries]
    counts = [len(turn.completion.ids) for turn in turns]
    for index, (array, count) in enumerate(zip(arrays, counts, strict=True)):
        if array is None or array.shape not in ((), (count,)) or not np.isfinite(array).all():
            raise DataError(
                f"{entries[index]!r:.200} for turn {index} of {where}: an advantage is a finite number, or one for each "
                f"of its {count} tokens"
            )
    if all(array.ndim == 0 for array in arrays if array is not None):
        return np.array(arrays, np.float64)
    return [np.broadcast_to(array, (n,)) for array, n in zip(arrays, counts, strict=True) if array is not None]


def _numbers(value: object) -> Floats | None:
    """None for what holds something else than numbers."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of several lengths
        return None
    return array.astype(np.float64) if array.dtype.kind in "biuf" else None


def _chains(trajectory: Trajectory, speakers: Collection[str]) -> Iterator[list[tuple[int, Turn]]]:
    """Turns that share a row: one speaker's, each prompt appending to the one before."""
    open_turns: dict[str, list[tuple[int, Turn]]] = {}
    for index in range(trajectory.inherited, len(trajectory.turns)):
        turn = trajectory.turns[index]
        if turn.agent not in speakers:
            continue
        chain = open_turns.get(turn.agent)
        if not len(turn.completion.ids):
            if turn.relation != "append" and chain is not None:
                yield open_turns.pop(turn.agent)  # what comes next may append to this prompt, not to the one before
            continue
        alike = chain is not None and turn.completion.sampling == chain[-1][1].completion.sampling
        if chain is not None and alike and turn.relation == "append":
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
    ids = np.concatenate([last.prompt_ids, last.ids])
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
        spread[span] = credit[index]
        turn_of[span] = index
        spans.append((turn, span))
    masked = token_column(COLUMNS["mask"], trajectory, spans, len(ids))
    if masked is not None:
        masked = masked.astype(np.bool_)
        sampled &= ~masked
        logprobs[masked] = spread[masked] = 0
        turn_of[masked] = -1
    spread_columns = {column.name: token_column(column, trajectory, spans, len(ids)) for column in columns}
    carried = {name: values for name, values in spread_columns.items() if values is not None}
    agent = turns[0][1].agent
    return Row(ids, sampled, logprobs, spread, turn_of, position, trajectory.group, last.sampling, carried, agent)
