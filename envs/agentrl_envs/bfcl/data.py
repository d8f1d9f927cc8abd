"""The tasks of BFCL multi-turn, read from the data inside an installed `bfcl-eval`."""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import agentrl
from agentrl import ToolCall
from agentrl_envs.bfcl.calls import python_call

Json: TypeAlias = dict[str, Any]
CATEGORIES = ("base", "miss_func", "miss_param", "long_context")

_TYPES = {"dict": "object", "float": "number", "tuple": "array", "list": "array", "bool": "boolean", "any": "string"}
_DOCS = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}
"""Class of the benchmark → name of its module and of the file with its function descriptions."""


@dataclass(frozen=True)
class Entry:
    """One task. `users[t]` is what the user says at turn t, `gold[t]` the calls that turn wants, positional
    arguments already by name. `held_back[t]` names functions that are only offered from turn t on."""

    id: str
    users: tuple[str, ...]
    gold: tuple[tuple[ToolCall, ...], ...]
    classes: tuple[str, ...]
    config: Mapping[str, Json]
    held_back: Mapping[int, tuple[str, ...]]
    long_context: bool

    def __deepcopy__(self, memo: object) -> Entry:
        return self  # never changed, so snapshots share it

    @property
    def documents(self) -> Sequence[Json]:
        """Descriptions of every function of the involved classes, as the benchmark writes them."""
        return [document for name in self.classes for document in _documents(name)]


@functools.cache
def entries(category: str) -> Sequence[Entry]:
    """The 200 tasks of a category. Raises ConfigError where `bfcl-eval` is not installed."""
    name = f"BFCL_v4_multi_turn_{category}.json"
    asked, answers = _lines(_folder() / "data" / name), _lines(_folder() / "data/possible_answer" / name)
    if [task["id"] for task in asked] != [answer["id"] for answer in answers]:
        raise agentrl.DataError(f"{name}: questions and answers are not in the same order; reinstall bfcl-eval")
    return [_entry(task, answer["ground_truth"]) for task, answer in zip(asked, answers, strict=True)]


def module_of(name: str) -> str:
    """Where a class of the benchmark is imported from."""
    return f"bfcl_eval.eval_checker.multi_turn_eval.func_source_code.{_DOCS[name]}"


def schema(document: Json) -> Json:
    """A function description in the form chat templates take."""
    named = {"name": document["name"], "description": document["description"]}
    return {"type": "function", "function": named | {"parameters": _json_schema(document["parameters"])}}


def _entry(task: Json, answer: list[list[str]]) -> Entry:
    return Entry(
        task["id"],
        tuple("\n".join(message["content"] for message in turn) for turn in task["question"]),
        tuple(tuple(python_call(text, _parameters(task["involved_classes"])) for text in turn) for turn in answer),
        tuple(task["involved_classes"]),
        task["initial_config"],
        {int(turn): tuple(names) for turn, names in task.get("missed_function", {}).items()},
        "long_context" in task["id"],
    )


def _parameters(classes: Sequence[str]) -> dict[str, list[str]]:
    """Function → its parameters in order."""
    return {d["name"]: list(d["parameters"]["properties"]) for name in classes for d in _documents(name)}


@functools.cache
def _documents(name: str) -> list[Json]:
    return _lines(_folder() / "data/multi_turn_func_doc" / f"{_DOCS[name]}.json")


def _lines(path: Path) -> list[Json]:
    with path.open(encoding="utf-8-sig") as file:
        return [json.loads(line) for line in file]


def _folder() -> Path:
    found = importlib.util.find_spec("bfcl_eval")
    if found is None or not found.submodule_search_locations:
        raise agentrl.ConfigError(
            "environment 'bfcl' needs the data of the benchmark: pip install --no-deps bfcl-eval==2026.3.23 (its "
            f"requirements are for calling models, and not needed). {agentrl.how_to_install('bfcl')}"
        )
    return Path(next(iter(found.submodule_search_locations)))


def _json_schema(value: object) -> object:
    if isinstance(value, list):
        return [_json_schema(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: _json_schema(inner) for key, inner in value.items()}
    if isinstance(value.get("type"), str):
        made["type"] = _TYPES.get(value["type"], value["type"])
    return made
