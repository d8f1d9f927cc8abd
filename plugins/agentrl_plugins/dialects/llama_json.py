"""Llama JSON: `{"name": …, "parameters": …}`, several joined by semicolons, as Llama 3 models write tool calls."""

from __future__ import annotations

import json

import agentrl
from agentrl import Reading, ToolAction
from agentrl_plugins.dialects import tool_text

_TAG = "<|python_tag|>"
_ENDS = ("<|eom_id|>", "<|eot_id|>")
_MARKS = (*tool_text.THOUGHTS, _TAG, *_ENDS)


@agentrl.hookimpl
def register_dialects(register: agentrl.Register) -> None:
    register("llama_json", LlamaJson)


class LlamaJson:
    """Calls as Llama writes them, with or without `<|python_tag|>` before them; any other text is a message.

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
        said, cut = tool_text.spoken(text)
        if cut:
            return Reading("", cut)
        for end in _ENDS:
            said = said.split(end)[0]
        tagged = _TAG in said
        body = said.rpartition(_TAG)[2].strip()
        if tagged and not body.startswith(("{", "[")):
            return Reading("", f'after {_TAG} there must be {{"name": …, "parameters": {{…}}}}')
        return tool_text.reading(_joined(body))


def _joined(body: str) -> str:
    """Objects with semicolons between them as one JSON list; anything else as it is."""
    decoder, parts, at = json.JSONDecoder(parse_int=str, parse_float=str), [], 0  # its numbers are of no use
    while at < len(body) and body[at] == "{":
        try:
            _, end = decoder.raw_decode(body, at)
        except (ValueError, RecursionError):
            return body
        parts.append(body[at:end])
        at = end
        while at < len(body) and body[at] in "; \n":
            at += 1
    return f"[{', '.join(parts)}]" if len(parts) > 1 and at == len(body) else body
