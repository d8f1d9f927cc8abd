"""The alarm: where the trainer's log-probs are not those that were sampled with, the run ends before it trains on them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from agentrl import (
    COLUMNS,
    Completion,
    ConfigError,
    Outcome,
    PolicyFault,
    SavedCodec,
    Seed,
    Task,
    Trajectory,
    Turn,
    Version,
)
from agentrl_plugins.losses.nll import NLL
from agentrl_plugins.losses.ppo import PPO
from agentrl_plugins.models.tiny import tiny
from agentrl_plugins.trainers.packed_trainer import PackedTrainer

SIZE: dict[str, Any] = {"layers": 1, "width": 16, "heads": 2, "kv_heads": 1, "head_width": 8, "vocabulary": 270}


@pytest.fixture
def model() -> Any:
    return tiny(["a lamp is red"], Seed(0), SavedCodec(None), init_std=0.3, **SIZE)


def sampled(model: Any, off: float = 0.0, version: int = 0) -> list[Trajectory]:
    """One turn of three tokens, with log-probs that are off by so much."""
    ids = torch.tensor([[9, 8, 7, 20, 21, 22]])
    with torch.no_grad():
        logprobs = torch.log_softmax(model.module(ids).logits[0], -1)[[2, 3, 4], ids[0, 3:]].float().numpy() + off
    said = Completion("", np.array([9, 8, 7]), np.array([20, 21, 22]), logprobs, versions=np.full(3, version, np.int32))
    return [Trajectory((Turn("o", said, "", 0.0, "o"),), Task("train", 0), "g", Outcome.TERMINATED)]


def trained(model: Any, trajectories: list[Trajectory], loss: Any = None, **settings: Any) -> dict[str, float]:
    return PackedTrainer(model, loss or PPO(), 0, 4, COLUMNS, workers=1, **settings).train(trajectories, [np.ones(1)])


def weights(model: Any) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in model.module.parameters()]


def test_log_probs_that_are_not_those_of_the_engine_stop_the_run_before_the_step(model: Any) -> None:
    before = weights(model)
    with pytest.raises(PolicyFault, match=r"differ by 0\.05 nats .* and 0\.01 are allowed.*max_logprob_gap"):
        trained(model, sampled(model, off=0.05))
    assert all(torch.equal(one, other) for one, other in zip(before, weights(model), strict=True))


def test_the_bound_is_a_setting_and_the_metrics_keep_their_names(model: Any) -> None:
    measured = trained(model, sampled(model, off=0.05), max_logprob_gap=0.1)
    assert measured["logprob_gap"] == pytest.approx(0.05, abs=1e-3)
    assert measured["logprob_gap_max"] == pytest.approx(0.05, abs=1e-3)
    assert math.isfinite(trained(model, sampled(model))["loss"])
    with pytest.raises(ConfigError, match="max_logprob_gap = 0"):
        trained(model, sampled(model), max_logprob_gap=0)


def test_weights_with_fewer_digits_have_a_wider_bound(model: Any) -> None:
    model.module.to(torch.bfloat16)
    assert model.rounded
    trained(model, sampled(model, off=0.05))
    with pytest.raises(PolicyFault, match=r"0\.1 are allowed"):
        trained(model, sampled(model, off=0.3))


def test_tokens_of_older_weights_and_of_demonstrations_raise_no_alarm(model: Any) -> None:
    model.version = Version(update=3)
    trained(model, sampled(model, off=0.5, version=2))
    (shown,) = sampled(model, version=3)
    turn = shown.turns[0]
    zeros = dataclasses.replace(turn.completion, logprobs=np.zeros(3, np.float32))
    trained(model, [dataclasses.replace(shown, turns=(dataclasses.replace(turn, completion=zeros),))], NLL())
    with pytest.raises(PolicyFault, match="are allowed"):
        trained(model, sampled(model, off=0.5, version=3))


def test_a_second_update_on_the_same_weights_number_raises_no_alarm(model: Any) -> None:
    trainer = PackedTrainer(model, PPO(), 0, 4, COLUMNS, workers=1, learning_rate=0.1)
    played = sampled(model)
    for _ in range(2):
        trainer.train(played, [np.ones(1)])
