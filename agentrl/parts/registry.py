"""Names of parts of one kind, and how a part is built: its signature is its configuration."""

from __future__ import annotations

import functools
import importlib
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentrl.errors import ConfigError, PluginError, did_you_mean


@dataclass(frozen=True)
class Spec:
    """Which part, with which settings: what a run file says and what crosses a process border."""

    kind: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A name with a colon is short for the setting `id`: `gymnasium:CartPole-v1` is `gymnasium` with id `CartPole-v1`."""
        name, colon, inner = self.name.partition(":")
        if colon:
            object.__setattr__(self, "name", name)
            object.__setattr__(self, "settings", {"id": inner, **self.settings})

    @classmethod
    def from_table(cls, kind: str, table: Any) -> Spec:
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
            raise ConfigError(f'[{kind}] needs `name = "…"`, the {kind} to use. `agentrl list {kind}` shows them.')
        return cls(kind, name, {key: value for key, value in table.items() if key != "name"})


@dataclass(frozen=True)
class Setting:
    """One keyword-only parameter of a part."""

    name: str
    annotation: Any
    default: Any
    required: bool


@dataclass(frozen=True)
class Entry:
    """A registered name: the callable, or where to import it from, and the plugin that offered it."""

    name: str
    target: Any
    plugin: str

    def load(self) -> Callable[..., Any]:
        """The callable itself; imports it when it was registered as "module:object"."""
        if not isinstance(self.target, str):
            return typing.cast(Callable[..., Any], self.target)
        module, _, attribute = self.target.partition(":")
        try:
            found = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
        except (ImportError, AttributeError) as error:
            raise PluginError(
                f"{self.name!r} of plugin {self.plugin!r} is registered as {self.target!r}, which cannot be imported: {error}"
            ) from error
        return typing.cast(Callable[..., Any], found)


class Registry:
    """The parts of one kind, by name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def add(self, name: str, target: Any, plugin: str) -> None:
        """Raises PluginError for a name that is taken or a target that is neither callable nor "module:object"."""
        if not (callable(target) or (isinstance(target, str) and target.count(":") == 1)):
            raise PluginError(f'{self.kind} {name!r}: give a callable or "module:object", not {target!r}')
        if name in self._entries:
            raise PluginError(
                f"{self.kind} {name!r} is offered by plugin {self._entries[name].plugin!r} and by {plugin!r}; the later one is switched off. Rename it, {plugin.split('.')[0]}/{name} for instance."
            )
        self._entries[name] = Entry(name, target, plugin)

    def discard_plugin(self, plugin: str) -> None:
        """Forget everything a plugin offered."""
        self._entries = {name: entry for name, entry in self._entries.items() if entry.plugin != plugin}

    def __iter__(self) -> typing.Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, name: str) -> Entry:
        """Raises ConfigError with the nearest right word for an unknown name."""
        if name not in self._entries:
            raise ConfigError(f"there is no {self.kind} named {name!r}. {did_you_mean(name, self._entries)}")
        return self._entries[name]


def settings_of(part: Callable[..., Any]) -> dict[str, Setting]:
    """The keyword-only parameters of a part, in order."""
    hints = hints_of(part)
    return {
        parameter.name: Setting(
            parameter.name,
            hints.get(parameter.name, Any),
            None if parameter.default is parameter.empty else parameter.default,
            parameter.default is parameter.empty,
        )
        for parameter in inspect.signature(part).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def check_settings(spec: Spec, part: Callable[..., Any], *, without: typing.Collection[str] = ()) -> dict[str, Any]:
    """The settings of `spec`, checked and converted by their annotations; those named in `without` come otherwise.

    Raises ConfigError for an unknown name, a missing one, or a value that does not fit.
    """
    allowed = settings_of(part)
    where = f"{spec.kind} {spec.name!r}"
    for name in spec.settings:
        if name not in allowed:
            raise ConfigError(f"{where} has no setting {name!r}. {did_you_mean(name, allowed)}")
    for setting in allowed.values():
        if setting.required and setting.name not in spec.settings and setting.name not in without:
            raise ConfigError(f"{where} needs the setting {setting.name!r} ({describe(setting.annotation)}).")
    return {name: _convert(where, allowed[name], value) for name, value in spec.settings.items()}


def build(spec: Spec, part: Callable[..., Any], given: Mapping[str, Any] | None = None) -> Any:
    """Make the part: a class is constructed, a function gets its settings bound.

    `given` holds live parts by name (`model`, `loss`, …); those that the part takes as positional parameters are
    handed over, a missing one is a ConfigError. A function marked `@agentrl.factory` is called like a class; any other
    function is the part itself.
    """
    given = given or {}
    own = {name: given[name] for name in settings_of(part) if name in given and name not in spec.settings}
    settings = {**check_settings(spec, part, without=own), **own}
    if not inspect.isclass(part) and not is_factory(part):
        return functools.partial(part, **settings) if settings else part
    handed: dict[str, Any] = {}
    for parameter in inspect.signature(part).parameters.values():
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            continue
        if parameter.name in given:
            handed[parameter.name] = given[parameter.name]
        elif parameter.default is parameter.empty:
            raise ConfigError(
                f"{spec.kind} {spec.name!r} needs a {parameter.name}; this run has none. Add a [{parameter.name}] table."
            )
    return part(**handed, **settings)


def contract_of(annotation: Any) -> Any:
    """The class inside `X`, `X | None`, `Callable[[], X]` …: what a nested part has to be; None if it is no class."""
    if inspect.isclass(annotation):
        return annotation
    for inner in reversed(typing.get_args(annotation)):
        found = contract_of(inner)
        if found is not None and found is not type(None):
            return found
    return None


def is_factory(part: Callable[..., Any]) -> bool:
    """Whether a plain function makes the part (it is marked with `@agentrl.factory`) instead of being it."""
    return bool(getattr(part, "__agentrl_factory__", False))


def factory(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a function that is called to make a part (an environment, a model) rather than being the part."""
    function.__agentrl_factory__ = True  # type: ignore[attr-defined]
    return function


def describe(annotation: Any) -> str:
    """A short form of an annotation for messages.

    >>> describe(int), describe(float | None)
    ('int', 'float | None')
    """
    return annotation.__name__ if inspect.isclass(annotation) else str(annotation).replace("typing.", "")


def hints_of(part: Callable[..., Any]) -> dict[str, Any]:
    target = part.__init__ if inspect.isclass(part) else part
    try:
        return typing.get_type_hints(target)
    except NameError as error:  # an annotation imported only under TYPE_CHECKING
        raise PluginError(f"an annotation of {part!r} cannot be resolved: {error}; import it at run time") from error


def _convert(where: str, setting: Setting, value: Any) -> Any:
    import pydantic  # here, so that listing plugins stays light

    try:
        return _adapter(setting.annotation).validate_python(value)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"{where}: {setting.name} = {value!r} does not fit: {first['msg'].lower()}. It takes {describe(setting.annotation)}"
            + ("." if setting.required else f", default {setting.default!r}.")
        ) from None


def _adapter(annotation: Any) -> Any:
    import pydantic

    strict = pydantic.ConfigDict(arbitrary_types_allowed=True, strict=False)
    if inspect.isclass(annotation) and issubclass(annotation, (bool, int, str)):
        return pydantic.TypeAdapter(typing.Annotated[annotation, pydantic.Strict()])
    try:
        return pydantic.TypeAdapter(annotation, config=strict)
    except pydantic.PydanticUserError:  # a BaseModel or dataclass brings its own config
        return pydantic.TypeAdapter(annotation)
