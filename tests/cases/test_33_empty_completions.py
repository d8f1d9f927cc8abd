"""Case 33: a model that only ends its turn says nothing, and neither metrics nor training break on that.

It held from the first form on. An answer of no tokens at all, as a service may give it, is the other member of the kind.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from cases import lamps, tinyhf
from playing import play, player
from test_player import Says
from transformers import AutoModelForCausalLM

import agentrl
from agentrl.data.record import Run
from agentrl_plugins.models.table import Table

STAGE: dict[str, Any] = {
    "name": "s", "updates": 1, "sampler": {"name": "uniform", "tasks": 2}, "loss": "ppo", "credit": "grpo",
    "collector": {"name": "asynchronous", "group_size": 2},
    "trainer": {"name": "packed", "learning_rate": 1e-3, "workers": 1},
}  # fmt: skip


def test_a_model_that_only_ends_its_turn_is_played_and_trained(tmp_path: Path) -> None:
    folder = tinyhf.tiny_folder(tmp_path / "model", tied=False)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():  # whatever it reads, it ends its turn
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.fill_(1.0)
        model.lm_head.weight.zero_()
        model.lm_head.weight[tinyhf.tiny_tokenizer().convert_tokens_to_ids("<|im_end|>")] = 1.0
    model.save_pretrained(folder)
    tables: dict[str, Any] = {
        "name": "t", "seed": 1, "runs": str(tmp_path / "runs"), "environment": "lamps", "stages": [STAGE],
        "model": {"name": "pretrained", "path": str(folder)},
        "policy": {"name": "transformers", "max_tokens": 4, "workers": 1},
    }  # fmt: skip
    result = agentrl.train(tables, host=agentrl.Host({"lamps": lamps}))
    (metrics,) = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    (commit,) = Run.open(result.folder).commits()
    said = [turn.completion for trajectory in commit.trajectories() for turn in trajectory.turns]
    assert {(one.text, len(one.ids)) for one in said} == {("", 1)}
    assert metrics["tokens_untrained"] == 0
    assert metrics["invalid"] == 1.0
    assert math.isfinite(metrics["train/loss"])
    assert metrics["train/logprob_gap_max"] < 1e-4


def test_an_answer_of_nothing_is_an_action_that_could_not_be_read() -> None:
    for model in (None, Table()):
        (found,) = play(player(lamps.Lamps, model=model, max_turns=2), Says(""))
        assert found.outcome is agentrl.Outcome.TURN_LIMIT
        assert all(turn.invalid and not turn.action for turn in found.turns)
