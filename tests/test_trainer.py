"""The packed trainer: the same numbers as plain PyTorch, the engine's log-probs, exact resumption, and it learns."""

import asyncio
import copy
import dataclasses
import math

import numpy as np
import pytest
import torch

from agentrl import (
    COLUMNS,
    Batch,
    Columns,
    Completion,
    ConfigError,
    DataError,
    Dialogue,
    Group,
    Loss,
    Message,
    Model,
    Outcome,
    PolicyFault,
    RecordError,
    Sampling,
    SavedCodec,
    Scheduled,
    Scope,
    Seed,
    Spec,
    Task,
    Trainer,
    Trajectory,
    Turn,
    Updates,
    default_host,
    relation,
    training_rows,
)
from agentrl_plugins.losses.nll import NLL
from agentrl_plugins.losses.ppo import PPO
from agentrl_plugins.models import pretrained as pretrained_plugin
from agentrl_plugins.models.ragged import CausalRows
from agentrl_plugins.models.tiny import tiny
from agentrl_plugins.policies.transformers_policy import TransformersPolicy
from agentrl_plugins.trainers.kernels import BlockCausal, set_gradient_products, speed_up_norms
from agentrl_plugins.trainers.packed_trainer import PackedTrainer
from agentrl_plugins.trainers.scoring import score as score_rows
from agentrl_plugins.trainers.workers import Workers

TEXTS = [f"You arrive at {place} {i}. On it you see nothing." for place in ("shelf", "drawer") for i in range(9)]


def fresh(seed=0, **settings):
    size = {"layers": 2, "width": 32, "heads": 4, "kv_heads": 2, "head_width": 8, "vocabulary": 300, "init_std": 0.2}
    return tiny(TEXTS, seed, SavedCodec(), **size | {"max_context": 512} | settings)


def pretrained(seed=0, **settings):
    return pretrained_plugin.pretrained(seed, SavedCodec(), **settings)


def trainer_of(model, loss, seed=0, updates=10, columns=COLUMNS, **settings):
    """Without the alarm: most tokens here were sampled by other weights, or by nobody."""
    return PackedTrainer(model, loss, seed, updates, columns, **{"max_logprob_gap": math.inf} | settings)


def score(model, rows, microbatch_tokens=2048):
    return score_rows(model.module, rows, microbatch_tokens, Workers(1))


async def _play(model, policy, member, turns, window):
    random = np.random.default_rng(member)
    messages, made, last = (), [], None
    for turn in range(turns):
        observation = " ".join(TEXTS[i] for i in random.integers(0, len(TEXTS), int(random.integers(1, 4))))
        messages += (Message("user", observation),)
        shown = messages if window is None else messages[-2 * window - 1 :]
        prompt = model.codec.prompt(shown, after=last)
        last = said = await policy.act(Dialogue(shown, f"k{member}", 100 * member + turn, prompt))
        messages += (Message("assistant", said.text, said),)
        made.append(Turn(observation, said, said.text, 0.0, observation, relation=prompt.relation, kept=prompt.kept))
    return Trajectory(tuple(made), Task("train", member // 2), f"g{member // 2}", Outcome.TERMINATED, member % 2)


def play(model, members=6, *, window=None, **settings):
    policy = TransformersPolicy(model, max_tokens=6, **settings)

    async def everyone():
        return await asyncio.gather(
            *(_play(model, policy, member, 2 + member % 3, window) for member in range(members))
        )

    return asyncio.run(everyone())


def scope_of(model):
    return Scope({Model: model, Loss: PPO(), Seed: Seed(0), Updates: Updates(5), Columns: Columns(COLUMNS)})


def random_advantages(trajectories, seed=0):
    return [np.random.default_rng([seed, i]).normal(size=len(t.turns)) for i, t in enumerate(trajectories)]


def bandit(*completions, advantage_of=None):
    """Trajectories of one turn from (prompt, ids, logprobs)."""
    made = []
    for number, (prompt, ids, logprobs) in enumerate(completions):
        said = Completion("", np.array(prompt, np.int32), np.array(ids, np.int32), np.array(logprobs, np.float32),
                          versions=np.zeros(len(ids), np.int32))  # fmt: skip
        turn = Turn("o", said, "", 0.0, "o", relation=relation(None, said.prompt_ids)[0])
        made.append(Trajectory((turn,), Task("train", 0), "g", Outcome.TERMINATED, number))
    return made


def gradient_of(trainer, trajectories, advantages):
    """What an update would step with; the weights stay."""
    caught = []
    trainer._optimizer.step = lambda sums, *_: (caught.append([g.clone() for g in sums]), (0.0, 0.0))[1]
    trainer.train(trajectories, advantages)
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
    metrics = trainer_of(model, PPO(), learning_rate=1e-9).train(played, random_advantages(played))
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
    trainer = trainer_of(model, PPO(dual_clip=None, aggregation=aggregation))
    found = gradient_of(trainer, trajectories, advantages)
    assert (found - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("loss", [PPO(), PPO(aggregation="task"), NLL(observations=0.3, aggregation="trajectory")])
def test_microbatches_do_not_change_the_gradient(model, trajectories, loss):
    advantages = random_advantages(trajectories)
    gradients = [
        gradient_of(trainer_of(model, loss, microbatch_tokens=budget), trajectories, advantages)
        for budget in (1, 200, 100_000)
    ]
    for other in gradients[1:]:
        assert (other - gradients[0]).abs().max() < 1e-6 * gradients[0].norm()


def test_the_number_of_workers_does_not_change_a_bit(trajectories):
    found = []
    for workers in (1, 2, 3):
        model = fresh()
        trainer = trainer_of(model, PPO(), microbatch_tokens=150, workers=workers, optimizer="muon")
        trainer.train(trajectories, random_advantages(trajectories))
        trainer.close()
        found.append(weights_of(model))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_a_growing_context_is_one_row_and_a_window_several_with_every_sampled_token_trained_once(model):
    for window in (None, 1):
        played = play(model, 6, window=window)
        metrics = trainer_of(model, PPO(), learning_rate=1e-9).train(played, random_advantages(played))
        rows = training_rows(played, random_advantages(played))
        assert metrics["rows"] == len(rows)
        assert (metrics["rows"] == len(played)) == (window is None)
        assert sum(int(row.sampled.sum()) for row in rows) == sum(t.tokens for t in played)
        assert metrics["tokens"] == sum(len(row.ids) for row in rows)


def test_rows_without_advantage_are_left_out_of_the_forward_pass_but_count_in_the_mean(model, trajectories):
    advantages = random_advantages(trajectories)
    half = [a if i % 2 else np.zeros_like(a) for i, a in enumerate(advantages)]
    trainer = trainer_of(model, PPO(aggregation="trajectory"), learning_rate=1e-9)
    metrics = trainer.train(trajectories, half)
    assert metrics["rows_skipped"] == 3
    assert metrics["ratio"] == pytest.approx(1.0, abs=1e-4)
    found = gradient_of(trainer, trajectories, half)
    odd = gradient_of(trainer, trajectories[1::2], advantages[1::2])
    assert (2 * found - odd).norm() < 1e-5 * odd.norm()
    assert trainer_of(model, NLL()).train(trajectories, half)["rows_skipped"] == 0


def test_an_update_without_any_advantage_changes_nothing(trajectories):
    model = fresh()
    before = weights_of(model)
    metrics = trainer_of(model, PPO()).train(trajectories, [np.zeros(len(t.turns)) for t in trajectories])
    assert metrics["steps"] == metrics["tokens"] == 0
    assert torch.equal(weights_of(model), before)


def test_failed_and_empty_trajectories_are_refused(model, trajectories):
    trainer = trainer_of(model, PPO())
    first = trajectories[0]
    failed = Trajectory(first.turns, first.task, first.group, Outcome.ENV_ERROR)
    with pytest.raises(DataError, match="never trained on"):
        trainer.train([failed], [np.ones(len(first.turns))])
    silent = Trajectory((Turn("o", Completion("hi"), "hi", 0.0, "o"),), first.task, "g", Outcome.TERMINATED)
    with pytest.raises(DataError, match="what was played needs a model with a codec"):
        trainer.train([silent], [np.ones(1)])
    with pytest.raises(DataError, match="one token"):
        trainer.train(bandit(([], [5], [-1.0])), [np.ones(1)])


def test_greedily_chosen_tokens_are_refused(model):
    played = play(model, 2, temperature=0.0)
    with pytest.raises(DataError, match="temperature above 0"):
        trainer_of(model, PPO()).train(played, random_advantages(played))


def test_a_sampled_token_keeps_its_probability_when_the_filter_would_now_remove_it(model):
    (trajectory,) = bandit(([7, 8], [9], [-0.1]))
    said = trajectory.turns[0].completion
    with torch.no_grad():
        rare = int(model.module(torch.tensor([[7, 8]])).logits[0, -1].argmin())
    odd = Completion("", said.prompt_ids, np.array([rare], np.int32), said.logprobs, versions=said.versions,
                     sampling=Sampling(1.0, 0.5, 3))  # fmt: skip
    moved = Trajectory((Turn("o", odd, "", 0.0, "o"),), trajectory.task, "g", Outcome.TERMINATED)
    metrics = trainer_of(model, PPO(entropy_weight=Scheduled(0.1)), learning_rate=1e-9).train([moved], [np.ones(1)])
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
    trainer, before = trainer_of(whole, loss, 3, **settings), trainer_of(first, loss, 3, **settings)
    for update in range(4):
        trainer.train(trajectories, random_advantages(trajectories, update))
        if update < 2:
            before.train(trajectories, random_advantages(trajectories, update))
    first.write(tmp_path / "model")
    before.save(tmp_path / "trainer")
    second = fresh(seed=1)
    second.read(tmp_path / "model")
    after = trainer_of(second, loss, 99, **settings)
    after.load(tmp_path / "trainer")
    for update in (2, 3):
        after.train(trajectories, random_advantages(trajectories, update))
    assert torch.equal(weights_of(second), weights_of(whole))
    assert not torch.equal(weights_of(second), weights_of(first))


def test_a_damaged_or_foreign_state_is_refused(model, tmp_path):
    trainer = trainer_of(model, PPO())
    trainer.save(tmp_path / "good")
    with pytest.raises(RecordError, match="no state of this trainer"):
        trainer.load(tmp_path / "nowhere")
    with pytest.raises(RecordError, match="another optimiser"):
        trainer_of(model, PPO(), optimizer="muon").load(tmp_path / "good")
    with pytest.raises(RecordError, match="another optimiser"):
        trainer_of(fresh(width=16), PPO()).load(tmp_path / "good")
    content = (tmp_path / "good" / "trainer.pt").read_bytes()
    (tmp_path / "good" / "trainer.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(RecordError, match="no state of this trainer"):
        trainer.load(tmp_path / "good")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_loss_that_is_not_finite_is_an_error_and_leaves_the_weights(trajectories, workers):
    model = fresh()
    before = weights_of(model)
    trainer = trainer_of(model, PPO(), workers=workers, microbatch_tokens=100)
    with pytest.raises(PolicyFault, match="gradient is not finite"):
        trainer.train(trajectories, [a * 1e37 for a in random_advantages(trajectories)])
    assert torch.equal(weights_of(model), before)
    with torch.no_grad():
        model.module.lm_head.weight[3, 3] = torch.nan
    with pytest.raises(PolicyFault, match="the loss is nan on trajectories"):
        trainer.train(trajectories, random_advantages(trajectories))
    assert (weights_of(model) != before).sum() == 1
    trainer.close()
    trainer.close()


class Huge(PPO):
    """A loss that wants more memory than there is."""

    def __call__(self, batch):
        torch.empty(1 << 50)
        return super().__call__(batch)


@pytest.mark.parametrize("workers", [1, 2])
def test_running_out_of_memory_is_one_line_that_says_what_was_asked_and_what_to_lower(trajectories, workers):
    model = fresh()
    before = weights_of(model)
    trainer = trainer_of(model, Huge(), workers=workers, microbatch_tokens=100)
    with pytest.raises(
        PolicyFault, match=r"while training; torch asked for \d+ bytes: lower microbatch_tokens .*now 100"
    ):
        trainer.train(trajectories, random_advantages(trajectories))
    assert torch.equal(weights_of(model), before)
    trainer.close()


def test_the_reference_stays_where_training_began_and_holds_the_policy_back(trajectories):
    drift = {}
    for weight in (0.0, 10.0):
        model = fresh()
        trainer = trainer_of(model, PPO(reference_weight=weight), learning_rate=3e-3, reference="initial")
        seen = [trainer.train(trajectories, random_advantages(trajectories))["reference_kl"] for _ in range(8)]
        assert seen[0] == pytest.approx(0.0, abs=1e-6)
        drift[weight] = seen[-1]
    assert drift[10.0] < 0.5 * drift[0.0]


def test_a_loss_that_needs_a_reference_says_what_to_do_when_there_is_none(model, trajectories):
    with pytest.raises(DataError, match='reference = "initial"'):
        trainer_of(model, PPO(reference_weight=0.1)).train(trajectories, random_advantages(trajectories))


def test_with_lora_only_the_adapter_is_trained_and_the_base_is_the_reference(tmp_path, trajectories):
    fresh().write(tmp_path / "base")
    model = pretrained(0, path=str(tmp_path / "base"), lora_rank=4)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    trainer = trainer_of(model, PPO(reference_weight=0.1), learning_rate=1e-2, reference="initial")
    seen = [trainer.train(trajectories, random_advantages(trajectories))["reference_kl"] for _ in range(3)]
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
    trainer = trainer_of(model, PPO(), learning_rate=2e-6)
    for update in range(60):
        metrics = trainer.train(trajectories, random_advantages(trajectories))
        assert math.isfinite(metrics["loss"])
        if update == 30:
            trainer.save(tmp_path / "trainer")
            trainer.load(tmp_path / "trainer")
    assert (weights_of(model) != before).float().mean() > 0.02


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_ppo_raises_the_probability_of_the_rewarded_token(optimizer):
    model = fresh(init_std=0.05)
    trainer = trainer_of(model, PPO(), optimizer=optimizer, learning_rate=1e-2, minibatches=2, epochs=2)
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
        trainer.train(played, [np.array([reward - rewards.mean()]) for reward in rewards])
    assert chances[0] < 0.02
    assert chances[-1] > 0.5


def test_cloning_overfits_a_few_rows_and_observations_when_asked(trajectories):
    model = fresh()
    trainer = trainer_of(model, NLL(observations=1.0), optimizer="muon", learning_rate=1e-2, minibatch_tokens=60)
    seen = [trainer.train(trajectories[:3], random_advantages(trajectories[:3])) for _ in range(25)]
    assert seen[0]["loss"] > 2
    assert seen[-1]["nll_sampled"] + seen[-1]["nll_observed"] < 0.15
    assert seen[0]["steps"] > 1


def test_the_learning_rate_warms_up_and_decays_in_units_of_updates(trajectories):
    settings = {"schedule": "linear", "warmup_updates": 2.0, "total_updates": 6, "learning_rate": 1.0}
    trainer = trainer_of(fresh(), PPO(), clip_norm=1e-6, **settings)
    rates = [trainer.train(trajectories, random_advantages(trajectories))["learning_rate"] for _ in range(7)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0])


def test_a_schedule_ends_with_its_stage_unless_told(trajectories):
    trainer = trainer_of(fresh(), PPO(), updates=4, schedule="linear", learning_rate=1.0, clip_norm=1e-6)
    rates = [trainer.train(trajectories, random_advantages(trajectories))["learning_rate"] for _ in range(4)]
    assert rates == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_bfloat16_products_change_the_gradient_in_the_third_digit_and_the_forward_pass_not_at_all(trajectories):
    model = fresh()
    advantages = random_advantages(trajectories)
    exact = gradient_of(trainer_of(model, PPO()), trajectories, advantages)
    rows = training_rows(trajectories, advantages)
    before = score(model, rows)
    short = gradient_of(trainer_of(model, PPO(), gradient_products="bfloat16"), trajectories, advantages)
    assert 0 < (short - exact).norm() < 0.01 * exact.norm()
    assert all(np.array_equal(a, b) for a, b in zip(before, score(model, rows), strict=True))
    assert torch.equal(gradient_of(trainer_of(model, PPO()), trajectories, advantages), exact)
    assert set_gradient_products(model.module, torch.bfloat16) == 15
    assert set_gradient_products(model.module, torch.float32) == 0


# --------------------------------------------------------------------------------------------------- what is trained


def test_the_trainer_takes_a_batch_and_counts_what_it_scored(model, trajectories):
    trainer = trainer_of(model, PPO(), learning_rate=1e-9)
    assert isinstance(trainer, Trainer)
    failed = dataclasses.replace(trajectories[0], attempt=7, outcome=Outcome.ENV_ERROR)
    batch = Batch(0, (Group("g", 0, (failed, *trajectories)),))
    metrics = asyncio.run(trainer.update(batch, random_advantages(trajectories)))
    assert metrics["tokens_scored"] == sum(t.tokens for t in trajectories)
    assert metrics["tokens_not_drawn"] == 0
    assert metrics["row_tokens_ratio"] == pytest.approx(1.0)


def test_row_tokens_are_compared_with_distinct_ones(model):
    first, second = bandit(([5, 6, 7], [8, 9], [-1, -1]), ([5, 6, 7, 10, 11], [12], [-1]))
    rewritten = dataclasses.replace(second.turns[0], relation="new", kept=3)
    both = dataclasses.replace(first, turns=(first.turns[0], rewritten))
    metrics = trainer_of(model, PPO(), learning_rate=1e-9).train([both], [np.ones(2)])
    assert metrics["row_tokens_ratio"] == pytest.approx((5 + 6) / (5 + 2 + 1))


def with_columns(trajectory, **columns):
    """Every turn with the same function of its completion as columns."""
    turns = (
        dataclasses.replace(turn, columns={name: make(turn.completion) for name, make in columns.items()})
        for turn in trajectory.turns
    )
    return dataclasses.replace(trajectory, turns=tuple(turns))


def test_masked_tokens_are_context_and_weigh_nothing(model, trajectories):
    advantages = random_advantages(trajectories)
    half = [with_columns(t, mask=lambda said: np.arange(len(said.ids)) % 2 == 1) for t in trajectories]
    trainer = trainer_of(model, PPO(), learning_rate=1e-9)
    metrics = trainer.train(half, advantages)
    kept = sum((len(turn.completion.ids) + 1) // 2 for t in trajectories for turn in t.turns)
    assert metrics["tokens_scored"] == kept
    per_token = [
        [np.where(np.arange(len(turn.completion.ids)) % 2, 0.0, a) for turn, a in zip(t.turns, credit, strict=True)]
        for t, credit in zip(trajectories, advantages, strict=True)
    ]
    masked, zeroed = gradient_of(trainer, half, advantages), gradient_of(trainer, trajectories, per_token)
    everything = sum(t.tokens for t in trajectories)  # the mean runs over what is trained
    assert (masked * kept / everything - zeroed).norm() < 1e-5 * zeroed.norm()


def test_only_turns_of_trained_speakers_move_the_weights(model, trajectories):
    trainer = trainer_of(model, PPO(aggregation="trajectory"), learning_rate=1e-9)
    advantages = random_advantages(trajectories)
    others = [
        dataclasses.replace(t, turns=tuple(dataclasses.replace(turn, agent="user") for turn in t.turns))
        for t in trajectories[:3]
    ]
    both = [*others, *trajectories[3:]]
    wanted = gradient_of(trainer, trajectories[3:], advantages[3:])
    assert torch.equal(gradient_of(trainer, both, advantages), wanted)
    assert trainer.train(both, advantages, ("user", "agent"))["rows"] == 6
    assert trainer.train(both, advantages, ("user",))["rows"] == 3


def test_a_branch_is_trained_on_its_own_turns_only(model, trajectories):
    parent = next(t for t in trajectories if len(t.turns) == 3)
    child = dataclasses.replace(parent, parent=f"{parent.id}@2", inherited=2)
    metrics = trainer_of(model, PPO(), learning_rate=1e-9).train([parent, child], random_advantages([parent, child]))
    assert metrics["tokens_scored"] == parent.tokens + len(parent.turns[2].completion.ids)


def test_references_that_the_turns_carry_are_taken(trajectories):
    trainer = trainer_of(fresh(), PPO(reference_weight=1.0), learning_rate=1e-9)
    same = [with_columns(t, reference=lambda said: said.logprobs) for t in trajectories]
    other = [with_columns(t, reference=lambda said: said.logprobs - 1) for t in trajectories]
    assert trainer.train(same, random_advantages(same))["reference_kl"] == pytest.approx(0.0, abs=0.02)
    assert trainer.train(other, random_advantages(other))["reference_kl"] == pytest.approx(math.exp(-1), abs=0.05)


class Weighted(NLL):
    """Cloning with weights from a column, and the likeliest tokens of a teacher."""

    needs = frozenset({"value", "old", "top:teacher_ids"})

    def __call__(self, batch):
        self.seen = batch
        return (batch.weight * batch.columns["value"] * -batch.logprobs).sum(), {}


def test_a_loss_gets_the_columns_it_needs_and_the_log_probs_of_a_teachers_ids(model, trajectories):
    loss = Weighted()
    given = [
        with_columns(t, value=lambda _: 0.5, teacher_ids=lambda said: np.stack([said.ids, said.ids + 1], 1))
        for t in trajectories
    ]
    trainer_of(model, loss, learning_rate=1e-9, microbatch_tokens=10**6).train(given, random_advantages(given))
    batch = loss.seen
    assert batch.columns["value"].unique().tolist() == [0.5]
    assert batch.columns["teacher_ids"].shape == (len(batch.logprobs), 2)
    torch.testing.assert_close(batch.top_logprobs[:, 0], batch.logprobs, atol=1e-5, rtol=0)
    assert batch.top_logprobs.requires_grad
    torch.testing.assert_close(batch.columns["old"], batch.logprobs.detach(), atol=1e-5, rtol=0)
    with pytest.raises(DataError, match="the loss needs the column 'teacher_ids', and no turn carries it"):
        trainer_of(model, Weighted()).train(trajectories[:2], random_advantages(given[:2]))


def test_a_judge_that_had_nothing_to_write_is_told_from_one_that_is_missing(model, trajectories):
    some, loss = trajectories[:2], Weighted()
    batch = Batch(0, (Group("0", 0, tuple(some)),), judged={"judge 'mine'": "wrote judged"})
    with pytest.raises(DataError, match=r"no turn carries it; add the judge.*\(judge 'mine' wrote judged\)"):
        asyncio.run(trainer_of(model, loss).update(batch, random_advantages(some)))
    with pytest.raises(DataError, match=r"\(the stage has no judge\)"):
        asyncio.run(trainer_of(model, loss).update(Batch(0, batch.groups), random_advantages(some)))
    for did in ("wrote nothing", "failed"):
        batch.judged["judge 'mine'"] = did
        asyncio.run(trainer_of(model, loss, learning_rate=1e-9).update(batch, random_advantages(some)))
        assert loss.seen.columns["value"].unique().tolist() == [0.0]


def test_where_only_some_turns_carry_a_column_its_fill_stands_for_the_others(model, trajectories, tmp_path):
    """A teacher may have nothing to say to a whole row, or to a whole update."""
    loss = Weighted()
    ids = {"teacher_ids": lambda said: np.stack([said.ids] * 3, 1)}
    given = [with_columns(trajectories[0], value=lambda _: 0.5, **ids), *trajectories[1:3]]
    trainer = trainer_of(model, loss, learning_rate=1e-9, microbatch_tokens=10**6)
    trainer.train(given, random_advantages(given))
    batch = loss.seen
    carried = batch.trajectory == 0
    assert batch.columns["value"][carried].unique().tolist() == [0.5]
    assert batch.columns["value"][~carried].unique().tolist() == [0.0]
    assert batch.columns["teacher_ids"].shape == batch.top_logprobs.shape == (len(batch.logprobs), 3)
    trainer.save(tmp_path / "trainer")
    again = trainer_of(model, Weighted(), learning_rate=1e-9)
    again.load(tmp_path / "trainer")
    again.train(trajectories[1:3], random_advantages(given[1:]))
    assert again.loss.seen.columns["teacher_ids"].shape == (len(again.loss.seen.logprobs), 1)


def test_lists_of_likeliest_tokens_are_equally_long(model, trajectories):
    given = [
        with_columns(t, value=lambda _: 0.5, teacher_ids=lambda said, k=k: np.stack([said.ids] * k, 1))
        for k, t in enumerate(trajectories[:2], 1)
    ]
    with pytest.raises(DataError, match=r"column 'teacher_ids' has \(1,\) and \(2,\) values per token"):
        trainer_of(model, Weighted()).train(given, random_advantages(given))


def test_a_loss_that_needs_a_column_nobody_declared_is_refused(model):
    class Odd(NLL):
        needs = frozenset({"valu"})

    with pytest.raises(ConfigError, match="the loss needs the column 'valu'. Did you mean 'value'"):
        trainer_of(model, Odd())


# ------------------------------------------------------------------------------------------------- turns = k


@pytest.mark.parametrize("window", [None, 1])
@pytest.mark.parametrize("loss", [PPO(aggregation="trajectory"), NLL(observations=0.3)])
def test_some_turns_of_each_trajectory_give_the_gradient_of_all_on_average(model, window, loss):
    played = play(model, 4, window=window)
    advantages = random_advantages(played)
    whole = gradient_of(trainer_of(model, loss), played, advantages)
    trainer = trainer_of(model, loss, turns=1)
    drawn = [gradient_of(trainer, played, advantages) for _ in range(120)]
    directions = [whole / whole.norm(), torch.randn(whole.shape, generator=torch.Generator().manual_seed(0))]
    for direction in directions:
        found = torch.stack([one @ direction for one in drawn])
        error = found.std() / len(found) ** 0.5
        assert error > 0
        assert abs(found.mean() - whole @ direction) < 4 * error


def test_as_many_turns_as_there_are_change_nothing(model):
    played = play(model, 4, window=1)
    advantages = random_advantages(played)
    one, other = (gradient_of(trainer_of(model, PPO(), turns=turns), played, advantages) for turns in (None, 9))
    assert torch.equal(one, other)


def test_turns_that_were_not_drawn_are_counted_and_their_rows_left_out(model):
    played = play(model, 6, window=0)
    metrics = trainer_of(model, PPO(), turns=1, learning_rate=1e-9).train(played, random_advantages(played))
    assert metrics["tokens_scored"] + metrics["tokens_not_drawn"] == sum(t.tokens for t in played)
    assert metrics["tokens_not_drawn"] > 0
    rows = training_rows(played, random_advantages(played))
    assert metrics["tokens"] < 0.7 * sum(len(row.ids) for row in rows)


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
        ({"turns": 0}, "turns"),
        ({"epochs": 0}, "epochs"),
        ({"workers": -1}, "workers"),
        ({"optimizer": "sgd"}, "optimizer"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(model, wrong, match):
    with pytest.raises(ConfigError, match=match):
        default_host().build(Spec("trainer", "packed", wrong), scope_of(model))


def test_a_table_is_no_model_for_this_trainer():
    table = default_host().build(Spec("model", "table", {}))
    with pytest.raises(ConfigError, match="language model"):
        trainer_of(table, PPO())
