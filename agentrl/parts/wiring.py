"""Building a part: its settings from the run file, its parts of the run by the types of its parameters."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from agentrl.data.schedules import Scheduled
from agentrl.errors import ConfigError, PluginError
from agentrl.parts.kinds import KINDS, OF_CONTRACT, Kind
from agentrl.parts.playing import Demonstrator, Policy, Voice
from agentrl.parts.registry import Spec
from agentrl.parts.settings import Parameter, Part, check_settings, describe, parameters_of

if TYPE_CHECKING:
    from agentrl.parts.host import Host

_OLD = "see CHANGELOG, 'Parts by type'"


class Scope:
    """Live parts that a part may be given: by contract, and by the names that the run file has for further ones.

    What is built inside a scope is closed with its `stack`, in reverse order.
    """

    def __init__(
        self,
        parts: Mapping[object, object] | None = None,
        *,
        named: Callable[[str], object] | None = None,
        voice: Callable[[Policy | None], Voice] | None = None,
        stack: ExitStack | None = None,
    ) -> None:
        """`parts`: contract → part, or → `Lazy`. `named` finds "policies.user". `voice` makes one, of the run's own policy for None."""
        self._parts = dict(parts or {})
        self._named, self._voice = named, voice
        self.stack = stack or ExitStack()
        self._nested: dict[tuple[str, str, str], object] = {}

    def within(
        self,
        parts: Mapping[object, object],
        *,
        voice: Callable[[Policy | None], Voice] | None = None,
        stack: ExitStack | None = None,
    ) -> Scope:
        """The same scope with further or other parts, on the same stack unless another is given."""
        inner = Scope(
            {**self._parts, **parts}, named=self._named, voice=voice or self._voice, stack=stack or self.stack
        )
        inner._nested = self._nested
        return inner

    def get(self, contract: object) -> object | None:
        """The part of this contract, None where the run has none."""
        if contract is Voice:
            return self._voice(None) if self._voice is not None else None
        part = self._parts.get(contract)
        if isinstance(part, Lazy):
            part = self._parts[contract] = part.make()
        return part

    def keep(self, part: Any) -> Any:
        """Close this part with the scope."""
        close = getattr(part, "close", None)
        if close is not None:
            self.stack.callback(close)
        return part

    def nested(self, host: Host, kind: Kind, value: object) -> object:
        """The part that a run file names or describes for a parameter: "policies.user", a name, or a table."""
        if isinstance(value, str) and "." in value:
            if self._named is None:
                raise ConfigError(f"{value!r} names a part of a run; here is none, so give a table")
            return self._named(value)
        spec = Spec.from_table(kind.name, value)
        key = (spec.kind, spec.name, repr(sorted(spec.settings.items())))
        if key not in self._nested:
            self._nested[key] = self.keep(host.build(spec, self))
        return self._nested[key]

    def voice_of(self, policy: object) -> Voice:
        """A voice of a named policy. Raises ConfigError outside a run."""
        if self._voice is None or not isinstance(policy, Policy):
            raise ConfigError("a voice needs a run with a policy that can be awaited")
        return self._voice(policy)


class Lazy:
    """A part that is made when it is first asked for."""

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make


def kind_for(parameter: Parameter) -> Kind | None:
    """The kind of part that a run file may describe for a parameter."""
    if parameter.contract in (Voice, Demonstrator):
        return KINDS["policy"]
    return OF_CONTRACT.get(parameter.contract)  # type: ignore[call-overload,no-any-return]


def build(host: Host, kind: Kind, spec: Spec, part: Part, scope: Scope) -> object:
    """Make the part: a class or what a made kind registers is called, else its settings are bound.

    Raises ConfigError for settings that do not fit and parts that the run lacks, PluginError for a signature that
    this version does not understand.
    """
    made = kind.made or inspect.isclass(part)
    parameters = parameters_of(part, made=made)
    check_signature(spec, parameters)
    settable = {p.name: p for p in parameters.values() if _settable(p)}
    values = check_settings(
        spec, {**settable, **{p.name: p for p in parameters.values() if p.name in spec.settings and p.contract}}
    )
    arguments: dict[str, object] = {}
    for parameter in parameters.values():
        if parameter.name in values:
            value = values[parameter.name]
            arguments[parameter.name] = _nested(host, spec, parameter, value, scope) if parameter.contract else value
        elif parameter.contract is not None and parameter.required:
            arguments[parameter.name] = _given(spec, parameter, scope)
    if not made:
        return functools.partial(part, **arguments) if arguments else part
    positional = [arguments.pop(p.name) for p in parameters.values() if not p.keyword and p.name in arguments]
    return part(*positional, **arguments)


def check_signature(spec: Spec, parameters: Mapping[str, Parameter]) -> None:
    """Raise PluginError for a parameter that is neither a setting nor says by its type what it wants."""
    for parameter in parameters.values():
        if not parameter.keyword and parameter.contract is None:
            raise PluginError(
                f"{spec.kind} {spec.name!r}: its parameter {parameter.name!r} ({describe(parameter.annotation)}) is no "
                "setting (those are keyword-only) and names no part of a run; annotate it with a contract, such as "
                f"`model: agentrl.Model`, `player: agentrl.Player`, `seed: agentrl.Seed` ({_OLD})"
            )


def _settable(parameter: Parameter) -> bool:
    """Whether a run file may set it: settings, and parts with a default."""
    return parameter.keyword and not (parameter.contract is not None and parameter.required)


def _given(spec: Spec, parameter: Parameter, scope: Scope) -> object:
    part = scope.get(parameter.contract)
    if part is None:
        kind = kind_for(parameter)
        what = kind.name if kind is not None else describe(parameter.contract).lower()
        table = f" Add a [{kind.name}] table." if kind is not None else ""
        raise ConfigError(f"{spec.kind} {spec.name!r} needs a {what}; this run has none.{table}")
    return part


def _nested(host: Host, spec: Spec, parameter: Parameter, value: object, scope: Scope) -> object:
    if isinstance(value, (list, tuple)):
        return [_listed(host, spec, parameter, entry, scope) for entry in value]
    if not isinstance(value, (str, Mapping)):
        return value  # given live, from Python
    kind = kind_for(parameter)
    if kind is None:
        raise ConfigError(
            f"{spec.kind} {spec.name!r}: {parameter.name} takes a part of the run ({describe(parameter.contract)}), "
            "which a run file cannot describe; omit it"
        )
    if kind.name == "sandbox" and not (isinstance(value, str) and "." in value):
        return host.provider(Spec.from_table("sandbox", value))
    part = scope.nested(host, kind, value)
    return scope.voice_of(part) if parameter.contract is Voice else part


def _listed(host: Host, spec: Spec, parameter: Parameter, value: object, scope: Scope) -> object:
    """One part of a list; a parameter that takes pairs `tuple[Contract, float]` gets its `weight` beside it."""
    value, weight = _weighed(spec, parameter, value)
    part = _nested(host, spec, parameter, value, scope)
    return part if weight is None else (part, weight)


def _weighed(spec: Spec, parameter: Parameter, value: object) -> tuple[object, float | None]:
    """A table of a list without its `weight`, and that (1 unless given); None where the parameter takes none."""
    inner = typing.get_args(parameter.annotation)
    if not inner or typing.get_origin(inner[0]) is not tuple:
        return value, None
    if isinstance(value, tuple):
        return value[0], float(value[1])  # given live, from Python
    weight = value.get("weight", 1.0) if isinstance(value, Mapping) else 1.0
    if isinstance(weight, bool) or not isinstance(weight, (int, float)):
        raise ConfigError(f"{spec.kind} {spec.name!r}: weight = {weight!r} in {parameter.name}; it takes a number")
    table = {key: entry for key, entry in value.items() if key != "weight"} if isinstance(value, Mapping) else value
    return table, float(weight)


def nested_specs(spec: Spec, part: Part) -> list[Spec]:
    """The parts that a run file describes for parameters of a part; names such as "policies.user" omitted."""
    made = KINDS[spec.kind].made or inspect.isclass(part)
    inner: list[Spec] = []
    for parameter in parameters_of(part, made=made).values():
        kind, value = kind_for(parameter), spec.settings.get(parameter.name)
        if kind is None:
            continue
        entries = value if isinstance(value, (list, tuple)) else None
        for one in [value] if entries is None else [_weighed(spec, parameter, entry)[0] for entry in entries]:
            if isinstance(one, (str, Mapping)) and not (isinstance(one, str) and "." in one):
                inner.append(Spec.from_table(kind.name, one))
    return inner


def schedules_of(host: Host, specs: Iterable[Spec]) -> dict[str, Scheduled[float]]:
    """Settings of parts that follow a schedule, by "kind.name" ("part.name" for kinds of which a stage has many)."""
    schedules: dict[str, Scheduled[float]] = {}
    for spec in specs:
        kind, part = KINDS[spec.kind], host.part(spec.kind, spec.name)
        parameters = parameters_of(part, made=kind.made or inspect.isclass(part))
        values = check_settings(spec, {name: p for name, p in parameters.items() if name in spec.settings})
        for name, value in values.items():
            if isinstance(value, Scheduled) and len(value.values) > 1:
                schedules[f"{spec.name if kind.many else spec.kind}.{name}"] = value
    return schedules
