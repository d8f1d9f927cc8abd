"""Llama JSON: `{"name": …, "parameters": …}`, several joined by semicolons, as Llama 3 models write tool calls."""

from __future__ import annotations

import json
from collections.abc import Iterator

import agentrl
from agentrl import Reading, ToolAction, after_thought
from agentrl_plugins.dialects import tool_text

_TAG = "<|python_tag|>"
_ENDS = ("<|eom_id|>", "<|eot_id|>")
_MARKS = (*tool_text.THOUGHTS, _TAG, *_ENDS)


@agentrl.hookimpl
def register_dialects(register: agentrl.Register) -> None:
    register("llama_json", LlamaJson)


class LlamaJson:
    """Calls as Llama writes them, with or without `<|python_tag|>` before them; any other text is a message.

    Thoughts are left out; a mark inside the JSON of a call is part of it.

    >>> LlamaJson().read('<|python_tag|>{"name": "find", "parameters": {"card": "C7"}}<|eom_id|>').action
    '{"name": "find", "arguments": {"card": "C7"}}'
    >>> LlamaJson().write('[{"name": "a", "arguments": {}}, {"name": "b", "arguments": {}}]')
    '<|python_tag|>{"name": "a", "parameters": {}}; {"name": "b", "parameters": {}}'
    """

    instructions = (
        'To call a tool, write {"name": …, "parameters": {…}} and nothing else; several calls are joined by "; ". '
        "Any other text is said to the user."
    )
    stop: tuple[str, ...] = ()

    def write(self, action: str) -> str:
        said = ToolAction.read(action)
        if said.error:
            return action
        if not said.calls:
            return tool_text.message(said, _MARKS)
        bodies = [{"name": call.name, "parameters": dict(call.arguments)} for call in said.calls]
        texts = [tool_text.unmarked(json.dumps(body, ensure_ascii=False), _MARKS) for body in bodies]
        return texts[0] if len(texts) == 1 else _TAG + "; ".join(texts)

    def read(self, text: str) -> Reading:
        spoken = after_thought(text, _calls)
        if spoken.error:
            return Reading("", spoken.error)
        said = spoken.text.strip()
        begin = _begin(said)
        if begin is None:
            return tool_text.reading(_before_end(said))
        if not said.startswith(("{", "["), begin):
            return Reading("", f'after {_TAG} there must be {{"name": …, "parameters": {{…}}}}')
        return tool_text.reading(_joined(said[begin:]))


def _begin(text: str) -> int | None:
    """Where calls begin: at the front, or else after the first tag; None where there are none."""
    start = len(text) - len(text.lstrip())
    if not text.startswith(("{", "["), start):
        tag = text.find(_TAG)
        if tag < 0:
            return None
        start = tag + len(_TAG)
    return len(text) - len(text[start:].lstrip())


def _calls(text: str) -> Iterator[tuple[int, int]]:
    begin = _begin(text)
    return tool_text.json_spans(text, len(text) if begin is None else begin)


def _joined(body: str) -> str:
    """Objects with semicolons between them as one JSON list, up to the end of the turn."""
    parts, at = [], 0
    for start, at in tool_text.json_spans(body, 0):
        parts.append(body[start:at])
    whole = not body[at:].strip("; \n") or body[at:].lstrip("; \n").startswith(_ENDS)
    if len(parts) == 1 and whole:
        return parts[0]
    return f"[{', '.join(parts)}]" if parts and whole else body


def _before_end(said: str) -> str:
    for end in _ENDS:
        said = said.split(end)[0]
    return said
