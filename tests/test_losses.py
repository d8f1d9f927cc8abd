"""Losses: the published formulas, token by token."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl import ConfigError, Loss, LossBatch, Scheduled, Spec, default_host
from agentrl_plugins.losses.nll import NLL
from agentrl_plugins.losses.ppo import PPO, k3

finite = st.floats(-3, 3, allow_nan=False, width=32)
tokens = st.lists(st.tuples(finite, finite, finite, finite), min_size=1, max_size=12)


def batch(logprobs, behaviour, advantages, *, weight=None, reference=None, entropy=None, sampled=None):
    count = len(logprobs)

    def tensor(values, dtype=torch.float64):
        return torch.tensor(values, dtype=dtype)

    return LossBatch(
        logprobs=tensor(logprobs).requires_grad_(),
        behaviour=tensor(behaviour),
        reference=None if reference is None else tensor(reference),
        entropy=None if entropy is None else tensor(entropy),
        advantages=tensor(advantages),
        weight=tensor([1 / count] * count if weight is None else weight),
        sampled=tensor([True] * count if sampled is None else sampled, torch.bool),
        trajectory=torch.zeros(count, dtype=torch.int64),
        turn=torch.zeros(count, dtype=torch.int64),
        row=torch.zeros(count, dtype=torch.int64),
        group=torch.zeros(count, dtype=torch.int64),
    )


def by_the_formula(now, before, advantage, low, high, dual):
    """One token of equations 7 (1707.06347) and 5 (1912.09729), in plain Python."""
    ratio = math.exp(now - before)
    clipped = min(max(ratio, 1 - low), 1 + high)
    objective = min(ratio * advantage, clipped * advantage)
    if dual is not None and advantage < 0:
        objective = max(objective, dual * advantage)
    return -objective


def test_the_worked_example_of_the_docstring():
    loss, metrics = PPO()(batch([math.log(1.5), math.log(4)], [0.0, 0.0], [1.0, -1.0]))
    assert loss.item() == pytest.approx(0.9)
    assert metrics["clip_fraction"] == 1.0
    assert metrics["ratio"] == pytest.approx(2.75)
    assert metrics["ratio_max"] == pytest.approx(4.0)


@given(tokens, st.sampled_from([(0.2, 0.2, 3.0), (0.2, 0.28, None), (0.0, 0.0, 1.5), (1.0, 5.0, 10.0)]))
@settings(deadline=None, max_examples=80)
def test_ppo_is_the_published_formula_token_by_token(values, clips):
    now, before, advantages, _ = zip(*values, strict=True)
    loss, _ = PPO(clip_low=clips[0], clip_high=clips[1], dual_clip=clips[2])(batch(now, before, advantages))
    expected = [by_the_formula(*token[:3], *clips) for token in values]
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-9, abs=1e-12)


@given(tokens)
@settings(deadline=None, max_examples=50)
def test_on_policy_the_gradient_is_that_of_reinforce(values):
    now, _, advantages, weight = zip(*values, strict=True)
    weight = np.abs(weight).tolist()
    given_batch = batch(now, now, advantages, weight=weight)
    (gradient,) = torch.autograd.grad(PPO()(given_batch)[0], given_batch.logprobs)
    np.testing.assert_allclose(gradient, -np.array(weight) * advantages, rtol=1e-12)


@given(tokens)
@settings(deadline=None, max_examples=50)
def test_the_clip_never_raises_the_objective(values):
    now, before, advantages, _ = zip(*values, strict=True)
    clipped, _ = PPO(dual_clip=None)(batch(now, before, advantages))
    free = -np.mean(np.exp(np.subtract(now, before)) * advantages)
    assert clipped.item() >= free - 1e-9 * (1 + abs(free))


@given(tokens)
@settings(deadline=None, max_examples=50)
def test_k3_is_never_negative_and_zero_only_where_both_agree(values):
    now, before, _, _ = zip(*values, strict=True)
    divergence = k3(torch.tensor(now, dtype=torch.float64), torch.tensor(before, dtype=torch.float64)).numpy()
    assert (divergence >= -1e-15).all()
    apart = np.abs(np.subtract(now, before)) > 1e-3
    assert (divergence[apart] > 0).all()
    assert not k3(torch.tensor(now), torch.tensor(now)).any()


def test_k3_estimates_the_divergence_between_two_distributions():
    logits = torch.randn(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    now, other = (0.5 * logits).log_softmax(-1)
    exact = (now.exp() * (now - other)).sum()
    assert (now.exp() * k3(now, other)).sum().item() == pytest.approx(exact.item())
    now, other = logits.log_softmax(-1)  # one quotient of 50 is above the bound: the estimate is too low
    exact = (now.exp() * (now - other)).sum()
    assert 0.95 * exact < (now.exp() * k3(now, other)).sum() < exact


def test_within_its_bound_k3_and_its_gradient_are_those_of_the_textbook():
    for seed in range(20):
        random = torch.Generator().manual_seed(seed)
        now = (-3 * torch.rand(64, generator=random, dtype=torch.float64)).requires_grad_()
        reference = now.detach() + torch.empty(64, dtype=torch.float64).uniform_(-9, 2.6, generator=random)
        quotient = (reference - now).exp()
        textbook = quotient - 1 - quotient.log()
        (expected,) = torch.autograd.grad(textbook.sum(), now, retain_graph=True)
        (gradient,) = torch.autograd.grad(k3(now, reference).sum(), now)
        torch.testing.assert_close(k3(now, reference), textbook, rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_token_never_adds_more_than_the_bound_of_k3_and_is_still_pulled_back(dtype):
    now = torch.full((8,), -9.0, dtype=dtype, requires_grad=True)
    reference = now.detach() + torch.tensor([-1000.0, -19.0, -11.5, -10.5, 2.7, 5.0, 15.0, 1000.0], dtype=dtype)
    divergence = k3(now, reference)
    (gradient,) = torch.autograd.grad(divergence.sum(), now)
    cut = torch.tensor([10.0, 10.0, 10.0, 9.5, 10.0, 10.0, 10.0, 10.0], dtype=dtype)
    torch.testing.assert_close(divergence.detach(), cut, rtol=1e-4, atol=0.0)  # verl: min(q - 1 - log q, 10)
    assert divergence.max() <= 10
    assert (gradient[1:4] > 0.9).all()  # π falls where it is above the reference
    torch.testing.assert_close(gradient[4:7], torch.full((3,), 1 - math.exp(2.610868638), dtype=dtype))
    assert not gradient[[0, 7]].any()


def test_metrics_of_a_token_far_from_its_behaviour_are_bounded():
    _, metrics = PPO(reference_weight=0.1)(batch([-20.0, -1.0], [-1.0, -1.0], [1.0, 1.0], reference=[-1.0, -1.0]))
    assert metrics["reference_kl"] == metrics["approximate_kl"] == pytest.approx(10.0 / 2)


def test_reference_and_entropy_terms_are_asked_for_and_weighed():
    loss = PPO(reference_weight=0.5, entropy_weight=Scheduled(0.1))
    assert loss.needs == {"behaviour", "reference", "entropy"}
    assert not loss.skips_zero
    assert PPO().needs == {"behaviour"}
    assert NLL().needs == frozenset()
    assert PPO().skips_zero
    value, metrics = loss(batch([-1.0], [-1.0], [2.0], reference=[-2.0], entropy=[0.7]))
    divergence = math.exp(-1) - 1 + 1
    assert value.item() == pytest.approx(-2.0 + 0.5 * divergence - 0.1 * 0.7)
    assert metrics["reference_kl"] == pytest.approx(divergence)
    assert metrics["entropy"] == pytest.approx(0.7)


def test_a_ratio_beyond_all_bounds_gives_a_finite_loss_and_gradient():
    given_batch = batch([0.0, 0.0], [-2000.0, 2000.0], [-1.0, 1.0])
    loss, metrics = PPO()(given_batch)
    (gradient,) = torch.autograd.grad(loss, given_batch.logprobs)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    assert math.isfinite(metrics["ratio_max"])


def test_cloning_ignores_advantages_unless_told_to_weigh_by_them():
    logprobs, advantages = [-1.0, -3.0], [0.0, 2.0]
    assert NLL()(batch(logprobs, [0.0, 0.0], advantages))[0].item() == pytest.approx(2.0)
    weighed = NLL(weighting="advantage")
    assert weighed(batch(logprobs, [0.0, 0.0], advantages))[0].item() == pytest.approx(3.0)
    assert weighed.skips_zero
    assert not NLL().skips_zero


def test_the_weight_of_observations_counts_tokens_nobody_sampled():
    loss = NLL(observations=0.5)
    assert loss.scope == "all"
    assert NLL().scope == "sampled"
    value, metrics = loss(batch([math.log(0.5), math.log(0.25)], [0, 0], [0, 0], sampled=[True, False]))
    assert value.item() == pytest.approx(math.log(2))
    assert metrics["nll_sampled"] == pytest.approx(math.log(2) / 2)
    assert metrics["nll_observed"] == pytest.approx(math.log(4) / 2)


def test_advantages_never_weigh_observations():
    loss = NLL(observations=1.0, weighting="advantage")
    value, _ = loss(batch([-1.0, -1.0], [0, 0], [3.0, 0.0], sampled=[True, False]))
    assert value.item() == pytest.approx((3 + 1) / 2)


@pytest.mark.parametrize(
    "wrong",
    [{"clip_low": -0.1}, {"clip_low": 1.5}, {"clip_high": -1.0}, {"dual_clip": 1.1}, {"reference_weight": -1.0}],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PPO(**wrong)


def test_losses_say_all_that_a_trainer_asks_them_before_the_forward_pass():
    asked = [name for name in vars(Loss) if not name.startswith("_")]
    assert {"aggregation", "needs", "scope", "skips_zero", "unit"} <= set(asked)
    for loss in (PPO(), NLL()):
        assert [name for name in asked if not hasattr(loss, name)] == []


def test_losses_are_built_from_a_run_file_and_wrong_settings_named():
    host = default_host()
    assert host.build(Spec("loss", "ppo", {"clip_high": 0.28, "aggregation": "task"})).aggregation == "task"
    assert host.build(Spec("loss", "nll", {"observations": 1})).observations == 1.0
    with pytest.raises(ConfigError, match="observations"):
        host.build(Spec("loss", "nll", {"observations": -1}))
    with pytest.raises(ConfigError, match="aggregation"):
        host.build(Spec("loss", "ppo", {"aggregation": "tokens"}))
