"""Tool dialects: what is written is read back, whatever the arguments hold; what models really write is understood."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentrl import ToolAction, ToolCall
from agentrl_plugins.dialects.hermes import Hermes
from agentrl_plugins.dialects.json_call import JsonCall
from agentrl_plugins.dialects.llama_json import LlamaJson

DIALECTS = [Hermes(), JsonCall(), LlamaJson()]
MARKS = ["<tool_call>", "</tool_call>", "<think>", "</think>", "```json\n", "```", "<|python_tag|>", "<|eom_id|>", "; "]
TEXTS = st.lists(st.sampled_from(MARKS) | st.text(st.characters(codec="utf-8"), max_size=6), max_size=4).map("".join)
NAMES = st.text(string.ascii_letters + "_", min_size=1, max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
CALLS = st.builds(ToolCall, NAMES, st.dictionaries(NAMES, VALUES, max_size=3))
CALL = '{"name": "find", "arguments": {"card": "C7"}}'
BOTH = f'[{CALL}, {{"name": "today", "arguments": {{}}}}]'


def canonical(action: str) -> str:
    return ToolAction.read(action).write()


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: type(d).__name__)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(calls=st.lists(CALLS, min_size=1, max_size=3))
def test_calls_are_read_back_exactly(dialect: Any, calls: list[ToolCall]) -> None:
    action = ToolAction(tuple(calls)).write()
    reading = dialect.read(dialect.write(action))
    assert (reading.action, reading.invalid) == (action, "")


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: type(d).__name__)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(text=TEXTS)
@example("</think>")
@example("[1] is the first")
@example("  blanks at both ends ")
def test_messages_are_read_back_exactly(dialect: Any, text: str) -> None:
    if not text:
        return
    action = ToolAction(message=text).write()
    reading = dialect.read(dialect.write(action))
    assert (reading.action, reading.invalid) == (action, "")
    assert ToolAction.read(reading.action).message == text


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: type(d).__name__)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=TEXTS | st.text(max_size=30))
@example('{"name": "\ud800"}')
@example("[" * 100_000)
@example('<tool_call>{"a":' * 500)
@example("<|python_tag|>" + '{"a": ' * 2_000)
def test_no_text_is_too_hostile_to_read(dialect: Any, text: str) -> None:
    reading = dialect.read(text)
    assert reading.action or reading.invalid
    dialect.write(text)


@pytest.mark.parametrize(
    ("dialect", "text", "action"),
    [
        (Hermes(), f"<tool_call>\n{CALL}\n</tool_call>", CALL),
        (Hermes(), f"<think>\nwho?\n</think>\n\nLet me look.\n<tool_call>\n{CALL}\n</tool_call>", CALL),
        (Hermes(), f'<tool_call>{CALL}</tool_call><tool_call>{{"name": "today"}}</tool_call>', BOTH),
        (Hermes(), f"<tool_call>{CALL}", CALL),
        (Hermes(), "<think>a</think>I cannot do that.", "I cannot do that."),
        (LlamaJson(), '{"name": "find", "parameters": {"card": "C7"}}<|eot_id|>', CALL),
        (
            LlamaJson(),
            '<|python_tag|>{"name": "find", "parameters": {"card": "C7"}}; {"name": "today", "parameters": {}}<|eom_id|>',
            BOTH,
        ),
        (LlamaJson(), "It is due on Monday.<|eot_id|>", "It is due on Monday."),
        (JsonCall(), f"```json\n{BOTH}\n```", BOTH),
        (JsonCall(), f"<think>x</think> {CALL}", CALL),
    ],
)
def test_what_models_write_is_understood(dialect: Any, text: str, action: str) -> None:
    reading = dialect.read(text)
    assert (reading.action, reading.invalid) == (action, "")


def test_broken_json_goes_to_the_world_which_says_what_is_wrong() -> None:
    reading = Hermes().read('<tool_call>{"name": "find", "arguments": {"card": }</tool_call>')
    assert not reading.invalid
    assert "not valid JSON" in ToolAction.read(reading.action).error


@pytest.mark.parametrize("text", ["<think>and so on", "<tool_call>find(C7)</tool_call>", "<tool_call></tool_call>", ""])
def test_what_says_nothing_is_refused_with_a_reason(text: str) -> None:
    reading = Hermes().read(text)
    assert reading.action == ""
    assert reading.invalid


def test_one_broken_call_stops_the_whole_action() -> None:
    reading = Hermes().read(f'<tool_call>{CALL}</tool_call><tool_call>{{"name": 3}}</tool_call>')
    assert ToolAction.read(reading.action).error
    assert not ToolAction.read(reading.action).calls


def test_canonical_text_is_a_fixed_point() -> None:
    for action in (CALL, BOTH, "hello", '{"message": "{x"}'):
        assert canonical(action) == action
    assert json.loads(canonical('{"name":"f","parameters":{"x":1}}')) == {"name": "f", "arguments": {"x": 1}}
