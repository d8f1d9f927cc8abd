"""What every table of trajectories holds: one row per turn, in the order of the trajectories and of their turns.

pandas, DuckDB, Polars and `datasets` open these Parquet files. The columns below come first, then the declared columns
that anybody wrote; their declarations are in the file's metadata under `agentrl`.

The prompt of a turn mostly repeats the turn before it, so only what is new is stored: the whole prompt is the first
`prompt_start` ids of (the previous turn's whole prompt, then its `ids`), followed by `prompt_ids`. "Previous" is the
previous turn of the same `agent` in the same trajectory, an inherited one too. A branch whose parent is in the table
has no rows for inherited turns.
"""

from __future__ import annotations

SCHEMA_VERSION = 2
"""Files of version 1 are read too."""

OF_TRAJECTORY = {
    "schema_version": "int16",
    "update": "int32",  # that trained on these rows
    "trajectory": "string",  # "12.3-1": group, member, attempt; "12.3-1@7.2" is branch 2 off its turn 7
    "group": "string",  # trajectories of one group began from the same task and seed
    "member": "int32",
    "attempt": "int32",
    "branch": "int32",  # number among the branches off the same turn
    "inherited": "int32",  # how many of its turns are its parent's
    "parent": "string",  # "<trajectory>@<turn>" when branched, else null
    "error": "string",  # what our machinery said, or ""
    "task_split": "string",  # what the reset was asked for
    "task_index": "int64",
    "task_key": "string",  # stable, with a content hash
    "task_seed": "int64",  # of the reset
    "seed": "int64",  # of the trajectory's own generator
    "outcome": "string",  # why it ended
    "success": "bool",  # of the whole trajectory
    "seconds": "double",  # wall clock of the whole trajectory
    "labels": "string",  # JSON object: what a collector noted
    "hidden": "string",  # JSON object: reference material of the world
    "final_observation": "string",  # what the world showed after the last action, or null
    "final_anchor": "string",
    "final_info": "string",  # JSON object
}
OF_TURN = {
    "turn": "int32",  # from 0; a trajectory without turns has one row with -1, null from here on
    "agent": "string",  # who spoke
    "kind": "string",  # act, speak or answer
    "observation": "string",  # what was seen
    "action": "string",  # what was done; "" where the completion could not be read
    "invalid": "string",  # why the action could not be read or was refused, or ""
    "anchor": "string",  # what a credit may treat as the same state; null where it is the observation
    "text": "string",  # what the policy said
    "stop": "string",  # "stop" or "length"
    "thought": "string",  # where an engine returned it apart from the text
    "calls": "string",  # JSON list, likewise
    "relation": "string",  # how the prompt continues this speaker's last one
    "kept": "int32",
    "prompt_start": "int32",  # see above
    "prompt_ids": "list int32",
    "ids": "list int32",  # sampled tokens
    "versions": "list int32",  # which weights sampled each of them
    "logprobs": "list float",  # of the distribution really sampled from
    "entropy": "list float",  # nats; null where the engine gave none
    "square": "list float",  # Σ π², likewise
    "temperature": "double",  # sampling settings of this turn
    "top_p": "double",
    "top_k": "int32",  # 0 keeps all
    "reward": "double",
    "rewards": "string",  # JSON object: named parts of the reward
    "info": "string",  # JSON object of the world
    "advantage": "double",  # null without credit, and where it is given per token
    "token_advantages": "list double",  # one per id, else null
}
KINDS = OF_TRAJECTORY | OF_TURN
"""Type of every column, by name, in order."""

ADDED: dict[str, object] = {
    "branch": 0, "inherited": 0, "labels": "{}", "hidden": "{}", "final_observation": None, "final_anchor": None,
    "final_info": None, "kind": "act", "thought": None, "calls": None, "relation": None, "kept": None, "square": None,
}  # fmt: skip
"""Columns that files of version 1 lack, and what stands for them."""
