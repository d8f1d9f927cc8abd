"""Trajectories as a Parquet table, one row per turn, and back.

pandas, DuckDB, Polars and `datasets` open these files. Columns, in order:

======================  =============  ==========================================================================
schema_version          int16          1
update                  int32          the update that trained on these rows
trajectory              string         group#member.attempt, unique inside one update
group, member, attempt  string, int32  trajectories of one group began from the same task and seed
parent, error           string         "<trajectory>@<turn>" when branched, else null; what our machinery said, or ""
task_split, task_index  string, int64  what the reset was asked for
task_key, task_seed     string, int64  stable key with a content hash; seed of the reset
seed                    int64          seed of the trajectory's own generator
outcome                 string         why it ended
success                 bool           of the whole trajectory
seconds                 double         wall clock of the whole trajectory
turn                    int32          from 0; a trajectory without turns has one row with -1, null from here on
agent                   string         who spoke
observation, action     string         what was seen, and what was done ("" where the completion could not be read)
invalid                 string         why the action could not be read or was refused, or ""
anchor                  string         what a credit may treat as the same state; null where it is the observation
text, stop              string         what the policy said; "stop" or "length"
prompt_start            int32          see below
prompt_ids              list<int32>    see below
ids, versions           list<int32>    sampled tokens, and which weights sampled each
logprobs                list<float>    of the distribution really sampled from, one per id
entropy                 list<float>    nats, one per id; null where the engine gave none
temperature, top_p      double         sampling settings of this turn
top_k                   int32          0 keeps all
reward                  double
rewards, info, extras   string         JSON objects: named parts of the reward, the world's info, annotations
advantage               double         null without credit, and where it is given per token
token_advantages        list<double>   one per id, else null
======================  =============  ==========================================================================

The prompt of a turn mostly repeats the turn before it, so only what is new is stored: the whole prompt is the first
`prompt_start` ids of (the previous turn's whole prompt, then its `ids`), followed by `prompt_ids`. "Previous" is the
previous turn of the same `agent` in the same trajectory. Rows keep the order of the trajectories and of their turns.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentrl.errors import DataError
from agentrl.jsontext import to_json
from agentrl.types import Completion, Floats, Ids, Outcome, Sampling, Task, Trajectory, Turn

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
_ROWS_PER_GROUP = 8192

Advantage: TypeAlias = Floats | Sequence[Floats]
"""Of one trajectory: float64 [T], or T arrays [C]."""


def write_trajectories(
    path: Path,
    trajectories: Sequence[Trajectory],
    advantages: Sequence[Advantage | None] | None = None,
    *,
    update: int = 0,
) -> None:
    """Write a table into a new file. `advantages`: one entry per trajectory, None for one without credit.

    Raises DataError where advantages and trajectories disagree.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = _rows(trajectories, advantages if advantages is not None else [None] * len(trajectories))
    with pq.ParquetWriter(path, _schema(), compression="zstd", compression_level=3) as writer:
        while part := list(itertools.islice(rows, _ROWS_PER_GROUP)):
            writer.write_table(pa.table(_columns(part, update), schema=_schema()))


def read_trajectories(path: Path) -> list[Trajectory]:
    """What `write_trajectories` was given, except that `info` and `extras` hold plain JSON values.

    Raises DataError for a file that is damaged, not such a table, or of another schema version.
    """
    table = _read(path, None)
    columns = {name: _values(table, name) for name in table.column_names}
    starts = [row for row, turn in enumerate(columns["turn"]) if turn <= 0]
    ends = [*starts[1:], table.num_rows]
    return [_trajectory(columns, start, end) for start, end in zip(starts, ends, strict=True)]


def read_advantages(path: Path) -> list[Advantage | None]:
    """The advantages of a table, one entry per trajectory as `write_trajectories` was given them. Raises DataError."""
    table = _read(path, ["schema_version", "turn", "advantage", "token_advantages"])
    found: list[list[Any]] = []
    for turn, whole, tokens in zip(*(_values(table, name) for name in table.column_names[1:]), strict=True):
        if turn <= 0:
            found.append([])
        if turn >= 0:
            found[-1].append(whole if tokens is None else tokens)
    return [_advantage(values) for values in found]


def _advantage(values: list[Any]) -> Advantage | None:
    if any(value is None for value in values):
        return None
    return values if values and isinstance(values[0], np.ndarray) else np.array(values, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    trajectory: Trajectory
    index: int
    turn: Turn | None
    prompt_start: int
    advantage: Any


def _rows(trajectories: Sequence[Trajectory], advantages: Sequence[Advantage | None]) -> Iterator[_Row]:
    if len(trajectories) != len(advantages):
        raise DataError(f"{len(trajectories)} trajectories but {len(advantages)} advantages; None stands for no credit")
    for trajectory, advantage in zip(trajectories, advantages, strict=True):
        if advantage is not None and len(advantage) != len(trajectory.turns):
            raise DataError(f"{trajectory.id} has {len(trajectory.turns)} turns but {len(advantage)} advantages")
        if not trajectory.turns:
            yield _Row(trajectory, -1, None, 0, None)
        before: dict[str, Completion] = {}
        for index, turn in enumerate(trajectory.turns):
            start = _shared(before.get(turn.agent), turn.completion.prompt_ids)
            before[turn.agent] = turn.completion
            yield _Row(trajectory, index, turn, start, None if advantage is None else advantage[index])


def _shared(before: Completion | None, prompt_ids: Ids) -> int:
    """How many ids a prompt begins with that the completion before it, prompt included, began with too."""
    if before is None:
        return 0
    sequence = np.concatenate((before.prompt_ids, before.ids))
    length = min(len(sequence), len(prompt_ids))
    differs = sequence[:length] != prompt_ids[:length]
    first = int(differs.argmax()) if length else 0
    return first if length and differs[first] else length


def _schema() -> pa.Schema:
    import pyarrow as pa

    text, ids, logprobs = pa.string(), pa.list_(pa.int32()), pa.list_(pa.float32())
    types = {"schema_version": pa.int16(), "update": pa.int32()}
    types |= {"trajectory": text, "group": text, "member": pa.int32(), "attempt": pa.int32(), "parent": text}
    types |= {"error": text, "task_split": text, "task_index": pa.int64(), "task_key": text, "task_seed": pa.int64()}
    types |= {"seed": pa.int64(), "outcome": text, "success": pa.bool_(), "seconds": pa.float64(), "turn": pa.int32()}
    types |= dict.fromkeys(("agent", "observation", "action", "invalid", "anchor", "text", "stop"), text)
    types |= {"prompt_start": pa.int32(), "prompt_ids": ids, "ids": ids, "versions": ids}
    types |= {"logprobs": logprobs, "entropy": logprobs}
    types |= {"temperature": pa.float64(), "top_p": pa.float64(), "top_k": pa.int32(), "reward": pa.float64()}
    types |= dict.fromkeys(("rewards", "info", "extras"), text)
    return pa.schema(types | {"advantage": pa.float64(), "token_advantages": pa.list_(pa.float64())})


def _columns(rows: Sequence[_Row], update: int) -> dict[str, pa.Array]:
    whole = [row.trajectory for row in rows]
    of_trajectory: dict[str, list[Any]] = {
        "schema_version": [SCHEMA_VERSION] * len(rows),
        "update": [update] * len(rows),
        "trajectory": [trajectory.id for trajectory in whole],
        "task_split": [trajectory.task.split for trajectory in whole],
        "task_index": [trajectory.task.index for trajectory in whole],
        "task_key": [trajectory.task.key for trajectory in whole],
        "task_seed": [trajectory.task.seed for trajectory in whole],
        "outcome": [trajectory.outcome.value for trajectory in whole],
    }
    for name in ("group", "member", "attempt", "parent", "error", "seed", "success", "seconds"):
        of_trajectory[name] = [getattr(trajectory, name) for trajectory in whole]
    columns = of_trajectory | {"turn": [row.index for row in rows]} | _turn_columns(rows) | _advantage_columns(rows)
    return {field.name: _array(columns[field.name], field) for field in _schema()}
