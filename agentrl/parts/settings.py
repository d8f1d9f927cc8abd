"""The parameters of a part: its signature is its configuration."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import json
import re
import typing
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from types import UnionType

from agentrl.errors import ConfigError, PluginError, did_you_mean
from agentrl.parts.kinds import INJECTED
from agentrl.parts.registry import Spec

Part = Callable[..., object]
Value = typing.TypeVar("Value")
MISSING = inspect.Parameter.empty


class OnlyWith:
    """Inside `Annotated`: the setting does something only where another one has one of these values, or is not empty.

    >>> from typing import Annotated
    >>> betas: Annotated[tuple[float, float], "decay of Adam's moments", OnlyWith("optimizer", "adam")] = (0.9, 0.999)
    """

    def __init__(self, setting: str, *values: object) -> None:
        self.setting, self.values = setting, values

    def idle(self, settings: Mapping[str, object], parameters: Mapping[str, Parameter]) -> str:
        """Why the setting does nothing beside these; empty where it does."""
        other = settings.get(self.setting, parameters[self.setting].default)
        if other in self.values if self.values else other:
            return ""
        wanted = " or ".join(map(repr, self.values)) or "another value"
        return f"with {self.setting} = {other!r} (it needs {wanted} there)"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a part. With a `contract` it takes a part of the run; else it is a setting."""

    name: str
    annotation: object
    default: object
    meaning: str
    contract: object | None
    keyword: bool

    @property
    def required(self) -> bool:
        return self.default is MISSING

    @property
    def settable(self) -> bool:
        """Whether a run file sets it: settings, and parts with a default."""
        return self.keyword and not (self.contract is not None and self.required)


def parameters_of(part: Part, *, made: bool) -> dict[str, Parameter]:
    """All parameters of what is made, the keyword-only ones of what is called. Raises PluginError for a bad signature."""
    try:
        signature, hints = inspect.signature(part), _hints(part)
    except Exception as error:  # annotations are a stranger's code, and are evaluated here
        where = "; import it at run time" if isinstance(error, NameError) else ""  # it was for type checkers only
        raise PluginError(f"its signature cannot be resolved: {type(error).__name__}: {error}{where}") from error
    parameters = {}
    for parameter in signature.parameters.values():
        keyword = parameter.kind is parameter.KEYWORD_ONLY
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) or not (made or keyword):
            continue
        annotation = hints.get(parameter.name, object)
        meaning = next((text for text in getattr(annotation, "__metadata__", ()) if isinstance(text, str)), "")
        parameters[parameter.name] = Parameter(
            parameter.name, annotation, parameter.default, meaning, contract_of(annotation), keyword
        )
    return parameters


def _hints(part: Part) -> dict[str, typing.Any]:
    target = part.__init__ if inspect.isclass(part) else getattr(part, "func", part)  # a partial's function
    return typing.get_type_hints(target if inspect.isroutine(target) else type(target).__call__, include_extras=True)


def settings_of(part: Part, *, made: bool = True) -> dict[str, Parameter]:
    """The parameters that a run file sets."""
    return {name: p for name, p in parameters_of(part, made=made).items() if p.settable}


def check_settings(spec: Spec, parameters: Mapping[str, Parameter]) -> dict[str, object]:
    """The settings of `spec`, converted by their annotations; values of parts are left as they are.

    Raises ConfigError for an unknown name, a missing one, or a value that does not fit.
    """
    where = f"{spec.kind} {spec.name!r}"
    allowed = {n: p for n, p in parameters.items() if p.settable or (p.contract is not None and n in spec.settings)}
    for name in spec.settings:
        if name not in allowed:
            raise ConfigError(f"{where} has no setting {name!r}. {did_you_mean(name, allowed)}")
    for setting in allowed.values():
        if setting.required and setting.name not in spec.settings:
            raise ConfigError(f"{where} needs the setting {setting.name!r} ({describe(setting.annotation)}).")
    return {
        name: value if allowed[name].contract is not None else _converted(where, allowed[name], value)
        for name, value in spec.settings.items()
    }


def contract_of(annotation: object) -> object | None:
    """The contract inside `X`, `X | None`, `Callable[[], X]` …: what the run hands in; None for a plain setting."""
    if any(annotation is contract for contract in INJECTED):
        return annotation
    inner = map(contract_of, reversed(typing.get_args(annotation)))
    return next((contract for contract in inner if contract is not None), None)


def bare(annotation: object) -> object:
    """Without `Annotated`."""
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Annotated else annotation


def describe(annotation: object) -> str:
    """A short form of an annotation for messages, as TOML has it: tuples are lists.

    >>> describe(int), describe(float | None), describe(dict[str, tuple[int, ...]])
    ('int', 'float | None', 'dict[str, list[int]]')
    """
    annotation = bare(annotation)
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (UnionType, typing.Union):
        return " | ".join(map(describe, inner))
    if origin is typing.Literal:
        return str(annotation).replace("typing.", "")
    name = getattr(origin or annotation, "__name__", str(annotation)).replace("NoneType", "None")
    if not inner:
        return name
    if isinstance(origin, type) and issubclass(origin, (Sequence, Set)):
        name = "list"
    return f"{name}[{', '.join(describe(argument) for argument in inner if argument is not ...)}]"


def reason(message: str) -> str:
    """What pydantic says, inside a sentence of ours; TOML has lists only."""
    own = message.removeprefix("Value error, ")
    if own != message:
        return own.rstrip(".")
    words = re.sub(r"\b(array|tuple|frozenset|set)\b", "list", message.replace(" for <class 'pathlib.Path'>", ""))
    return words[0].lower() + words[1:]


def _converted(where: str, setting: Parameter, value: object) -> object:
    """A value by its annotation. Raises ConfigError, saying what was given and what is taken."""
    import pydantic  # here, so that listing plugins stays light

    adapter = _adapter(setting.annotation)
    if unknown := _unknown_key(setting.annotation, value):
        raise ConfigError(f"{where}: {setting.name} = {value!r} does not fit: it has no key {unknown}")
    try:
        return expanded(adapter.validate_python(value, strict=True))
    except pydantic.ValidationError as error:
        mistake = error
    try:  # lists for tuples, text for paths, tables for dataclasses; but no text for numbers
        return expanded(adapter.validate_json(json.dumps(value), strict=True))
    except pydantic.ValidationError as error:
        if error.errors()[0]["type"] != "needs_python_object":
            mistake = error
    except (TypeError, ValueError):
        pass  # a live object
    first = mistake.errors()[0]
    lacks = f"{first['loc'][-1]!r}: " if first["type"] == "missing" and first["loc"] else ""
    default = "" if setting.required else f", default {setting.default!r}"
    raise ConfigError(
        f"{where}: {setting.name} = {value!r} does not fit: {lacks}{reason(first['msg'])}."
        f"{_nearest(setting.annotation, value)} It takes {describe(setting.annotation)}{default}."
    ) from None


def expanded(value: Value) -> Value:
    """The value, with the user's home for `~` where it is a path or holds some. Raises ConfigError where nobody has one."""
    if isinstance(value, Path):
        try:
            return value.expanduser()
        except RuntimeError as error:
            raise ConfigError(f"{str(value)!r}: {error}; write the path in full") from None
    if isinstance(value, (list, tuple)) and any(isinstance(entry, Path) for entry in value):
        return type(value)(map(expanded, value))
    return value


def _unknown_key(annotation: object, value: object) -> str:
    """A key that no dataclass in an annotation has, with what was perhaps meant; pydantic ignores such keys."""
    annotation = bare(annotation)
    inner = typing.get_args(annotation)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation) and isinstance(value, Mapping):
        hints = _hints(annotation)
        names = [field.name for field in dataclasses.fields(annotation) if field.init]
        unknown = (f"{key!r}. {did_you_mean(str(key), names)}" for key in value if key not in names)
        return next(unknown, "") or next(filter(None, (_unknown_key(hints.get(key), value[key]) for key in value)), "")
    if typing.get_origin(annotation) in (UnionType, typing.Union):
        reasons = [_unknown_key(one, value) for one in inner if one is not type(None)]
        return reasons[0] if reasons and all(reasons) else ""
    entries = list(value.values()) if isinstance(value, Mapping) else value
    if not (inner and isinstance(entries, (list, tuple))):
        return ""
    return next(filter(None, (_unknown_key(inner[-1 if inner[-1] is not ... else 0], one) for one in entries)), "")


def _nearest(annotation: object, value: object) -> str:
    words = [word for word in typing.get_args(bare(annotation)) if isinstance(word, str)]
    near = difflib.get_close_matches(str(value), words, n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


@functools.cache
def _adapter(annotation: typing.Any) -> typing.Any:
    import pydantic

    try:
        return pydantic.TypeAdapter(annotation, config=pydantic.ConfigDict(arbitrary_types_allowed=True))
    except pydantic.PydanticUserError:  # a BaseModel or dataclass brings its own config
        return pydantic.TypeAdapter(annotation)
