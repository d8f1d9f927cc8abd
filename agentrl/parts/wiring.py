"""Building a part: its settings from the run file, its parts of the run by the types of its parameters."""

from __future__ import annotations

import functools
import logging
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import KW_ONLY, dataclass, field, replace
from types import UnionType
from typing import TYPE_CHECKING, Any

from agentrl.data.schedules import Scheduled
from agentrl.errors import ConfigError
from agentrl.parts.kinds import KINDS, OF_CONTRACT, Kind
from agentrl.parts.playing import Demonstrator, Policy, Voice
from agentrl.parts.registry import Spec
from agentrl.parts.settings import Parameter, bare, check_settings, describe

if TYPE_CHECKING:
    from agentrl.parts.host import Host

log = logging.getLogger(__name__)
NAMED = {"model": "models.", "policy": "policies."}
"""Kind → how a run file names a further part of it."""


@dataclass(frozen=True)
class Lazy:
    """A part that is made when it is first asked for."""

    make: Callable[[], object]


@dataclass
class Scope:
    """Live parts that a part may be given; what is built inside a scope is closed with its `stack`, in reverse order."""

    parts: Mapping[object, object] = field(default_factory=dict)
    """Contract → part, or → `Lazy`."""
    _: KW_ONLY
    named: Callable[[str], object] | None = None
    """Finds "policies.user"."""
    voice: Callable[[Policy | None], Voice] | None = None
    """Makes a voice of a policy, of the run's own for None."""
    stack: ExitStack = field(default_factory=ExitStack)
    described: dict[tuple[str, str, str], object] = field(default_factory=dict)
    """Parts that were made of what a run file describes for a parameter, by kind, name and settings."""

    def within(
        self,
        parts: Mapping[object, object],
        *,
        voice: Callable[[Policy | None], Voice] | None = None,
        stack: ExitStack | None = None,
    ) -> Scope:
        """The same scope with further or other parts, on the same stack unless another is given."""
        parts = {**self.parts, **parts}
        return replace(self, parts=parts, voice=voice or self.voice, stack=stack or self.stack)

    def get(self, contract: object) -> object | None:
        """The part of this contract, None where the run has none."""
        if contract is Voice:
            return self.voice(None) if self.voice is not None else None
        part = self.parts.get(contract)
        if isinstance(part, Lazy):
            part = part.make()
            self.parts = {**self.parts, contract: part}
        return part

    def keep(self, part: Any) -> Any:
        """Close this part with the scope."""
        if hasattr(part, "close"):
            self.stack.callback(_close, part)
        return part

    def nested(self, host: Host, kind: Kind, value: object, *, as_voice: bool = False) -> object:
        """The part that a run file names or describes for a parameter: "policies.user", a name, or a table."""
        if is_name(value):
            if self.named is None:
                raise ConfigError(f"{value!r} names a part of a run; here is none, so give a table")
            part = self.named(str(value))
        else:
            spec = Spec.from_table(kind.name, value)
            if kind.name == "sandbox":
                return host.provider(spec)
            key = (spec.kind, spec.name, repr(sorted(spec.settings.items())))
            if key not in self.described:
                self.described[key] = self.keep(host.build(spec, self))
            part = self.described[key]
        if not as_voice:
            return part
        if self.voice is None or not isinstance(part, Policy):
            raise ConfigError("a voice needs a run with a policy that can be awaited")
        return self.voice(part)


def _close(part: Any) -> None:
    """What closing raises hides nothing that was raised before, and spoils nothing that was done."""
    try:
        part.close()
    except Exception:
        log.warning("%s could not be closed", type(part).__name__, exc_info=True)


def kind_for(parameter: Parameter) -> Kind | None:
    """The kind of part that a run file may describe for a parameter."""
    if parameter.contract in (Voice, Demonstrator):
        return KINDS["policy"]
    return OF_CONTRACT.get(parameter.contract)  # type: ignore[call-overload,no-any-return]


def is_name(value: object) -> bool:
    """Whether a run file names a further part of the run ("policies.user") instead of describing one."""
    return isinstance(value, str) and "." in value


def build(host: Host, spec: Spec, scope: Scope) -> object:
    """Make the part: a class or what a made kind registers is called, else its settings are bound.

    Raises ConfigError for settings that do not fit and parts that the run lacks, PluginError for a signature that
    this version does not understand.
    """
    part, parameters = host.part(spec.kind, spec.name), host.parameters(spec)
    values = check_settings(spec, parameters)
    arguments: dict[str, object] = {}
    for name, parameter in parameters.items():
        if name in values:
            arguments[name] = _nested(host, spec, parameter, scope) if parameter.contract else values[name]
        elif parameter.contract is not None and parameter.required:
            arguments[name] = _given(spec, parameter, scope)
    if not host.makes(spec):
        return functools.partial(part, **arguments) if arguments else part
    positional = [arguments.pop(name) for name, p in parameters.items() if not p.keyword and name in arguments]
    return part(*positional, **arguments)


def _given(spec: Spec, parameter: Parameter, scope: Scope) -> object:
    part = scope.get(parameter.contract)
    if part is None and parameter.contract in (Policy, Demonstrator):
        what = "a policy that is asked" if parameter.contract is Policy else "a demonstrator, which looks at the world"
        raise ConfigError(
            f"{spec.kind} {spec.name!r} needs {what}, and the run gives it none here; name one as [policy], or for this "
            f'part: {parameter.name} = {{ name = "…" }}'
        )
    if part is None:
        kind = kind_for(parameter)
        what = kind.name if kind is not None else describe(parameter.contract).lower()
        table = f" Add a [{kind.name}] table." if kind is not None else ""
        raise ConfigError(f"{spec.kind} {spec.name!r} needs a {what}; this run has none.{table}")
    return part


def _nested(host: Host, spec: Spec, parameter: Parameter, scope: Scope) -> object:
    """What a run file gives for a parameter that takes parts: one, or a list of them, each beside its weight."""
    kind, as_voice = kind_for(parameter), parameter.contract is Voice
    parts: list[object] = []
    for part, weight in entries(spec, parameter):
        if kind is not None and isinstance(part, (str, Mapping)):
            part = scope.nested(host, kind, part, as_voice=as_voice)
        parts.append(part if weight is None else (part, weight))
    return parts if isinstance(spec.settings[parameter.name], (list, tuple)) else parts[0]


def entries(spec: Spec, parameter: Parameter) -> Iterator[tuple[object, float | None]]:
    """What a run file gives for a parameter that takes parts: names, tables, or live parts from Python, each with its weight.

    The weight is None unless the parameter takes pairs `tuple[Contract, float]`. Raises ConfigError for what is no part.
    """
    where, value, kind = f"{spec.kind} {spec.name!r}", spec.settings[parameter.name], kind_for(parameter)
    annotation = bare(parameter.annotation)
    inner = typing.get_args(annotation)
    weighed = bool(inner) and typing.get_origin(inner[0]) is tuple
    takes_list = _takes_list(annotation)
    if isinstance(value, (str, Mapping) if takes_list else (list, tuple)):
        wanted = "a list of parts" if takes_list else "one part"
        raise ConfigError(f"{where}: {parameter.name} takes {wanted}, not {value!r}")
    for entry in value if isinstance(value, (list, tuple)) else [value]:
        weight: object = 1.0
        if weighed and isinstance(entry, tuple):
            entry, weight = entry  # given live, from Python
        elif weighed and isinstance(entry, Mapping):
            weight = entry.get("weight", 1.0)
            entry = {key: inner for key, inner in entry.items() if key != "weight"}
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            raise ConfigError(f"{where}: weight = {weight!r} in {parameter.name}; it takes a number")
        if kind is None and isinstance(entry, (str, Mapping)):
            raise ConfigError(
                f"{where}: {parameter.name} takes a part of the run ({describe(parameter.contract)}), which a run file "
                "cannot describe; omit it"
            )
        if isinstance(entry, (bool, int, float)):
            raise ConfigError(f"{where}: {parameter.name} = {entry!r}; it takes a part: a name or a table with `name`")
        yield entry, float(weight) if weighed else None


def _takes_list(annotation: object) -> bool:
    origin = typing.get_origin(annotation)
    if origin in (UnionType, typing.Union):
        return any(map(_takes_list, typing.get_args(annotation)))
    return isinstance(origin, type) and issubclass(origin, Sequence)


def schedules_of(host: Host, specs: Iterable[Spec]) -> dict[str, Scheduled[float]]:
    """Settings of parts that follow a schedule, by "kind.name" ("part.name" for kinds of which a stage has many)."""
    return {
        f"{spec.name if KINDS[spec.kind].many else spec.kind}.{name}": value
        for spec in specs
        for name, value in check_settings(spec, host.parameters(spec)).items()
        if isinstance(value, Scheduled) and len(value.values) > 1
    }
