"""Settings that follow a schedule: their values, how run files write them, and what a run makes of them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Annotated, Any

import pytest

import agentrl
from agentrl import ConfigError, Host, Scheduled, Spec
from agentrl.data.schedules import EXAMPLES, UPDATE
from agentrl.parts.run_file import parse
from agentrl.parts.settings import describe
from agentrl_plugins.samplers.uniform import Uniform


def annealed(trajectories: Any, *, weight: Annotated[Scheduled[float], "factor"] = Scheduled(1.0)) -> Any:
    return [weight.now * trajectory.rewards for trajectory in trajectories]


class Plugin:
    def register_credits(self, register: Any) -> None:
        register("annealed", annealed)


@pytest.fixture(scope="module")
def host() -> Host:
    return Host({"schedules": Plugin()})


def weight(host: Host, value: object) -> Scheduled[float]:
    setting: Scheduled[float] = host.build(Spec("credit", "annealed", {"weight": value})).keywords["weight"]
    return setting


def values(setting: Scheduled[float], *updates: int) -> list[float]:
    return [round(setting.value(update), 6) for update in updates]


def test_a_number_stays_what_it_is(host: Host) -> None:
    assert values(weight(host, 3), 0, 7, 10**6) == [3.0, 3.0, 3.0]
    assert values(weight(host, {"schedule": "constant", "value": 0.5}), 0, 7) == [0.5, 0.5]


def test_linear_goes_straight_to_its_end_and_stays_there(host: Host) -> None:
    setting = weight(host, {"schedule": "linear", "from": 0.1, "to": 0.0, "over": 100})
    assert values(setting, 0, 50, 75, 100, 300) == [0.1, 0.05, 0.025, 0.0, 0.0]


def test_cosine_is_halfway_in_the_middle_and_flat_at_both_ends(host: Host) -> None:
    setting = weight(host, {"schedule": "cosine", "from": 1.0, "to": 0.0, "over": 100})
    assert values(setting, 0, 25, 50, 100, 101) == [1.0, round((1 + 0.5**0.5) / 2, 6), 0.5, 0.0, 0.0]


def test_steps_hold_until_the_next_one(host: Host) -> None:
    setting = weight(host, {"schedule": "steps", "at": [0, 50, 100], "values": [10, 20, 30]})
    assert values(setting, 0, 49, 50, 99, 100, 1000) == [10, 10, 20, 20, 30, 30]


def test_whole_numbers_stay_whole() -> None:
    assert Scheduled(10, 20, at=(0, 4), shape="linear").value(1) == 12
    assert type(Scheduled(10, 20, at=(0, 4), shape="linear").value(1)) is int


def test_now_is_the_value_of_the_update_and_the_last_one_outside() -> None:
    setting = Scheduled(1.0, 0.0, at=(0, 10), shape="linear")
    assert setting.now == 0.0
    token = UPDATE.set(5)
    try:
        assert setting.now == 0.5
    finally:
        UPDATE.reset(token)


def test_every_example_of_a_message_is_a_schedule(host: Host) -> None:
    import tomllib

    for example in EXAMPLES.values():
        weight(host, tomllib.loads(f"value = {example}")["value"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"schedule": "linaer", "from": 1, "to": 0, "over": 9}, "Did you mean 'linear'? Allowed: constant, cosine"),
        ({"from": 1, "to": 0, "over": 9}, "schedule = None"),
        ({"schedule": "linear", "from": 1, "over": 9}, 'write it as { schedule = "linear", from = 0.1'),
        ({"schedule": "linear", "from": 1, "to": 0, "over": 9, "at": [1]}, 'write it as { schedule = "linear"'),
        ({"schedule": "linear", "from": 1, "to": 0, "over": 0}, "0 first and then always a later one"),
        ({"schedule": "linear", "from": 1, "to": 0, "over": 1.5}, 'write it as { schedule = "linear"'),
        ({"schedule": "linear", "from": "low", "to": 0, "over": 9}, "should be a valid number"),
        ({"schedule": "steps", "at": [0, 5], "values": [1]}, "1 values with updates [0, 5]"),
        ({"schedule": "steps", "at": [5, 9], "values": [1, 2]}, "0 first and then always a later one"),
        ({"schedule": "steps", "at": [0, 9, 9], "values": [1, 2, 3]}, "always a later one"),
        ({"schedule": "steps", "at": [], "values": []}, "one update for each value"),
        ({"schedule": "steps", "at": 3, "values": 4}, 'write it as { schedule = "steps"'),
        ("soon", "should be a valid number"),
    ],
)
def test_a_wrong_schedule_gets_one_clear_line(host: Host, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        weight(host, value)
    assert message in str(caught.value)
    assert str(caught.value).startswith("credit 'annealed': weight = ")
    assert str(caught.value).endswith("It takes Scheduled[float], default 1.0.")
    assert "\n" not in str(caught.value)


def test_a_wrong_number_of_turns_in_a_schedule_is_refused(host: Host) -> None:
    for turns, message in (
        ({"schedule": "steps", "at": [0, 5], "values": [0, 3]}, "should be greater than 0"),
        ({"schedule": "steps", "at": [0, 5], "values": [1.5, 3]}, "should be a valid integer"),
        ({"schedule": "stairs"}, "Did you mean 'steps'?"),
    ):
        with pytest.raises(
            ConfigError, match=r"\[player\]: max_turns = .* it takes Scheduled\[int\] \| None"
        ) as caught:
            parse(tables(Path("runs")) | {"player": {"max_turns": turns}}, host)
        assert message in str(caught.value)


def test_types_are_named_as_people_write_them() -> None:
    assert describe(Annotated[Scheduled[int], "turns"] | None) == "Scheduled[int] | None"


def tables(runs: Path) -> dict[str, Any]:
    return {
        "name": "scheduled", "seed": 3, "runs": str(runs), "environment": "corridor", "model": "table",
        "policy": "tabular", "trainer": {"name": "tabular", "learning_rate": 0.3}, "sampler": {"name": "uniform", "tasks": 2},
        "collector": {"name": "asynchronous", "group_size": 2},
        "player": {"max_turns": {"schedule": "steps", "at": [0, 2, 4], "values": [1, 2, 3]}},
        "credit": {"name": "annealed", "weight": {"schedule": "linear", "from": 1.0, "to": 0.0, "over": 4}},
        "evaluation": {"split": "valid", "tasks": 2},
        "stages": [{"name": "learn", "updates": 6}],
    }  # fmt: skip


def metrics(folder: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["metrics"][name] if "metrics" in line else line[name] for line in lines]


def longest(folder: Path) -> list[int]:
    updates = sorted(folder.glob("updates/*/trajectories.parquet"))
    return [max(len(t.turns) for t in agentrl.read_trajectories(update)) for update in updates]


def test_a_run_follows_its_schedules_and_logs_them(host: Host, tmp_path: Path) -> None:
    result = agentrl.train(tables(tmp_path), host=host)
    assert longest(result.folder) == [1, 1, 2, 2, 3, 3]
    assert metrics(result.folder, "setting/player.max_turns") == [1, 1, 2, 2, 3, 3]
    assert metrics(result.folder, "setting/credit.weight") == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


class Stop:
    def __init__(self, after: int) -> None:
        self.after = after

    def on_update(self, update: int, metrics: dict[str, float]) -> None:
        if update == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("staleness", [0, 1])
def test_a_resumed_run_goes_on_with_the_values_it_would_have_had(host: Host, tmp_path: Path, staleness: int) -> None:
    table = tables(tmp_path) | {"stages": [{"name": "learn", "updates": 6, "policy": "random"}]}
    table["stages"][0] |= {"staleness": staleness, "credit": table.pop("credit")}
    stopping = Host({"schedules": Plugin(), "stop": Stop(2)})
    with pytest.raises(KeyboardInterrupt):
        agentrl.train(table, host=stopping)
    result = agentrl.resume(tmp_path / "scheduled", host=host)
    assert metrics(result.folder, "setting/player.max_turns") == [1, 1, 2, 2, 3, 3]
    assert metrics(result.folder, "setting/credit.weight") == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


def test_updates_count_in_a_stage_however_often_it_is_repeated(host: Host, tmp_path: Path) -> None:
    table = tables(tmp_path)
    table["stages"] = [
        {"name": "first", "updates": 2},
        {"name": "second", "updates": 1},
        {"name": "both", "repeat": 2, "of": ["first", "second"]},
    ]
    result = agentrl.train(table, host=host)
    assert metrics(result.folder, "setting/credit.weight") == [1.0, 0.75, 1.0, 0.5, 0.25, 0.75]


def test_a_draw_has_the_value_of_its_update_also_when_it_is_played_ahead_or_again(host: Host, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    class Ahead:
        def __init__(self, player: agentrl.Player, *, turns: Scheduled[int] = Scheduled(1)) -> None:
            self.player, self.turns = player, turns

        async def collect(self, draw: agentrl.Draw, speakers: agentrl.Speakers) -> list[agentrl.Group]:
            await asyncio.sleep(0)
            seen.append(("collector", draw.update, self.turns.now))
            play = agentrl.Play(draw.task, str(draw.number), 0, draw.seed, max_turns=self.turns.now)
            return [agentrl.Group(str(draw.number), draw.number, tuple(await self.player.play(speakers, [play])))]

    class Picky(Uniform):
        """Has the first draw of every update played again."""

        def __init__(self, splits: agentrl.Splits, seed: agentrl.Seed, *, turns: Scheduled[int] = Scheduled(1)) -> None:
            super().__init__(splits, seed, tasks=2)
            self.turns = turns

        def next(self, update: int) -> list[agentrl.Task]:
            seen.append(("sampler", update, self.turns.now))
            return super().next(update)

        def keep(self, group: agentrl.Group) -> bool:
            return group.draw % 2 == 1 or group.draw >= 12

    steps = {"schedule": "steps", "at": [0, 1, 2, 3, 4, 5], "values": [1, 2, 3, 4, 5, 6]}
    table = tables(tmp_path) | {"collector": {"turns": steps}, "sampler": {"turns": steps}}
    table["stages"] = [{"name": "learn", "updates": 6, "staleness": 2, "policy": "random"}]
    agentrl.train(table, host=host, parts={"collector": Ahead, "sampler": Picky})
    assert {turns - update for _, update, turns in seen} == {1}
    assert sum(part == "collector" for part, _, _ in seen) > 12


def test_evaluation_plays_with_the_last_value(host: Host, tmp_path: Path) -> None:
    table = tables(tmp_path)
    table["player"] = {"max_turns": {"schedule": "steps", "at": [0, 100], "values": [1, 3]}}
    table["evaluation"] |= {"during_split": "train", "during_tasks": 2, "every": 2}
    result = agentrl.train(table, host=host)
    played = [
        len(trajectory.turns)
        for path in result.folder.glob("evaluations/*-during/*.parquet")
        for trajectory in agentrl.read_trajectories(path)
    ]
    assert max(played) == 3


def test_ppo_reads_its_entropy_weight_when_it_is_called() -> None:
    import torch

    from agentrl_plugins.losses.ppo import PPO

    loss = Host().build(
        Spec("loss", "ppo", {"entropy_weight": {"schedule": "linear", "from": 0.5, "to": 0.0, "over": 10}})
    )
    assert loss.needs == {"behaviour", "entropy"}
    assert PPO().needs == {"behaviour"}
    zero, one = torch.zeros(1), torch.ones(1)
    batch = agentrl.LossBatch(
        logprobs=zero, behaviour=zero, reference=None, entropy=one, advantages=zero, weight=one, sampled=one.bool(),
        trajectory=zero.long(), turn=zero.long(), row=zero.long(), group=zero.long(),
    )  # fmt: skip

    def at(update: int) -> float:
        UPDATE.set(update)
        return float(loss(batch)[0])

    assert [round(copy_context().run(at, update), 6) for update in (0, 5, 10)] == [-0.5, -0.25, 0.0]


@pytest.fixture
def in_update_7() -> Iterator[None]:
    token = UPDATE.set(7)
    yield
    UPDATE.reset(token)


def test_threads_of_the_trainer_and_of_worlds_know_the_update(in_update_7: None) -> None:
    import gymnasium

    from agentrl.worlds.stepping import Clock, ThreadedWorld
    from agentrl_plugins.trainers.workers import Workers

    workers = Workers(2)
    assert list(workers.map(lambda _: UPDATE.get(), range(4))) == [7, 7, 7, 7]
    workers.close()
    world = ThreadedWorld(gymnasium.make("agentrl/corridor-v0"), Clock())
    seen = asyncio.run(world.call(lambda: (UPDATE.get(), threading.current_thread().name), 5.0))
    world.close()
    assert seen[0] == 7
    assert seen[1].startswith("world-")
