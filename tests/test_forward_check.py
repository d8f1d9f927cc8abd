"""Models that our forward pass would compute wrongly are found out at load, and run the slow, right way or not at all."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from cases import tinyhf
from transformers import (
    BertConfig,
    BertLMHeadModel,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    GPTJConfig,
    GPTJForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

import agentrl
from agentrl import ConfigError, Dialogue, Message, Question
from agentrl_plugins.models import forward_check
from agentrl_plugins.models.forward_check import settle
from agentrl_plugins.models.language_model import LanguageModel
from agentrl_plugins.models.passes import Form, form_of, forward_sequences
from agentrl_plugins.policies.transformers_policy import TransformersPolicy

SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is planted into a module shows neither in its type nor in its config."""
    monkeypatch.setattr(forward_check, "_forms", {})


def made(config: type[Any], kind: type[Any], **settings: Any) -> Any:
    torch.manual_seed(0)
    return kind(config(**SIZES | settings)).eval()


def llama(**settings: Any) -> Any:
    return made(LlamaConfig, LlamaForCausalLM, **settings)


def no_interface(module: Any) -> None:
    """Attention of its own, which adds whatever mask it is given."""

    def forward(self: Any, hidden_states: torch.Tensor, *_: Any, attention_mask: Any = None, **__: Any) -> Any:
        count = hidden_states.shape[1]
        query = self.q_proj(hidden_states).view(1, count, 2, -1)[:, :, :, :8].transpose(1, 2)
        key, value = (
            layer(hidden_states).view(1, count, 2, -1).transpose(1, 2) for layer in (self.k_proj, self.v_proj)
        )
        own = torch.full((count, count), -torch.inf).triu(1) if attention_mask is None else attention_mask
        out = torch.softmax(query @ key.transpose(2, 3) + own, -1) @ value
        return self.o_proj(out.repeat(1, 2, 1, 1).transpose(1, 2).flatten(2)), None

    for layer in module.model.layers:
        layer.self_attn.forward = types.MethodType(forward, layer.self_attn)


def no_arguments(module: Any) -> None:
    """The layer hands on nothing but what it knows."""
    for layer in module.model.layers:
        _wrap(layer.self_attn, lambda own, hidden_states, position_embeddings, attention_mask=None, **_: own(
            hidden_states, position_embeddings=position_embeddings, attention_mask=attention_mask))  # fmt: skip


def recurrence(module: Any) -> None:
    """A running mean over all tokens before."""
    for layer in module.model.layers:
        _wrap(layer.mlp, lambda own, x: own(x + x.cumsum(1) / torch.arange(1, 1 + x.shape[1])[:, None]))


def unread_argument(module: Any) -> None:
    """Attention with a sink for each head."""
    for layer in module.model.layers:
        _wrap(layer.self_attn, lambda own, *values, **named: own(*values, s_aux=torch.zeros(4), **named))


def twice(module: Any) -> None:
    """The difference of two attentions under one number of a layer."""

    def forward(own: Any, hidden_states: torch.Tensor, **named: Any) -> Any:
        return own(hidden_states, **named)[0] - 0.5 * own(hidden_states.roll(1, -1), **named)[0], None

    for layer in module.model.layers:
        _wrap(layer.self_attn, forward)


def own_positions(module: Any) -> None:
    """Positions are counted from the first token of whatever is in the pass: nothing but the numbers tells."""
    _wrap(module.model.rotary_emb, lambda own, x, position_ids: own(x, torch.arange(x.shape[1])[None]))


def no_attention_in_one(module: Any) -> None:
    """One layer does something else."""
    _wrap(module.model.layers[0].self_attn, lambda own, hidden_states, **_: (hidden_states, None))


def _wrap(part: Any, forward: Callable[..., Any]) -> None:
    own = part.forward
    part.forward = lambda *values, **named: forward(own, *values, **named)


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (no_interface, "no layer uses the attention"),
        (no_arguments, "no layer uses the attention"),
        (recurrence, "packed sequences would be off by"),
        (unread_argument, "takes s_aux"),
        (twice, "attends twice"),
        (own_positions, "engine's cache would be off by"),
        (no_attention_in_one, "of all layers only 1 use attention"),
    ],
)
def test_a_model_that_packing_would_compute_wrongly_is_caught_and_left_to_the_library(
    plant: Callable[[Any], None], reason: str
) -> None:
    module = llama()
    plant(module)
    sequences = forward_check.random_sequences(module, (9, 4))
    with torch.no_grad():
        expected = torch.cat(forward_check.library_logits(module, sequences))
        form = settle(module)
        got = forward_sequences(module, [9, 4], np.concatenate(sequences), np.arange(13))
    assert form.packed_up_to == 0
    assert reason in form.why_packed
    assert module.config._attn_implementation == "sdpa"
    assert torch.equal(got.logits, expected)


@pytest.mark.parametrize(
    "module",
    [
        llama(),
        llama(tie_word_embeddings=True, num_key_value_heads=4),
        made(Qwen3Config, Qwen3ForCausalLM, head_dim=8),
        made(DeepseekV3Config, DeepseekV3ForCausalLM, num_key_value_heads=4, q_lora_rank=24, kv_lora_rank=16, n_group=1,
             qk_rope_head_dim=8, qk_nope_head_dim=16, v_head_dim=12, n_routed_experts=4, topk_group=1, moe_intermediate_size=16,
             num_experts_per_tok=2, first_k_dense_replace=1),
    ],
    ids=["llama", "llama tied", "qwen3", "deepseek v3, values narrower than keys"],
)  # fmt: skip
def test_a_model_that_packing_computes_rightly_is_packed(module: Any) -> None:
    assert settle(module) == Form() == form_of(module)
    assert module.config._attn_implementation == "agentrl_ragged"


def test_the_check_is_made_once_for_an_architecture_and_config(monkeypatch: pytest.MonkeyPatch) -> None:
    settle(llama())
    monkeypatch.setattr(forward_check, "_tried", None)
    settle(llama())
    with pytest.raises(TypeError):
        settle(llama(num_hidden_layers=1))


def test_a_model_that_looks_ahead_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"BertLMHeadModel is no causal model: .* is_decoder = true"):
        settle(made(BertConfig, BertLMHeadModel))
    module = llama()
    for layer in module.model.layers:
        _wrap(layer.mlp, lambda own, x: own(x + x.mean(1, keepdim=True)))
    with pytest.raises(ConfigError, match="no causal model"):
        settle(module)


def test_a_model_that_wants_more_than_tokens_is_refused() -> None:
    module = llama()
    _wrap(module, lambda own, input_ids, picture, **named: own(input_ids, **named))
    with pytest.raises(ConfigError, match=r"LlamaForCausalLM cannot be run on tokens alone: TypeError: .*picture"):
        settle(module)


def model_of(module: Any) -> LanguageModel:
    return LanguageModel(module, tinyhf.tiny_tokenizer())


def assert_plays_and_scores_like(model: LanguageModel, plain: Any, words: int) -> None:
    """Two turns of several dialogues in the engine, and scores, against the library's forward pass."""
    policy = TransformersPolicy(model, max_tokens=5, workers=1)

    async def play(number: int) -> list[agentrl.Completion]:
        messages: tuple[Message, ...] = ()
        said: list[agentrl.Completion] = []
        for turn in range(2):
            messages += (Message("user", "You see lamps. " * (1 + number * words)),)
            said.append(await policy.act(Dialogue(messages, str(number), 10 * number + turn)))
            messages += (Message("assistant", said[-1].text, said[-1]),)
        return said

    async def everyone() -> list[list[agentrl.Completion]]:
        return await asyncio.gather(*map(play, range(3)))

    said = [completion for dialogue in asyncio.run(everyone()) for completion in dialogue]
    scores = asyncio.run(model.score([Question(own.prompt_ids, own.ids) for own in said], moments=True, features=True))
    for own, score in zip(said, scores, strict=True):
        ids = torch.from_numpy(np.concatenate([own.prompt_ids, own.ids])).long()
        with torch.no_grad():
            logprobs = torch.log_softmax(plain(ids[None]).logits[0], -1)
        wanted = logprobs[len(own.prompt_ids) - 1 : -1].gather(-1, ids[len(own.prompt_ids) :, None])[:, 0].numpy()
        np.testing.assert_allclose(own.logprobs, wanted, atol=1e-4)
        np.testing.assert_allclose(score.logprobs, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("config", "kind", "settings"),
    [
        (GPTJConfig, GPTJForCausalLM, {"rotary_dim": 8, "vocab_size": 300, "n_embd": 32, "n_layer": 2, "n_head": 2,
                                       "n_positions": 128, "bos_token_id": 1, "eos_token_id": 2}),
        (MistralConfig, MistralForCausalLM, {"sliding_window": 24}),
        (DeepseekV3Config, DeepseekV3ForCausalLM, {"num_key_value_heads": 4, "q_lora_rank": 24, "kv_lora_rank": 16,
         "n_group": 1, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 12, "n_routed_experts": 4,
         "topk_group": 1, "moe_intermediate_size": 16, "num_experts_per_tok": 2, "first_k_dense_replace": 1}),
    ],
    ids=["no attention interface", "short window", "values narrower than keys"],
)  # fmt: skip
def test_engine_and_scores_are_the_librarys_whatever_the_form(config: Any, kind: Any, settings: Any) -> None:
    sizes = settings if kind is GPTJForCausalLM else settings | {}
    plain = kind(config(**sizes)).eval() if kind is GPTJForCausalLM else made(config, kind, **sizes)
    model = model_of(_copy(plain))
    assert_plays_and_scores_like(model, plain, words=3)


def _copy(module: Any) -> Any:
    other = type(module)(type(module.config).from_dict(module.config.to_dict())).eval()
    other.load_state_dict(module.state_dict())
    return other


def test_beyond_its_window_a_sequence_goes_alone_and_before_it_in_the_pack() -> None:
    plain = made(MistralConfig, MistralForCausalLM, sliding_window=16)
    module = _copy(plain)
    assert settle(module) == Form(16, "its attention is limited to 16 tokens")
    for lengths in ((9, 16), (9, 30)):
        sequences = forward_check.random_sequences(module, lengths)
        got = forward_sequences(module, lengths, np.concatenate(sequences), np.arange(sum(lengths)))
        expected = torch.cat(forward_check.library_logits(plain, sequences))
        torch.testing.assert_close(got.logits, expected, atol=2e-5, rtol=1e-4)


def test_positions_that_depend_on_the_longest_sequence_bound_the_context() -> None:
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4,
            "original_max_position_embeddings": 48}  # fmt: skip
    model = model_of(
        made(
            Phi3Config, Phi3ForCausalLM, rope_parameters=rope, original_max_position_embeddings=48, sliding_window=None
        )
    )
    assert model.max_context == 48
    (note,) = model.notes
    assert "sequences have at most 48 tokens" in note
    with pytest.raises(ConfigError, match=r"max_context = 64; allowed are 2 to 48"):
        TransformersPolicy(model, max_context=64)


def test_what_is_slow_says_so_in_one_line() -> None:
    module = llama()
    twice(module)
    (note,) = model_of(module).notes
    assert note.startswith("LlamaForCausalLM: sequences run one at a time with the library's own attention")
    assert "attends twice" in note
    assert "\n" not in note
    assert model_of(llama(num_hidden_layers=1)).notes == []


def test_a_model_that_does_not_know_which_logits_are_wanted_gives_them_all_the_same() -> None:
    plain = llama()
    module = _copy(plain)
    _wrap(module, lambda own, logits_to_keep=None, **named: own(**named))
    assert settle(module) == Form()
    sequences = forward_check.random_sequences(module, (9, 4))
    kept = np.array([0, 8, 12])
    got = forward_sequences(module, (9, 4), np.concatenate(sequences), kept)
    expected = torch.cat(forward_check.library_logits(plain, sequences))[kept]
    torch.testing.assert_close(got.logits, expected, atol=2e-5, rtol=1e-4)


def test_weights_that_give_no_numbers_are_refused() -> None:
    module = llama()
    with torch.no_grad():
        module.lm_head.weight[3] = torch.nan
    with pytest.raises(ConfigError, match="not finite"):
        settle(module)
