"""The parameters of a part: its signature is its configuration."""

from __future__ import annotations

import difflib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agentrl.data.schedules import Scheduled
from agentrl.errors import ConfigError, PluginError, did_you_mean
from agentrl.parts.kinds import INJECTED
from agentrl.parts.registry import Spec

Part = Callable[..., object]
MISSING = inspect.Parameter.empty


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


def parameters_of(part: Part, *, made: bool) -> dict[str, Parameter]:
    """All parameters of what is made, the keyword-only ones of what is called. Raises PluginError for a bad signature."""
    hints = hints_of(part)
    found = {}
    for parameter in inspect.signature(part).parameters.values():
        keyword = parameter.kind is parameter.KEYWORD_ONLY
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) or not (made or keyword):
            continue
        annotation = hints.get(parameter.name, object)
        meaning = next((text for text in getattr(annotation, "__metadata__", ()) if isinstance(text, str)), "")
        annotation = _bare(annotation)
        found[parameter.name] = Parameter(
            parameter.name, annotation, parameter.default, meaning, contract_of(annotation), keyword
        )
    return found


def settings_of(part: Part, *, made: bool = True) -> dict[str, Parameter]:
    """The parameters that a run file sets: keyword-only, parts with a default included."""
    parameters = parameters_of(part, made=made)
    return {name: p for name, p in parameters.items() if p.keyword and not (p.contract is not None and p.required)}


def check_settings(spec: Spec, allowed: Mapping[str, Parameter]) -> dict[str, object]:
    """The settings of `spec`, converted by their annotations; values of parts are left as they are.

    Raises ConfigError for an unknown name, a missing one, or a value that does not fit.
    """
    where = f"{spec.kind} {spec.name!r}"
    for name in spec.settings:
        if name not in allowed:
            raise ConfigError(f"{where} has no setting {name!r}. {did_you_mean(name, allowed)}")
    for setting in allowed.values():
        if setting.required and setting.name not in spec.settings:
            raise ConfigError(f"{where} needs the setting {setting.name!r} ({describe(setting.annotation)}).")
    return {
        name: value if allowed[name].contract is not None else convert(where, allowed[name], value)
        for name, value in spec.settings.items()
    }


def contract_of(annotation: object) -> object | None:
    """The contract inside `X`, `X | None`, `Callable[[], X]` …: what the run hands in; None for a plain setting."""
    if annotation in INJECTED if _hashable(annotation) else False:
        return annotation
    for inner in reversed(typing.get_args(annotation)):
        found = contract_of(inner)
        if found is not None:
            return found
    return None


def describe(annotation: object) -> str:
    """A short form of an annotation for messages.

    >>> describe(int), describe(float | None)
    ('int', 'float | None')
    >>> describe(typing.Annotated[Scheduled[int], "turns"] | None)
    'Scheduled[int] | None'
    """
    annotation = _bare(annotation)
    inner = typing.get_args(annotation)
    if _is_union(annotation):
        return " | ".join(map(describe, inner))
    if typing.get_origin(annotation) is Scheduled:
        return f"Scheduled[{describe(inner[0])}]"
    name = getattr(annotation, "__name__", "") if isinstance(annotation, (type, typing.NewType)) and not inner else ""
    return name.replace("NoneType", "None") or str(annotation).replace("typing.", "")


def hints_of(part: Part) -> dict[str, object]:
    """Annotations by parameter. Raises PluginError where one cannot be resolved."""
    target = part.__init__ if inspect.isclass(part) else part
    try:
        return typing.get_type_hints(target, include_extras=True)
    except NameError as error:  # an annotation imported only under TYPE_CHECKING
        name = f"{getattr(part, '__module__', '?')}.{getattr(part, '__qualname__', part)}"
        raise PluginError(f"an annotation of {name} cannot be resolved: {error}; import it at run time") from error
    except TypeError:  # a callable object without annotations of its own
        return {}


def convert(where: str, setting: Parameter, value: object) -> object:
    """A value by its annotation. Raises ConfigError, saying what was given and what is taken."""
    import pydantic  # here, so that listing plugins stays light

    try:
        return _adapter(setting.annotation).validate_python(value)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        near = _nearest(setting.annotation, value)
        raise ConfigError(
            f"{where}: {setting.name} = {value!r} does not fit: {reason(first['msg'])}.{near} "
            f"It takes {describe(setting.annotation)}"
            + ("." if setting.required else f", default {setting.default!r}.")
        ) from None


def reason(message: str) -> str:
    """What pydantic says, inside a sentence of ours."""
    own = message.removeprefix("Value error, ")
    return own.rstrip(".") if own != message else message.lower()


def _nearest(annotation: object, value: object) -> str:
    words = [word for word in typing.get_args(annotation) if isinstance(word, str)]
    near = difflib.get_close_matches(str(value), words, n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


@functools.cache
def _adapter(annotation: typing.Any) -> typing.Any:
    import pydantic

    config = pydantic.ConfigDict(arbitrary_types_allowed=True, strict=False)
    if isinstance(annotation, type) and issubclass(annotation, (bool, int, str)):
        return pydantic.TypeAdapter(typing.Annotated[annotation, pydantic.Strict()])
    try:
        return pydantic.TypeAdapter(annotation, config=config)
    except pydantic.PydanticUserError:  # a BaseModel or dataclass brings its own config
        return pydantic.TypeAdapter(annotation)


def _bare(annotation: object) -> object:
    """Without `Annotated`, also inside `Annotated[X, …] | None`."""
    if getattr(annotation, "__metadata__", None) is not None:
        return _bare(getattr(annotation, "__origin__", annotation))
    if _is_union(annotation):
        inner = tuple(_bare(argument) for argument in typing.get_args(annotation))
        return functools.reduce(lambda one, other: typing.Union[one, other], inner)  # noqa: UP007
    return annotation


def _is_union(annotation: object) -> bool:
    return isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union


def _hashable(value: object) -> bool:
    return getattr(value, "__hash__", None) is not None and not isinstance(value, (list, dict))
