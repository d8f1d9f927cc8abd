"""A run file's tables as a run folder keeps them: of the present form, with paths that mean the same from anywhere."""

from __future__ import annotations

import copy
import os
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path

from agentrl.errors import AgentRLError
from agentrl.parts.host import Host
from agentrl.parts.kinds import KINDS, STAGE_KINDS
from agentrl.parts.registry import Spec
from agentrl.parts.settings import expanded

ONE_OF_A_KIND = ("model", *STAGE_KINDS)
LIST_KINDS = {kind.many: kind.name for kind in KINDS.values() if kind.many}
"""Key of a list of parts → kind of its entries."""
NAMED_KINDS = {"models": "model", "policies": "policy"}


def kept_tables(tables: Mapping[str, object], of_player: typing.Collection[str], host: Host) -> dict[str, object]:
    """A copy of the tables: settings of the player (`of_player`) out of the collector's table, paths absolute.

    Relative paths begin at the present working folder, `~` is the user's home. `runs` stays as it is: it says where the
    next run is made.
    """
    kept = copy.deepcopy(dict(tables))
    for table in (kept, *_tables_in(kept.get("stages"))):
        if isinstance(collector := table.get("collector"), dict):
            _move_to_player(table, collector, of_player, host)
        for kind, part in _parts(table):
            _make_absolute(part, kind, str(part.get("name") or _name_of(kept, kind)), host)
    if isinstance(start := kept.get("start_from"), (str, Path)):
        kept["start_from"] = absolute(start)
    return kept


def absolute(path: str | Path) -> str:
    """The path from the root. Raises ConfigError for a `~` of nobody."""
    return os.path.abspath(expanded(Path(path)))


def _move_to_player(
    table: dict[str, object], collector: Mapping[str, object], of_player: typing.Collection[str], host: Host
) -> None:
    """Settings of the player that earlier run files gave to the collector, moved to where they belong."""
    name = str(collector.get("name", KINDS["collector"].default))
    registered = name in {entry.name for entry in host.registry("collector")}
    own = host.parameters(Spec("collector", name)) if registered else {}
    moved = {key: collector[key] for key in collector if key in of_player and key not in own}
    player = table.get("player", {})
    if moved and isinstance(player, Mapping):
        table["collector"] = {key: value for key, value in collector.items() if key not in moved}
        table["player"] = {**moved, **player}


def _parts(table: Mapping[str, object]) -> Iterator[tuple[str, dict[str, object]]]:
    """Tables of parts, each with its kind."""
    for kind in ONE_OF_A_KIND:
        if isinstance(part := table.get(kind), dict):
            yield kind, part
    for key, kind in LIST_KINDS.items():
        yield from ((kind, part) for part in _tables_in(table.get(key)))
    for key, kind in NAMED_KINDS.items():
        named = table.get(key)
        yield from ((kind, part) for part in _tables_in(list(named.values()) if isinstance(named, dict) else ()))


def _tables_in(value: object) -> list[dict[str, object]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, (list, tuple)) else []


def _name_of(tables: Mapping[str, object], kind: str) -> object:
    """What a stage that only changes settings of the run's part changes."""
    part = tables.get(kind)
    return part.get("name") if isinstance(part, Mapping) else part or KINDS[kind].default


def _make_absolute(part: dict[str, object], kind: str, name: str, host: Host) -> None:
    try:
        parameters = host.parameters(Spec(kind, Spec(kind, name).name))
    except AgentRLError:
        return  # `parse` says it, once it comes to that part
    for key, value in part.items():
        if isinstance(value, (str, Path)) and key in parameters:
            types = _types(parameters[key].annotation)
            if Path in types and (str not in types or Path(absolute(value)).exists()):
                part[key] = absolute(value)


def _types(annotation: object) -> set[object]:
    inner = typing.get_args(annotation)
    return {annotation}.union(*map(_types, inner)) if inner else {annotation}
