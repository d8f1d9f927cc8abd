"""Hermes: tool calls as `<tool_call>{"name": …, "arguments": …}</tool_call>`, as Hermes and Qwen models write them."""

from __future__ import annotations

import re

import agentrl
from agentrl import Reading, ToolAction
from agentrl_plugins.dialects import tool_text

_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|(?=<tool_call>)|\Z)", re.DOTALL)
_MARKS = (*tool_text.THOUGHTS, "<tool_call>", "</tool_call>")


@agentrl.hookimpl
def register_dialects(register: agentrl.Register) -> None:
    register("hermes", Hermes)


class Hermes:
    """Any number of `<tool_call>` blocks are calls, text beside them is dropped; text without any is a message.

    What stands before `</think>` is thought, and left out.

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
        said, cut = tool_text.spoken(text)
        if cut:
            return Reading("", cut)
        bodies = [body.strip() for body in _CALL.findall(said)]
        if not bodies:
            return tool_text.reading(said)
        if not all(body.startswith("{") for body in bodies):
            return Reading("", 'inside <tool_call> there must be {"name": …, "arguments": {…}} and nothing else')
        return tool_text.reading(bodies[0] if len(bodies) == 1 else f"[{', '.join(bodies)}]")
