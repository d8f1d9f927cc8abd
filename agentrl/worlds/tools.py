"""ToolEnvironment: a world whose methods marked `@tool` are what an agent can do."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import gymnasium

from agentrl.data.types import Task
from agentrl.errors import AgentRLError, PluginError, did_you_mean
from agentrl.worlds.environment import Environment
from agentrl.worlds.toolcalls import ToolAction, ToolCall

Info: TypeAlias = dict[str, Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])

_ENDED = "the task is over"


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


class ToolEnvironment(Environment):
    """A world played by calling tools and, where it has a user, by talking.

    A subclass marks methods with `@tool` and writes `begin` and `score`; `hear` where there is someone to talk to.
    What an agent gets wrong (no JSON, an unknown tool, an argument that does not fit, a ToolError) is an observation
    `{"error": …}` and `info["invalid"]`, never an exception.
    """

    max_turns: int = 30
    """After so many actions the episode is truncated and earns nothing."""

    tools_offered: tuple[str, ...] | None = None
    """Names of the tools there are; None: all that are marked."""

    _task: Task | None = None
    _over: str = ""  # why nothing more can be done

    def begin(self, task: Task) -> str:
        """Set up a task and return the first observation. Randomness comes from the task, or `self.np_random`."""
        raise NotImplementedError(f"{type(self).__name__} must write begin(task)")

    def hear(self, message: str) -> str | None:
        """What the user says to a message; None when nothing more is to be said, which ends the episode."""
        return None

    def score(self) -> Mapping[str, float]:
        """Named parts of the reward, asked once, when the episode ends by itself. A sum of 1 is success."""
        raise NotImplementedError(f"{type(self).__name__} must write score()")

    def finish(self) -> None:
        """For a tool that ends the episode."""
        self._over = _ENDED

    def call(self, call: ToolCall) -> Any:
        """Run one call. Raises ToolError with what the agent should read."""
        specs = self._specs()
        if call.name not in specs:
            raise ToolError(f"there is no tool {call.name[:80]!r}. {did_you_mean(call.name[:80], specs)}")
        return getattr(self, call.name)(**specs[call.name].check(call.arguments))

    @property
    def tool_schemas(self) -> tuple[Mapping[str, Any], ...]:
        """What the tools look like, in the form chat templates take."""
        return tuple(spec.schema for spec in self._specs().values())

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, Info]:
        """Begin a task; without an index, one drawn from the split."""
        super().reset(seed=seed)
        self._task = self.pick_task(options)
        self._turns, self._over = 0, ""
        self._observation = self.begin(self._task)
        return self._observation, self._info({}, "") | {"success": False}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Run the calls of an action in order, one line of results each, or pass a message on to the user."""
        if self._task is None:
            raise gymnasium.error.ResetNeeded("call reset() first: no task has begun")
        if self._over:
            ended = self._over == _ENDED
            return "", 0.0, ended, not ended, self._info({}, self._over) | {"success": False}
        self._turns += 1
        self._observation, invalid = self.act(ToolAction.read(action))
        terminated = bool(self._over)
        truncated = not terminated and self._turns >= self.max_turns
        if truncated:
            self._over = "the turns are used up"
        rewards = dict(self.score()) if terminated else {}
        reward = float(sum(rewards.values()))
        info = self._info(rewards, invalid) | {"success": terminated and reward >= 1 - 1e-9}
        return self._observation, reward, terminated, truncated, info

    def act(self, said: ToolAction) -> tuple[str, str]:
        """Do what an action says. Returns the observation, and why the action (or a part of it) did not run."""
        if said.error:
            return _written({"error": said.error}), said.error
        if not said.calls:
            reply = self.hear(said.message)
            if reply is None:
                self.finish()
            return reply or "", ""
        lines, errors = [], []
        for call in said.calls:
            try:
                lines.append(_written(self.call(call)))
            except ToolError as error:
                errors.append(str(error))
                lines.append(_written({"error": str(error)}))
        return "\n".join(lines), "; ".join(errors)

    def _info(self, rewards: Mapping[str, float], invalid: str) -> Info:
        assert self._task is not None
        if not self._turns:
            content = hashlib.blake2b(self.content().encode("utf-8", "replace"), digest_size=8).hexdigest()
            self._key = f"{self._task.split}/{self._task.index}-{content}"
        return {"task": self._key, "anchor": self.anchor(), "rewards": rewards, "invalid": invalid}

    def content(self) -> str:
        """What tells this task from all others, read right after `begin`; it goes into the task's key as a hash."""
        return self._observation

    def anchor(self) -> str:
        """What a credit may take as the same state; the observation, unless the world knows better."""
        return self._observation

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
    """What the tool does, and what each parameter is: lines `name: …` or `name (type): …`, under `Args:` or not."""
    does: list[str] = []
    notes: dict[str, str] = {}
    current = ""
    for line in inspect.cleandoc(function.__doc__ or "").splitlines():
        found = re.match(r"\s*(\w+)(?: \([^)]*\))?: +(\S.*)", line)
        if found and found.group(1) in parameters:
            current, notes[found.group(1)] = found.group(1), found.group(2).strip()
        elif current and line.startswith(" ") and line.strip():
            notes[current] += f" {line.strip()}"
        elif line.strip() not in ("Args:", "Arguments:", "Parameters:"):
            current = ""
            does.append(line)
    return " ".join(" ".join(does).split()), notes


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
