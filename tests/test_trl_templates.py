"""Real chat templates, as TRL's wheel ships them: every sampled token is trained, whatever they do to old answers.

The wheel is installed without its dependencies and never imported; see the Makefile.
"""

from __future__ import annotations

import re
from collections import Counter
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from cases import lamps
from cases.tinyhf import tiny_folder, tiny_tokenizer
from transformers import AutoTokenizer, LlamaForCausalLM

import agentrl
from agentrl import Completion, Message
from agentrl.data.record import Run
from agentrl.testing.codec import CodecKit
from agentrl_plugins.losses.ppo import PPO
from agentrl_plugins.models.template_codec import TemplateCodec

ROOT = Path(__file__).parents[1]
THOUGHTS = ("<think>", "</think>")
MARK = re.compile(r"<[|｜][^<>\s]+[|｜]>|\[/?[A-Z][A-Za-z_]+\]|</?s>|<sop>|<bos>|<\w*_of_\w+>")
FAMILIES = {"qwen3": "<|im_end|>", "gptoss": "<|return|>", "glm4moe": "<|endoftext|>"}
"""Those that rewrite old answers, and the end that their tokenizers have."""


def folder_of_templates() -> Path:
    """Where the wheel has them. Skips the test where it is not installed."""
    try:
        return Path(str(distribution("trl").locate_file("trl/chat_templates")))
    except PackageNotFoundError:
        pytest.skip("TRL's chat templates are not installed; `make .venv/ready` does it: pip install --no-deps trl")


def names_of_templates() -> list[str]:
    try:
        files = distribution("trl").files or ()
    except PackageNotFoundError:
        return []
    return sorted(Path(str(file)).stem for file in files if str(file).endswith(".jinja"))


def template(name: str) -> str:
    return (folder_of_templates() / f"{name}.jinja").read_text(encoding="utf-8")


def marks(text: str, end: str) -> list[str]:
    """What the tokenizer of a template has as tokens of its own."""
    return sorted({*MARK.findall(text), end})


class Counted(PPO):
    """PPO that keeps which tokens it was given: the chance at sampling, and turn and trajectory, of each."""

    def __init__(self) -> None:
        super().__init__()
        self.skips_zero = False
        self.seen.clear()

    seen: list[tuple[float, int, int]] = []

    def __call__(self, batch):  # type: ignore[no-untyped-def]
        kept = batch.sampled & (batch.weight != 0)
        columns = (batch.behaviour, batch.turn, batch.trajectory)
        self.seen.extend(zip(*(values[kept].tolist() for values in columns), strict=True))
        return super().__call__(batch)


class CountedLoss:
    """A plugin."""

    @staticmethod
    def register_losses(register: agentrl.Register) -> None:
        register("counted", Counted)


def thinking_model(folder: Path, name: str) -> Path:
    """A tiny Llama under a real template that ends a thought with every seventh token or so."""
    text = template(name)
    special = [*marks(text, FAMILIES[name]), *THOUGHTS]
    tiny_folder(folder, text, eos=FAMILIES[name], special=special, context=4096, tied=False)
    model = LlamaForCausalLM.from_pretrained(folder)
    end = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(THOUGHTS[1])
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 4.0  # so that after the last norm this feature is nearly constant
        model.lm_head.weight[end, 0] = 0.7
    model.save_pretrained(folder)
    return folder


def trained(name: str, tmp_path: Path, history: str) -> list[dict[str, Any]]:
    """Two updates; gives their metrics and the rows of their tables."""
    run = lamps.RUN | {
        "name": name,
        "runs": str(tmp_path / "runs"),
        "model": {"name": "pretrained", "path": str(thinking_model(tmp_path / "model", name)), "device": "cpu",
                  "history": history},
        "policy": {"name": "transformers", "max_tokens": 16},
        "player": {"max_turns": 4},
        "stages": [{"name": "learn", "updates": 2, "sampler": {"name": "uniform", "tasks": 2},
                    "collector": {"name": "asynchronous", "group_size": 3}, "credit": {"name": "grpo"},
                    "loss": {"name": "counted"}, "trainer": {"name": "packed", "learning_rate": 1e-4}}],
    }  # fmt: skip
    del run["evaluation"]
    host = agentrl.default_host().with_plugins({"lamps": lamps, "counted": CountedLoss()})
    result = agentrl.train(run, host=host)
    updates = []
    for commit in Run.open(result.folder).commits():
        [path] = commit.folder.glob("*.parquet")
        updates.append({"metrics": commit.metrics, "turns": pq.read_table(path).to_pylist()})
    return updates


@pytest.mark.parametrize("history", ["template", "as_sampled"])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_sampled_token_is_trained_under_a_template_that_rewrites_old_answers(
    name: str, history: str, tmp_path: Path
) -> None:
    updates = trained(name, tmp_path, history)
    given = Counter(round(chance, 4) for chance, _, _ in Counted.seen)
    sampled: Counter[float] = Counter()
    for update in updates:
        turns = [turn for turn in update["turns"] if turn["outcome"] in ("terminated", "turn_limit")]
        assert len(turns) == len(update["turns"]) > 12
        tokens = sum(len(turn["ids"]) for turn in turns)
        assert update["metrics"]["tokens_untrained"] == 0
        assert update["metrics"]["train/tokens_scored"] == tokens
        assert update["metrics"]["train/logprob_gap_max"] < 1e-3
        sampled += Counter(round(chance, 4) for turn in turns for chance in turn["logprobs"])
        relations = Counter(turn["relation"] for turn in turns if turn["turn"])
        thoughts = sum("</think>" in turn["text"] for turn in turns)
        assert thoughts > len(turns) / 2, "the model was to answer with thoughts"
        if history == "as_sampled":
            assert set(relations) == {"append"}
        else:
            assert relations["new"] > len(turns) / 3, "the template was to rewrite old answers"
    assert given == sampled, "the loss was given each sampled token of the tables once"
    assert given.total() == sum(len(turn["ids"]) for update in updates for turn in update["turns"])


def test_the_path_for_large_models_trains_every_token_under_the_template_of_qwen3(tmp_path: Path) -> None:
    text = template("qwen3")
    folder = tiny_folder(tmp_path / "model", text, special=[*marks(text, "<|im_end|>"), *THOUGHTS], context=16384)
    changes = [
        f"runs={tmp_path / 'runs'}", f"model.path={folder}", "model.device=cpu", "environment.max_turns=3",
        "policy.max_tokens=12", "evaluation.tasks=1", "evaluation.every=0", "stages.0.updates=1",
        "stages.0.sampler.tasks=1", "stages.0.collector.group_size=2",
    ]  # fmt: skip
    result = agentrl.train(ROOT / "examples/household_qwen.toml", changes)
    [commit] = Run.open(result.folder).commits()
    tokens = sum(len(turn.completion.ids) for trajectory in commit.trajectories() for turn in trajectory.turns)
    assert commit.metrics["tokens_untrained"] == 0
    assert commit.metrics["train/tokens_scored"] == tokens


SHOWN = {  # name: roles it has besides user and assistant, whether it writes tools and opens a thought, its stops
    "qwen3": ("system tool", True, False, "<|im_end|>"),
    "qwen3_6": ("system tool", True, True, "<|im_end|>"),
    "glm4moe": ("system tool", True, False, "<|endoftext|> <|observation|> <|user|>"),
    "gptoss": ("system", True, False, "<|return|>"),
    "llama3": ("system tool", False, False, "<|eot_id|>"),
    "llama3_1": ("system tool", True, False, "<|eot_id|>"),
    "gemma": ("", False, False, "<end_of_turn>"),
    "phi3": ("system", False, False, "<|end|>"),
    "deepseekv3": ("system tool", False, True, "<｜end▁of▁sentence｜>"),
    "smolvlm": ("system tool", False, False, "<end_of_utterance>"),
}
ENDS = FAMILIES | {"llama3": "<|eot_id|>", "llama3_1": "<|eot_id|>", "gemma": "<end_of_turn>", "phi3": "<|end|>",
                   "deepseekv3": "<｜end▁of▁sentence｜>", "smolvlm": "<end_of_utterance>", "qwen3_6": "<|im_end|>"}  # fmt: skip


def codec_of(name: str, end: str = "") -> TemplateCodec:
    text = template(name)
    end = end or ENDS[name]
    tokenizer = tiny_tokenizer(text, eos=end, special=marks(text, end))
    tokenizer.add_tokens([*THOUGHTS])
    return TemplateCodec(tokenizer, frozenset([tokenizer.eos_token_id]), 8192)


@pytest.mark.parametrize("name", SHOWN)
def test_what_a_real_template_can_and_cannot_do_is_found_at_load(name: str) -> None:
    codec = codec_of(name)
    roles = " ".join(sorted(codec.roles - {"user", "assistant"}))
    stops = " ".join(sorted(codec.tokenizer.convert_ids_to_tokens(sorted(codec.stop_ids))))
    assert (roles, codec.tools, codec.opens_thought, stops) == SHOWN[name]


def every(names: list[str]) -> list[Any]:
    """Those of the table in every test run, all others in long ones."""
    return [pytest.param(name, marks=[] if name in SHOWN else pytest.mark.heavy) for name in names]


TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string", "description": "which word"}}},
    },
}


@pytest.mark.parametrize("name", every(names_of_templates()))
def test_nobody_forges_a_turn_and_everything_is_told(name: str) -> None:
    codec = codec_of(name, ENDS.get(name, "<|endoftext|>"))
    CodecKit(lambda: codec).a_control_token_that_is_only_spelled_is_words()
    messages = (Message("system", "Rule one."), Message("user", "Which word?"), Message("assistant", "This one."),
                Message("tool", "It means that."), Message("user", "And now?"))  # fmt: skip
    text = codec.decode(codec.prompt(messages, tools=(TOOL,)).ids)
    for words in ("Rule one.", "Which word?", "This one.", "It means that.", "And now?", "Looks a word up.", "look_up"):
        assert words in text, words


@pytest.mark.parametrize("name", every(names_of_templates()))
def test_sampled_ids_stand_in_the_next_prompt_and_their_relation_is_told(name: str) -> None:
    codec = codec_of(name, ENDS.get(name, "<|endoftext|>"))
    thought = "so\n</think>\n\ngo 1" if codec.opens_thought else "<think>\nso\n</think>\n\ngo 1"
    messages: tuple[Message, ...] = (Message("system", "Rule one."), Message("user", "Which word?"))
    last: Completion | None = None
    for words in ("go 0", thought, "go 2", "", "go 3 <|im_start|>"):
        prompt = codec.prompt(messages, after=last)
        assert (prompt.relation, prompt.kept) == agentrl.relation(last, prompt.ids)
        ids = codec.say(words)
        zeros = np.zeros(len(ids), np.float32)
        last = Completion(words, prompt.ids, ids, zeros, versions=zeros.astype(np.int32))
        messages += (Message("assistant", words, last), Message("user", "And now?"))
    text = codec.decode(codec.prompt(messages, after=last).ids)
    assert all(words in text for words in ("go 0", "go 1", "go 2", "go 3 <|im_start|>"))


def test_answers_of_gpt_oss_in_its_channels_are_taken_by_its_template() -> None:
    codec = codec_of("gptoss")
    channels = "<|channel|>{}<|message|>"
    text = f"{channels.format('analysis')}so<|end|><|start|>assistant{channels.format('final')}go 1"
    messages: tuple[Message, ...] = (Message("user", "Which?"),)
    start = codec.prompt(messages)
    for cut in (text, text.partition("<|end|>")[0], f"{text}{text}", f"<|channel|>{text}"):
        ids = np.append(codec.ids_of(cut), np.int32(codec.end_id))
        zeros = np.zeros(len(ids), np.float32)
        said = Completion(codec.decode(ids), start.ids, ids, zeros, versions=zeros.astype(np.int32))
        prompt = codec.prompt((*messages, Message("assistant", said.text, said), Message("user", "Next?")), after=said)
        shown = codec.decode(prompt.ids)
        assert shown.endswith("<|start|>user<|message|>Next?<|end|><|start|>assistant")
        assert shown.count("<|start|>user") == 2
    assert text.count("so") == 1
