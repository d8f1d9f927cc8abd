"""The packed trainer: the same numbers as plain PyTorch, the engine's log-probs, exact resumption, and it learns."""

import asyncio
import copy
import math

import numpy as np
import pytest
import torch

from agentrl import (
    Completion,
    ConfigError,
    DataError,
    Dialogue,
    Message,
    Outcome,
    PolicyFault,
    RecordError,
    Sampling,
    Spec,
    Task,
    Trajectory,
    Turn,
    default_host,
    training_rows,
)
from agentrl_plugins.losses.nll import NLL
from agentrl_plugins.losses.ppo import PPO
from agentrl_plugins.models.pretrained import pretrained
from agentrl_plugins.models.ragged import CausalRows
from agentrl_plugins.models.tiny import tiny
from agentrl_plugins.policies.transformers_policy import TransformersPolicy
from agentrl_plugins.trainers.kernels import BlockCausal, set_gradient_products, speed_up_norms
from agentrl_plugins.trainers.packed_trainer import PackedTrainer
from agentrl_plugins.trainers.scoring import score

TEXTS = [f"You arrive at {place} {i}. On it you see nothing." for place in ("shelf", "drawer") for i in range(9)]


def fresh(seed=0, **settings):
    size = {"layers": 2, "width": 32, "heads": 4, "kv_heads": 2, "head_width": 8, "vocabulary": 300, "init_std": 0.2}
    return tiny(TEXTS, seed, **size | {"max_context": 512} | settings)


async def _play(policy, member, turns, window):
    random = np.random.default_rng(member)
    messages, made = (), []
    for turn in range(turns):
        observation = " ".join(TEXTS[i] for i in random.integers(0, len(TEXTS), int(random.integers(1, 4))))
        messages += (Message("user", observation),)
        shown = messages if window is None else messages[-2 * window - 1 :]
        said = await policy.act(Dialogue(shown, f"k{member}", 100 * member + turn))
        messages += (Message("assistant", said.text, said),)
        made.append(Turn(observation, said, said.text, 0.0, observation))
    return Trajectory(tuple(made), Task("train", member // 2), f"g{member // 2}", Outcome.TERMINATED, member % 2)


def play(model, members=6, *, window=None, **settings):
    policy = TransformersPolicy(model, max_tokens=6, **settings)

    async def everyone():
        return await asyncio.gather(*(_play(policy, member, 2 + member % 3, window) for member in range(members)))

    return asyncio.run(everyone())


def random_advantages(trajectories, seed=0):
    return [np.random.default_rng([seed, i]).normal(size=len(t.turns)) for i, t in enumerate(trajectories)]


def bandit(*completions, advantage_of=None):
    """Trajectories of one turn from (prompt, ids, logprobs)."""
    made = []
    for number, (prompt, ids, logprobs) in enumerate(completions):
        said = Completion("", np.array(prompt, np.int32), np.array(ids, np.int32), np.array(logprobs, np.float32),
                          versions=np.zeros(len(ids), np.int32))  # fmt: skip
        turn = Turn("o", said, "", 0.0, "o")
        made.append(Trajectory((turn,), Task("train", 0), "g", Outcome.TERMINATED, number))
    return made


def gradient_of(trainer, trajectories, advantages):
    """What an update would step with; the weights stay."""
    caught = []
    trainer._optimizer.step = lambda sums, *_: (caught.append([g.clone() for g in sums]), (0.0, 0.0))[1]
    trainer.update(trajectories, advantages)
    (gradient,) = caught
    return torch.cat([part.flatten() for part in gradient])


def weights_of(model):
    return torch.cat([parameter.detach().float().flatten() for parameter in model.module.parameters()])


def plain_gradient(model, trajectories, advantages, loss, aggregation):
    """The library's forward pass on one row at a time, and the loss written out token by token."""
    rows = training_rows(trajectories, advantages)
    tokens = {number: sum(int(row.sampled.sum()) for row in rows if row.trajectory == number) for number in
              {row.trajectory for row in rows}}  # fmt: skip
    total = 0.0
    for row in rows:
        logits = model.module(torch.from_numpy(row.ids)[None].long()).logits[0] / row.sampling.temperature
        logprobs = torch.log_softmax(logits[:-1], -1)[
            torch.arange(len(row.ids) - 1), torch.from_numpy(row.ids[1:]).long()
        ]
        for place in np.flatnonzero(row.sampled):
            ratio = (logprobs[place - 1] - float(row.logprobs[place])).exp()
            advantage = float(row.advantages[place])
            objective = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
            weight = 1 / sum(tokens.values()) if aggregation == "token" else 1 / len(tokens) / tokens[row.trajectory]
            total = total - weight * objective
    gradients = torch.autograd.grad(total, list(model.module.parameters()))
    return torch.cat([part.flatten() for part in gradients])


@pytest.fixture(scope="module")
def model():
    return fresh()


@pytest.fixture(scope="module")
def trajectories(model):
    return play(model)


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.7}, {"top_k": 20}, {"temperature": 1.3, "top_p": 0.8}])
def test_with_the_same_weights_trainer_and_engine_give_the_same_logprobs(model, settings):
    played = play(model, 8, **settings)
    rows = training_rows(played, [np.zeros(len(t.turns)) for t in played])
    for row, logprobs in zip(rows, score(model, rows), strict=True):
        assert np.abs(logprobs - row.logprobs).max() < 1e-4
        assert not logprobs[~row.sampled].any()
    metrics = PackedTrainer(model, PPO(), learning_rate=1e-9).update(played, random_advantages(played))
    assert metrics["logprob_gap"] <= metrics["logprob_gap_max"] < 1e-4
    assert metrics["ratio"] == pytest.approx(1.0, abs=1e-4)


def test_scores_do_not_depend_on_batch_companions(model, trajectories):
    rows = training_rows(trajectories, random_advantages(trajectories))
    alone, together = score(model, rows, microbatch_tokens=1), score(model, rows, microbatch_tokens=10_000)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("aggregation", ["token", "trajectory"])
def test_the_gradient_is_that_of_a_plain_forward_pass_over_sampled_tokens_alone(aggregation):
    model = fresh()
    trajectories = play(model)
    advantages = random_advantages(trajectories)
    shift = torch.Generator().manual_seed(1)
    with torch.no_grad():  # so that ratios differ from 1 and some are clipped
        for parameter in model.module.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=shift)
    expected = plain_gradient(copy.deepcopy(model), trajectories, advantages, PPO(), aggregation)
    trainer = PackedTrainer(model, PPO(dual_clip=None, aggregation=aggregation))
    found = gradient_of(trainer, trajectories, advantages)
    assert (found - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("loss", [PPO(), PPO(aggregation="task"), NLL(observations=0.3, aggregation="trajectory")])
def test_microbatches_do_not_change_the_gradient(model, trajectories, loss):
    advantages = random_advantages(trajectories)
    gradients = [
        gradient_of(PackedTrainer(model, loss, microbatch_tokens=budget), trajectories, advantages)
        for budget in (1, 200, 100_000)
    ]
    for other in gradients[1:]:
        assert (other - gradients[0]).abs().max() < 1e-6 * gradients[0].norm()


def test_the_number_of_workers_does_not_change_a_bit(trajectories):
    found = []
    for workers in (1, 2, 3):
        model = fresh()
        trainer = PackedTrainer(model, PPO(), microbatch_tokens=150, workers=workers, optimizer="muon")
        trainer.update(trajectories, random_advantages(trajectories))
        trainer.close()
        found.append(weights_of(model))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_a_growing_context_is_one_row_and_a_window_several_with_every_sampled_token_trained_once(model):
    for window in (None, 1):
        played = play(model, 6, window=window)
        metrics = PackedTrainer(model, PPO(), learning_rate=1e-9).update(played, random_advantages(played))
        rows = training_rows(played, random_advantages(played))
        assert metrics["rows"] == len(rows)
        assert (metrics["rows"] == len(played)) == (window is None)
        assert sum(int(row.sampled.sum()) for row in rows) == sum(t.tokens for t in played)
        assert metrics["tokens"] == sum(len(row.ids) for row in rows)


def test_rows_without_advantage_are_left_out_of_the_forward_pass_but_count_in_the_mean(model, trajectories):
    advantages = random_advantages(trajectories)
    half = [a if i % 2 else np.zeros_like(a) for i, a in enumerate(advantages)]
    trainer = PackedTrainer(model, PPO(aggregation="trajectory"), learning_rate=1e-9)
    metrics = trainer.update(trajectories, half)
    assert metrics["rows_skipped"] == 3
    assert metrics["ratio"] == pytest.approx(1.0, abs=1e-4)
    found = gradient_of(trainer, trajectories, half)
    odd = gradient_of(trainer, trajectories[1::2], advantages[1::2])
    assert (2 * found - odd).norm() < 1e-5 * odd.norm()
    assert PackedTrainer(model, NLL()).update(trajectories, half)["rows_skipped"] == 0


def test_an_update_without_any_advantage_changes_nothing(trajectories):
    model = fresh()
    before = weights_of(model)
    metrics = PackedTrainer(model, PPO()).update(trajectories, [np.zeros(len(t.turns)) for t in trajectories])
    assert metrics["steps"] == metrics["tokens"] == 0
    assert torch.equal(weights_of(model), before)


def test_failed_and_empty_trajectories_are_refused(model, trajectories):
    trainer = PackedTrainer(model, PPO())
    first = trajectories[0]
    failed = Trajectory(first.turns, first.task, first.group, Outcome.ENV_ERROR)
    with pytest.raises(DataError, match="never trained on"):
        trainer.update([failed], [np.ones(len(first.turns))])
    silent = Trajectory((Turn("o", Completion("hi"), "hi", 0.0, "o"),), first.task, "g", Outcome.TERMINATED)
    with pytest.raises(DataError, match="needs an encoder"):
        trainer.update([silent], [np.ones(1)])
    with pytest.raises(DataError, match="one token"):
        trainer.update(bandit(([], [5], [-1.0])), [np.ones(1)])


def test_greedily_chosen_tokens_are_refused(model):
    played = play(model, 2, temperature=0.0)
    with pytest.raises(DataError, match="temperature above 0"):
        PackedTrainer(model, PPO()).update(played, random_advantages(played))


def test_a_sampled_token_keeps_its_probability_when_the_filter_would_now_remove_it(model):
    (trajectory,) = bandit(([7, 8], [9], [-0.1]))
    said = trajectory.turns[0].completion
    with torch.no_grad():
        rare = int(model.module(torch.tensor([[7, 8]])).logits[0, -1].argmin())
    odd = Completion("", said.prompt_ids, np.array([rare], np.int32), said.logprobs, versions=said.versions,
                     sampling=Sampling(1.0, 0.5, 3))  # fmt: skip
    moved = Trajectory((Turn("o", odd, "", 0.0, "o"),), trajectory.task, "g", Outcome.TERMINATED)
    metrics = PackedTrainer(model, PPO(entropy_weight=0.1), learning_rate=1e-9).update([moved], [np.ones(1)])
    assert math.isfinite(metrics["loss"])
    (logprobs,) = score(model, training_rows([moved], [np.ones(1)]))
    assert -15 < logprobs[-1] < 0


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adamw", "weight_decay": 0.1, "minibatches": 3, "epochs": 2, "reference": "initial"},
        {"optimizer": "muon", "schedule": "cosine", "warmup_updates": 1.5, "total_updates": 9, "minibatch_tokens": 200},
    ],
)
def test_saved_and_loaded_in_the_middle_the_weights_are_the_same_bit_by_bit(trajectories, tmp_path, settings):
    settings = settings | {"learning_rate": 1e-2}
    loss = PPO(reference_weight=0.1 if "reference" in settings else 0.0)
    whole, first = fresh(), fresh()
    trainer, before = PackedTrainer(whole, loss, 3, **settings), PackedTrainer(first, loss, 3, **settings)
    for update in range(4):
        trainer.update(trajectories, random_advantages(trajectories, update))
        if update < 2:
            before.update(trajectories, random_advantages(trajectories, update))
    first.save(tmp_path / "model")
    before.save(tmp_path / "trainer")
    second = fresh(seed=1)
    second.load(tmp_path / "model")
    after = PackedTrainer(second, loss, 99, **settings)
    after.load(tmp_path / "trainer")
    for update in (2, 3):
        after.update(trajectories, random_advantages(trajectories, update))
    assert torch.equal(weights_of(second), weights_of(whole))
    assert not torch.equal(weights_of(second), weights_of(first))


def test_a_damaged_or_foreign_state_is_refused(model, tmp_path):
    trainer = PackedTrainer(model, PPO())
    trainer.save(tmp_path / "good")
    with pytest.raises(RecordError, match="no state of this trainer"):
        trainer.load(tmp_path / "nowhere")
    with pytest.raises(RecordError, match="another optimiser"):
        PackedTrainer(model, PPO(), optimizer="muon").load(tmp_path / "good")
    with pytest.raises(RecordError, match="another optimiser"):
        PackedTrainer(fresh(width=16), PPO()).load(tmp_path / "good")
    content = (tmp_path / "good" / "trainer.pt").read_bytes()
    (tmp_path / "good" / "trainer.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(RecordError, match="no state of this trainer"):
        trainer.load(tmp_path / "good")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_loss_that_is_not_finite_is_an_error_and_leaves_the_weights(trajectories, workers):
    model = fresh()
    before = weights_of(model)
    trainer = PackedTrainer(model, PPO(), workers=workers, microbatch_tokens=100)
    with pytest.raises(PolicyFault, match="gradient is not finite"):
        trainer.update(trajectories, [a * 1e37 for a in random_advantages(trajectories)])
    assert torch.equal(weights_of(model), before)
    with torch.no_grad():
        model.module.lm_head.weight[3, 3] = torch.nan
    with pytest.raises(PolicyFault, match="the loss is nan on trajectories"):
        trainer.update(trajectories, random_advantages(trajectories))
    assert (weights_of(model) != before).sum() == 1
    trainer.close()
    trainer.close()


def test_the_reference_stays_where_training_began_and_holds_the_policy_back(trajectories):
    drift = {}
    for weight in (0.0, 10.0):
        model = fresh()
        trainer = PackedTrainer(model, PPO(reference_weight=weight), learning_rate=3e-3, reference="initial")
        seen = [trainer.update(trajectories, random_advantages(trajectories))["reference_kl"] for _ in range(8)]
        assert seen[0] == pytest.approx(0.0, abs=1e-6)
        drift[weight] = seen[-1]
    assert drift[10.0] < 0.5 * drift[0.0]


def test_a_loss_that_needs_a_reference_says_what_to_do_when_there_is_none(model, trajectories):
    with pytest.raises(DataError, match='reference = "initial"'):
        PackedTrainer(model, PPO(reference_weight=0.1)).update(trajectories, random_advantages(trajectories))


def test_with_lora_only_the_adapter_is_trained_and_the_base_is_the_reference(tmp_path, trajectories):
    fresh().save(tmp_path / "base")
    model = pretrained(0, path=str(tmp_path / "base"), lora_rank=4)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    trainer = PackedTrainer(model, PPO(reference_weight=0.1), learning_rate=1e-2, reference="initial")
    seen = [trainer.update(trajectories, random_advantages(trajectories))["reference_kl"] for _ in range(3)]
    changed = {name for name, value in model.module.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("lora_" in name for name in changed)
    assert seen[0] == pytest.approx(0.0, abs=1e-6)
    assert seen[-1] > 1e-4
    trainer.save(tmp_path / "trainer")
    assert (tmp_path / "trainer" / "trainer.pt").stat().st_size < 200_000


def test_bfloat16_weights_move_at_learning_rates_that_they_could_not_add_up(trajectories, tmp_path):
    model = fresh()
    model.module.to(torch.bfloat16)
    before = weights_of(model)
    trainer = PackedTrainer(model, PPO(), learning_rate=2e-6)
    for update in range(60):
        metrics = trainer.update(trajectories, random_advantages(trajectories))
        assert math.isfinite(metrics["loss"])
        if update == 30:
            trainer.save(tmp_path / "trainer")
            trainer.load(tmp_path / "trainer")
    assert (weights_of(model) != before).float().mean() > 0.02


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_ppo_raises_the_probability_of_the_rewarded_token(optimizer):
    model = fresh(init_std=0.05)
    trainer = PackedTrainer(model, PPO(), optimizer=optimizer, learning_rate=1e-2, minibatches=2, epochs=2)
    random, prompt, wanted = np.random.default_rng(0), [5, 6, 7], 42
    chances = []
    for _ in range(30):
        with torch.no_grad():
            logprobs = torch.log_softmax(model.module(torch.tensor([prompt])).logits[0, -1].double(), -1).numpy()
        chances.append(float(np.exp(logprobs[wanted])))
        probabilities = 0.9 * np.exp(logprobs) / np.exp(logprobs).sum()
        probabilities[40:44] += 0.1 / 4  # explored, and recorded as such
        drawn = random.choice(len(logprobs), 64, p=probabilities)
        played = bandit(*((prompt, [token], [np.log(probabilities[token])]) for token in drawn))
        rewards = (drawn == wanted).astype(float)
        trainer.update(played, [np.array([reward - rewards.mean()]) for reward in rewards])
    assert chances[0] < 0.02
    assert chances[-1] > 0.5


def test_cloning_overfits_a_few_rows_and_observations_when_asked(trajectories):
    model = fresh()
    trainer = PackedTrainer(model, NLL(observations=1.0), optimizer="muon", learning_rate=1e-2, minibatch_tokens=60)
    seen = [trainer.update(trajectories[:3], random_advantages(trajectories[:3])) for _ in range(25)]
    assert seen[0]["loss"] > 2
    assert seen[-1]["nll_sampled"] + seen[-1]["nll_observed"] < 0.15
    assert seen[0]["steps"] > 1


def test_the_learning_rate_warms_up_and_decays_in_units_of_updates(trajectories):
    settings = {"schedule": "linear", "warmup_updates": 2.0, "total_updates": 6, "learning_rate": 1.0}
    trainer = PackedTrainer(fresh(), PPO(), clip_norm=1e-6, **settings)
    rates = [trainer.update(trajectories, random_advantages(trajectories))["learning_rate"] for _ in range(7)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0])


def test_bfloat16_products_change_the_gradient_in_the_third_digit_and_the_forward_pass_not_at_all(trajectories):
    model = fresh()
    advantages = random_advantages(trajectories)
    exact = gradient_of(PackedTrainer(model, PPO()), trajectories, advantages)
    rows = training_rows(trajectories, advantages)
    before = score(model, rows)
    short = gradient_of(PackedTrainer(model, PPO(), gradient_products="bfloat16"), trajectories, advantages)
    assert 0 < (short - exact).norm() < 0.01 * exact.norm()
    assert all(np.array_equal(a, b) for a, b in zip(before, score(model, rows), strict=True))
    assert torch.equal(gradient_of(PackedTrainer(model, PPO()), trajectories, advantages), exact)
    assert set_gradient_products(model.module, torch.bfloat16) == 15
    assert set_gradient_products(model.module, torch.float32) == 0


@pytest.mark.parametrize("lengths", [[1], [63, 64, 65], [200, 3, 130, 129, 1, 50]])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_block_causal_attention_is_torchs_own_forward_and_backward(lengths, kv_heads):
    generator = torch.Generator().manual_seed(0)
    shapes = [(sum(lengths), heads, 8) for heads in (4, kv_heads, kv_heads)]
    inputs = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    target = torch.randn(shapes[0], generator=generator)
    found = []
    for kind in (CausalRows, BlockCausal):
        out = kind.of(lengths, torch.device("cpu")).attend(0, *inputs, 0.3, 0.0)
        found.append([out, *torch.autograd.grad((out * target).sum(), inputs)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)


def test_the_norm_kernel_is_installed_once_where_its_numbers_are_the_same():
    model = fresh()
    assert speed_up_norms(model.module) == 9
    assert speed_up_norms(model.module) == 0

    class ShiftedRMSNorm(torch.nn.Module):
        """Like Gemma's."""

        def __init__(self):
            super().__init__()
            self.weight, self.variance_epsilon = torch.nn.Parameter(torch.ones(8)), 1e-6

        def forward(self, x):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon) * (1 + self.weight)

    assert speed_up_norms(ShiftedRMSNorm()) == 0


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"minibatches": 2, "minibatch_tokens": 100}, "not both"),
        ({"schedule": "linear"}, "total_updates"),
        ({"epochs": 0}, "epochs"),
        ({"workers": -1}, "workers"),
        ({"optimizer": "sgd"}, "optimizer"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(model, wrong, match):
    with pytest.raises(ConfigError, match=match):
        default_host().build(Spec("trainer", "packed", wrong), model=model, loss=PPO(), seed=0)


def test_a_table_is_no_model_for_this_trainer():
    table = default_host().build(Spec("model", "table", {}))
    with pytest.raises(ConfigError, match="language model"):
        PackedTrainer(table, PPO())
