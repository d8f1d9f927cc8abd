"""The sum of losses: what it needs, what must agree, and that it is the sum, also through a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import agentrl
from agentrl import ConfigError, LossBatch, Spec, default_host
from agentrl_plugins.losses.nll import NLL
from agentrl_plugins.losses.ppo import PPO
from agentrl_plugins.losses.sum import Sum


def make(*parts: Any) -> Any:
    return default_host().build(Spec("loss", "sum", {"parts": list(parts)}))


def batch(seed: int = 0) -> LossBatch:
    draw = torch.Generator().manual_seed(seed)
    logprobs, behaviour, advantages = (torch.randn(5, generator=draw, dtype=torch.float64) for _ in range(3))
    zeros = torch.zeros(5, dtype=torch.int64)
    return LossBatch(
        logprobs=logprobs.requires_grad_(), behaviour=behaviour, reference=behaviour * 0.5, entropy=None,
        advantages=advantages, weight=torch.full((5,), 0.2, dtype=torch.float64),
        sampled=torch.ones(5, dtype=torch.bool), trajectory=zeros, turn=zeros, row=zeros, group=zeros,
    )  # fmt: skip


def test_value_and_gradient_are_the_weighted_sum() -> None:
    parts: list[tuple[Any, float]] = [(PPO(reference_weight=0.1), 1.0), (NLL(), 0.25)]
    at = batch()
    total, metrics = Sum(parts=parts)(at)
    expected = sum(weight * loss(at)[0] for loss, weight in parts)
    assert total.item() == pytest.approx(expected.item())
    (gradient,), (wanted,) = (torch.autograd.grad(value, at.logprobs) for value in (total, expected))
    assert torch.equal(gradient, wanted)
    assert set(metrics) == {"clip_fraction", "ratio", "ratio_max", "approximate_kl", "reference_kl", "nll_sampled"}


def test_a_run_file_describes_the_parts_with_their_weights() -> None:
    loss = make({"name": "ppo", "clip_high": 0.3}, {"name": "nll", "weight": 0.5}, "nll")
    assert [weight for _, weight in loss._parts] == [1.0, 0.5, 1.0]
    assert loss._parts[0][0].clip_high == 0.3
    assert (loss.aggregation, loss.scope, loss.unit, loss.skips_zero) == ("token", "sampled", "token", False)
    assert loss.needs == {"behaviour"}


def test_it_needs_what_any_part_needs_and_cuts_like_the_coarsest() -> None:
    class Whole(NLL):
        unit = "trajectory"
        needs = frozenset({"old", "value"})

    loss = Sum(parts=[(PPO(reference_weight=0.1), 1.0), (Whole(weighting="advantage"), 1.0)])
    assert (loss.needs, loss.unit) == ({"behaviour", "reference", "old", "value"}, "trajectory")
    assert not loss.skips_zero
    assert Sum(parts=[(PPO(), 1.0), (NLL(weighting="advantage"), 1.0)]).skips_zero


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([{"name": "ppo"}, {"name": "nll", "aggregation": "task"}], "differ in aggregation (token, task)"),
        ([{"name": "ppo"}, {"name": "nll", "observations": 0.1}], "differ in scope (sampled, all)"),
        ([{"name": "ppo", "weight": "much"}], "weight = 'much' in parts; it takes a number"),
        ([{"name": "ppo", "clip": 0.1}], "loss 'ppo' has no setting 'clip'"),
        ([{"name": "popo"}], "popo"),
        ([], "needs parts"),
    ],
)
def test_parts_that_cannot_be_added_are_refused(parts: list[Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        make(*parts)
    assert message in str(error.value)


def test_mistakes_in_parts_are_found_without_building() -> None:
    with pytest.raises(ConfigError, match="no setting 'clip'"):
        default_host().check(
            Spec("loss", "sum", {"parts": [{"name": "nll"}, {"name": "ppo", "clip": 0.1, "weight": 2}]})
        )


def test_two_columns_of_likeliest_tokens_are_one_too_many() -> None:
    class Top(NLL):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.needs = frozenset({f"top:{name}"})

    with pytest.raises(ConfigError, match="differ in top"):
        Sum(parts=[(Top("one"), 1.0), (Top("two"), 1.0)])


def test_metrics_of_equal_parts_are_told_apart() -> None:
    _, metrics = Sum(parts=[(PPO(), 1.0), (PPO(clip_low=1.0, clip_high=99.0, dual_clip=None), 0.5)])(batch())
    assert metrics["ratio"] == metrics["1/ratio"]
    assert metrics["clip_fraction"] > metrics["1/clip_fraction"]
    assert metrics["ratio_max"] == metrics["1/ratio_max"]


def test_a_run_trains_with_a_sum(tmp_path: Path) -> None:
    tables = {
        "name": "summed", "runs": str(tmp_path), "environment": {"name": "corridor", "max_turns": 4},
        "model": {"name": "tiny", "layers": 1, "width": 16, "heads": 2, "kv_heads": 1, "head_width": 8, "vocabulary": 300},
        "policy": {"name": "transformers", "max_tokens": 4, "workers": 1}, "trainer": {"name": "packed", "workers": 1},
        "loss": {"name": "sum", "parts": [{"name": "ppo"}, {"name": "nll", "weight": 0.1}]}, "credit": "grpo",
        "sampler": {"name": "uniform", "tasks": 1}, "collector": {"name": "asynchronous", "group_size": 2},
        "stages": [{"name": "rl", "updates": 1}],
    }  # fmt: skip
    run = agentrl.train(tables)
    metrics = (run.folder / "metrics.jsonl").read_text()
    assert "train/nll_sampled" in metrics
    assert "train/clip_fraction" in metrics
