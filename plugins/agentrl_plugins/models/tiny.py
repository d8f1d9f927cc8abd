"""Tiny: a small Qwen3-style model made from numbers, with a tokenizer trained on text the world produced."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import agentrl
from agentrl import SavedCodec, Seed, Texts

if TYPE_CHECKING:
    from transformers import Qwen3Config, Qwen3ForCausalLM

WORDS = r" ?\p{L}+ \p{N}+| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"
NAMES = 512  # at most so many words are taken for names of things
ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
END, PAD = "<|end|>", "<|pad|>"
TEMPLATE = (
    "{% if tools %}<|system|>{{ tools | tojson }}{% endif %}"
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@agentrl.hookimpl
def register_models(register: agentrl.Register) -> None:
    register("tiny", tiny)


def tiny(
    texts: Texts,
    seed: Seed,
    saved: SavedCodec,
    *,
    layers: Annotated[int, "transformer layers"] = 4,
    width: Annotated[int, "width of the residual stream"] = 128,
    heads: Annotated[int, "attention heads of each layer"] = 4,
    kv_heads: Annotated[int, "heads of keys and values, which the attention heads share"] = 2,
    head_width: Annotated[int, "width of one head"] = 32,
    hidden: Annotated[int | None, "width inside the MLP; 3 × width unless given"] = None,
    vocabulary: Annotated[int, "tokens: 256 bytes, 6 special ones, and what the tokenizer merges"] = 1024,
    pieces: Annotated[
        Literal["phrases", "words"],
        "what may become one token: a word or name, or also all that stands between two names",
    ] = "phrases",
    max_context: Annotated[int, "tokens of prompt and completion"] = 2048,
    tied: Annotated[bool, "share the weights of input embedding and output head"] = False,
    init_std: Annotated[float, "standard deviation of the fresh weights"] = 0.02,
    rope_theta: Annotated[float, "base of the rotary position embedding"] = 10_000.0,
    history: Annotated[
        Literal["template", "as_sampled"],
        "old answers in a prompt: as the chat template writes them, or the tokens that were sampled",
    ] = "template",
    keep_initial: Annotated[bool, "keep the first weights beside the current ones, for a Scorer"] = False,
) -> agentrl.Model:
    """A fresh model with Qwen3's architecture (queries and keys are normalised); the same seed gives the same weights.

    The chat template costs one special token per message and one at the end of each answer.
    """
    from transformers import Qwen3Config

    from agentrl_plugins.models.language_model import LanguageModel
    from agentrl_plugins.models.template_codec import TemplateCodec

    if heads % kv_heads:
        raise agentrl.ConfigError(f"model 'tiny': heads = {heads} must be a multiple of kv_heads = {kv_heads}")
    codec = TemplateCodec.load(saved.folder) if saved.folder is not None else None
    tokenizer = codec.tokenizer if codec is not None else train_tokenizer(texts, vocabulary, pieces, max_context)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width if hidden is None else hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_width,
        max_position_embeddings=max_context,
        tie_word_embeddings=tied,
        initializer_range=init_std,
        rope_parameters={"rope_type": "default", "rope_theta": rope_theta},
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    return LanguageModel(_fresh(config, seed), tokenizer, history=history, keep_initial=keep_initial, codec=codec)


def _fresh(config: Qwen3Config, seed: int) -> Qwen3ForCausalLM:
    """Weights drawn from a seed; the process-wide generator stays where it was."""
    import torch
    from transformers import GenerationConfig, Qwen3ForCausalLM

    from agentrl_plugins.models.memory import out_of_memory

    advice = "lower width, layers or vocabulary in [model]"
    with out_of_memory("making the model", advice), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Qwen3ForCausalLM(config)
    module.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    )
    return module


def train_tokenizer(
    texts: Sequence[str], vocabulary: int, pieces: Literal["phrases", "words"], max_context: int
) -> Any:
    """Byte-level BPE in which a name such as ` cabinet 3` is one piece, and so soon one token.

    `phrases`: whatever stands between two names on a line is one piece too (`. On the`, `, you see a`); this nearly
    halves the tokens of a world's sentences. Raises ConfigError when there is no text, or no room for the alphabet.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = [PAD, *ROLES, END]
    if vocabulary < 256 + len(special):
        raise agentrl.ConfigError(
            f"model 'tiny': vocabulary = {vocabulary} is too small; "
            f"256 bytes and {len(special)} special tokens need {256 + len(special)}"
        )
    if not any(texts):
        raise agentrl.ConfigError("model 'tiny' trains its tokenizer on text the world produced, and was given none")
    split = pre_tokenizers.Split(Regex(_phrases(texts) if pieces == "phrases" else WORDS), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=sorted(byte_level.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=list(ROLES),
        chat_template=TEMPLATE,
        model_max_length=max_context,
        clean_up_tokenization_spaces=False,
    )


def _phrases(texts: Sequence[str]) -> str:
    """A pattern of pieces: names (words that stand before a number somewhere, numbered or not), and what is between."""
    counts = Counter(word for text in texts for word in re.findall(r"([^\W\d_]+) \d", text))
    if not counts:
        return WORDS
    names = "|".join(sorted(word for word, _ in counts.most_common(NAMES)))
    name = rf" ?\b(?:{names})\b(?: \p{{N}}+)?"
    return rf"{name}|\n+|(?:(?!{name})[^\n])+"
