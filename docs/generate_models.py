"""Writes docs/models.md: which decoder architectures of transformers run packed, one sequence at a time, or not at all.

Every architecture for causal language models that the installed transformers knows is made tiny, with random weights,
and tried as `pretrained` tries it; then it plays two turns in the engine and is scored, beyond its windows of attention,
and both are compared with the library's own forward pass over each sequence alone.

    python docs/generate_models.py                 # all, in about ten minutes on one core
    python docs/generate_models.py LlamaForCausalLM GptOssForCausalLM      # print some, write nothing
"""

from __future__ import annotations

import asyncio
import logging
import math
import multiprocessing
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

import agentrl
from agentrl import Dialogue, Message, Question
from agentrl_plugins.models import forward_check
from agentrl_plugins.models.language_model import LanguageModel
from agentrl_plugins.models.passes import form_of, forward_alone
from agentrl_plugins.models.tiny import train_tokenizer
from agentrl_plugins.policies.transformers_policy import TransformersPolicy

TARGET = Path(__file__).with_name("models.md")
TIME_LIMIT_S = 120
WINDOW, CONTEXT, TOKENS = 16, 128, 6
TEXTS = ["the lamp is red", "a lamp is blue", "take the lamp", "put it on the shelf"]
HEADS = {"num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "decoder_attention_heads": 4}
SMALL: dict[str, object] = {
    **HEADS,
    "num_key_value_heads": 2, "multi_query_group_num": 2, "encoder_attention_heads": 4,
    "vocab_size": 320, "type_vocab_size": 2, "vocab_size_per_layer_input": 320,
    "hidden_size": 64, "n_embd": 64, "d_model": 64, "dim": 64, "embedding_size": 64, "emb_dim": 64, "input_embedding_size": 64,
    "intermediate_size": 96, "ffn_dim": 96, "decoder_ffn_dim": 96, "encoder_ffn_dim": 96, "n_inner": 96, "ffn_hidden_size": 96,
    "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2, "decoder_layers": 2, "encoder_layers": 1,
    "head_dim": 16, "attention_head_size": 16, "kv_channels": 16, "global_head_dim": 16,
    "max_position_embeddings": CONTEXT, "n_positions": CONTEXT, "n_ctx": CONTEXT, "max_seq_len": CONTEXT,
    "max_target_positions": CONTEXT, "max_source_positions": CONTEXT,
    "sliding_window": WINDOW, "sliding_window_size": WINDOW, "attention_chunk_size": WINDOW, "window_size": WINDOW,
    "local_attention": WINDOW, "attention_window_size": WINDOW,
    "index_topk": CONTEXT // 2, "index_n_heads": 2, "index_head_dim": 16,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "shared_intermediate_size": 32, "n_group": 1,
    "topk_group": 1, "moe_k": 2, "expert_ffn_hidden_size": 32, "zero_expert_num": 2, "moe_topk": 2,
    "first_k_dense_replace": 1, "moe_layer_start_index": 1, "num_dense_layers": 1,
    "q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 12,
    "state_size": 8, "mamba_d_state": 8, "mamba_n_heads": 8, "mamba_num_heads": 8, "mamba_d_head": 16, "mamba_head_dim": 16,
    "mamba_expand": 2, "mamba_n_groups": 1, "mamba_ngroups": 1, "mamba_chunk_size": 8, "n_groups": 1, "chunk_size": 8,
    "mamba_d_ssm": 128, "mamba_headdim": 16, "n_mamba_heads": 1, "mamba_dt_rank": 8, "ssm_state_size": 8,
    "linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "lru_width": 64, "qk_dim_factor": 0.5,
    "image_size": 32, "patch_size": 16,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
VARIANTS: list[dict[str, object]] = [
    {},
    {"num_key_value_heads": 4},
    {"num_key_value_heads": 4, "head_dim": 8},
    {"num_hidden_layers": 4, "n_layer": 4},
    {"num_hidden_layers": 4, "num_key_value_heads": 4},
    {"v_head_dim": 16, "num_key_value_heads": 4},
    {"num_heads": 8, "mamba_n_heads": 8, "num_key_value_heads": 4},
]
"""Tried in this order: not every architecture can be cut to the same numbers."""
OWN: dict[str, dict[str, object]] = {
    "GPTJForCausalLM": {"rotary_dim": 8},
    "CodeGenForCausalLM": {"rotary_dim": 8},
    "BambaForCausalLM": {"attn_layer_indices": [1]},
    "BailingHybridForCausalLM": {"layer_group_size": 2},
    "GPTNeoForCausalLM": {"attention_types": [[["global", "local"], 1]]},
    "Dots1ForCausalLM": {"n_shared_experts": 1, "num_experts_per_tok": 2},
    "GraniteMoeHybridForCausalLM": {"layer_types": ["mamba", "attention"], "layers_block_type": ["mamba", "attention"]},
    "JambaForCausalLM": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "mamba_d_state": 8},
    "Gemma3nForCausalLM": {
        "num_kv_shared_layers": 0,
        "layer_types": ["full_attention"] * 2,
        "hidden_size_per_layer_input": 8,
    },
    "ReformerModelWithLMHead": {"axial_pos_embds": False},
    "Lfm2ForCausalLM": {"layer_types": ["conv", "full_attention"]},
    "Lfm2MoeForCausalLM": {"layer_types": ["conv", "full_attention"]},
}
"""What single architectures need beside."""


@dataclass
class Row:
    """One architecture."""

    name: str
    runs: str = "not tried"
    packed: float = math.nan
    engine: float = math.nan
    as_run: float = math.nan
    reason: str = ""


def architectures() -> dict[str, str]:
    """Class of every causal language model → the type of its config, each class once."""
    types: dict[str, str] = {}
    for model_type, name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items():
        types.setdefault(name, model_type)
    return dict(sorted(types.items()))


def tried(name: str) -> Row:
    """Make it tiny, load it, play and score."""
    row = Row(name)
    try:
        module = tiny(name)
    except Exception as error:  # of a hundred authors, each has checks of its own
        row.reason = f"cannot be made tiny: {_words(error)}"
        return row
    try:
        model = LanguageModel(module, tokenizer())
    except agentrl.ConfigError as error:
        row.runs, row.reason = "refused", str(error).removeprefix(f"{name} ")
        return row
    form = form_of(module)
    row.reason = "; ".join(
        filter(None, (form.why_packed, form.why_longest and f"at most {form.longest} tokens: {form.why_longest}"))
    )
    row.runs = {0: "one at a time", math.inf: "packed"}.get(form.packed_up_to, "packed while short")
    with torch.no_grad():
        row.packed, row.engine = _raw_gaps(name)
    row.as_run = _as_run(model)
    return row


def tiny(name: str) -> transformers.PreTrainedModel:
    """A random model of an architecture, the same in every process. Raises the last error where no variant can be made."""
    error: Exception = LookupError("no variant")
    for variant in VARIANTS:
        try:
            torch.manual_seed(0)
            kind = getattr(transformers, name)
            module = kind(tiny_config(kind.config_class, SMALL | variant | OWN.get(name, {}))).eval()
            _randomise(module)
            with torch.no_grad():
                forward_alone(module, np.arange(3, 23), np.arange(20))
            return module
        except Exception as failure:  # as above
            error = failure
    raise error


def tiny_config(
    kind: type[transformers.PreTrainedConfig], sizes: Mapping[str, object]
) -> transformers.PreTrainedConfig:
    """The default config with all that makes it large replaced, in its parts too."""
    default = kind()
    names = set(default.to_dict()) | set(kind.attribute_map) | set(vars(default))
    settings = {name: value for name, value in sizes.items() if name in names}
    for part in kind.sub_configs:
        if isinstance(own := getattr(default, part, None), transformers.PreTrainedConfig):
            settings[part] = tiny_config(type(own), sizes).to_dict()
    if "is_decoder" in names:
        settings["is_decoder"] = True
    return kind(**settings)


def _randomise(module: torch.nn.Module) -> None:
    """Weights that make every layer count: fresh ones are so small that a wrong attention hardly shows."""
    for name, weight in module.named_parameters():
        if weight.ndim >= 2 and "conv" not in name and "A_log" not in name:
            torch.nn.init.normal_(weight, std=1.5 / math.sqrt(weight.shape[-1]))


def _raw_gaps(name: str) -> tuple[float, float]:
    """By how much the packed pass and the engine would be off, also where they are not used; NaN where they fail."""
    module = tiny(name)
    sequences = forward_check.random_sequences(module, forward_check.LENGTHS)
    gaps = forward_check.compare(module, sequences, forward_check.library_logits(module, sequences))
    return gaps.packed, gaps.engine


def _as_run(model: LanguageModel) -> float:
    """Two turns of three dialogues in the engine, then the trainer's scores, against the library; nats."""
    policy = TransformersPolicy(model, max_tokens=TOKENS, workers=1)

    async def play(number: int) -> list[agentrl.Completion]:
        messages: tuple[Message, ...] = ()
        said: list[agentrl.Completion] = []
        for turn in range(2):
            messages += (Message("user", " ".join(TEXTS[: 1 + number] * (1 + turn))),)
            said.append(await policy.act(Dialogue(messages, str(number), 10 * number + turn)))
            messages += (Message("assistant", said[-1].text, said[-1]),)
        return said

    async def everyone() -> list[list[agentrl.Completion]]:
        return await asyncio.gather(*map(play, range(3)))

    said = [completion for dialogue in asyncio.run(everyone()) for completion in dialogue]
    scores = asyncio.run(model.score([Question(own.prompt_ids, own.ids) for own in said]))
    plain = tiny(type(model.module).__name__)
    worst = 0.0
    for own, score in zip(said, scores, strict=True):
        ids = np.concatenate([own.prompt_ids, own.ids])
        with torch.no_grad():
            logprobs = torch.log_softmax(forward_check.library_logits(plain, [ids])[0].float(), -1).numpy()
        wanted = logprobs[np.arange(len(own.prompt_ids), len(ids)) - 1, own.ids]
        worst = max(worst, float(np.abs(own.logprobs - wanted).max()), float(np.abs(score.logprobs - wanted).max()))
    return worst


@cache
def tokenizer() -> transformers.PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS, 300, "words", CONTEXT)


def rows(names: list[str]) -> Iterator[Row]:
    """Each in a process of its own, with a time limit: an architecture may loop or take all memory."""
    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    for name in names:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(name, sender))
        process.start()
        sender.close()
        row = Row(name, reason=f"took longer than {TIME_LIMIT_S} s")
        if receiver.poll(TIME_LIMIT_S):
            try:
                row = Row(**receiver.recv())
            except EOFError:
                row.reason = "its process ended"
        process.kill()
        process.join()
        yield row


def _child(name: str, sender: multiprocessing.connection.Connection) -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    sender.send(asdict(tried(name)))


def page(found: list[Row]) -> str:
    """The whole document."""
    lines = [
        f"| {row.name} | {row.runs} | {_nats(row.packed)} | {_nats(row.engine)} | {_nats(row.as_run)} | {row.reason} |"
        for row in found
    ]
    counts = {runs: sum(row.runs == runs for row in found) for runs in RUNS}
    return PAGE.format(
        version=transformers.__version__,
        total=len(found),
        counts="\n".join(f"| {runs} | {counts[runs]} | {meaning} |" for runs, meaning in RUNS.items()),
        rows="\n".join(lines),
    )


RUNS = {
    "packed": "many sequences share a pass, and the engine keeps keys and values",
    "packed while short": "the same up to the model's window of attention; a longer sequence goes one at a time",
    "one at a time": "each sequence has each pass for itself, with the library's own attention, and the engine keeps nothing: right, and slow",
    "refused": "loading it ends with one line that says why",
    "not tried": "the script could not make it tiny; it is tried like all others when it is loaded",
}


def _nats(value: float) -> str:
    return "–" if math.isnan(value) else "0" if value < 1e-4 else f"{value:.1g}"


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200].replace("|", "/")


PAGE = """# Which models are computed rightly

Our forward pass puts many sequences into one pass without padding, and the engine keeps keys and values of its own. That
is right for a decoder whose tokens meet in attention only, and silently wrong for others. So every model is tried when it
is loaded: a few random tokens go through the library's own forward pass, one sequence at a time, then through the packed
pass and through the engine over two turns (some ten short passes, once for each architecture and config of a process; a
line says so where it takes more than 5 s). Where the numbers differ, or a layer does what packed sequences have no place
for, the model runs one sequence at a time, and the display and `run.log` say so and why. Where even that cannot be
right, loading it ends with one line.

Beyond the few tokens that are tried, the config decides:

- **Windows and chunks of attention.** Sequences up to the window are packed, a longer one goes alone. To stay fast, set
  `max_context` of the policy to the window.
- **`longrope` and dynamic rotary positions**, and attention to the `index_topk` likeliest tokens: above a length, what a
  token is given depends on those that follow it, so that it could not be scored as it was sampled. `max_context` ends
  there.

And while it trains, the trainer compares: `train/logprob_gap` is the mean difference between its log-probs and those of
the engine, `train/logprob_gap_max` the largest. Where the mean over tokens that the present weights sampled is above
`max_logprob_gap` of the trainer (0.01 nats in float32 and 0.1 in other types, unless it is set), the run stops before it
changes a weight.

## What was tried

Written by `.venv/bin/python docs/generate_models.py`; do not edit. All {total} architectures for causal language models of
transformers {version}, each made tiny (two layers or four, windows of 16 tokens) with random weights, in float32 on a CPU:

| it runs | architectures | which means |
|---|---|---|
{counts}

The numbers are nats. *packed* and *engine*: by how much a sampled token would be off in the packed pass and in the engine, on
average at the worst position, also where they are not used; – where such a pass is refused or fails. *as it runs*: the
largest difference of any log-prob of two turns, sampled and then scored, from the library's forward pass.

| architecture | it runs | packed | engine | as it runs | why |
|---|---|---|---|---|---|
{rows}
"""


if __name__ == "__main__":
    chosen = sys.argv[1:]
    found = []
    for row in rows(chosen or list(architectures())):
        found.append(row)
        print(
            f"{row.name:36} {row.runs:20} {_nats(row.packed):>7} {_nats(row.engine):>7} {_nats(row.as_run):>7}  {row.reason}",
            flush=True,
        )
    if not chosen:
        TARGET.write_text(page(found), encoding="utf-8")
