"""A model that cannot be packed is trained the slow, right way, and the run says so."""

from __future__ import annotations

from pathlib import Path

import torch
from cases import lamp_runs, tinyhf
from transformers import GPTJConfig, GPTJForCausalLM


def test_a_run_of_a_model_that_cannot_be_packed_is_right_and_says_that_it_is_slow(tmp_path: Path) -> None:
    tokenizer = tinyhf.tiny_tokenizer()
    torch.manual_seed(0)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = GPTJConfig(
        vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, rotary_dim=8, n_positions=160, **ends
    )
    GPTJForCausalLM(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    result = lamp_runs.run(tmp_path / "model", tmp_path / "runs", updates=2)
    for measured in lamp_runs.metrics(result):
        assert measured["train/logprob_gap_max"] < 1e-4
        assert measured["train/grad_norm"] >= 0
    log = (result.folder / "run.log").read_text("utf-8")
    assert log.count("GPTJForCausalLM: sequences run one at a time with the library's own attention") == 1
