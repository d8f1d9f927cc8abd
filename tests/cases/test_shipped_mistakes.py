"""Mistakes that trainers of this field have shipped, some of them for months: none of them is one of ours.

What needs a learned critic (a turn-level GAE that forgets its discount, values of observations that leak into actions)
has no counterpart here yet; the tests below hold the same rules for what there is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import lamps

import agentrl
from agentrl import Completion, DataError, Outcome, Task, Trajectory, Turn, training_rows
from agentrl_plugins.credit.gigpo import gigpo
from agentrl_plugins.credit.grpo import grpo
from agentrl_plugins.credit.return_to_go import return_to_go
from agentrl_plugins.credit.rloo import rloo

CREDITS: dict[str, Callable[..., agentrl.Advantages]] = {
    "grpo": lambda played: grpo(played, epsilon=0.0),
    "rloo": rloo,
    "gigpo": lambda played: gigpo(played, std=True, epsilon=0.0, gamma=1.0),
    "gigpo_turn": lambda played: gigpo(played, std=True, epsilon=0.0, gamma=1.0, statistics="turn"),
    "return_to_go": return_to_go,
    "return_to_go_turn": lambda played: return_to_go(played, baseline="turn"),
}
every_credit = pytest.mark.parametrize("credit", CREDITS.values(), ids=CREDITS)


def play(rewards: Sequence[float], anchors: str = "", group: str = "g") -> Trajectory:
    places = anchors or "".join(map(chr, range(65, 65 + len(rewards))))
    turns = [Turn(at, Completion("go"), "go", reward, at) for at, reward in zip(places, rewards, strict=True)]
    return Trajectory(tuple(turns), Task("train", 0), group, Outcome.TERMINATED)


# 1. A group of equal returns got advantages of 0.65, because its sums were rounded.


@every_credit
@pytest.mark.parametrize("members", [2, 8, 23])
def test_equal_rewards_in_single_precision_give_exactly_nothing(
    credit: Callable[..., agentrl.Advantages], members: int
) -> None:
    for reward in np.linspace(0.1, 3.7, 19, dtype=np.float32):
        for advantage in credit([play([0.0, 0.0, float(reward)]) for _ in range(members)]):
            assert not advantage.any()


@every_credit
@pytest.mark.parametrize(
    "parts",
    [(0.1, 0.2, 0.3, 0.7), (0.1, 0.2, -0.3), (1e6, 0.1, -1e6, 0.2), (1 / 3, -1 / 7, 1e-9), (1e-8, 3e-8, -2e-8)],
    ids=["sums", "that cancel", "large ones that cancel", "of several sizes", "small"],
)
def test_returns_that_are_equal_but_for_rounding_give_exactly_nothing(
    credit: Callable[..., agentrl.Advantages], parts: tuple[float, ...]
) -> None:
    """Added up by us, from as many turns; and by the world, in a single turn."""
    orders = list(permutations(parts))
    returns = [sum(order) for order in orders]
    assert len(set(returns)) > 1, "the premise: rounding says that they differ"
    for advantage in credit([play(order) for order in orders]):
        assert advantage[0] == 0  # what is still to come at a later turn does differ from order to order
    if max(map(abs, parts)) <= 1:
        for advantage in credit([play([total]) for total in returns]):
            assert not advantage.any()


@every_credit
def test_returns_that_differ_by_more_than_rounding_still_count(credit: Callable[..., agentrl.Advantages]) -> None:
    for better in (1e-9, 1e-6, 1.0):
        worse, best = credit([play([1.0, -1.0, 0.1]), play([1.0, -1.0, 0.1 + better])])
        assert worse[0] < 0 < best[0]


# 2. A discount per turn was ignored where only the last turn had a reward.


@pytest.mark.parametrize("gamma", [0.5, 0.95, 1.0])
def test_the_discount_of_turns_counts_where_only_the_last_has_a_reward(gamma: float) -> None:
    won = play([0, 0, 0, 1.0])
    later = return_to_go([won, play([0])], gamma=gamma, baseline="none")[0]
    assert later.tolist() == pytest.approx([gamma**3, gamma**2, gamma, 1.0])
    lost = play([0, 0, 0, 0])
    step = gigpo([won, lost], gamma=gamma)[0] - gigpo([won, lost], gamma=gamma, step_weight=0.0)[0]
    assert step.tolist() == pytest.approx([gamma**3 / 2, gamma**2 / 2, gamma / 2, 0.5])


# 3 and 4. Numbers of observations leaked into actions; advantages were written to other turns; rewards were dropped.


def spoken(turns: int, appended: bool) -> Trajectory:
    """Three tokens of an observation, two of an action per turn; prompts that grow, or each of its own."""
    made: list[Turn] = []
    last: Completion | None = None
    for turn in range(turns):
        before = np.concatenate([last.prompt_ids, last.ids]) if last is not None and appended else np.zeros(0, np.int32)
        prompt = np.concatenate([before, np.full(3, 100 + turn)]).astype(np.int32)
        last = Completion(
            "", prompt, np.full(2, turn, np.int32), np.zeros(2, np.float32), versions=np.zeros(2, np.int32)
        )
        relation, kept = agentrl.relation(made[-1].completion if made else None, prompt)
        made.append(Turn("o", last, "", 0.0, f"at {turn}", relation=relation, kept=kept))
    return Trajectory(tuple(made), Task("train", 0), "g", Outcome.TERMINATED)


@pytest.mark.parametrize("appended", [True, False])
@pytest.mark.parametrize("per_token", [True, False])
def test_an_advantage_stands_at_the_tokens_of_its_own_turn_and_nowhere_else(appended: bool, per_token: bool) -> None:
    trajectory = spoken(5, appended)
    per_turn = np.arange(1.0, 6.0)
    advantage = [np.full(2, value) for value in per_turn] if per_token else per_turn
    rows = training_rows([trajectory], [advantage])
    assert len(rows) == (1 if appended else 5)
    for row in rows:
        observed = row.ids >= 100
        assert not row.advantages[observed].any()
        assert row.advantages[~observed].tolist() == (row.ids[~observed] + 1).tolist()
    assert sum(int(row.sampled.sum()) for row in rows) == 10


def test_the_reward_of_every_turn_counts_in_the_turn_that_earned_it() -> None:
    early, late, never = play([1.0, 0.0, 0.0]), play([0.0, 0.0, 1.0]), play([0.0, 0.0, 0.0])
    for credit in (grpo, rloo):
        values = credit([early, late, never])
        assert values[0].tolist() == values[1].tolist() > values[2].tolist()
    for credit in (return_to_go, lambda played: gigpo(played, gamma=1.0)):
        values = credit([early, late, never])
        assert values[1][2] > values[0][2]
        assert values[0][0] == values[1][0] > values[0][1]


# 5, 8 and 9. What a credit is given: every trajectory once, no failed one, however they were played.


class Falls(lamps.Lamps):
    """Breaks where the third action is 0 or 1, as machinery would."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, object]]:
        if self.turns == 2 and action in "01":
            raise OSError("the lamps have lost their power")
        return super().step(action)


def seen_by_the_credit(folder: Path, *overrides: str, world: type = lamps.Lamps) -> tuple[Any, list[Trajectory]]:
    seen: list[Trajectory] = []

    def spy(trajectories: Sequence[Trajectory]) -> agentrl.Advantages:
        seen.extend(trajectories)
        return grpo(trajectories)

    given = ["stages.learn.updates=1", f"runs={folder}", *overrides]
    return agentrl.train(lamps.RUN, given, parts={"environment": world, "credit": spy}), seen


@pytest.mark.parametrize(("tasks", "members"), [(5, 3), (7, 2)])
def test_a_credit_is_given_every_trajectory_once_and_none_to_fill_a_batch(
    tmp_path: Path, tasks: int, members: int
) -> None:
    shape = [f"stages.learn.sampler.tasks={tasks}", f"stages.learn.collector.group_size={members}"]
    _, seen = seen_by_the_credit(tmp_path, *shape)
    assert len(seen) == len({trajectory.id for trajectory in seen}) == tasks * members


def test_a_play_that_failed_is_no_reward_of_zero(tmp_path: Path) -> None:
    result, seen = seen_by_the_credit(tmp_path, "player.retries=0", world=Falls)
    kept = agentrl.read_trajectories(result.folder / "updates/000000/trajectories.parquet")
    failed = [trajectory for trajectory in kept if trajectory.outcome.failed]
    assert failed
    assert {trajectory.id for trajectory in seen} == {trajectory.id for trajectory in kept} - {t.id for t in failed}
    with pytest.raises(DataError, match="failed trajectories are never trained on"):
        training_rows(failed[:1], [np.zeros(len(failed[0].turns))])


def test_plays_side_by_side_and_one_after_the_other_get_the_same_advantages(tmp_path: Path) -> None:
    tables = [
        seen_by_the_credit(tmp_path / str(number), f"player.concurrency={number}")[0].folder
        / "updates/000000/trajectories.parquet"
        for number in (1, 64)
    ]
    one, other = (
        {
            t.id: a.tolist()
            for t, a in zip(agentrl.read_trajectories(table), agentrl.read_advantages(table), strict=True)
        }
        for table in tables
    )
    assert one == other
    assert any(any(values) for values in one.values())


# 6. Returns took the square of the number of turns.


@every_credit
def test_four_times_the_turns_cost_at_most_eight_times_as_much(credit: Callable[..., agentrl.Advantages]) -> None:
    def seconds(turns: int) -> float:
        played = [play([0.0] * (turns - 1) + [last], "x" * turns) for last in (0.0, 1.0)]
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            credit(played)
            best = min(best, time.process_time() - started)
        return best

    assert seconds(8_000) <= 8 * seconds(2_000)


# 7. The mean of a group ran over its turns, so that long failures counted more.


def test_the_mean_of_a_group_runs_over_trajectories_unless_turns_are_asked_for() -> None:
    won, lost = play([1.0]), play([0.0] * 9)
    for credit in (lambda played: grpo(played, std=False), lambda played: gigpo(played, step_weight=0.0)):
        assert [values[0] for values in credit([won, lost])] == [0.5, -0.5]
    assert gigpo([won, lost], step_weight=0.0, statistics="turn")[0][0] == pytest.approx(0.9)


# 10. Importance ratios of tokens that were sampled from the likeliest were biased (mean 0.895 at top_p = 0.8).


@pytest.mark.parametrize("filters", [{"top_p": 0.8}, {"temperature": 0.7, "top_p": 0.9, "top_k": 20}], ids=str)
def test_with_equal_weights_every_ratio_is_one_whatever_the_sampling(filters: dict[str, float]) -> None:
    from agentrl_plugins.losses.ppo import PPO
    from agentrl_plugins.models.tiny import tiny
    from agentrl_plugins.policies.transformers_policy import TransformersPolicy
    from agentrl_plugins.trainers.packed_trainer import PackedTrainer

    size = {"layers": 1, "width": 16, "heads": 2, "kv_heads": 1, "head_width": 8, "vocabulary": 300, "init_std": 0.3}
    model = tiny(["You see a lamp. It is dark."] * 3, agentrl.Seed(1), agentrl.SavedCodec(None), **size)
    policy = TransformersPolicy(model, max_tokens=12, **filters)

    async def said(number: int) -> Completion:
        return await policy.act(agentrl.Dialogue((agentrl.Message("user", "You see a lamp."),), str(number), number))

    async def everybody() -> list[Completion]:
        return await asyncio.gather(*map(said, range(16)))

    turns = [Turn("o", completion, "", 0.0, "o", relation="start") for completion in asyncio.run(everybody())]
    played = [Trajectory((turn,), Task("train", 0), "g", Outcome.TERMINATED, n) for n, turn in enumerate(turns)]
    trainer = PackedTrainer(model, PPO(), agentrl.Seed(0), agentrl.Updates(5), agentrl.COLUMNS)
    metrics = trainer.train(played, [np.array([(-1.0) ** n]) for n in range(16)])
    assert metrics["ratio"] == pytest.approx(1.0, abs=1e-4)
    assert metrics["ratio_max"] == pytest.approx(1.0, abs=1e-3)
