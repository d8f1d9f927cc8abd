"""Hermes: tool calls as `<tool_call>{"name": …, "arguments": …}</tool_call>`, as Hermes and Qwen models write them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import agentrl
from agentrl import Reading, ToolAction, after_thought
from agentrl_plugins.dialects import tool_text

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_MARKS = (*tool_text.THOUGHTS, _OPEN, _CLOSE)
_NEXT = re.compile(r"<tool_call>|<think>")
_ANY = re.compile(r"</?tool_call>")


@agentrl.hookimpl
def register_dialects(register: agentrl.Register) -> None:
    register("hermes", Hermes)


class Hermes:
    """Any number of `<tool_call>` blocks are calls, text beside them is dropped; text without any is a message.

    Thoughts are left out; a mark inside the JSON of a call is part of it.

    >>> Hermes().read('Let me see.<tool_call>{"name": "find", "arguments": {"card": "C7"}}</tool_call>').action
    '{"name": "find", "arguments": {"card": "C7"}}'
    >>> Hermes().read("<think>easy</think>It is due on Monday.").action
    'It is due on Monday.'
    >>> print(Hermes().write('{"name": "find", "arguments": {"card": "C7"}}'))
    <tool_call>
    {"name": "find", "arguments": {"card": "C7"}}
    </tool_call>
    """

    instructions = (
        'To call a tool, write <tool_call>{"name": …, "arguments": {…}}</tool_call>, one block for each call. '
        "Text without a call is said to the user."
    )
    stop: tuple[str, ...] = ()

    def write(self, action: str) -> str:
        said = ToolAction.read(action)
        if said.error:
            return action
        if not said.calls:
            return tool_text.message(said, _MARKS)
        texts = [tool_text.unmarked(ToolAction((call,)).write(), _MARKS) for call in said.calls]
        return "\n".join(f"<tool_call>\n{text}\n</tool_call>" for text in texts)

    def read(self, text: str) -> Reading:
        spoken = after_thought(text, lambda text: ((start, end) for start, end, _ in _blocks(text)))
        if spoken.error:
            return Reading("", spoken.error)
        bodies = [body for _, _, body in _blocks(spoken.text)]
        if not bodies:
            return tool_text.reading(spoken.text)
        if not all(body.startswith("{") for body in bodies):
            return Reading("", 'inside <tool_call> there must be {"name": …, "arguments": {…}} and nothing else')
        return tool_text.reading(bodies[0] if len(bodies) == 1 else f"[{', '.join(bodies)}]")


def _blocks(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and content of each block outside of thoughts; one that is not closed ends where the next begins."""
    at = 0
    while found := _NEXT.search(text, at):
        if found[0] == "<think>":
            close = text.find("</think>", found.end())
            if close < 0:
                return
            at = close
            continue
        begin = tool_text.begin(text, found.end())
        body_end = tool_text.json_end(text, begin) if text[begin : begin + 1] in ("{", "[") else begin
        mark = _ANY.search(text, body_end)
        end = mark.start() if mark else len(text)
        at = mark.end() if mark and mark[0] == _CLOSE else end
        yield found.start(), at, text[begin:end].strip()
