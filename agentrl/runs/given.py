"""Parts given from Python: a class or function of a notebook stands where a run file names a plugin."""

from __future__ import annotations

from collections.abc import Mapping

from agentrl.errors import ConfigError, did_you_mean
from agentrl.parts.hookspecs import Register
from agentrl.parts.host import Host
from agentrl.parts.kinds import KINDS
from agentrl.parts.tables import Tables

PLUGIN = "given"


def with_parts(tables: Tables, parts: Mapping[str, object], host: Host) -> tuple[Tables, Host]:
    """Tables that name the given parts, and a host that offers them. Raises ConfigError for an unknown kind.

    A part of a kind of which a run has several (shapers, judges, loggers) is added to the list.
    """
    if not parts:
        return tables, host
    for kind, part in parts.items():
        if kind not in KINDS:
            raise ConfigError(f"parts = {{{kind!r}: …}}: there is no such kind. {did_you_mean(kind, KINDS)}")
        if not callable(part):
            raise ConfigError(f"parts = {{{kind!r}: …}} takes a class or a function, not {part!r}")
        name = f"{PLUGIN}/{kind}"
        many = KINDS[kind].many
        if many:
            listed = [entry for entry in tables.get(many) or () if entry != {"name": name}]  # type: ignore[attr-defined]
            tables[many] = [*listed, {"name": name}]  # once, also in a run that goes on
        else:
            stages: list[Tables] = tables.get("stages") or []  # type: ignore[assignment]
            owners = [stage for stage in stages if kind in stage]
            if kind in tables or not stages or len(owners) < len(stages):
                owners.append(tables)
            for table in owners:
                own = table.get(kind)
                table[kind] = {**(own if isinstance(own, dict) else {}), "name": name}
    return tables, host.with_plugins({PLUGIN: _Given(parts)})


class _Given:
    """A plugin of live parts."""

    def __init__(self, parts: Mapping[str, object]) -> None:
        for kind, part in parts.items():
            setattr(self, KINDS[kind].hook, _offers(f"{PLUGIN}/{kind}", part))


def _offers(name: str, part: object) -> object:
    def register(register: Register) -> None:
        register(name, part)

    return register
