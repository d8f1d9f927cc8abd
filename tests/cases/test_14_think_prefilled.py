"""Case 14: a chat template may end the prompt inside `<think>`, so that what is sampled never holds the mark.

Every well-formed completion was then "no <think>…</think> before the action", and whole runs were invalid. Such a
completion needs `</think>` only; one that never gets there is no action in any dialect, and a demonstration ends the
thought that the prompt opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import lamps
from cases.tinyhf import CHATML, THINK, tiny_folder, tiny_tokenizer

import agentrl
from agentrl import Completion, Dialogue, Ids, Version, Weights
from agentrl.data.record import Run
from agentrl_plugins.dialects.hermes import Hermes
from agentrl_plugins.dialects.json_call import JsonCall
from agentrl_plugins.dialects.llama_json import LlamaJson
from agentrl_plugins.dialects.plain import Plain
from agentrl_plugins.dialects.tags import Tags
from agentrl_plugins.models.template_codec import TemplateCodec

EMPTY = CHATML.replace("assistant\n' }}{% endif", "assistant\n<think>\n\n</think>\n\n' }}{% endif")
"""The prompt opens a thought and ends it at once: there is to be none."""


def test_only_the_end_of_the_thought_is_needed() -> None:
    reading = Tags().read("lamp 0 is dark.\n</think>\n<action>0</action>")
    assert (reading.action, reading.invalid) == ("0", "")


@pytest.mark.parametrize(("template", "opens"), [(CHATML, False), (THINK, True), (EMPTY, False)])
def test_a_codec_says_whether_its_prompts_end_inside_a_thought(template: str, opens: bool) -> None:
    tokenizer = tiny_tokenizer(template)
    assert TemplateCodec(tokenizer, frozenset([tokenizer.eos_token_id]), 512).opens_thought is opens


class Says:
    """A policy that says the same at each turn, in the ids of the codec."""

    accepts: frozenset[type] = frozenset()
    exact: bool | None = True
    repeatable = True
    version = Version()
    text = ""

    def __init__(self, model: agentrl.Model) -> None:
        self.codec = model.codec

    async def act(self, dialogue: Dialogue) -> Completion:
        assert dialogue.prompt is not None
        ids: Ids = self.codec.say(self.text)
        zeros = np.zeros(len(ids), np.float32)
        return Completion(self.text, dialogue.prompt.ids, ids, zeros, versions=zeros.astype(np.int32))

    async def refresh(self, weights: Weights) -> None: ...

    def forget(self, key: str) -> None: ...


def run_of(tmp_path: Path, template: str = THINK, **changes: Any) -> dict[str, Any]:
    folder = tiny_folder(tmp_path / "model", template, context=1024)
    return lamps.RUN | {
        "runs": str(tmp_path / "runs"),
        "model": {"name": "pretrained", "path": str(folder), "device": "cpu"},
        "environment": {"name": "lamps"},
        "context": {"name": "window", "last": 2},
        "evaluation": {"split": "valid", "tasks": 2},
        "stages": [
            {
                "name": "clone",
                "updates": 1,
                "policy": {"name": "expert"},
                "sampler": {"name": "uniform", "tasks": 3},
                "collector": {"name": "asynchronous", "group_size": 1},
                "loss": {"name": "nll"},
                "trainer": {"name": "packed"},
            }
        ],
    } | changes  # fmt: skip


@pytest.mark.parametrize("dialect", ["plain", "tags"])
def test_a_demonstration_ends_the_thought_that_the_prompt_opened(tmp_path: Path, dialect: str) -> None:
    run = run_of(tmp_path, dialect={"name": dialect}, policy={"name": "transformers", "max_tokens": 4})
    result = agentrl.train(run, host=agentrl.default_host().with_plugins({"lamps": lamps}))
    [commit] = Run.open(result.folder).commits()
    turns = [turn for trajectory in commit.trajectories() for turn in trajectory.turns]
    assert all(turn.completion.text.lstrip().startswith("</think>") for turn in turns)
    assert all(turn.action in tuple("01234") and not turn.invalid for turn in turns)
    assert all(trajectory.success for trajectory in commit.trajectories())


@pytest.mark.parametrize("dialect", ["plain", "tags", "hermes", "json_call", "llama_json"])
@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("dark, so <action>1</action> or 1?\n</think>\n\n{}", "0"),
        ("<think>it opens one again</think>{}", "0"),
        ("dark, so {}", ""),  # cut at the length limit
    ],
)
def test_what_is_sampled_inside_the_thought_is_no_action(dialect: str, text: str, action: str, tmp_path: Path) -> None:
    write = {"plain": Plain, "tags": Tags, "hermes": Hermes, "json_call": JsonCall, "llama_json": LlamaJson}[
        dialect
    ]().write
    written = write("0").removeprefix("<think></think>")
    says = type("Says", (Says,), {"text": text.format(written)})
    run = run_of(tmp_path, dialect={"name": dialect}, evaluation={"split": "valid", "tasks": 1}, stages=[])
    result = agentrl.evaluate(run, host=agentrl.default_host().with_plugins({"lamps": lamps}), parts={"policy": says})
    first = result.trajectories[0].turns[0]
    assert first.action == action
    assert ("never closed" in first.invalid) is not bool(action)


@pytest.mark.parametrize("template", [CHATML, THINK], ids=["closed", "opened"])
def test_a_thought_that_a_service_gives_apart_is_the_thought_before_the_action(template: str, tmp_path: Path) -> None:
    class Serves(Says):
        async def act(self, dialogue: Dialogue) -> Completion:
            return Completion("<action>0</action>", thought="It is dark.")

    run = run_of(tmp_path, template, dialect={"name": "tags"}, evaluation={"split": "valid", "tasks": 1}, stages=[])
    result = agentrl.evaluate(run, host=agentrl.default_host().with_plugins({"lamps": lamps}), parts={"policy": Serves})
    assert [turn.action for turn in result.trajectories[0].turns][:2] == ["0", "0"]


@pytest.mark.parametrize(("said", "heard"), [("one, or\n</think>\n\ntwo", "two"), ("one, or", "")])
def test_a_world_that_asks_a_policy_hears_no_thought(said: str, heard: str, tmp_path: Path) -> None:
    class Asks(lamps.Lamps):
        def __init__(self, user: agentrl.Voice) -> None:
            self.user = user

        def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, object]]:
            _, *others = super().step(action)
            return f"heard: {self.user.say((agentrl.Message('user', 'Which?'),), seed=1)}", *others

    run = run_of(tmp_path, evaluation={"split": "valid", "tasks": 1}, stages=[])
    says = type("Says", (Says,), {"text": said})
    result = agentrl.evaluate(run, parts={"policy": says, "environment": Asks})
    assert result.trajectories[0].turns[1].observation == f"heard: {heard}"
