"""Case 20: the chat template has no place for tools, so the model never hears of them, and nobody was told.

What a template cannot write is found when the model is loaded. Tools, or all but their names, that it would drop stand
in the instructions; calls of earlier answers, roles that it lacks, and contents that it wants in parts are written in a
way that it knows. What is changed is said in the display and in `run.log`.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from cases.tinyhf import CHATML, STRICT, tiny_folder, tiny_tokenizer

import agentrl
from agentrl import ConfigError, Message
from agentrl.data.record import Run
from agentrl_plugins.models.template_codec import TemplateCodec

TOOL = {
    "type": "function",
    "function": {
        "name": "flip",
        "description": "flips a lamp",
        "parameters": {"type": "object", "properties": {"lamp": {"type": "integer", "description": "which lamp"}}},
    },
}
BEGIN = "{% if tools %}{{ '<|im_start|>system\n' + WRITTEN + '<|im_end|>\n' }}{% endif %}"
IN_TEMPLATE = BEGIN.replace("WRITTEN", "(tools | tojson)") + CHATML
NAMES_ONLY = BEGIN.replace("WRITTEN", "tools[0]['function']['name']") + CHATML
FIRST_TURN_ONLY = "{% if messages | length > 2 %}{% set tools = [] %}{% endif %}" + IN_TEMPLATE
INSTEAD_OF_RULES = (
    "{% if tools and messages[0]['role'] == 'system' %}{% set messages = messages[1:] %}{% endif %}" + IN_TEMPLATE
)
PARTS = CHATML.replace("m['content']", "(m['content'] | map(attribute='text') | join)")
DROPS = CHATML.replace("m['content']", "'…'")
QUESTION = (Message("system", "Light all."), Message("user", "hi"))
LATER = (*QUESTION, Message("assistant", "ok"), Message("tool", "lit"))


def codec_of(template: str) -> TemplateCodec:
    tokenizer = tiny_tokenizer(template)
    return TemplateCodec(tokenizer, frozenset([tokenizer.eos_token_id]), 4096)


@pytest.mark.parametrize(
    ("template", "writes"),
    [(CHATML, False), (STRICT, False), (IN_TEMPLATE, True), (NAMES_ONLY, False), (FIRST_TURN_ONLY, False),
     (INSTEAD_OF_RULES, False)],
    ids=["chatml", "strict", "in the template", "names only", "first turn only", "instead of the rules"],
)  # fmt: skip
@pytest.mark.parametrize(
    "messages", [QUESTION, QUESTION[1:], LATER, LATER[1:]], ids=["begin", "no rules", "later", "later, no rules"]
)
def test_every_tool_is_told_once_with_all_that_it_takes(
    template: str, writes: bool, messages: tuple[Message, ...]
) -> None:
    codec = codec_of(template)
    assert codec.tools is writes
    text = codec.decode(codec.prompt(messages, tools=(TOOL,)).ids)
    assert text.count("flips a lamp") == text.count("which lamp") == 1
    assert text.count("Light all.") == sum(message.content == "Light all." for message in messages)
    assert any("writes no tools" in note for note in codec.notes) is not writes


def test_calls_of_earlier_answers_are_told_where_the_template_would_drop_them() -> None:
    call = {"type": "function", "function": {"name": "flip", "arguments": {"lamp": 3}}}
    messages = (QUESTION[1], Message("assistant", "Now.", tool_calls=(call,)), Message("tool", "lit"))
    for template in (CHATML, STRICT):
        codec = codec_of(template)
        text = codec.decode(codec.prompt(messages).ids)
        assert f"Now.\n{json.dumps(call)}" in text
        assert any("writes no calls" in note for note in codec.notes)


def test_roles_that_the_template_lacks_are_said() -> None:
    codec = codec_of(STRICT)
    assert sorted(codec.roles) == ["assistant", "user"]
    text = codec.decode(codec.prompt((*LATER, Message("user", "go on"))).ids)
    assert text.index("Light all.\n\nhi") < text.index("ok") < text.index("lit\n\ngo on")
    assert [note.partition("has ")[2].partition(",")[0] for note in codec.notes if " has " in note] == [
        "no role tool",
        "no role system",
    ]


def test_a_template_that_wants_contents_in_parts_gets_them() -> None:
    text = codec_of(PARTS).decode(codec_of(PARTS).prompt(LATER).ids)
    assert text == codec_of(CHATML).decode(codec_of(CHATML).prompt(LATER).ids)


def test_a_template_that_does_not_write_what_is_said_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not write what a user says"):
        codec_of(DROPS)


class Lamp(agentrl.ToolEnvironment):
    """One lamp and its switch."""

    instructions = "Light the lamp."
    splits = {"train": 4}

    def begin(self, task: agentrl.Task) -> agentrl.Scene:
        return agentrl.Scene("It is dark.")

    @agentrl.tool
    def flip(self, times: int) -> str:
        """Flips the lamp.

        times: how often
        """
        self.finish()
        return "It is bright."

    def score(self) -> dict[str, float]:
        return {"lit": 1.0}

    def key(self, task: agentrl.Task) -> str:
        return str(task.index)

    def expert_action(self) -> str:
        return '{"name": "flip", "arguments": {"times": 1}}'


def test_a_run_says_that_tools_stand_in_the_instructions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tiny_folder(tmp_path / "model", STRICT, context=2048)
    run = {
        "name": "lamp", "seed": 1, "runs": str(tmp_path / "runs"), "environment": {"name": "lamp"},
        "model": {"name": "pretrained", "path": str(folder), "device": "cpu"},
        "policy": {"name": "expert"}, "dialect": {"name": "json_call"},
        "stages": [{"name": "clone", "updates": 1, "sampler": {"name": "uniform", "tasks": 1},
                    "collector": {"name": "asynchronous", "group_size": 1}, "loss": {"name": "nll"},
                    "trainer": {"name": "packed"}}],
    }  # fmt: skip
    with caplog.at_level(logging.WARNING, "agentrl"):
        result = agentrl.train(run, parts={"environment": Lamp})
    log = (result.folder / "run.log").read_text(encoding="utf-8")
    assert "flip" in Run.open(result.folder).commits()[0].trajectories()[0].turns[0].completion.text
    for said in (
        "writes no tools, so their schemas stand in the instructions",
        "no role system, so instructions stand",
    ):
        assert caplog.text.count(said) == log.count(said) == 1
