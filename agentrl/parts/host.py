"""Finds plugins through entry points and asks what they offer: one registry per kind of part."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import re
import threading
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from agentrl.data.columns import COLUMNS, Column
from agentrl.errors import ConfigError, PluginError, did_you_mean
from agentrl.parts import hookspecs
from agentrl.parts.kinds import KINDS
from agentrl.parts.registry import Registry, Spec
from agentrl.parts.settings import Part, check_settings, parameters_of
from agentrl.parts.wiring import Scope, build, check_signature, nested_specs

GROUP = "agentrl"
OFFERS = {**{name: kind.hook for name, kind in KINDS.items()}, "kit": "register_kits"}
"""Everything that is offered by name → the hook that offers it: parts of each kind, and kits."""
HOOKS = frozenset(
    name
    for name, value in vars(hookspecs).items()
    if inspect.isfunction(value) and name.startswith(("register_", "on_"))
)
log = logging.getLogger(__name__)


class _Manager(pluggy.PluginManager):
    """Takes a function with a hook's name for the hook, marked or not."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        options = super().parse_hookimpl_opts(plugin, name)
        if options is None and name in HOOKS and _own(plugin, name):
            return pluggy.HookimplMarker("agentrl")(lambda: None).agentrl_impl  # type: ignore[attr-defined]
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
        self._extra = dict(extra or {})
        self.manager = _Manager("agentrl")
        self.manager.add_hookspecs(hookspecs)
        self.registries = {kind: Registry(kind) for kind in OFFERS}
        self.broken: dict[str, str] = {}
        self.columns: dict[str, Column] = dict(COLUMNS)
        self._declared_by: dict[str, str] = {}
        self._providers: dict[tuple[int, str, str], object] = {}
        self._lock = threading.Lock()
        for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
            self._load(point)
        for name, plugin in self._extra.items():
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

    def build(self, spec: Spec, scope: Scope | None = None) -> Any:
        """Make a part from its spec; what its parameters ask for by type comes from `scope`.

        Raises ConfigError for settings that do not fit, PluginError where the plugin gives something else than its
        kind promises.
        """
        part = self.part(spec.kind, spec.name)
        kind = KINDS[spec.kind]
        result = build(self, kind, spec, part, scope or Scope())
        if kind.made:
            missing = [name for name in _members(kind.contract) if not hasattr(result, name)]
            if missing and not _acts(kind.name, result):
                raise PluginError(
                    f"{spec.kind} {spec.name!r} of plugin {self.plugin_of(spec)!r} gave {result!r}, which lacks "
                    f"{', '.join(missing)} of {kind.contract.__name__}"
                )
        return result

    def plugin_of(self, spec: Spec) -> str:
        """Name of the plugin that offers a part."""
        return self.registry(spec.kind).entry(spec.name).plugin

    def check(self, spec: Spec) -> None:
        """Whether the part exists, its settings fit and its signature is understood; nested parts too. Builds nothing."""
        part = self.part(spec.kind, spec.name)
        parameters = parameters_of(part, made=KINDS[spec.kind].made or inspect.isclass(part))
        check_signature(spec, parameters)
        allowed = {
            p.name: p
            for p in parameters.values()
            if p.keyword and (p.contract is None or not p.required or p.name in spec.settings)
        }
        check_settings(
            spec, allowed | {p.name: p for p in parameters.values() if p.contract and p.name in spec.settings}
        )
        for inner in nested_specs(spec, part):
            self.check(inner)

    def provider(self, spec: Spec) -> Any:
        """The provider of sandboxes with these settings: one for all who ask in this process, closed by nobody."""
        key = (os.getpid(), spec.name, repr(sorted(spec.settings.items())))
        with self._lock:
            if key not in self._providers:
                self._providers[key] = self.build(spec)
            return self._providers[key]

    def _load(self, point: EntryPoint) -> None:
        if point.name in self.broken or self.manager.has_plugin(point.name):
            return  # the same distribution seen twice on sys.path
        try:
            plugin = point.load()
        except Exception as error:  # a stranger's import may fail in any way, and must not take the others down
            self._switch_off(point.name, f"cannot be imported from {point.value!r}: {type(error).__name__}: {error}")
            return
        self._add(point.name, plugin)

    def _add(self, name: str, plugin: object) -> None:
        try:
            self._check_hooks(name, plugin)
            self.manager.register(plugin, name=name)
            hooked = {caller.name for caller in self.manager.get_hookcallers(plugin) or ()}
            for kind, hook in OFFERS.items():
                if hook in hooked:
                    getattr(plugin, hook)(functools.partial(self._offer, kind, name))
            if "register_columns" in hooked:
                getattr(plugin, "register_columns")(functools.partial(self._declare, name))  # noqa: B009
        except Exception as error:  # what a plugin does in its hooks is its own business; it alone is switched off
            self._switch_off(name, f"{error}" if isinstance(error, PluginError) else f"{type(error).__name__}: {error}")
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
        for attribute in dir(plugin):
            if not attribute.startswith(("register_", "on_")) or attribute in HOOKS:
                continue
            value = getattr(plugin, attribute)
            if hasattr(value, "agentrl_impl") or (attribute.startswith("register_") and _own(plugin, attribute)):
                raise PluginError(
                    f"plugin {name!r} implements {attribute!r}, which is no hook. {did_you_mean(attribute, HOOKS)}"
                )

    def _switch_off(self, name: str, reason: str) -> None:
        if re.search(r"agentrl.*\bfactory\b|\bfactory\b.*agentrl", reason):
            reason += "; the marker is not needed any more: remove @agentrl.factory (see CHANGELOG, 'Parts by type')"
        self.broken[name] = reason
        for registry in self.registries.values():
            registry.discard_plugin(name)
        log.warning("plugin %s is switched off: %s", name, reason)


@functools.cache
def _members(contract: type) -> tuple[str, ...]:
    """What a contract demands: methods, and attributes without a default."""
    names = {name for base in contract.__mro__[:-1] for name in (*vars(base), *getattr(base, "__annotations__", {}))}
    return tuple(sorted(name for name in names if not name.startswith("_")))


def _acts(kind: str, result: object) -> bool:
    """A demonstrator is welcome as a policy, any Gymnasium world as an environment."""
    return kind == "policy" and callable(getattr(result, "act", None))


@functools.cache
def default_host() -> Host:
    """The host of this process, built on first use."""
    return Host()
