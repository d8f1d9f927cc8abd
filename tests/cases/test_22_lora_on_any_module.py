"""Case 22: adapters on embeddings and output heads were written, and could not be read back.

A run with `lora_targets` of `embed_tokens` or `lm_head` trained and saved, but neither resumed nor evaluated: the names
in the file are not those of a linear layer's adapter. Whatever is targeted comes back bit by bit, in place and in a
fresh load, tied or not.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import lamps, tinyhf

import agentrl
from agentrl import DataError, SavedCodec, Seed
from agentrl_plugins.models.pretrained import pretrained

IDS = torch.tensor([[10, 20, 30, 40, 50]])


def model(path: Path, seed: int = 0, **settings: Any) -> Any:
    return pretrained(Seed(seed), SavedCodec(None), path=str(path), device="cpu", **settings)


def logits(of: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = of.module(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits
    return found


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "targets",
    [("q_proj", "v_proj"), ("embed_tokens", "q_proj"), ("lm_head", "q_proj"), ("embed_tokens", "lm_head"),
     ("lm_head",), ("down_proj", "embed_tokens")],
)  # fmt: skip
def test_an_adapter_on_any_module_comes_back_bit_by_bit(tmp_path: Path, targets: tuple[str, ...], tied: bool) -> None:
    base = tinyhf.tiny_folder(tmp_path / "base", tied=tied)
    trained = model(base, 1, lora_rank=4, lora_targets=targets)
    with torch.no_grad():
        for parameter in trained.module.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    trained.write(tmp_path / "adapter")
    again = model(base, 2, lora_rank=4, lora_targets=targets)
    assert not torch.equal(logits(again), logits(trained))
    again.read(tmp_path / "adapter")
    assert torch.equal(logits(again), logits(trained))
    assert torch.equal(logits(model(tmp_path / "adapter")), logits(trained))


def test_an_adapter_of_other_modules_is_refused(tmp_path: Path) -> None:
    base = tinyhf.tiny_folder(tmp_path / "base")
    model(base, lora_rank=4, lora_targets=("q_proj",)).write(tmp_path / "adapter")
    with pytest.raises(DataError, match=r"another shape: .*v_proj"):
        model(base, lora_rank=4, lora_targets=("q_proj", "v_proj")).read(tmp_path / "adapter")


@pytest.mark.parametrize("targets", [["embed_tokens", "lm_head"]])
def test_a_run_with_it_is_resumed_and_evaluated(tmp_path: Path, targets: list[str]) -> None:
    tinyhf.tiny_folder(tmp_path / "base")
    stage = {
        "name": "learn",
        "updates": 2,
        "sampler": {"name": "uniform", "tasks": 2},
        "collector": {"name": "asynchronous", "group_size": 2},
        "credit": "grpo",
        "loss": "ppo",
        "trainer": {"name": "packed", "learning_rate": 1e-2, "workers": 1},
    }
    tables = lamps.RUN | {
        "runs": str(tmp_path / "runs"),
        "model": {"name": "pretrained", "path": str(tmp_path / "base"), "lora_rank": 2, "lora_targets": targets},
        "policy": {"name": "transformers", "max_tokens": 4, "workers": 1},
        "dialect": "plain",
        "evaluation": {"split": "valid", "tasks": 2},
        "stages": [stage],
    }
    host = agentrl.Host({"lamps": lamps})
    run = agentrl.train(tables, host=host)
    (run.folder / "summary.json").unlink()
    last = run.folder / "updates/000001"
    last.rename(tmp_path / "lost")  # as if it had been killed in the second update
    again = agentrl.resume(run.folder, host=host)
    assert again.summary["updates"] == {"learn": 2}
    assert len(agentrl.evaluate(run.folder, host=host).plays) == 2


def test_saving_an_adapter_asks_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = model(tinyhf.tiny_folder(tmp_path / "base"), lora_rank=2)
    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", None)
    trained.module.peft_config["default"].base_model_name_or_path = "somebody/elses"
    asyncio.run(trained.save(tmp_path / "adapter"))
    assert (tmp_path / "adapter/adapter_model.safetensors").is_file()
