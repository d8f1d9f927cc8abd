"""Case 17: thoughts and calls were told apart by marks, wherever they stood.

A call whose argument held `</think>` was cut there, and its rest was said to the user, without a word; `</tool_call>`
in an argument tore the call. A thought ends at the first `</think>` outside of a call, and a call where its JSON does.
"""

from __future__ import annotations

import json
import time

import pytest

from agentrl import ToolAction, ToolCall
from agentrl_plugins.dialects.hermes import Hermes
from agentrl_plugins.dialects.json_call import JsonCall
from agentrl_plugins.dialects.llama_json import LlamaJson
from agentrl_plugins.dialects.plain import Plain
from agentrl_plugins.dialects.tags import Tags

FORMS = [
    (Hermes(), "<tool_call>\n{}\n</tool_call>"),
    (Hermes(), "Let me say it.\n<tool_call>{}</tool_call>"),
    (Hermes(), "<tool_call>{}"),
    (JsonCall(), "{}"),
    (JsonCall(), "```json\n{}\n```"),
    (LlamaJson(), "{}"),
    (LlamaJson(), "{}<|eom_id|>"),
    (LlamaJson(), "Let me say it.<|python_tag|>{}"),
]
WORDS = [
    "close it with </think> please", "a </tool_call> b", "open it with <think>", '<think>"</think> {"name": "x"}',
    "<tool_call> inside", "a <|eot_id|> b", "a <|python_tag|>{} b", 'a "quoted" \\ } ] b', "```", "; {", "<|channel|>",
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "form"), FORMS)
@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("thought", ["", "<think>so</think>", "so\n</think>\n"])
def test_a_call_is_whole_whatever_its_arguments_hold(dialect: Hermes, form: str, words: str, thought: str) -> None:
    call = ToolCall("say", {"text": words, words: [words]})
    reading = dialect.read(thought + form.format(call.write()))
    assert not reading.invalid
    assert ToolAction.read(reading.action).calls == (call,)


@pytest.mark.parametrize(("dialect", "form"), FORMS)
def test_a_call_that_was_cut_inside_an_argument_is_broken_and_no_message(dialect: Hermes, form: str) -> None:
    call = ToolCall("say", {"text": "close it with </tool_call> and </think> and then <|eot_id|> please"}).write()
    for end in range(call.index("</tool"), len(call) - 2):
        reading = dialect.read(form.format(call[:end]))
        assert reading.invalid or ToolAction.read(reading.action).error, call[:end]


def test_every_call_of_several_is_whole() -> None:
    calls = tuple(ToolCall("say", {"text": words}) for words in WORDS)
    for dialect in (Hermes(), JsonCall(), LlamaJson()):
        for action in (ToolAction(calls).write(), ToolAction(calls[:2]).write()):
            assert dialect.read(dialect.write(action)).action == action
    text = "\n".join(f"<tool_call>\n{call.write()}\n</tool_call>" for call in calls)
    assert ToolAction.read(Hermes().read(text).action).calls == calls
    text = "; ".join(json.dumps({"name": call.name, "parameters": dict(call.arguments)}) for call in calls)
    assert ToolAction.read(LlamaJson().read(text).action).calls == calls


@pytest.mark.parametrize("words", ["a </think> b", "say <think>", "</think>", "\n</think>\nx"])
def test_an_action_may_hold_the_marks_of_thoughts(words: str) -> None:
    for dialect in (Tags(), Tags(require_think=False), Plain()):
        for action in (words, f"say {words} twice {words}"):
            assert dialect.read(dialect.write(action)).action == action.strip(), type(dialect)


@pytest.mark.parametrize("piece", ['<tool_call>{"a": "', "</think>", "<think></think>", '"\\', "{}", "<tool_call>", "<action>",
                                   "</action>", "<|python_tag|>{", "; {}", "```\n", "<|channel|>analysis<|message|><|end|>"])  # fmt: skip
def test_reading_takes_time_in_proportion_to_the_length(piece: str) -> None:
    def seconds(count: int) -> float:
        times = []
        for _ in range(5):
            started = time.process_time()
            for dialect in (Hermes(), JsonCall(), LlamaJson(), Plain(), Tags()):
                dialect.read(piece * count)
            times.append(time.process_time() - started)
        return min(times)

    assert seconds(8_000) <= 8 * max(seconds(2_000), 1e-3)
