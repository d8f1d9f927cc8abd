"""Case 16: marks inside a thought were taken for the real thing.

A code world submitted because a thought had the line `submit`, an action that a thought weighed made the real one
invalid or was taken instead of it, and a question was answered with an answer that was only thought of. Actions are
looked for after the thought, in every dialect; a world is never shown a thought.
"""

from __future__ import annotations

import pytest

from agentrl import ToolAction
from agentrl_envs.code import reading
from agentrl_envs.search import tags as search_tags
from agentrl_plugins.dialects.hermes import Hermes
from agentrl_plugins.dialects.json_call import JsonCall
from agentrl_plugins.dialects.llama_json import LlamaJson
from agentrl_plugins.dialects.plain import Plain
from agentrl_plugins.dialects.tags import Tags

SUBMITS = "<think>\nthe tests pass, so I could\nsubmit\nbut first fix line 2\n</think>\nline 2: return a"
ANSWERS = "<think>is it <answer>Red Hill</answer>?</think>\n<search>Ada Bell</search>"
CALL = '{"name": "find", "arguments": {"card": "C7"}}'
OTHER = '{"name": "delete", "arguments": {"card": "C7"}}'


@pytest.mark.parametrize("dialect", [Tags(), Tags(require_think=False)])
@pytest.mark.parametrize(
    "thought",
    [
        "<think>Should I <action>1</action>? No.</think>",
        "Should I <action>1</action>? No.</think>",
        "<think>Should I <action>1? No.</think>",
        "<think>Should I</think>\n<think><action>1</action>?</think>",
        "<think>Should I</think> Well. <think><action>1</action>?</think>",
        "Well. <think>Should I <action>1</action>?</think>",
    ],
)
def test_the_action_is_the_one_after_the_thought(dialect: Tags, thought: str) -> None:
    reading = dialect.read(f"{thought}<action>0</action>")
    assert (reading.action, reading.invalid) == ("0", "")


@pytest.mark.parametrize(
    ("dialect", "call"),
    [(Hermes(), "<tool_call>{}</tool_call>"), (JsonCall(), "{}"), (JsonCall(), "```json\n{}\n```"), (LlamaJson(), "{}"),
     (LlamaJson(), "<|python_tag|>{}")],
)  # fmt: skip
@pytest.mark.parametrize("opened", ["<think>", "<think>I could {other}, or ", "I could ", "Well. <think>"])
def test_a_call_that_was_only_thought_of_is_not_made(dialect: Hermes, call: str, opened: str) -> None:
    other = call.format(OTHER)
    text = f"{opened.format(other=other)}{other}? No.\n</think>\n\n{call.format(CALL)}"
    reading = dialect.read(text)
    assert (reading.action, reading.invalid) == (CALL, "")


def test_calls_around_a_second_thought_are_both_made() -> None:
    text = f"<think>a</think><tool_call>{CALL}</tool_call><think>{OTHER}</think><tool_call>{CALL}</tool_call>"
    assert len(ToolAction.read(Hermes().read(text).action).calls) == 2


def test_a_code_world_is_not_told_to_submit_by_a_thought() -> None:
    for message in (SUBMITS, Plain().read(SUBMITS).action, Plain().read(SUBMITS.removeprefix("<think>")).action):
        command = reading.read(message)
        assert isinstance(command, reading.Command)
        assert (command.kind, command.line, command.text, command.submit) == ("edit", 2, "return a", False)


def test_a_question_is_not_answered_by_a_thought() -> None:
    for text in (ANSWERS, Plain().read(ANSWERS).action):
        assert search_tags.read(text) == search_tags.Said("search", "Ada Bell")


@pytest.mark.parametrize("text", ["<think>\nsubmit\n", "<think>is it <answer>Red Hill</answer>?"])
def test_a_thought_that_was_cut_short_is_neither_a_command_nor_an_answer(text: str) -> None:
    assert isinstance(reading.read(text), str)
    assert search_tags.read(text).kind == "nothing"
    assert Plain().read(text).action == ""
    assert "never closed" in Plain().read(text).invalid


CHANNELS = "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>{}"


@pytest.mark.parametrize(
    ("dialect", "written"), [(Tags(), "<action>0</action>"), (Plain(), "0"), (JsonCall(), "0"), (Hermes(), "0")]
)
def test_the_channels_of_gpt_oss_are_thought_and_speech(dialect: Tags, written: str) -> None:
    reading = dialect.read(CHANNELS.format("Should I <action>1</action>?", written))
    assert (reading.action, reading.invalid) == ("0", "")
    cut = dialect.read(CHANNELS.format("Should I <action>1</action>?", "").partition("<|end|>")[0])
    assert cut.action == ""
    assert "never closed" in cut.invalid


@pytest.mark.parametrize(
    "message",
    [
        "```python\nprint('</think>')\nprint('<think>')\n```",
        'line 2: return "</think>" + x',
        'line 2: return "<think>"',
    ],
)
def test_marks_of_thoughts_in_code_are_code(message: str) -> None:
    assert Plain().read(message).action == message
    assert reading.read(Plain().read(f"<think>\nso\n</think>\n{message}").action) == reading.read(message)
