"""The table, its policy and its trainer: exact probabilities, exact gradients, exact checkpoints, and they learn."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import part, player
from playing import play as collect

from agentrl import (
    Completion,
    ConfigError,
    DataError,
    Dialect,
    Dialogue,
    Environment,
    Message,
    Model,
    Outcome,
    Policy,
    PolicyFault,
    Prompt,
    RecordError,
    Scope,
    Shared,
    Spec,
    Stream,
    Task,
    Trainer,
    Trajectory,
    Version,
    Weights,
    default_host,
)
from agentrl_plugins.models.table import Table

HOST = default_host()
PLAIN = part("dialect", "plain")


class Stairs(Environment):
    """Four steps up to the goal; a wrong word leads back down. The bottom step admits no `down`."""

    splits = {"train": 1}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.pick_task(options)
        self.level, self.turns = 0, 0
        return self._observation(), self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.turns += 1
        self.level = max(0, self.level + {"up": 1, "down": -1}.get(action, 0))
        won = self.level == 4
        return self._observation(), float(won), won, self.turns >= 8, self._info() | {"success": won}

    def expert_action(self) -> str:
        return "up"

    def _observation(self) -> str:
        return f"You stand on step {self.level}."

    def _info(self) -> dict[str, Any]:
        return {"admissible": ("up", "wait") if self.level == 0 else ("up", "wait", "down")}


def around(model: Any, kind: str, **settings: Any) -> Any:
    """The part 'tabular' of a kind, around a model."""
    return HOST.build(Spec(kind, "tabular", settings), Scope({Model: model, Dialect: PLAIN}))


def parts(**settings: Any) -> tuple[Any, Any, Any]:
    model = HOST.build(Spec("model", "table"))
    return model, around(model, "policy"), around(model, "trainer", **settings)


def dialogue(observation: str, admissible: Any, seed: int = 0) -> Dialogue:
    info = {} if admissible is None else {"admissible": admissible}
    return Dialogue((Message("user", observation),), "key", seed, info=info)


def act(policy: Any, *args: Any, **settings: Any) -> Completion:
    return asyncio.run(policy.act(dialogue(*args, **settings)))


def play(policy: Any, count: int = 16, seed: int = 0, model: Any = None) -> list[Trajectory]:
    """`model` writes the ids of what a demonstrator says."""
    return collect(player(Stairs, model=model), policy, [Task("train", 0)], group_size=count, seed=seed)


def learn(policy: Any, trainer: Any, credit: str, updates: int) -> float:
    """Success of the last batch."""
    for update in range(updates):
        played = play(policy, seed=update)
        trainer.train(played, part("credit", credit)(played))
    return float(np.mean([trajectory.success for trajectory in play(policy, 50, seed=updates)]))


def test_table_and_policy_keep_their_contracts() -> None:
    model, policy, trainer = parts()
    assert isinstance(model, Model)
    assert isinstance(policy, Policy)
    assert isinstance(trainer, Trainer)


def test_an_unlearned_state_gives_equal_chances_and_a_completion_of_one_token() -> None:
    model, policy, _ = parts()
    said = act(policy, "a room", ["go", "stay"])
    assert said.text in ("go", "stay")
    assert said.prompt_ids.tolist() == [model.codec.token("a room")]
    assert said.ids.tolist() == [model.codec.token(said.text)]
    np.testing.assert_allclose([said.logprobs[0], said.entropy[0]], [np.log(0.5), np.log(2)], rtol=1e-6)
    assert (said.versions.tolist(), model.version.update) == ([0], 0)


def test_the_seed_of_the_dialogue_is_all_the_randomness_there_is() -> None:
    actions = [f"go {index}" for index in range(50)]
    once, again = ([act(parts()[1], "a room", actions, seed=seed).text for seed in range(20)] for _ in range(2))
    assert once == again
    assert len(set(once)) > 10


def test_actions_are_drawn_as_often_as_their_log_probs_say() -> None:
    model, policy, _ = parts()
    state = model.codec.token("a room")
    model.logits = np.zeros(len(model.positions(state, ("a", "b", "c"))))
    model.logits[:] = [0.0, 1.0, 2.0]

    async def draw() -> list[Completion]:
        return [await policy.act(dialogue("a room", ["a", "b", "c"], seed)) for seed in range(2000)]

    said = asyncio.run(draw())
    for action in "abc":
        chosen = [each for each in said if each.text == action]
        expected = np.exp(chosen[0].logprobs[0])
        assert abs(len(chosen) / 2000 - expected) < 4 * np.sqrt(expected * (1 - expected) / 2000)


def test_temperature_zero_is_greedy_and_certain() -> None:
    model, _, _ = parts()
    policy = around(model, "policy", temperature=0.0)
    model.positions(model.codec.token("a room"), ("a", "b"))
    model.logits = np.array([0.0, 0.5])
    said = act(policy, "a room", ["a", "b"], seed=7)
    assert (said.text, said.logprobs[0], said.entropy[0]) == ("b", 0.0, 0.0)


def test_what_is_admissible_may_change_in_equal_states() -> None:
    _, policy, trainer = parts(learning_rate=1.0, optimizer="gradient")
    played = play(policy)
    trainer.train(played, [np.ones(len(trajectory.turns)) for trajectory in played])
    bottom = "You stand on step 0."
    assert act(policy, bottom, ["down"]).logprobs[0] == 0.0
    assert np.exp(act(policy, bottom, ["up", "wait", "down"]).logprobs[0]) < 1.0


def test_the_codec_gives_the_ids_that_acting_gives() -> None:
    model, policy, _ = parts()
    here = dialogue("a room", ["go", "stay"])
    said = asyncio.run(policy.act(here))
    prompt = model.codec.prompt(here.messages)
    assert (prompt.ids.tolist(), prompt.relation) == (said.prompt_ids.tolist(), "start")
    assert model.codec.say(said.text).tolist() == said.ids.tolist()
    assert model.codec.decode(said.ids) == said.text
    after = model.codec.prompt((*here.messages, Message("assistant", said.text), Message("user", "b")), after=said)
    assert (after.relation, after.kept) == ("new", 0)


def test_a_prompt_that_was_made_is_taken_as_it_is() -> None:
    model, policy, _ = parts()
    ids = model.codec.prompt((Message("user", "another room"),)).ids
    here = Dialogue((Message("user", "a room"),), "key", 0, prompt=Prompt(ids), info={"admissible": ["go"]})
    assert asyncio.run(policy.act(here)).prompt_ids.tolist() == ids.tolist()


def test_a_dialogue_in_which_the_world_said_nothing_is_a_fault() -> None:
    with pytest.raises(PolicyFault, match="no message from the world"):
        Table().codec.prompt((Message("system", "rules"),))


def test_a_world_without_admissible_actions_is_a_mistake_in_the_run_and_an_empty_list_a_fault() -> None:
    _, policy, _ = parts()
    with pytest.raises(ConfigError, match='info\\["admissible"\\]'):
        act(policy, "a room", None)
    with pytest.raises(PolicyFault, match="empty"):
        act(policy, "a room", [])


def test_another_model_is_refused() -> None:
    for kind in ("policy", "trainer"):
        with pytest.raises(ConfigError, match="needs the model 'table'"):
            around(object(), kind)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.5, 1.0, 2.0]))
def test_the_step_is_the_gradient_of_the_objective(seed: int, temperature: float) -> None:
    model, _, trainer = parts(optimizer="gradient", learning_rate=1.0)
    policy = around(model, "policy", temperature=temperature)
    random = np.random.default_rng(seed)
    played = play(policy, 4, seed)
    trainer.train(played, [random.normal(size=len(t.turns)) for t in played])  # away from the uniform start
    played = play(policy, 4, seed + 1)
    advantages = [random.normal(size=len(trajectory.turns)) for trajectory in played]
    for trajectory in played:
        for turn in trajectory.turns:
            model.positions(int(turn.completion.prompt_ids[0]), tuple(turn.info["admissible"]))
    before = model.logits.copy()

    def objective(logits: Any) -> float:
        model.logits, total = logits, 0.0
        for trajectory, credit in zip(played, advantages, strict=True):
            for turn, advantage in zip(trajectory.turns, credit, strict=True):
                actions = tuple(turn.info["admissible"])
                row = model.row(int(turn.completion.prompt_ids[0]), actions) / temperature
                total += advantage * (row[actions.index(turn.action)] - np.log(np.exp(row).sum()))
        return float(total / len(played))

    numeric = [(objective(before + nudge) - objective(before - nudge)) / 2e-5 for nudge in np.eye(len(before)) * 1e-5]
    model.logits = before
    trainer.train(played, advantages)
    np.testing.assert_allclose(model.logits - before, numeric, atol=1e-8)


@pytest.mark.parametrize("how", ["masked", "inherited", "another speaker's"])
def test_turns_that_are_not_to_be_trained_change_nothing(how: str) -> None:
    model, policy, trainer = parts(optimizer="gradient")
    (whole,) = play(policy, 1)
    turns = [dataclasses.replace(turn, columns={"mask": np.ones(1, np.bool_)}) for turn in whole.turns]
    if how == "another speaker's":
        turns = [dataclasses.replace(turn, agent="user") for turn in whole.turns]
    inherited = len(whole.turns) if how == "inherited" else 0
    left = whole if how == "inherited" else dataclasses.replace(whole, turns=tuple(turns))
    metrics = trainer.train([dataclasses.replace(left, inherited=inherited)], [np.ones(len(turns))])
    assert metrics["tokens_scored"] == 0
    assert not model.logits.any()


def test_adam_takes_the_steps_that_torch_takes() -> None:
    torch = pytest.importorskip("torch")
    model, policy, trainer = parts(learning_rate=0.3, clip=0.05)
    plain_model, _, plain = parts(learning_rate=1.0, optimizer="gradient")
    weights = torch.zeros(11, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([weights], lr=0.3)
    for update in range(5):
        played = play(policy, seed=update)
        advantages = [np.random.default_rng(update).normal(size=len(trajectory.turns)) for trajectory in played]
        if update == 0:  # every entry from the start, so that both know 11 numbers
            for level in range(4):
                name = f"You stand on step {level}."
                actions = ("up", "wait", "down")[: 2 if level == 0 else 3]
                for each in (model, plain_model):
                    each.positions(each.codec.token(name), actions)
        plain_model.logits = model.logits.copy()
        plain.train(played, advantages)
        gradient = torch.from_numpy(plain_model.logits - model.logits)
        weights.grad = -gradient * min(1.0, 0.05 / float(gradient.norm()))
        adam.step()
        trainer.train(played, advantages)
        np.testing.assert_allclose(model.logits, weights.detach().numpy(), atol=1e-10)


def test_what_does_not_fit_is_refused_with_a_reason() -> None:
    _, policy, trainer = parts()
    played = play(policy, 2)
    good = [np.ones(len(trajectory.turns)) for trajectory in played]
    with pytest.raises(DataError, match="2 trajectories but 1 advantages"):
        trainer.train(played, good[:1])
    with pytest.raises(DataError, match="one finite advantage for each"):
        trainer.train(played, [good[0], good[1][:-1]])
    with pytest.raises(DataError, match="one finite advantage for each"):
        trainer.train(played, [good[0], good[1] * np.nan])
    bad = Trajectory(played[0].turns, played[0].task, "g", Outcome.ENV_ERROR)
    with pytest.raises(DataError, match="never train"):
        trainer.train([bad], good[:1])
    shown = play(part("policy", "random"), 1)
    with pytest.raises(DataError, match="not played or encoded by policy 'tabular'"):
        trainer.train(shown, [np.ones(len(shown[0].turns))])


def test_a_checkpoint_goes_on_exactly_where_it_stood(tmp_path: Path) -> None:
    model, policy, trainer = parts(learning_rate=0.2)
    learn(policy, trainer, "gigpo", 3)
    asyncio.run(model.publish(3, Shared))
    asyncio.run(model.save(tmp_path / "model"))
    trainer.save(tmp_path / "trainer")
    learn(policy, trainer, "gigpo", 3)

    twin, twin_policy, twin_trainer = parts(learning_rate=0.2)
    act(twin_policy, "a room that the first never saw", ["x"])
    asyncio.run(twin.load(tmp_path / "model"))
    twin_trainer.load(tmp_path / "trainer")
    assert twin.version.update == 3
    learn(twin_policy, twin_trainer, "gigpo", 3)
    asyncio.run(model.save(tmp_path / "one"))
    asyncio.run(twin.save(tmp_path / "two"))
    assert (tmp_path / "one" / "table.json").read_bytes() == (tmp_path / "two" / "table.json").read_bytes()


def test_a_folder_without_a_table_says_so(tmp_path: Path) -> None:
    model, _, trainer = parts()
    with pytest.raises(RecordError, match="is not a saved table"):
        asyncio.run(model.load(tmp_path))
    with pytest.raises(RecordError, match="is not a state of trainer"):
        trainer.load(tmp_path)


def test_a_refresh_takes_over_another_table() -> None:
    _, policy, _ = parts()
    other, _, _ = parts()
    other.positions(other.codec.token("a room"), ("a", "b"))
    other.logits = np.array([0.0, 50.0])
    asyncio.run(policy.refresh(asyncio.run(other.publish(4, Shared))))
    assert policy.version == Version(update=4)
    assert {act(policy, "a room", ["a", "b"], seed=seed).text for seed in range(20)} == {"b"}


def test_weights_that_are_no_table_of_this_process_are_refused() -> None:
    model, policy, _ = parts()
    with pytest.raises(PolicyFault, match="it needs a shared table"):
        asyncio.run(policy.refresh(Weights(Version(), Stream("x"))))
    with pytest.raises(ConfigError, match="cannot be handed out as Stream"):
        asyncio.run(model.publish(1, Stream))


def test_acting_leaves_the_table_as_it_is(tmp_path: Path) -> None:
    model, policy, _ = parts()
    asyncio.run(model.save(tmp_path / "before"))
    play(policy)
    asyncio.run(model.save(tmp_path / "after"))
    assert (tmp_path / "before/table.json").read_text() == (tmp_path / "after/table.json").read_text()


@pytest.mark.parametrize("credit", ["gigpo", "grpo", "rloo", "return_to_go"])
def test_every_credit_teaches_the_table_to_climb(credit: str) -> None:
    _, policy, trainer = parts(learning_rate=0.3)
    start = np.mean([trajectory.success for trajectory in play(policy, 200)])
    assert start < 0.4
    assert learn(policy, trainer, credit, 25) > 0.9


def test_cloning_the_expert_works_through_the_same_trainer() -> None:
    model, policy, trainer = parts(learning_rate=0.5)
    for _ in range(20):
        shown = play(part("policy", "expert"), 2, model=model)
        trainer.train(shown, [np.ones(len(trajectory.turns)) for trajectory in shown])
    assert all(trajectory.success for trajectory in play(policy, 20))
