"""Plays that begin in the middle of another trajectory: the same world, luck of their own, counted once, left nowhere."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from differences import first_difference
from playing import player
from words import Says, WordCodec
from worlds import Counting, Faulty

import agentrl
from agentrl import Batch, Group, Outcome, Play, Start, Task, Trajectory, training_rows
from agentrl.data.table import write_trajectories
from agentrl.runs.report import collected_metrics
from agentrl.worlds.player import EpisodePlayer
from agentrl_envs.corridor import Corridor
from agentrl_plugins.policies.scripted import Random

TASK = Task("train", 3, seed=5)


class Dice(agentrl.TextWorld):
    """Every action throws a die."""

    splits = {"train": 10}
    max_turns = 6

    def begin(self, task: Task) -> agentrl.Scene:
        return self._scene()

    def act(self, action: str) -> agentrl.Scene:
        return self._scene()

    def _scene(self) -> agentrl.Scene:
        return agentrl.Scene(f"{self.turn}: {self.np_random.integers(6)}", admissible=("throw",))


def run(on: EpisodePlayer, plays: Sequence[Play], policy: Any = None) -> list[Trajectory]:
    return asyncio.run(on.play({"agent": policy or Random()}, plays))


def parent_of(on: EpisodePlayer, policy: Any = None, **play: Any) -> Trajectory:
    return run(on, [Play(TASK, "0", 0, 9, snapshots="all", **play)], policy)[-1]


def start(parent: Trajectory, turn: int, on: EpisodePlayer | None = None, **more: Any) -> Start:
    moment = on.snapshot(parent, turn - 1) if on is not None else None
    return Start(parent.turns[:turn], moment, f"{parent.id}@{turn}", **more)


def shown(trajectory: Trajectory) -> list[str]:
    end = [trajectory.final.observation] if trajectory.final else []
    return [*(turn.observation for turn in trajectory.turns), *end]


class Repeats:
    """A demonstrator that does again what was done."""

    def __init__(self, actions: Sequence[str]) -> None:
        self._actions = iter(actions)

    def act(self, world: Any, info: Any, seed: int) -> str:
        return next(self._actions)


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("by", ["snapshot", "replay"])
@pytest.mark.parametrize("world", [Corridor, Dice, lambda: Counting(6, 10)], ids=["corridor", "dice", "counting"])
def test_a_branch_that_does_the_same_sees_the_same(world: Any, by: str, threaded: bool) -> None:
    on = player(world, threaded=threaded)
    parent = parent_of(on)
    for turn in range(1, len(parent.turns)):
        same = Repeats([said.action for said in parent.turns[turn:]])
        begin = start(parent, turn, on if by == "snapshot" else None)
        (branch,) = run(on, [Play(TASK, "0", 1, 9, begin)], same)
        assert shown(branch) == shown(parent), turn
        assert (branch.inherited, branch.outcome) == (turn, parent.outcome)
        assert all(one is two for one, two in zip(branch.turns[:turn], parent.turns, strict=False))
    on.close()


@pytest.mark.parametrize("by", ["snapshot", "replay"])
def test_branches_have_luck_of_their_own_where_they_ask_for_it(by: str) -> None:
    on = player(Dice)
    parent = parent_of(on)
    begins = [start(parent, 2, on if by == "snapshot" else None, branch=n, reseed=n + 1) for n in range(20)]
    branches = run(on, [Play(TASK, "0/2", n, n, begin) for n, begin in enumerate(begins)])
    assert len({tuple(shown(branch)[3:]) for branch in branches}) == 20
    assert len({tuple(shown(branch)[:3]) for branch in branches}) == 1
    again = run(on, [Play(TASK, "0/2", 7, 7, begins[7])])[0]
    assert shown(again) == shown(branches[7])


def test_a_world_that_cannot_be_reseeded_is_refused() -> None:
    class Plain(Counting):
        reseed = None  # type: ignore[assignment]

    on = player(Plain)
    with pytest.raises(agentrl.ConfigError, match="share their luck"):
        run(on, [Play(TASK, "0", 1, 9, start(parent_of(on), 1, reseed=3))])


def test_a_world_that_does_not_repeat_itself_is_found_out() -> None:
    number = itertools.count()

    class Drifts(Counting):
        def _observation(self) -> str:
            return f"{super()._observation()} for the {next(number)}th time"

    on = player(Drifts, retries=0)
    (branch,) = run(on, [Play(TASK, "0", 1, 9, start(parent_of(on), 1))])
    assert (branch.outcome, branch.inherited, len(branch.turns)) == (Outcome.ENV_ERROR, 0, 0)
    assert "did not repeat itself at turn 0" in branch.error


def test_names_and_counts_of_branches() -> None:
    on = player(lambda: Counting(6, 10))
    parent = parent_of(on)
    plays = [Play(TASK, "0/2", n, n, start(parent, 2, on, branch=n), labels={"stage": "again"}) for n in range(2)]
    branches = run(on, plays)
    assert [branch.id for branch in branches] == ["0.0-0@2.0", "0.0-0@2.1"]
    assert [(b.group, b.parent, dict(b.labels)) for b in branches] == [("0/2", "0.0-0@2", {"stage": "again"})] * 2
    metrics = collected_metrics([parent, *branches])
    assert (metrics["trajectories"], metrics["branches"]) == (1, 2)
    assert metrics["turns"] == len(parent.turns)


def test_limits_count_the_turns_that_were_inherited() -> None:
    on = player(lambda: Counting(9, 20), max_turns=4)
    parent = parent_of(on)
    assert parent.outcome is Outcome.TURN_LIMIT
    short, none = run(on, [Play(TASK, "0", n, n, start(parent, turn, on)) for n, turn in enumerate((3, 4))])
    assert (len(short.turns), short.outcome) == (4, Outcome.TURN_LIMIT)
    assert (len(none.turns), none.outcome) == (4, Outcome.TURN_LIMIT)
    assert agentrl.trainable([short, none]) == [short]


@pytest.mark.parametrize("by", ["snapshot", "replay"])
def test_a_branch_that_fails_is_tried_again_from_its_start(by: str) -> None:
    on = player(Faulty, retries=1)
    Faulty.left = 0
    parent = parent_of(on, Repeats(["4", "5", "6"]))
    Faulty.left = 1 if by == "snapshot" else 0  # a replay would meet the fault before its own turns
    failed_or_not = run(on, [Play(TASK, "0", 1, 9, start(parent, 1, on if by == "snapshot" else None))])
    ids = [trajectory.id for trajectory in failed_or_not]
    assert ids == (["0.0-0@1.0", "0.0-0@1.0-1"] if by == "snapshot" else ["0.0-0@1.0"])
    assert failed_or_not[-1].inherited == 1
    assert not failed_or_not[-1].outcome.failed


@pytest.mark.parametrize("threaded", [False, True])
def test_a_snapshot_is_taken_in_the_thread_of_the_world(threaded: bool) -> None:
    threads = []

    class Bound(Counting):
        def snapshot(self) -> object:
            threads.append(threading.get_ident())
            return super().snapshot()

        def step(self, action: str) -> Any:
            threads.append(threading.get_ident())
            return super().step(action)

    on = player(Bound, threaded=threaded)
    parent = parent_of(on)
    assert len(threads) == 2 * len(parent.turns)
    assert len(set(threads)) == 1
    assert (threads[0] == threading.get_ident()) is not threaded
    on.close()


def test_a_snapshot_that_fails_is_a_fault_of_the_world() -> None:
    class Broken(Counting):
        def snapshot(self) -> object:
            raise RuntimeError("no copy")

    (failed,) = run(player(Broken, retries=0), [Play(TASK, "0", 0, 9, snapshots="all")])
    assert (failed.outcome, failed.error) == (Outcome.ENV_ERROR, "RuntimeError: no copy")


def test_snapshots_of_an_update_are_gone_after_it_also_those_of_rejected_groups() -> None:
    on = player(lambda: Counting(6, 10))
    kept = parent_of(on)
    rejected, _ = run(on, [Play(TASK, "1", 0, 9, snapshots="all"), Play(TASK, "2", 0, 9)])
    assert on.snapshot(kept, 0) is not None
    on.observe(Batch(0, (Group("0", 0, (kept,)),), rejected=(Group("1", 1, (rejected,)),)))
    assert on.snapshot(kept, 0) is None
    assert not on._moments


def test_moments_of_plays_that_a_collector_left_out_are_gone_with_their_group() -> None:
    on = player(lambda: Counting(6, 10))
    kept, left_out, other = run(on, [Play(TASK, group, n, 9, snapshots="all") for n, group in enumerate("001")])
    on.observe(Batch(0, (Group("0", 0, (kept,)),)))
    assert (on.snapshot(kept, 0), on.snapshot(left_out, 0)) == (None, None)
    assert on.snapshot(other, 0) is not None


def test_only_what_a_branch_said_itself_is_trained_and_it_is_stored_once(tmp_path: Path) -> None:
    def words(dialogue: agentrl.Dialogue) -> str:
        return str(int(dialogue.messages[-1].content.split()[1]) + 1)

    policy = Says(words, WordCodec())
    on = player(lambda: Counting(4, 9))
    parent = parent_of(on, policy)
    branch = run(on, [Play(TASK, "0/2", 0, 1, start(parent, 2, on))], policy)[0]
    rows = training_rows([parent, branch], [[1.0] * 4, [2.0] * 4])
    assert [int(row.sampled.sum()) for row in rows] == [8, 4]
    assert rows[1].turn[rows[1].sampled].tolist() == [2, 2, 3, 3]
    assert set(rows[1].advantages[rows[1].sampled].tolist()) == {2.0}
    write_trajectories(tmp_path / "t.parquet", [parent, branch])
    back = agentrl.read_trajectories(tmp_path / "t.parquet")
    assert not first_difference([parent, branch], back)
    assert back[1].turns[1] is back[0].turns[1]
