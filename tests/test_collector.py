"""The collector: exact turns, typed outcomes, retries, threads for worlds that block, and no luck in the order."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import gymnasium
import numpy as np
import pytest
import worlds

from agentrl import Completion, ConfigError, ContextOverflow, Dialogue, Outcome, Spec, Task, Trajectory, default_host

HOST = default_host()


def collector(environments: Any, context: str = "full", **settings: Any) -> Any:
    parts = {"context": HOST.build(Spec("context", context)), "dialect": HOST.build(Spec("dialect", "plain"))}
    return HOST.build(Spec("collector", "asynchronous", settings), environments=environments, **parts)


def policy(name: str = "expert", **settings: Any) -> Any:
    return HOST.build(Spec("policy", name, settings), dialect=HOST.build(Spec("dialect", "plain")))


def play(made: Any, player: Any = None, tasks: int = 4, seed: int = 0) -> list[Trajectory]:
    chosen = [Task("train", index, seed=index) for index in range(tasks)]
    return asyncio.run(made.collect(player or policy(), chosen, seed=seed))


def test_a_trajectory_holds_what_was_seen_said_and_paid() -> None:
    (trajectory,) = play(collector(worlds.Counting), tasks=1)
    assert [turn.observation for turn in trajectory.turns] == ["at 0", "at 1", "at 2"]
    assert [turn.action for turn in trajectory.turns] == ["1", "2", "3"]
    assert [turn.anchor for turn in trajectory.turns] == ["state 0", "state 1", "state 2"]
    assert trajectory.turns[0].info["admissible"] == ("1", "2")
    assert trajectory.rewards.tolist() == [0, 0, 1]
    assert trajectory.turns[-1].rewards == {"goal": 1.0}
    assert (trajectory.success, trajectory.outcome, trajectory.task.key) == (True, Outcome.TERMINATED, "train/0")


def test_the_cap_of_the_world_and_limits_of_ours_end_a_trajectory_that_is_kept() -> None:
    lazy = policy("random")
    capped = play(collector(lambda: worlds.Counting(length=50, cap=5)), lazy, tasks=1)[0]
    ours = play(collector(lambda: worlds.Counting(length=50, cap=5), max_turns=2), lazy, tasks=1)[0]
    assert (capped.outcome, len(capped.turns)) == (Outcome.TURN_LIMIT, 5)
    assert (ours.outcome, len(ours.turns), ours.outcome.failed) == (Outcome.TURN_LIMIT, 2, False)


def test_groups_share_task_and_seed_and_members_differ() -> None:
    found = play(collector(lambda: worlds.Counting(length=50, cap=20), group_size=8), policy("random"), tasks=2)
    assert len({t.group for t in found}) == 2
    assert len({t.id for t in found}) == 16
    assert len({tuple(turn.action for turn in t.turns) for t in found[:8]}) > 1
    assert {t.task.index for t in found[:8]} == {0}


@pytest.mark.parametrize("concurrency", [1, 3, 64])
def test_what_is_played_depends_neither_on_concurrency_nor_on_companions(concurrency: int) -> None:
    def actions(made: Any, tasks: int) -> list[list[str]]:
        return [[turn.action for turn in t.turns] for t in play(made, policy("expert", noise=0.5), tasks=tasks)]

    alone = actions(collector(worlds.Counting, concurrency=1), 2)
    assert actions(collector(worlds.Counting, concurrency=concurrency), 9)[:2] == alone


@pytest.mark.parametrize(
    ("fault", "blocks", "outcome"),
    [
        ("raise", False, Outcome.ENV_ERROR),
        ("raise", True, Outcome.ENV_ERROR),
        ("sandbox", False, Outcome.SANDBOX_ERROR),
        ("hang", True, Outcome.TIME_LIMIT),
        ("hang", False, Outcome.TIME_LIMIT),
    ],
)
def test_a_fault_is_an_outcome_and_is_retried(fault: str, blocks: bool, outcome: Outcome) -> None:
    worlds.Faulty.left = 1
    made = collector(lambda: worlds.Faulty(fault, blocks), step_timeout_s=0.2, concurrency=1)
    found = play(made, tasks=3)
    assert [t.outcome for t in found] == [outcome, *[Outcome.TERMINATED] * 3]
    assert [t.attempt for t in found] == [0, 1, 0, 0]
    assert found[0].outcome.failed
    assert found[0].error
    assert len(found[0].turns) == 1


def test_the_retry_budget_is_kept() -> None:
    worlds.Faulty.left = 100
    found = play(collector(worlds.Faulty, retries=2), tasks=1)
    assert [t.outcome for t in found] == [Outcome.ENV_ERROR] * 3


def test_worlds_that_block_are_stepped_side_by_side() -> None:
    class Slow(worlds.Counting):  # type: ignore[name-defined,misc]
        blocks = True

        def step(self, action: str) -> Any:
            time.sleep(0.05)
            return super().step(action)

    started = time.perf_counter()
    play(collector(Slow), tasks=20)
    assert time.perf_counter() - started < 20 * 3 * 0.05 / 3


class Broken:
    """A policy that cannot answer."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def act(self, dialogue: Dialogue) -> Completion:
        if len(dialogue.messages) > 1:
            raise self.error
        return Completion("1")

    def forget(self, key: str) -> None: ...


def test_a_policy_that_fails_is_an_outcome_and_an_overflow_is_a_limit() -> None:
    made = collector(worlds.Counting, retries=0)
    assert play(made, Broken(RuntimeError("gone")), tasks=1)[0].outcome is Outcome.POLICY_ERROR
    full = play(made, Broken(ContextOverflow("full")), tasks=1)[0]
    assert (full.outcome, len(full.turns)) == (Outcome.CONTEXT_LIMIT, 1)


def test_a_mistake_in_the_run_file_stops_everything() -> None:
    made = collector(worlds.Counting)
    with pytest.raises(ConfigError, match="unknown split 'tarin'"):
        asyncio.run(made.collect(policy(), [Task("tarin", 0)], seed=0))
    plain = type("Plain", (gymnasium.Env,), {"reset": lambda self, **_: ("o", {}), "step": None})
    with pytest.raises(ConfigError, match="expert_action"):
        asyncio.run(collector(plain).collect(policy(), [Task("train", 0)], seed=0))


def test_a_plain_gymnasium_world_works_unmodified() -> None:
    class Plain(gymnasium.Env[str, str]):
        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            self.left = 3
            return "go", {}

        def step(self, action: str) -> Any:
            self.left -= 1
            return "on", 1.0, self.left == 0, False, {}

    found = play(collector(Plain), Broken2(), tasks=1)[0]
    assert (found.episode_return, found.turns[0].anchor) == (3.0, "go")


class Broken2(Broken):
    def __init__(self) -> None: ...

    async def act(self, dialogue: Dialogue) -> Completion:
        return Completion("anything")


@pytest.mark.parametrize(("last", "roles"), [(0, "su"), (1, "suau"), (2, "suauau")])
def test_a_window_keeps_the_task_and_the_last_turns(last: int, roles: str) -> None:
    context = HOST.build(Spec("context", "window", {"last": last}))
    turns = play(collector(lambda: worlds.Counting(length=5)), tasks=1)[0].turns[:3]
    messages = context("rules", turns, "now", ())
    assert "".join(m.role[0] for m in messages) == roles
    assert messages[1].content.startswith("at 0")
    assert messages[-1].content.endswith("now")
    assert [m.completion for m in messages if m.role == "assistant"] == [t.completion for t in turns[3 - last :]]


@pytest.mark.parametrize("name", ["plain", "tags"])
def test_a_dialect_reads_what_it_writes(name: str) -> None:
    dialect = HOST.build(Spec("dialect", name))
    for action in ("go to shelf 1", "search[red <b> shoe]", "ü ∑"):
        assert dialect.read(dialect.write(action)).action == action
    assert dialect.read("").invalid


def test_random_play_of_two_seeds_differs() -> None:
    made = collector(lambda: worlds.Counting(length=50, cap=20))
    one, two = (play(made, policy("random"), tasks=1, seed=seed)[0] for seed in (0, 1))
    assert not np.array_equal([t.action for t in one.turns], [t.action for t in two.turns])
