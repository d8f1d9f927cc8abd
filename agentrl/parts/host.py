"""Finds plugins through entry points and asks what they offer: one registry per kind of part."""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from agentrl.errors import ConfigError, PluginError, did_you_mean
from agentrl.parts import hookspecs
from agentrl.parts.hookspecs import OFFERS
from agentrl.parts.registry import Registry, Spec, build, contract_of, hints_of

GROUP = "agentrl"
NESTED = {"SandboxProvider": "sandbox", "Policy": "policy", "Judge": "judge"}
"""Contract that a parameter is annotated with → kind of the nested part."""
log = logging.getLogger(__name__)


class Host:
    """Every installed plugin, loaded. A plugin that fails is switched off and listed in `broken` with its reason."""

    def __init__(self, extra: Mapping[str, Any] | None = None) -> None:
        """`extra`: plugins given as live modules or objects by name, beside the installed ones."""
        self.manager = pluggy.PluginManager("agentrl")
        self.manager.add_hookspecs(hookspecs)
        self.registries = {kind: Registry(kind) for kind in OFFERS}
        self.broken: dict[str, str] = {}
        self._providers: dict[tuple[int, str, str], Any] = {}
        self._lock = threading.Lock()
        for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
            self._load(point)
        for name, plugin in (extra or {}).items():
            self._add(name, plugin)

    def registry(self, kind: str) -> Registry:
        """Raises ConfigError for an unknown kind."""
        if kind not in self.registries:
            raise ConfigError(f"there is no kind of part named {kind!r}. {did_you_mean(kind, self.registries)}")
        return self.registries[kind]

    def part(self, kind: str, name: str) -> Any:
        """The registered callable, imported if need be. Raises ConfigError for an unknown kind or name."""
        registry = self.registry(kind)
        try:
            return registry.entry(name).load()
        except ConfigError as error:
            # Only the entry point name of a broken plugin is known, so a match on the name is the best hint there is.
            blamed = [f"{plugin} ({reason})" for plugin, reason in self.broken.items() if name.split("/")[-1] in plugin]
            raise ConfigError(f"{error}" + (f" Switched off: {'; '.join(blamed)}." if blamed else "")) from None

    def build(self, spec: Spec, **given: Any) -> Any:
        """Make a part from its spec; `given` are live parts it may take (`model`, `loss`, `encoder` …).

        A parameter annotated with SandboxProvider, Policy or Judge takes a nested table and receives a factory: a callable
        that makes a new one each time, but for providers of sandboxes, which are shared (see `provider`).
        """
        part = self.part(spec.kind, spec.name)
        plain, nested = self.split(spec, part)
        factories = {
            name: functools.partial(self.provider, inner)
            if inner.kind == "sandbox"
            else functools.partial(self.build, inner, **given)
            for name, inner in nested.items()
        }
        return build(plain, part, {**given, **factories})

    def provider(self, spec: Spec) -> Any:
        """The provider of sandboxes with these settings: one for all who ask in this process, closed by nobody."""
        key = (os.getpid(), spec.name, repr(sorted(spec.settings.items())))
        with self._lock:
            if key not in self._providers:
                self._providers[key] = self.build(spec)
            return self._providers[key]

    def split(self, spec: Spec, part: Any) -> tuple[Spec, dict[str, Spec]]:
        """The spec without its nested parts, and these by parameter name."""
        nested = {}
        for name, annotation in hints_of(part).items():
            kind = NESTED.get(getattr(contract_of(annotation), "__name__", ""))
            if kind is not None and isinstance(spec.settings.get(name), (Mapping, str)):
                nested[name] = Spec.from_table(kind, spec.settings[name])
        plain = {name: value for name, value in spec.settings.items() if name not in nested}
        return Spec(spec.kind, spec.name, plain), nested

    def _load(self, point: EntryPoint) -> None:
        if point.name in self.broken or self.manager.has_plugin(point.name):
            return  # the same distribution seen twice on sys.path
        try:
            plugin = point.load()
        except Exception as error:  # a stranger's import may fail in any way, and must not take the others down
            self._switch_off(point.name, f"cannot be imported from {point.value!r}: {type(error).__name__}: {error}")
            return
        self._add(point.name, plugin)

    def _add(self, name: str, plugin: Any) -> None:
        try:
            self.manager.register(plugin, name=name)
            self._check_hooks(name, plugin)
            for kind, hook in OFFERS.items():
                offer = self._own_hook(plugin, hook)
                if offer is not None:
                    offer(functools.partial(self._offer, kind, name))
        except Exception as error:  # what a plugin does in its hooks is its own business; it alone is switched off
            self._switch_off(name, f"{error}" if isinstance(error, PluginError) else f"{type(error).__name__}: {error}")
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)

    def _own_hook(self, plugin: Any, hook: str) -> Any:
        callers = self.manager.get_hookcallers(plugin) or []
        return getattr(plugin, hook) if any(caller.name == hook for caller in callers) else None

    def _offer(self, kind: str, plugin: str, name: str, target: Any) -> None:
        self.registries[kind].add(name, target, plugin)

    def _check_hooks(self, name: str, plugin: Any) -> None:
        known = {*OFFERS.values(), "register_commands", "on_trajectories", "on_update"}
        for attribute in dir(plugin):
            if not attribute.startswith(("register_", "on_")):
                continue
            marked = hasattr(getattr(plugin, attribute), "agentrl_impl")
            if marked and attribute not in known:
                raise PluginError(
                    f"plugin {name!r} implements {attribute!r}, which is no hook. {did_you_mean(attribute, known)}"
                )
            if (
                not marked
                and attribute in known
                and getattr(getattr(plugin, attribute), "__module__", "") == getattr(plugin, "__name__", None)
            ):
                raise PluginError(
                    f"plugin {name!r} defines {attribute} without @agentrl.hookimpl, so it would never be called"
                )

    def _switch_off(self, name: str, reason: str) -> None:
        self.broken[name] = reason
        for registry in self.registries.values():
            registry.discard_plugin(name)
        log.warning("plugin %s is switched off: %s", name, reason)


@functools.cache
def default_host() -> Host:
    """The host of this process, built on first use."""
    return Host()
