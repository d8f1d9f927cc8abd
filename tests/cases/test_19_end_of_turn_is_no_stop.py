"""Case 19: the tokenizer's end is `<|endoftext|>`, and the template closes turns with `<|im_end|>`.

Generation never stopped where a turn ends, and demonstrations ended with a token that the template never writes. The
token that closes an answer is a stop, found at load and said; where none closes it, that is said too.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import lamps
from cases.tinyhf import CHATML, STRICT, tiny_folder, tiny_tokenizer

import agentrl
from agentrl_plugins.models.template_codec import TemplateCodec

HARMONY = (  # an answer that is over ends with a stop, one of the past with the end of a message
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] }}"
    "{{ '<s>' if loop.last and m['role'] == 'assistant' and not add_generation_prompt else '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
HEADERS = (  # an answer is over where the next header stands, as in GLM-4.5
    "<|endoftext|>{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
OPEN = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}assistant: "


def codec_of(template: str, eos: str, special: tuple[str, ...] = ()) -> TemplateCodec:
    tokenizer = tiny_tokenizer(template, eos=eos, special=special)
    return TemplateCodec(tokenizer, frozenset([tokenizer.eos_token_id]), 512)


@pytest.mark.parametrize(
    ("template", "eos", "special", "stops", "end"),
    [
        (CHATML, "<|im_end|>", (), {"<|im_end|>"}, "<|im_end|>"),
        (CHATML, "<|endoftext|>", (), {"<|endoftext|>", "<|im_end|>"}, "<|im_end|>"),
        (CHATML.replace("<|im_end|>", "\n<|im_end|>"), "<|endoftext|>", (), {"<|endoftext|>", "<|im_end|>"}, "<|im_end|>"),
        (STRICT, "</s>", (), {"</s>", "<end_of_turn>"}, "<end_of_turn>"),
        (HARMONY, "<|endoftext|>", (), {"<|endoftext|>", "<s>"}, "<s>"),
        (HEADERS, "</s>", ("<|user|>", "<|tool|>", "<|assistant|>"), {"</s>", "<|user|>", "<|tool|>"}, "<|user|>"),
        (OPEN, "</s>", (), {"</s>"}, "</s>"),
    ],
    ids=["same", "other", "after a break", "strict", "harmony", "headers", "none"],
)  # fmt: skip
def test_what_closes_an_answer_in_the_template_is_a_stop(
    template: str, eos: str, special: tuple[str, ...], stops: set[str], end: str
) -> None:
    codec = codec_of(template, eos, special)
    name = codec.tokenizer.convert_ids_to_tokens
    assert {name(token) for token in codec.stop_ids} == stops
    assert name(int(codec.say("go")[-1])) == end
    said = any("closes an answer" in note for note in codec.notes)
    assert said == (end != eos or template is OPEN)


def test_a_run_says_what_is_taken_as_a_stop(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model", eos="<|endoftext|>")
    run = lamps.RUN | {
        "runs": str(tmp_path / "runs"),
        "model": {"name": "pretrained", "path": str(folder), "device": "cpu"},
        "policy": {"name": "expert"},
        "evaluation": None,
        "stages": [{"name": "clone", "updates": 1, "sampler": {"name": "uniform", "tasks": 2},
                    "collector": {"name": "asynchronous", "group_size": 1}, "loss": {"name": "nll"},
                    "trainer": {"name": "packed"}}],
    }  # fmt: skip
    del run["evaluation"]
    result = agentrl.train(run, host=agentrl.default_host().with_plugins({"lamps": lamps}))
    log = (result.folder / "run.log").read_text(encoding="utf-8")
    assert log.count("closes an answer with '<|im_end|>', which the model does not call an end ('<|endoftext|>')") == 1
