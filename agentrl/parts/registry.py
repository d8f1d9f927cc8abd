"""Names of parts of one kind, and where each comes from."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from agentrl.data.installation import remedy
from agentrl.errors import ConfigError, PluginError, did_you_mean

log = logging.getLogger(__name__)
SLOW_S = 10.0
"""Seconds after which a person is told what is being imported."""


@contextlib.contextmanager
def importing(what: str) -> Iterator[None]:
    """Says what is being imported where that takes long, or where somebody ends it."""
    late = threading.Timer(SLOW_S, log.warning, (f"{what} has been imported for {SLOW_S:g} s; Ctrl-C ends it",))
    late.daemon = True
    late.start()
    try:
        yield
    except KeyboardInterrupt:
        log.warning("interrupted while %s was imported", what)
        raise
    finally:
        late.cancel()


@dataclass(frozen=True)
class Spec:
    """Which part, with which settings: what a run file says and what crosses a process border."""

    kind: str
    name: str
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A name with a colon is short for the setting `id`: `gymnasium:CartPole-v1` is `gymnasium` with id `CartPole-v1`."""
        name, colon, inner = self.name.partition(":")
        if colon:
            object.__setattr__(self, "name", name)
            object.__setattr__(self, "settings", {"id": inner, **self.settings})

    @classmethod
    def from_table(cls, kind: str, table: object) -> Spec:
        """From a run file's table: `name` picks the plugin, the other keys are its settings.

        >>> Spec.from_table("credit", {"name": "gigpo", "gamma": 0.9})
        Spec(kind='credit', name='gigpo', settings={'gamma': 0.9})
        """
        if isinstance(table, str):
            return cls(kind, table)
        if not isinstance(table, Mapping):
            raise ConfigError(f"[{kind}] must be a table or a name, not {table!r}")
        name = table.get("name")
        if not isinstance(name, str):
            given = f", not {name!r}" if "name" in table else ""
            raise ConfigError(
                f'[{kind}] needs `name = "…"`, the {kind} to use{given}. `agentrl list {kind}` shows them.'
            )
        return cls(kind, name, {key: value for key, value in table.items() if key != "name"})


@dataclass(frozen=True)
class Entry:
    """A registered name: the callable, or where to import it from, and the plugin that offered it."""

    name: str
    target: Callable[..., object] | str
    plugin: str
    scope: str = ""  # of a credit, shaper or judge: what it compares; its own attribute `scope` unless given

    def load(self) -> Callable[..., object]:
        """The callable itself; imports it when it was registered as "module:object"."""
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        try:
            with importing(f"{self.name!r} of plugin {self.plugin!r} ({self.target})"):
                part = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
        except (Exception, SystemExit) as error:  # a stranger's import may fail in any way
            raise PluginError(
                f"{self.name!r} of plugin {self.plugin!r} is registered as {self.target!r}, which cannot be imported: "
                f"{type(error).__name__}: {' '.join(str(error).split())}{remedy(error)}"
            ) from error
        if not callable(part):
            raise PluginError(f"{self.name!r} of plugin {self.plugin!r}: {self.target!r} is no callable but {part!r}")
        return part


class Registry:
    """The parts of one kind, by name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def add(self, name: str, target: object, plugin: str, scope: str = "") -> None:
        """Raises PluginError for a name that is none or is taken, and for a target or a scope that is none."""
        if not (isinstance(name, str) and re.fullmatch(r"[\w/-]+", name)):
            raise PluginError(f"{self.kind} {name!r}: a name is made of letters, digits, '_', '-' and '/'")
        if not (callable(target) or (isinstance(target, str) and target.count(":") == 1)):
            raise PluginError(f'{self.kind} {name!r}: give a callable or "module:object", not {target!r}')
        if scope not in ("", "group", "update", "run"):
            raise PluginError(f'{self.kind} {name!r}: scope = {scope!r}; allowed are "group", "update", "run"')
        if name in self._entries:
            other = self._entries[name].plugin
            both = "twice by plugin" if other == plugin else f"by plugin {other!r} and by"
            raise PluginError(
                f"{self.kind} {name!r} is offered {both} {plugin!r}; the later one is switched off. Rename it, "
                f"{plugin.split('.')[0]}/{name} for instance."
            )
        self._entries[name] = Entry(name, target, plugin, scope)

    def discard_plugin(self, plugin: str) -> None:
        """Forget everything a plugin offered."""
        self._entries = {name: entry for name, entry in self._entries.items() if entry.plugin != plugin}

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def entry(self, name: str) -> Entry:
        """Raises ConfigError with the nearest right word for an unknown name."""
        if name not in self._entries:
            raise ConfigError(f"there is no {self.kind} named {name!r}. {did_you_mean(name, self._entries)}")
        return self._entries[name]
