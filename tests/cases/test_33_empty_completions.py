"""Case 33: a model that only ends its turn breaks metrics or training elsewhere. Here it is trained like any other."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from cases import lamp_runs, tinyhf
from transformers import AutoModelForCausalLM


def test_completions_without_a_word_are_trained_on(tmp_path: Path) -> None:
    folder = tinyhf.tiny_folder(tmp_path / "model", tied=False)
    module = AutoModelForCausalLM.from_pretrained(folder)
    end = module.config.eos_token_id
    with torch.no_grad():
        module.lm_head.weight.zero_()
        module.model.norm.weight.zero_()
        module.model.norm.weight[0] = 1.0
        module.model.embed_tokens.weight[:, 0] = 1.0  # so that the residual stream has a sign here
        module.lm_head.weight[end, 0] = 50.0
    module.save_pretrained(folder)
    result = lamp_runs.run(folder, tmp_path / "runs", updates=1)
    said = [turn.completion for own in lamp_runs.trajectories(result) for turn in own.turns]
    assert said
    assert all(completion.text == "" and completion.ids.tolist() == [end] for completion in said)
    (measured,) = lamp_runs.metrics(result)
    assert measured["train/tokens_scored"] == len(said)
    assert measured["train/logprob_gap_max"] < 1e-4
    assert all(math.isfinite(value) for name, value in measured.items() if name.startswith("train/"))
