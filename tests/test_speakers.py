"""Several speakers and models in one run: who is paid, who is trained, who plays whom, and that nobody waits for himself."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from differences import first_difference
from strangers import FOLDER, PLUGINS, TINY, host, metrics_of, played, plugin, train

import agentrl
from agentrl import Completion, ConfigError, DataError, Outcome, Scene, Task, Trajectory, Turn, training_rows
from agentrl.data.record import Run
from agentrl_envs.corridor import Corridor


@contextmanager
def limit(seconds: int) -> Iterator[None]:
    """Raises TimeoutError in the block, also where everybody waits for everybody."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def haggle(runs: Path, seller: str = "agent", buyer: str = "other", **changes: Any) -> dict[str, Any]:
    return {
        "name": "haggle", "seed": 2, "runs": str(runs), "environment": {"name": "haggle", "seller": seller, "buyer": buyer},
        "model": "table", "policy": "tabular", "policies": {"other": "tabular"},
        "trainer": {"name": "tabular", "learning_rate": 0.3}, "credit": "grpo",
        "sampler": {"name": "uniform", "tasks": 4}, "collector": {"name": "asynchronous", "group_size": 4},
        "stages": [{"name": "both", "updates": 4, "trains": ["agent", "other"]}], **changes,
    }  # fmt: skip


def table(run: Run, name: str = "model") -> dict[str, float]:
    entries = json.loads((run.model_folder(name) / "table.json").read_text())["entries"]
    return {f"{state} | {action}": logit for state, action, logit in entries}


def renamed(trajectory: Trajectory, names: Mapping[str, str]) -> Trajectory:
    """The same with other names of speakers."""

    def without(info: Mapping[str, object]) -> dict[str, object]:
        return {key: value for key, value in info.items() if key not in ("speaker", "rewards_by")}

    turns = [dataclasses.replace(t, agent=names[t.agent], info=without(t.info)) for t in trajectory.turns]
    final = trajectory.final and dataclasses.replace(trajectory.final, info=without(trajectory.final.info))
    return dataclasses.replace(trajectory, turns=tuple(turns), final=final)


# ------------------------------------------------------------------------------------------------------- who is paid


def spoken(*turns: tuple[str, float, Mapping[str, Any]]) -> Trajectory:
    made = [Turn("", Completion("x"), "x", reward, "", agent=agent, info=info) for agent, reward, info in turns]
    return Trajectory(tuple(made), Task("train", 0), "g", Outcome.TERMINATED)


def test_a_speaker_is_paid_what_the_world_says_it_is_paid() -> None:
    paid = {"rewards_by": {"agent": 1.0, "other": -1.0}}
    trajectory = spoken(("agent", 0.0, {}), ("other", 1.0, paid), ("agent", 0.5, {}), ("other", 0.25, {}))
    assert trajectory.seen_by("agent").rewards.tolist() == [1.0, 0.75]
    assert trajectory.seen_by("other").rewards.tolist() == [-0.5, 0.25]
    assert trajectory.rewards.tolist() == [0.0, 1.0, 0.5, 0.25]
    assert spoken(("agent", 0.3, paid)).seen_by("agent").rewards.tolist() == [1.0]
    alone = spoken(("agent", 0.3, {}))
    assert alone.seen_by("agent") is alone


@pytest.mark.parametrize("wrong", [{"rewards_by": 1.0}, {"rewards_by": {"agent": "much"}}])
def test_pay_that_is_no_number_by_speaker_is_refused(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(DataError, match="speaker → number"):
        spoken(("agent", 0.0, wrong)).seen_by("agent")


def test_each_speaker_is_credited_with_its_own_pay(tmp_path: Path) -> None:
    def paid(trajectories: Any) -> Any:
        return [np.full(len(t.turns), t.episode_return) for t in trajectories]

    stages = [{"name": "both", "updates": 1, "trains": ["agent", "other"]}]
    run = train(haggle(tmp_path, stages=stages), credit=paid)
    sold = 0
    for trajectory, advantages in zip(played(run), run.commits()[0].advantages(), strict=True):
        pay: Any = trajectory.turns[-1].info.get("rewards_by", {"agent": 0.0, "other": 0.0})
        assert [pay[turn.agent] for turn in trajectory.turns] == np.asarray(advantages).tolist()
        sold += pay["agent"] > 0
    assert sold > 3


# ----------------------------------------------------------------------------------------------------- who is trained


def test_tokens_of_a_frozen_speaker_have_no_row_and_no_gradient(tmp_path: Path) -> None:
    run = train(haggle(tmp_path, stages=[{"name": "sell", "updates": 3}]))
    assert any("Name a price" in entry for entry in table(run))
    assert not any("Your limit" in entry for entry in table(run))
    trajectories = played(run)
    assert {turn.agent for t in trajectories for turn in t.turns} == {"agent", "other"}
    rows = training_rows(trajectories, [np.ones(len(t.turns)) for t in trajectories])
    assert {row.agent for row in rows} == {"agent"}
    said = [turn.completion for t in trajectories for turn in t.turns if turn.agent == "agent"]
    assert sum(int(row.sampled.sum()) for row in rows) == sum(len(completion.ids) for completion in said)
    metrics = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [m["tokens_untrained"] for m in metrics] == [0.0] * 3


def test_a_frozen_speaker_with_a_model_of_its_own_keeps_its_weights(tmp_path: Path) -> None:
    example = FOLDER / "haggle.toml"
    run = Run.open(agentrl.train(example, [f"runs={tmp_path}", "stages.0.updates=3"], host=host()).folder)
    assert table(run, "other") == {}
    assert table(run)


def test_two_trained_speakers_with_swapped_names_give_swapped_results(tmp_path: Path) -> None:
    one = train(haggle(tmp_path, name="one"))
    two = train(haggle(tmp_path, seller="other", buyer="agent", name="two"))
    swap, keep = {"agent": "other", "other": "agent"}, {"agent": "agent", "other": "other"}
    swapped = [renamed(trajectory, swap) for trajectory in played(two)]
    assert not first_difference([renamed(trajectory, keep) for trajectory in played(one)], swapped)
    assert table(one) == table(two)


@pytest.mark.parametrize("name", ["solo", "agent"])
def test_a_lone_speaker_gives_the_run_of_a_single_agent_bit_for_bit(name: str, tmp_path: Path) -> None:
    class Named(Corridor):
        def act(self, action: str) -> Scene:
            return super().act(action).replace(info={"speaker": name})

        def begin(self, task: Task) -> Scene:
            return super().begin(task).replace(info={"speaker": name})

    tables = {
        "name": "plain", "seed": 5, "runs": str(tmp_path), "environment": {"name": "corridor"}, "model": "table",
        "policy": "tabular", "credit": "gigpo", "sampler": {"name": "uniform", "tasks": 3},
        "collector": {"name": "asynchronous", "group_size": 4}, "trainer": {"name": "tabular", "learning_rate": 0.3},
    }  # fmt: skip
    plain = train({**tables, "stages": [{"name": "rl", "updates": 4}]})
    stages = [{"name": "rl", "updates": 4, "trains": [name]}]
    policies = {} if name == "agent" else {"solo": "policies.agent"}
    lone = train({**tables, "name": "lone", "policies": policies, "stages": stages}, environment=Named)
    names = {name: "agent", "agent": "agent"}
    assert not first_difference(played(plain), [renamed(trajectory, names) for trajectory in played(lone)])
    assert table(plain) == table(lone)
    for one, two in zip(plain.commits(), lone.commits(), strict=True):
        assert [np.asarray(a).tolist() for a in one.advantages()] == [np.asarray(a).tolist() for a in two.advantages()]


# -------------------------------------------------------------------------------------------------------- two models


def alternating(runs: Path, **changes: Any) -> dict[str, Any]:
    return haggle(
        runs, models={"other": "table"}, policies={"other": {"name": "tabular", "model": "models.other"}},
        evaluation={"split": "train", "tasks": 10},
        stages=[{"name": "sell", "updates": 2}, {"name": "buy", "updates": 1, "trains": ["other"]},
                {"name": "play", "repeat": 3, "of": ["sell", "buy"]}], **changes,
    )  # fmt: skip


class Silent:
    """A logger that hears nothing."""

    def log(self, update: int, metrics: Mapping[str, float]) -> None: ...


def test_stages_that_repeat_and_alternate_train_two_models(tmp_path: Path) -> None:
    logits: dict[str, list[str]] = {"model": [], "other": []}

    class Looks(Silent):
        def log(self, update: int, metrics: Mapping[str, float]) -> None:
            for name, seen in logits.items():
                seen.append(json.dumps(table(Run.open(tmp_path / "haggle"), name)))

    run = train(alternating(tmp_path), logger=Looks)
    assert [commit.stage for commit in run.commits()] == ["sell", "sell", "buy"] * 3
    changes = {
        name: [one != two for one, two in zip(["{}", *seen], seen, strict=False)] for name, seen in logits.items()
    }
    assert changes == {"model": [True, True, False] * 3, "other": [False, False, True] * 3}
    assert all("Name a price" in entry for entry in table(run))
    assert all("Your limit" in entry for entry in table(run, "other"))


@pytest.mark.parametrize("update", [1, 2, 4])
def test_a_run_of_two_models_goes_on_exactly(update: int, alternated: Run, tmp_path: Path) -> None:
    class Dies:
        def on_update(self, update: int, metrics: dict[str, float]) -> None:
            if update == last:
                raise KeyboardInterrupt

    last, plugins = update, {name: plugin(name) for name in PLUGINS}
    with pytest.raises(KeyboardInterrupt):
        agentrl.train(alternating(tmp_path), host=agentrl.Host({**plugins, "dies": Dies()}), parts={"logger": Silent})
    run = Run.open(tmp_path / "haggle")
    assert len(run.commits()) == update + 1
    agentrl.resume(run.folder, host=host(), parts={"logger": Silent})
    assert not first_difference(played(alternated), played(run))
    assert (table(run), table(run, "other")) == (table(alternated), table(alternated, "other"))


def test_an_evaluation_of_a_finished_run_plays_with_both_of_its_models(alternated: Run) -> None:
    again = agentrl.evaluate(alternated.folder, host=host())
    summary = json.loads((alternated.folder / "summary.json").read_text())
    assert again.mean_return.value == summary["after"]["return"]


@pytest.fixture(scope="module")
def alternated(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(alternating(tmp_path_factory.mktemp("alternating")))


# ------------------------------------------------------------------------------------------------ who plays a speaker


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ({"guest": "policies.agnt"}, "guest = \"policies.agnt\" is no policy of this run. Did you mean 'agent'"),
        ({"a": "policies.b", "b": "policies.a"}, "a → b → a name one another"),
        ({"guest": {"name": "policies.agent", "temperature": 0.5}}, "whose settings are given there"),
    ],
)
def test_a_policy_that_stands_for_another_must_be_there(policies: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        train(haggle(tmp_path, policies=policies))
    assert message in str(error.value)


def counting(base: type[agentrl.TextWorld], in_a_thread: bool) -> tuple[type[agentrl.TextWorld], list[int]]:
    """The world, and how many of it were in the middle of a task whenever one began."""
    open_now: set[int] = set()
    counts: list[int] = []

    class Counted(base):  # type: ignore[misc, valid-type]
        blocks, max_turns = in_a_thread, 4

        def begin(self, task: Task) -> Scene:
            open_now.add(id(self))
            counts.append(len(open_now))
            return super().begin(task)

        def act(self, action: str) -> Scene:
            scene = super().act(action)
            if scene.done or self.turn == self.max_turns:
                open_now.discard(id(self))
            return scene

    return Counted, counts


def served(
    runs: Path, world: type[agentrl.TextWorld], policies: Mapping[str, Any] = {}, **parts: Any
) -> tuple[list[Trajectory], dict[str, Any]]:
    """One update of 64 plays on eight slots, within minutes also on a busy machine."""
    tables = {
        "name": "served",
        "runs": str(runs),
        "environment": "world",
        "model": {**TINY, "max_context": 512},
        "policy": {"name": "transformers", "max_tokens": 4, "rows": 8, "workers": 1},
        "player": {"retries": 0},
        "loss": "ppo",
        "credit": "grpo",
        "trainer": {"name": "packed", "workers": 1},
        "sampler": {"name": "uniform", "tasks": 1},
        "collector": {"name": "asynchronous", "group_size": 64},
        "stages": [{"name": "serve", "updates": 1}],
        "policies": policies,
    }
    with limit(240):
        run = train(tables, environment=world, **parts)
    (metrics,) = metrics_of(run)
    assert 1 < metrics["policy/rows"] <= 8, "slots are shared"
    trajectories = played(run)
    assert len(trajectories) == 64
    assert not any(trajectory.outcome.failed for trajectory in trajectories)
    return trajectories, metrics


@pytest.mark.parametrize("threaded", [False, True], ids=["inline", "threaded"])
def test_sixty_four_plays_whose_users_speak_by_their_own_engine_come_to_an_end(threaded: bool, tmp_path: Path) -> None:
    world, counts = counting(plugin("guests").Guest, threaded)
    trajectories, metrics = served(tmp_path, world, policies={"guest": "policies.agent"})
    assert max(counts) == 64
    for trajectory in trajectories:
        assert {turn.agent for turn in trajectory.turns} == {"agent", "guest"}
        assert any("The guest says: " in turn.observation for turn in trajectory.turns)
    assert metrics["tokens_untrained"] == 0
    assert metrics["train/row_tokens_ratio"] == pytest.approx(1.0)


@pytest.mark.parametrize("threaded", [False, True], ids=["says_it_never_waits", "threaded"])
def test_sixty_four_worlds_that_wait_for_their_own_engine_come_to_an_end(threaded: bool, tmp_path: Path) -> None:
    """A world with a voice is stepped in a thread, whatever it says of itself."""
    world, counts = counting(plugin("guests").GuestByVoice, threaded)
    trajectories, metrics = served(tmp_path, world)
    assert max(counts) == 64
    replies = [turn.observation for t in trajectories for turn in t.turns if "The guest says: " in turn.observation]
    assert metrics["cost/user_calls"] >= len(replies) >= 64
    assert metrics["tokens_untrained"] == 0


class Asked:
    """A judge that asks the engine which has just played, about all trajectories at once."""

    def __init__(self, policy: agentrl.Policy) -> None:
        self._policy = policy

    async def annotate(self, trajectories: Sequence[Trajectory]) -> None:
        answers = await asyncio.gather(*(self._answer(trajectory.id) for trajectory in trajectories))
        for trajectory, answer in zip(trajectories, answers, strict=True):
            trajectory.turns[-1].columns["judged"] = {"said": float(len(answer.ids))}

    async def _answer(self, name: str) -> Completion:
        messages = (agentrl.Message("user", "A guest sits down. Was it good?"),)
        codec: Any = self._policy.codec  # type: ignore[attr-defined]
        return await self._policy.act(agentrl.Dialogue(messages, f"judge/{name}", 1, codec.prompt(messages)))


def test_users_by_voice_and_a_judge_share_the_engine_of_the_run(tmp_path: Path) -> None:
    trajectories, _ = served(tmp_path, plugin("guests").GuestByVoice, judge=Asked)
    scores: list[Any] = [trajectory.turns[-1].columns["judged"] for trajectory in trajectories]
    assert all(score["said"] > 0 for score in scores)


def test_the_run_own_policy_is_that_of_the_stage_where_the_stage_has_one(tmp_path: Path) -> None:
    """Otherwise the second speaker would be played by another engine, with other settings."""
    stage = {"name": "both", "updates": 1, "trains": ["agent", "other"], "policy": {"temperature": 0.5}}
    run = train(haggle(tmp_path, policies={"other": "policies.agent"}, stages=[stage]))
    assert {turn.completion.sampling.temperature for t in played(run) for turn in t.turns} == {0.5}
