"""Finds plugins through entry points and asks what they offer: one registry per kind of part."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import re
import threading
from collections.abc import Collection, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from agentrl.data.columns import COLUMNS, Column
from agentrl.data.installation import remedy, warn_of_namesake
from agentrl.errors import AgentRLError, ConfigError, EnvironmentFault, PluginError, did_you_mean
from agentrl.parts.hookspecs import HOOKS, hookimpl
from agentrl.parts.kinds import KINDS, Kind
from agentrl.parts.playing import Demonstrator, Policy
from agentrl.parts.registry import Registry, Spec, importing
from agentrl.parts.settings import Parameter, Part, check_settings, describe, parameters_of
from agentrl.parts.wiring import NAMED, Scope, build, entries, is_name, kind_for

GROUP = "agentrl"
OFFERS = {**{name: kind.hook for name, kind in KINDS.items()}, "kit": "register_kits"}
"""Everything that is offered by name → the hook that offers it: parts of each kind, and kits."""
log = logging.getLogger(__name__)


class _Manager(pluggy.PluginManager):
    """Takes a function with a hook's name for the hook, marked or not."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        options = super().parse_hookimpl_opts(plugin, name)
        if options is None and name in HOOKS and _own(plugin, name):
            return hookimpl(lambda: None).agentrl_impl  # type: ignore[attr-defined]
        return options


def _own(plugin: object, name: str) -> bool:
    """Whether a plugin defines this itself (not: imports it from elsewhere)."""
    function = getattr(plugin, name)
    return inspect.ismethod(function) or (
        inspect.isfunction(function) and function.__module__ == getattr(plugin, "__name__", function.__module__)
    )


class Host:
    """Every installed plugin, loaded. A plugin that fails is switched off and listed in `broken` with its reason."""

    def __init__(self, extra: Mapping[str, object] | None = None) -> None:
        """`extra`: plugins given as live modules or objects by name, beside the installed ones."""
        warn_of_namesake()
        self._extra = dict(extra or {})
        self.manager = _Manager("agentrl")
        self.manager.add_hookspecs(type("Hooks", (), dict(HOOKS)))
        self.registries = {kind: Registry(kind) for kind in OFFERS}
        self.broken: dict[str, str] = {}
        self.columns: dict[str, Column] = dict(COLUMNS)
        self._declared_by: dict[str, str] = {}
        self._providers: dict[tuple[int, str, str], object] = {}
        self._lock = threading.Lock()
        # reversed: of a distribution that is seen twice on sys.path, the first counts
        points: dict[str, object] = {point.name: point for point in reversed(tuple(entry_points(group=GROUP)))}
        for name, plugin in [*sorted(points.items()), *self._extra.items()]:
            self._add(name, plugin)

    def with_plugins(self, extra: Mapping[str, object]) -> Host:
        """Another host with these live plugins too."""
        return Host({**self._extra, **extra})

    def registry(self, kind: str) -> Registry:
        """Raises ConfigError for an unknown kind."""
        if kind not in self.registries:
            raise ConfigError(f"there is no kind of part named {kind!r}. {did_you_mean(kind, self.registries)}")
        return self.registries[kind]

    def part(self, kind: str, name: str) -> Part:
        """The registered callable, imported if need be. Raises ConfigError for an unknown kind or name."""
        registry = self.registry(kind)
        try:
            return registry.entry(name).load()
        except ConfigError as error:
            # Only the entry point name of a broken plugin is known, so a match on the name is the best hint there is.
            blamed = [f"{plugin} ({reason})" for plugin, reason in self.broken.items() if name.split("/")[-1] in plugin]
            reason = f"there is no {kind} named {name!r}. Switched off: {'; '.join(blamed)}." if blamed else str(error)
            raise ConfigError(reason) from None

    def makes(self, spec: Spec) -> bool:
        """Whether what is registered is called to make the part; else it is the part, with its settings bound."""
        return KINDS[spec.kind].made or inspect.isclass(self.part(spec.kind, spec.name))

    def parameters(self, spec: Spec) -> dict[str, Parameter]:
        """What a part asks for, and its settings. Raises PluginError for a signature that is not understood."""
        part, takes, made = self.part(spec.kind, spec.name), KINDS[spec.kind].takes, self.makes(spec)
        try:
            parameters = parameters_of(part, made=made)
        except PluginError as error:
            raise PluginError(f"{self.label(spec)}: {error}") from error
        for parameter in parameters.values():
            if not parameter.keyword and parameter.contract is None:
                raise PluginError(
                    f"{self.label(spec)}: its parameter {parameter.name!r} ({describe(parameter.annotation)}) is no "
                    "setting (those are keyword-only) and names no part of a run; annotate it with a contract, such as "
                    "`model: agentrl.Model`, `player: agentrl.Player`, `seed: agentrl.Seed` (see CHANGELOG, 'Parts by type')"
                )
        if not made and not _can_call(part, *takes, **dict.fromkeys(parameters)):
            raise PluginError(
                f"{self.label(spec)} is called with ({', '.join(takes)}), and takes {inspect.signature(part)}; settings "
                "are keyword-only"
            )
        return parameters

    def build(self, spec: Spec, scope: Scope | None = None) -> Any:
        """Make a part from its spec; what its parameters ask for by type comes from `scope`.

        Raises ConfigError for settings that do not fit, PluginError where the plugin gives something else than its
        kind promises or fails (EnvironmentFault for a world, which may be made again).
        """
        kind = KINDS[spec.kind]
        try:
            result = build(self, spec, scope or Scope())
        except AgentRLError:
            raise
        except Exception as error:  # what a plugin does when it is made is its own business
            fault = EnvironmentFault if kind.name == "environment" else PluginError
            why = " ".join(str(error).split())
            raise fault(f"{self.label(spec)} cannot be made: {type(error).__name__}: {why}{remedy(error)}") from error
        if kind.made and (lacking := _lacking(kind, result)):
            raise PluginError(f"{self.label(spec)} gave {result!r:.200}, {lacking}")
        return result

    def plugin_of(self, spec: Spec) -> str:
        """Name of the plugin that offers a part."""
        return self.registry(spec.kind).entry(spec.name).plugin

    def label(self, spec: Spec) -> str:
        """A part in messages: "credit 'gigpo' of plugin 'credit.gigpo'"."""
        return f"{spec.kind} {spec.name!r} of plugin {self.plugin_of(spec)!r}"

    def check(self, spec: Spec, names: Collection[str] | None = None) -> None:
        """Whether the part exists, its settings fit and its signature is understood; nested parts too. Builds nothing.

        `names`: what further parts of the run are called, such as "policies.user"; None where that is not known.
        """
        parameters = self.parameters(spec)
        check_settings(spec, parameters)
        for name, parameter in parameters.items():
            kind = kind_for(parameter)
            for value, _ in entries(spec, parameter) if parameter.contract and name in spec.settings else ():
                if kind is not None and isinstance(value, (str, Mapping)) and not is_name(value):
                    self.check(Spec.from_table(kind.name, value), names)
                elif kind is not None and is_name(value) and names is not None:
                    known = [other for other in names if other.startswith(NAMED.get(kind.name, " "))]
                    if value not in known:
                        raise ConfigError(
                            f"{spec.kind} {spec.name!r}: {name} = {value!r} names no {kind.name} of this run. "
                            f"{did_you_mean(str(value), known)}"
                        )

    def provider(self, spec: Spec) -> Any:
        """The provider of sandboxes with these settings: one for all who ask in this process, closed by nobody."""
        key = (os.getpid(), spec.name, repr(sorted(spec.settings.items())))
        with self._lock:
            if key not in self._providers:
                self._providers[key] = self.build(spec)
            return self._providers[key]

    def _add(self, name: str, plugin: object) -> None:
        doing = ""
        try:
            if isinstance(plugin, EntryPoint):
                doing = f"cannot be imported from {plugin.value!r}: "
                with importing(f"plugin {name!r} ({plugin.value})"):
                    plugin = plugin.load()
                doing = ""
            self._check_hooks(name, plugin)
            self.manager.register(plugin, name=name)
            hooked = {caller.name for caller in self.manager.get_hookcallers(plugin) or ()}
            for kind, hook in OFFERS.items():
                if hook in hooked:
                    getattr(plugin, hook)(functools.partial(self._offer, kind, name))
            if "register_columns" in hooked:
                getattr(plugin, "register_columns")(functools.partial(self._declare, name))  # noqa: B009
        except (
            Exception,
            SystemExit,
        ) as error:  # a stranger's import and hooks may fail in any way, and take no other down
            reason = "" if isinstance(error, PluginError) else f"{doing}{type(error).__name__}: "
            self._switch_off(name, f"{reason}{error}{remedy(error)}")
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)

    def _offer(self, kind: str, plugin: str, name: str, target: object, *, scope: str = "") -> None:
        self.registries[kind].add(name, target, plugin, scope)

    def _declare(self, plugin: str, column: Column) -> None:
        if not isinstance(column, Column):
            raise PluginError(f"register_columns declares agentrl.Column(…), not {column!r}")
        known = self.columns.setdefault(column.name, column)
        owner = self._declared_by.setdefault(column.name, plugin if known is column else "agentrl")
        if known != column:
            raise PluginError(
                f"column {column.name!r} is declared by plugin {owner!r} and, in another way, by {plugin!r}; the later "
                f"one is switched off. Rename it: {plugin.split('.')[0]}_{column.name}"
            )

    def _check_hooks(self, name: str, plugin: object) -> None:
        if inspect.isclass(plugin):
            raise PluginError(f"plugin {name!r} is the class {plugin.__name__}; give a module or an object")
        for attribute in [name for name in dir(plugin) if name.startswith(("register_", "on_"))]:
            value = getattr(plugin, attribute)
            if attribute in HOOKS and not callable(value):
                raise PluginError(f"plugin {name!r}: the hook {attribute!r} is no function but {value!r}")
            if attribute in HOOKS and inspect.iscoroutinefunction(value):
                raise PluginError(f"plugin {name!r}: the hook {attribute!r} is async; nobody awaits it, write `def`")
            marked = hasattr(value, "agentrl_impl") or (attribute.startswith("register_") and _own(plugin, attribute))
            if marked and attribute not in HOOKS:
                raise PluginError(
                    f"plugin {name!r} implements {attribute!r}, which is no hook. {did_you_mean(attribute, HOOKS)}"
                )

    def _switch_off(self, name: str, reason: str) -> None:
        if re.search(r"agentrl.*\bfactory\b|\bfactory\b.*agentrl", reason):
            reason += "; the marker is not needed any more: remove @agentrl.factory (see CHANGELOG, 'Parts by type')"
        self.broken[name] = reason = " ".join(reason.split())
        for registry in self.registries.values():
            registry.discard_plugin(name)
        log.warning("plugin %s is switched off: %s", name, reason)


def _lacking(kind: Kind, part: object) -> str:
    """What a made part lacks of the contract of its kind; empty for one that keeps it."""
    contract = kind.contract
    if contract is Policy and hasattr(part, "act") and not hasattr(part, "accepts"):
        contract = Demonstrator
    missing = [member for member in _members(contract) if not hasattr(part, member)]
    if missing:
        return f"which lacks {', '.join(missing)} of {contract.__name__ if contract is not object else 'gymnasium.Env'}"
    for member, takes in _members(contract).items():
        if takes is not None and not _can_call(getattr(part, member), *takes):
            return f"whose {member} cannot be called with ({', '.join(takes)}), as {contract.__name__} has it"
    return ""


@functools.cache
def _members(contract: type) -> dict[str, tuple[str, ...] | None]:
    """What a contract demands: attributes without a default, and methods with the arguments they are called with."""
    if contract is object:
        return dict.fromkeys(("close", "reset", "step", "unwrapped"))  # a world
    names = {name for base in contract.__mro__[:-1] for name in (*vars(base), *getattr(base, "__annotations__", {}))}
    members: dict[str, tuple[str, ...] | None] = {}
    for name in sorted(name for name in names if not name.startswith("_")):
        method = getattr(contract, name, None)
        members[name] = None
        if inspect.isfunction(method):
            _, *takes = inspect.signature(method).parameters.values()
            members[name] = tuple(p.name for p in takes if p.kind is not p.KEYWORD_ONLY)
    return members


def _can_call(function: object, *arguments: object, **settings: object) -> bool:
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(*arguments, **settings)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        pass
    return True


@functools.cache
def default_host() -> Host:
    """The host of this process, built on first use."""
    return Host()
