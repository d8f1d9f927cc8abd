"""A tiny folder in Hugging Face form: byte-level BPE, random weights, a chat template of choice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
THINK = CHATML.replace("assistant\n' }}{% endif", "assistant\n<think>\n' }}{% endif")
"""The prompt ends inside a thought."""
STRICT = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' + m['content'] | trim"
    " + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
"""Knows no system role, and wants user and assistant in turn."""
SPECIAL = ["<pad>", "<s>", "</s>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>"]
WORDS = "You see lamps 01101. flip 0 1 2 3 4 user assistant system"


def tiny_tokenizer(
    template: str = CHATML,
    *,
    eos: str = "<|im_end|>",
    bos: bool = False,
    special: Sequence[str] = (),
    words: Sequence[str] = (),
    size: int = 300,
) -> PreTrainedTokenizerFast:
    """So many tokens at most; every byte is one of them, and so are the special ones. It learns pieces of `words`."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size + len(special),
        special_tokens=[*dict.fromkeys((*SPECIAL, *special))],
        show_progress=False,
        initial_alphabet=alphabet,
    )
    backend.train_from_iterator([WORDS, *words], trainer)
    if bos:
        start = ("<s>", backend.token_to_id("<s>"))
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[start])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=eos, bos_token="<s>", pad_token="<pad>", chat_template=template
    )


def tiny_folder(
    folder: Path,
    template: str = CHATML,
    *,
    eos: str = "<|im_end|>",
    bos: bool = False,
    tied: bool = True,
    context: int = 512,
    special: Sequence[str] = (),
) -> Path:
    """A Llama of two layers with its tokenizer, as `save_pretrained` writes them."""
    tokenizer = tiny_tokenizer(template, eos=eos, bos=bos, special=special)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=context,
        tie_word_embeddings=tied,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
