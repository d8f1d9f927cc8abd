"""Tool calls as text: how an action of a tool world is written, and read without trusting it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentrl.errors import did_you_mean

MAX_DEPTH = 64
"""Deepest nesting of lists and objects in a call; deeper ones are refused, whatever the interpreter could stand."""

MAX_CALLS = 64
"""Most calls in one action."""

MAX_DIGITS = 400
"""Longest number with a fraction or an exponent, in characters."""

_BRACKET = re.compile(r'"(?:[^"\\]|\\.?)*+(?:"|\Z)|[\[{\]}]', re.DOTALL)
"""A text in quotes, whether or not it ends, or a bracket outside of one; never tried again from a later start."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call, arguments by name."""

    name: str
    arguments: Mapping[str, Any]

    def write(self) -> str:
        """The action that makes this one call."""
        return ToolAction((self,)).write()


@dataclass(frozen=True, slots=True)
class ToolAction:
    """What an action of a tool world says: calls, or a message to the user, or why it can be read as neither.

    The canonical text of one call is `{"name": "f", "arguments": {"x": 1}}`, of several a JSON list of these, of a
    message the message itself, or `{"message": "…"}` where it would look like JSON or lose blanks at its ends.

    >>> ToolAction.read('{"name":"renew","arguments":{"loan":"L7"}}').write()
    '{"name": "renew", "arguments": {"loan": "L7"}}'
    >>> ToolAction.read("It is renewed.").message
    'It is renewed.'
    >>> ToolAction.read('{"name": "renew", "arguments": {').error
    'this is not valid JSON: Expecting property name enclosed in double quotes at character 32'
    """

    calls: tuple[ToolCall, ...] = ()
    message: str = ""
    error: str = ""

    @classmethod
    def read(cls, text: str) -> ToolAction:
        """Never raises: text that starts like JSON and is no call has its reason in `error`."""
        stripped = text.strip()
        if not stripped:
            return cls(error=f"the action is empty; write a message or a call such as {_EXAMPLE}")
        if stripped[0] not in "{[":
            return cls(message=stripped)
        try:
            return _from_json(_parse(stripped))
        except ValueError as error:
            return cls(error=str(error))

    def write(self) -> str:
        """The canonical text; the empty string for what could not be read."""
        if self.calls:
            plain = [{"name": call.name, "arguments": dict(call.arguments)} for call in self.calls]
            return json.dumps(plain[0] if len(plain) == 1 else plain, ensure_ascii=False)
        message = self.message
        if message and (message != message.strip() or message[0] in "{["):
            return json.dumps({"message": message}, ensure_ascii=False)
        return message


_EXAMPLE = '{"name": "tool", "arguments": {"argument": "value"}}'


def _parse(text: str) -> Any:
    """Standard JSON, at most MAX_DEPTH deep, of Unicode text and 64-bit numbers. Raises ValueError with the reason.

    The depth is looked at before anything is parsed: what a parser of other settings would stand does not matter.
    """
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise ValueError(f"this is nested deeper than {MAX_DEPTH} levels")
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_int=_int, parse_float=_float)
    except json.JSONDecodeError as error:
        raise ValueError(f"this is not valid JSON: {error.msg} at character {error.pos}") from None
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("this holds half a surrogate pair, which is no Unicode text") from None
    return value


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _int(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"the number {text[:20]}… does not fit in 64 bits")
    return int(text)


def _float(text: str) -> float:
    value = float(text) if len(text) <= MAX_DIGITS else math.inf
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _depth(text: str) -> int:
    """How deep lists and objects are nested.

    >>> _depth('[{"[[": "]"}, []]')
    2
    """
    depth = deepest = 0
    for found in _BRACKET.finditer(text):
        depth += (found[0] in ("[", "{")) - (found[0] in ("]", "}"))
        deepest = max(deepest, depth)
    return deepest


def _from_json(value: Any) -> ToolAction:
    if isinstance(value, dict) and value.keys() == {"message"}:
        if not isinstance(value["message"], str) or not value["message"]:
            raise ValueError('"message" must be text that says something')
        return ToolAction(message=value["message"])
    calls = value if isinstance(value, list) else [value]
    if not 0 < len(calls) <= MAX_CALLS:
        raise ValueError(f"{len(calls)} calls in one action; allowed are 1 to {MAX_CALLS}")
    return ToolAction(calls=tuple(_call(call) for call in calls))


def _call(value: Any) -> ToolCall:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ValueError(f"a call is written as {_EXAMPLE}")
    for key in value:
        if key not in ("name", "arguments", "parameters"):
            raise ValueError(f"a call has no {key[:40]!r}. {did_you_mean(key[:40], ['name', 'arguments'])}")
    arguments = value.get("arguments", value.get("parameters", {}))  # Llama's word for them
    if not isinstance(arguments, dict):
        raise ValueError(f'"arguments" must be an object of names and values, as in {_EXAMPLE}')
    return ToolCall(value["name"], arguments)
