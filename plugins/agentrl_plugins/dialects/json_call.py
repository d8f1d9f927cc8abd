"""JSON calls: the whole completion is a call, a list of calls, or a message; a code fence around them is fine."""

from __future__ import annotations

import re
from collections.abc import Iterator

import agentrl
from agentrl import Reading, ToolAction, after_thought
from agentrl_plugins.dialects import tool_text

_FRONT = re.compile(r"\s*```(?:json)?\s*\n")
_MARKS = (*tool_text.THOUGHTS, "```")


@agentrl.hookimpl
def register_dialects(register: agentrl.Register) -> None:
    register("json_call", JsonCall)


class JsonCall:
    """`{"name": …, "arguments": …}`, or a list of these; text that does not start like JSON is a message.

    Thoughts are left out; a mark inside the JSON of a call is part of it.

    >>> JsonCall().read('[{"name": "find", "arguments": {"card": "C7"}}]').action
    '{"name": "find", "arguments": {"card": "C7"}}'
    >>> JsonCall().write("It is due on Monday.")
    'It is due on Monday.'
    """

    instructions = (
        'To call a tool, write {"name": …, "arguments": {…}} and nothing else, or a JSON list of such calls. '
        "Any other text is said to the user."
    )
    stop: tuple[str, ...] = ()

    def write(self, action: str) -> str:
        said = ToolAction.read(action)
        if said.error:
            return action
        return tool_text.unmarked(said.write(), _MARKS) if said.calls else tool_text.message(said, _MARKS)

    def read(self, text: str) -> Reading:
        spoken = after_thought(text, _calls)
        if spoken.error:
            return Reading("", spoken.error)
        return tool_text.reading(_unfenced(spoken.text.strip()))


def _unfenced(text: str) -> str:
    """What stands inside one code fence around everything; other text as it is.

    No regular expression: it would look for the end of the fence once for every blank line at its beginning.
    """
    inside = text.removeprefix("```").removeprefix("json")
    body = inside.lstrip()
    opened = text.startswith("```") and "\n" in inside[: len(inside) - len(body)]
    return body.removesuffix("```") if opened and body.endswith("```") else text


def _calls(text: str) -> Iterator[tuple[int, int]]:
    fence = _FRONT.match(text)
    return tool_text.json_spans(text, fence.end() if fence else 0)
