"""ToolEnvironment: a world whose methods marked `@tool` are what an agent can do."""

from __future__ import annotations

import functools
import inspect
import json
import re
import textwrap
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from agentrl.data.types import Task
from agentrl.errors import AgentRLError, PluginError, did_you_mean
from agentrl.worlds.text_world import Scene, TextWorld
from agentrl.worlds.toolcalls import ToolAction, ToolCall

_Function = TypeVar("_Function", bound=Callable[..., Any])


class ToolError(AgentRLError):
    """A tool refuses what the agent asked; raised inside a tool, the message is what the agent reads."""


def tool(function: _Function) -> _Function:
    """Mark a method as a tool: its annotations and docstring are its schema, its arguments are checked before it runs.

    The docstring is what the agent reads; a line `name: what it is` describes a parameter. It returns anything JSON
    can hold (text is passed on as it is) and raises ToolError to refuse. Raises PluginError where a docstring or an
    annotation is missing.
    """
    where = f"tool {function.__qualname__!r}"
    if not (function.__doc__ or "").strip():
        raise PluginError(f"{where} has no docstring; it is what the agent reads")
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise PluginError(f"{where}: give {parameter.name!r} a name of its own, calls pass arguments by name")
        if parameter.annotation is parameter.empty:
            raise PluginError(f"{where}: annotate {parameter.name!r}, its schema comes from there")
    function.__agentrl_tool__ = True  # type: ignore[attr-defined]
    return function


class ToolEnvironment(TextWorld):
    """A world played by calling tools and, where it has a user, by talking.

    A subclass marks methods with `@tool` and writes `begin` and `score`; `hear` where there is someone to talk to.
    What an agent gets wrong (no JSON, an unknown tool, an argument that does not fit, a ToolError) is an observation
    `{"error": …}` and `info["invalid"]`, never an exception. `info["calls"]` lists the calls of the turn, each with
    its `name`, `arguments` and `error`.
    """

    max_turns = 30
    """After so many actions the episode is truncated and earns nothing."""

    after_the_end = ""

    tools_offered: tuple[str, ...] | None = None
    """Names of the tools there are; None: all that are marked."""

    _finished: bool = False

    def hear(self, message: str) -> str | None:
        """What the user says to a message; None when nothing more is to be said, which ends the episode."""
        return None

    def score(self) -> Mapping[str, float]:
        """Named parts of the reward, asked once, when the episode ends by itself. A sum of 1 is success."""
        raise NotImplementedError(f"{type(self).__name__} must write score()")

    def finish(self) -> None:
        """For a tool that ends the episode."""
        self._finished = True

    def call(self, call: ToolCall) -> Any:
        """Run one call. Raises ToolError with what the agent should read."""
        arguments = self.arguments(call)
        return getattr(type(self), call.name)(self, **arguments)  # an attribute of the world may have a tool's name

    def arguments(self, call: ToolCall) -> dict[str, Any]:
        """The arguments of a call as the tool's annotations want them. Raises ToolError for a call that cannot run."""
        specs = self._specs()
        if call.name not in specs:
            raise ToolError(f"there is no tool {call.name[:80]!r}. {did_you_mean(call.name[:80], specs)}")
        return specs[call.name].check(call.arguments)

    def anchor(self) -> str | None:
        """What a credit may take as the same state; None: the observation."""
        return None

    @property
    def tool_schemas(self) -> tuple[Mapping[str, Any], ...]:
        """What the tools look like, in the form chat templates take."""
        return tuple(spec.schema for spec in self._specs().values())

    def act(self, action: str) -> Scene:
        """Run the calls of an action in order, one line of results each, or pass a message on to the user."""
        said = ToolAction.read(action)
        calls: list[dict[str, Any]] = []
        if said.error:
            observation, invalid = _written({"error": said.error}), said.error
        elif said.calls:
            lines = [self._run(call, calls) for call in said.calls]
            observation, invalid = "\n".join(lines), "; ".join(filter(None, (call["error"] for call in calls)))
        else:
            reply = self.hear(said.message)
            self._finished |= reply is None
            observation, invalid = reply or "", ""
        return self.scored(Scene(observation, invalid=invalid, anchor=self.anchor(), calls=calls))

    def scored(self, scene: Scene) -> Scene:
        """The scene with the score, where the episode ended with it."""
        rewards = dict(self.score()) if self._finished else {}
        success = self._finished and sum(rewards.values()) >= 1 - 1e-9
        return scene.replace(done=self._finished, success=success, rewards=rewards)

    def _opening(self, task: Task) -> Scene:
        self._finished = False
        scene = super()._opening(task)
        return scene.replace(anchor=self.anchor() if scene.anchor is None else scene.anchor, rewards={}, success=False)

    def _run(self, call: ToolCall, calls: list[dict[str, Any]]) -> str:
        error = ""
        try:
            return _written(self.call(call))
        except ToolError as refused:
            error = str(refused)
            return _written({"error": error})
        finally:
            calls.append({"name": call.name, "arguments": dict(call.arguments), "error": error})

    def _specs(self) -> Mapping[str, _ToolSpec]:
        owner: Any = type(self)
        return _specs_of(owner, self.tools_offered)


@dataclass(frozen=True)
class _ToolSpec:
    name: str
    schema: Mapping[str, Any]
    model: Any
    parameters: tuple[str, ...]

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as the tool's annotations want them. Raises ToolError naming each one that does not fit."""
        import pydantic

        try:
            checked = self.model.model_validate_json(json.dumps(arguments), strict=True)
        except pydantic.ValidationError as error:
            faults = "; ".join(self._fault(fault) for fault in error.errors(include_url=False)[:5])
            raise ToolError(f"tool {self.name!r}: {faults}") from None
        return {name: getattr(checked, _field(name)) for name in self.parameters}

    def _fault(self, fault: Mapping[str, Any]) -> str:
        where = ".".join(str(part) for part in fault["loc"])[:80]
        if fault["type"] == "extra_forbidden":
            return f"there is no argument {where!r}. {did_you_mean(where, self.parameters)}"
        if fault["type"] == "missing":
            return f"the argument {where!r} is missing"
        return f"the argument {where!r} does not fit: {fault['msg'].lower()}, given {str(fault['input'])[:80]!r}"


def _field(name: str) -> str:
    return f"argument_{name}"  # under another name, since pydantic keeps some (`copy`, `json`) for itself


@functools.cache
def _specs_of(owner: Any, offered: tuple[str, ...] | None) -> Mapping[str, _ToolSpec]:
    """The tools of a class, in the order they were written, base classes first."""
    names = [name for base in reversed(owner.__mro__) for name, value in vars(base).items() if _is_tool(value)]
    found = {name: _spec(getattr(owner, name)) for name in names if _is_tool(getattr(owner, name))}
    for name in offered or ():
        if name not in found:
            raise PluginError(f"{owner.__name__} offers {name!r}, which is no tool. {did_you_mean(name, found)}")
    return found if offered is None else {name: found[name] for name in offered}


def _is_tool(value: Any) -> bool:
    return bool(getattr(value, "__agentrl_tool__", False))


def _spec(function: Any) -> _ToolSpec:
    import pydantic  # here, so that listing worlds stays light

    parameters = list(inspect.signature(function).parameters.values())[1:]
    hints = typing.get_type_hints(function, include_extras=True)
    description, notes = _read_docstring(function, [parameter.name for parameter in parameters])
    fields: dict[str, Any] = {}
    for parameter in parameters:
        default = ... if parameter.default is parameter.empty else parameter.default
        note = notes.get(parameter.name)
        field = pydantic.Field(default, alias=parameter.name, description=note)
        fields[_field(parameter.name)] = (hints[parameter.name], field)
    config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    model = pydantic.create_model(function.__name__, __config__=config, **fields)
    schema = _untitled(model.model_json_schema(by_alias=True))
    schema.setdefault("properties", {})
    named = {"name": function.__name__, "description": description, "parameters": schema}
    return _ToolSpec(
        function.__name__, {"type": "function", "function": named}, model, tuple(p.name for p in parameters)
    )


def _read_docstring(function: Any, parameters: list[str]) -> tuple[str, dict[str, str]]:
    """What the tool does, and what each parameter is: in any style that docstring_parser knows, or as bare lines."""
    import docstring_parser

    text = inspect.cleandoc(function.__doc__ or "")
    bare = re.search(rf"^({'|'.join(parameters)}): ", text, re.MULTILINE) if parameters else None
    if bare is not None:
        text = f"{text[: bare.start()]}Args:\n{textwrap.indent(text[bare.start() :], '    ')}"
    read = docstring_parser.parse(text)
    does = " ".join(f"{read.short_description or ''} {read.long_description or ''}".split())
    return does, {note.arg_name: " ".join((note.description or "").split()) for note in read.params}


def _untitled(schema: Any) -> Any:
    """A JSON schema without the titles pydantic makes up; a property that is named `title` stays."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _untitled(inner) for name, inner in value.items()} if key == "properties" else _untitled(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }


def _written(result: Any) -> str:
    """A tool's result as the agent reads it: text as it is, anything else as JSON."""
    if isinstance(result, str):
        return result
    from pydantic_core import to_jsonable_python

    return json.dumps(result, ensure_ascii=False, default=to_jsonable_python)
