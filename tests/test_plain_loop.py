"""With `staleness = 0` a run is, byte for byte, what a plain loop makes that shares no code with buffer, player and collector."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import plain_loop
import pytest
from differences import first_difference

import agentrl
from agentrl import Scope, Spec, default_host, read_trajectories, training_rows
from agentrl.loop import learn
from agentrl.parts.live import LiveStage
from agentrl.parts.run_file import PlayerSettings
from agentrl.worlds.buffer import Buffer
from agentrl.worlds.player import EpisodePlayer
from agentrl_envs.corridor import Corridor

SEED, UPDATES, GROUP, TASKS = 5, 6, 4, 5


class Slow(Corridor):
    """A corridor whose steps take some seeded milliseconds, in a thread: trajectories finish in any order."""

    blocks = True

    def step(self, action: str) -> Any:
        time.sleep(float(self.np_random.random()) * 0.003)
        return super().step(action)


class Plugin:
    def register_environments(self, register: agentrl.Register) -> None:
        register("slow", Slow)


def parts() -> tuple[Any, Any, Any, Any, Any]:
    """Model, policy, trainer, sampler and credit, new."""
    host = default_host()
    model = host.build(Spec("model", "table"))
    splits = agentrl.Splits({"train": 40, "valid": 10})
    scope = Scope({agentrl.Model: model, agentrl.Dialect: host.build(Spec("dialect", "plain")),
                   agentrl.Seed: agentrl.Seed(SEED), agentrl.Splits: splits})  # fmt: skip
    return (
        model,
        host.build(Spec("policy", "tabular"), scope),
        host.build(Spec("trainer", "tabular", {"learning_rate": 0.5}), scope),
        host.build(Spec("sampler", "uniform", {"tasks": TASKS}), scope),
        host.build(Spec("credit", "gigpo")),
    )


def tables(runs: Path, world: str) -> dict[str, Any]:
    return {
        "name": "plain", "seed": SEED, "runs": str(runs), "environment": world, "model": "table", "policy": "tabular",
        "trainer": {"name": "tabular", "learning_rate": 0.5}, "credit": "gigpo",
        "sampler": {"name": "uniform", "tasks": TASKS}, "collector": {"name": "asynchronous", "group_size": GROUP},
        "stages": [{"name": "rl", "updates": UPDATES}],
    }  # fmt: skip


def rows_of(trajectories: list[Any]) -> list[bytes]:
    """Every array of every training row, under advantages of 1."""
    rows = training_rows(trajectories, [np.ones(len(t.turns)) for t in trajectories])
    return [b"".join(a.tobytes() for a in (r.ids, r.sampled, r.logprobs, r.turn)) for r in rows]


@pytest.mark.parametrize(("name", "world"), [("corridor", Corridor), ("slow", Slow)])
def test_a_run_equals_a_plain_loop_byte_for_byte(name: str, world: Any, tmp_path: Path) -> None:
    model, policy, trainer, sampler, credit = parts()
    sampler._size = world().splits["train"]
    plain = plain_loop.train(
        make_world=world, model=model, policy=policy, trainer=trainer, sampler=sampler, credit=credit,
        run_seed=SEED, updates=UPDATES, group_size=GROUP,
    )  # fmt: skip
    result = agentrl.train(tables(tmp_path, name), host=agentrl.Host({"slow": Plugin()}))
    for update, trajectories in enumerate(plain):
        kept = read_trajectories(result.folder / f"updates/{update:06d}/trajectories.parquet")
        assert first_difference(trajectories, kept) == ""
        assert rows_of(trajectories) == rows_of(kept)
    asyncio.run(model.save(tmp_path / "plain_model"))
    assert (tmp_path / "plain_model/table.json").read_text() == (result.folder / "model/table.json").read_text()


def test_with_staleness_the_same_run_can_differ() -> None:
    """The equality above is no accident: playing an update ahead changes what is played."""
    versions = {}
    for staleness in (0, 1):
        batches = asyncio.run(_learn(staleness))
        assert [batch.update for batch in batches] == list(range(UPDATES))
        assert sum(len(batch.groups) for batch in batches) == UPDATES * TASKS
        versions[staleness] = [
            {int(turn.completion.versions[0]) for t in batch.usable for turn in t.turns} for batch in batches
        ]
    assert versions[0] == [{update} for update in range(UPDATES)]
    assert versions[1] != versions[0]
    assert any(min(seen) < update for update, seen in enumerate(versions[1])), versions[1]


async def _learn(staleness: int) -> list[agentrl.Batch]:
    """A stage on slow worlds, with the loop itself and a record in memory."""
    model, policy, trainer, sampler, credit = parts()
    host = default_host()

    class Worlds:
        threaded = False

        def __call__(self, clock: object) -> Any:
            return Slow()

    context, dialect = host.build(Spec("context", "full")), host.build(Spec("dialect", "plain"))
    player = EpisodePlayer(Worlds(), context, dialect, PlayerSettings(), model)
    collector = host.build(Spec("collector", "asynchronous", {"group_size": GROUP}), Scope({agentrl.Player: player}))
    stage = LiveStage("rl", model, trainer, {"agent": policy}, [policy], collector, sampler, credit)
    batches: list[agentrl.Batch] = []

    class Kept:
        async def commit(self, batch: agentrl.Batch, advantages: object, metrics: object) -> None:
            batches.append(batch)

    await learn(stage, Buffer(0, UPDATES, seed=SEED, staleness=staleness), Kept())
    player.close()
    return batches
