"""Evaluation: what counts, what is left out, and intervals that cover as often as they say."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worlds
from differences import first_difference
from playing import part, player

import agentrl
from agentrl import COLUMNS, DataError, Outcome, PluginError, Speakers, Task, Trajectory, read_trajectories
from agentrl import Play as Request
from agentrl.data.jsontext import to_json
from agentrl.data.record import Run
from agentrl.evaluation.intervals import FEWEST, Interval, mean_interval, paired_difference, wilson
from agentrl.evaluation.protocol import Evaluation, Play, compare, evaluate
from agentrl.evaluation.store import DURING, FINAL, best_update, keep_evaluation, read_evaluation


def play(make: Any, policy: str = "expert", tasks: int = 6, retries: int = 1, **settings: Any) -> Evaluation:
    speakers: Speakers = {"agent": part("policy", policy, **settings)}
    on = player(make, retries=retries)
    return asyncio.run(evaluate(on, speakers, [Task("train", index) for index in range(tasks)], seed=0))


def plays(*won: bool, first: int = 0) -> Evaluation:
    return Evaluation(tuple(_play(f"task {first + number}", success) for number, success in enumerate(won)))


def _play(task: str, success: bool) -> Play:
    return Play(task, success, float(success), 3 if success else 6, "terminated" if success else "turn_limit")


def test_an_expert_solves_every_task_and_each_counts_once() -> None:
    result = play(worlds.Counting)
    assert result.success == wilson(6, 6)
    assert (result.mean_return.value, result.mean_turns.value, result.failures) == (1.0, 3.0, 0)
    assert [one.task for one in result.plays] == [f"train/{index}" for index in range(6)]
    assert result.summary() == {"success": 1.0, "low": result.success.low, "high": 1.0, "tasks": 6}
    assert len(result.trajectories) == 6


def test_a_policy_that_never_succeeds_counts_as_zero() -> None:
    result = play(lambda: worlds.Counting(length=50, cap=4), "random")
    assert (result.success.value, result.success.low) == (0.0, 0.0)
    assert {one.outcome for one in result.plays} == {"turn_limit"}


def test_only_the_last_attempt_counts() -> None:
    worlds.Faulty.left = 2
    result = play(lambda: worlds.Faulty("raise"), retries=2)
    assert (result.success.value, result.success.n, result.failures) == (1.0, 6, 0)
    assert len(result.trajectories) == 8


def test_a_play_that_failed_is_counted_apart_and_is_never_a_zero() -> None:
    worlds.Faulty.left = 2
    result = play(lambda: worlds.Faulty("raise"), retries=0)
    assert (result.success.value, result.success.n) == (1.0, 4)
    assert result.failed == {"env_error": 2}
    assert result.summary()["failures"] == 2


def test_what_is_played_follows_from_the_seed_of_the_evaluation_alone() -> None:
    def actions(seed: int, count: int, key: str) -> list[list[str]]:
        on = player(lambda: worlds.Counting(length=50, cap=9))
        tasks = [Task("train", index) for index in range(count)]
        result = asyncio.run(evaluate(on, {"agent": part("policy", "random")}, tasks, seed=seed, key=key))
        assert all(t.id.startswith(f"{key}/") for t in result.trajectories)
        return [[turn.action for turn in t.turns] for t in result.trajectories]

    assert actions(0, 5, "eval")[:2] == actions(0, 2, "eval-26")
    assert actions(0, 2, "eval") != actions(1, 2, "eval")


def test_branches_and_earlier_attempts_do_not_count() -> None:
    (first,) = play(worlds.Counting, tasks=1).trajectories
    again = dataclasses.replace(first, attempt=1, turns=first.turns[:1])
    branch = dataclasses.replace(first, parent=f"{first.id}@1", inherited=1)
    assert [one.turns for one in Evaluation.of([again, first, branch]).plays] == [1]


class Lazy:
    """A player that breaks its contract: it leaves plays out."""

    async def play(self, speakers: Speakers, plays: Sequence[Request]) -> list[Trajectory]:
        return [Trajectory((), one.task, group=one.group, outcome=Outcome.TERMINATED) for one in plays[:-1]]

    def snapshot(self, trajectory: Trajectory, turn: int) -> object:
        return None


def test_a_player_that_leaves_plays_out_is_an_error() -> None:
    with pytest.raises(PluginError, match="Lazy gave trajectories of 2 plays for 3 tasks"):
        asyncio.run(evaluate(Lazy(), {}, [Task("train", index) for index in range(3)], seed=0))


def test_an_evaluation_survives_json() -> None:
    worlds.Faulty.left = 1
    result = play(lambda: worlds.Faulty("raise"), retries=0)
    assert Evaluation.from_json(to_json(result.to_json()).encode()) == result


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{",
        b"\xff",
        b"null",
        b"[]",
        b"{}",
        b'{"schema_version": 1}',
        b'{"schema_version": 9, "plays": [], "failed": {}}',
        b'{"schema_version": 1, "plays": [{}], "failed": {}}',
        b'{"schema_version": 1, "plays": {}, "failed": {}}',
        b'{"schema_version": 1, "plays": [], "failed": {"env_error": "two"}}',
        b'{"schema_version": 1, "failed": {}, "plays": [{"task": "a", "success": "no", "episode_return": 1.0, "turns": 1, '
        b'"outcome": "terminated"}]}',
        b'{"schema_version": 1, "failed": {}, "plays": [{"task": "a", "success": true, "episode_return": null, "turns": 1, '
        b'"outcome": "terminated"}]}',
    ],
)
def test_a_damaged_evaluation_is_named(run: Run, broken: bytes) -> None:
    keep_evaluation(run, 2, FINAL, plays(True), COLUMNS)
    (run.folder / "evaluations/000002/evaluation.json").write_bytes(broken)
    (run.folder / "evaluations/000002/checksums.json").unlink()  # as an earlier version left it
    with pytest.raises(DataError, match=r"000002/evaluation\.json is damaged: it is not a stored evaluation"):
        read_evaluation(run, 2)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path, "run", {"name": "run"}, {})


def test_an_evaluation_is_kept_with_every_play_and_its_trajectory(run: Run) -> None:
    worlds.Faulty.left = 1
    result = play(lambda: worlds.Faulty("raise"), retries=0)
    keep_evaluation(run, 26, FINAL, result, COLUMNS)
    keep_evaluation(run, 26, DURING, play(worlds.Counting, tasks=2), COLUMNS)
    assert sorted(path.name for path in (run.folder / "evaluations").iterdir()) == ["000026", "000026-during"]
    assert read_evaluation(run, 26) == result
    during = read_evaluation(run, 26, DURING)
    assert during is not None
    assert len(during.plays) == 2
    kept = read_trajectories(run.folder / "evaluations/000026/trajectories.parquet")
    assert first_difference(kept, result.trajectories) == ""
    assert read_evaluation(run, 27) is None


def test_evaluations_of_earlier_versions_are_read(run: Run) -> None:
    run.write_json("evaluations/000002.json", plays(True, False).to_json())
    assert read_evaluation(run, 2) == plays(True, False)


def test_the_best_update_is_the_latest_with_the_highest_success_of_the_split_that_picks_it(run: Run) -> None:
    assert best_update(run, 9) == 9
    for update, won in ((2, (True, False)), (4, (True, True)), (6, (True, True)), (8, (False, True))):
        keep_evaluation(run, update, DURING, plays(*won), COLUMNS)
        keep_evaluation(run, update, FINAL, plays(*([update == 2] * 2)), COLUMNS)  # final numbers choose nothing
    for name in ("old-during", "000004-during-old"):  # of a hand
        (run.folder / "evaluations" / name).mkdir()
    assert best_update(run, 9) == 5


def test_an_evaluation_of_nothing_knows_nothing() -> None:
    nothing = Evaluation(())
    assert math.isnan(nothing.success.value)
    assert (nothing.success.low, nothing.success.high, nothing.success.n) == (0.0, 1.0, 0)
    assert math.isnan(nothing.mean_return.value)


def test_a_task_played_several_times_is_one_task() -> None:
    twice = Evaluation(plays(True, True, False, False).plays + plays(True, False, False, False).plays)
    assert twice.success.n == 4
    assert twice.success.value == 3 / 8
    assert twice.success.low < 3 / 8 < twice.success.high


@pytest.mark.parametrize("won", [True, False])
def test_tasks_that_always_end_alike_give_the_interval_of_as_many_plays_as_there_are_tasks(won: bool) -> None:
    repeated = Evaluation(plays(*[won] * 8).plays * 3)
    assert repeated.success == wilson(8 * won, 8)
    assert Evaluation(plays(won).plays * 3).success == wilson(won, 1)


def test_tasks_that_are_all_solved_half_of_the_time_are_no_certainty() -> None:
    half = Evaluation(plays(*[True] * 8).plays + plays(*[False] * 8).plays)
    assert half.success == wilson(4, 8)


def test_an_interval_from_tasks_that_all_succeed_covers_where_plays_of_a_task_agree() -> None:
    """Exact coverage of 12 tasks played 4 times, every task always or never solved: as that of 12 single plays."""
    n = 12
    for truth in (0.5, 0.8, 0.9, 0.95):
        holds = []
        for solved in range(n + 1):
            found = Evaluation(plays(*[task < solved for task in range(n)]).plays * 4).success
            holds.append(found.low <= truth <= found.high)
        assert _binomial(n, truth)[holds].sum() > 0.85, truth


def test_equal_changes_of_repeated_tasks_are_as_uncertain_as_those_of_single_plays() -> None:
    never, always = (Evaluation(plays(*[won] * 8).plays * 3) for won in (False, True))
    once = compare(plays(*[False] * 8), plays(*[True] * 8))
    assert compare(never, always) == once
    assert (once["low"] < 0.6, once["high"]) == (True, 1.0)
    assert compare(always, always) == compare(plays(*[True] * 8), plays(*[True] * 8))
    assert compare(always, always)["low"] < -0.3
    one = compare(Evaluation(plays(False).plays * 2), Evaluation(plays(True).plays * 2))
    assert one == compare(plays(False), plays(True))


def test_comparing_pairs_tasks_by_key_whatever_their_order() -> None:
    before, after = plays(False, False, True, False), plays(True, True, True, False)
    shuffled = dataclasses.replace(after, plays=after.plays[::-1])
    expected = paired_difference([False, False, True, False], [True, True, True, False])
    assert compare(before, after) == compare(before, shuffled) == expected.summary()
    assert compare(before, after)["success"] == 0.5
    assert compare(after, before)["success"] == -0.5


def test_comparing_leaves_out_tasks_that_count_on_one_side_only() -> None:
    found = compare(plays(False, False, False), plays(True, True, True, first=1))
    assert (found["success"], found["tasks"]) == (1.0, 2)
    with pytest.raises(DataError, match="no task counts in both"):
        compare(plays(True), plays(True, first=1))


def test_comparing_repeated_plays_draws_whole_tasks() -> None:
    before = Evaluation(plays(False, False, True).plays * 4)
    after = Evaluation(plays(True, False, True).plays * 4)
    found = compare(before, after)
    assert (found["success"], found["tasks"]) == (pytest.approx(1 / 3), 3)


def test_wilson_agrees_with_statsmodels() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    for successes, n in [(0, 5), (1, 7), (50, 200), (200, 200)]:
        for confidence in (0.8, 0.95):
            found = wilson(successes, n, confidence=confidence)
            expected = proportion.proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
            assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)


def test_the_paired_interval_gives_published_limits() -> None:
    """59 both, 6 before only, 16 after only, 80 neither: 0.0621 (0.0046 to 0.1186); Fagerland et al. 2017, chapter 8."""
    before = [True] * 65 + [False] * 96
    after = [True] * 59 + [False] * 6 + [True] * 16 + [False] * 80
    found = paired_difference(before, after)
    assert (found.value, found.low, found.high) == pytest.approx((0.0621, 0.0046, 0.1186), abs=5e-5)


def test_wilson_covers_at_least_as_often_as_it_says_on_average() -> None:
    """Exact coverage: the sum of the binomial probabilities of the outcomes whose interval holds the truth."""
    n = 40
    intervals = [wilson(successes, n) for successes in range(n + 1)]
    covered = []
    for truth in np.linspace(0.05, 0.95, 37):
        holds = np.array([interval.low <= truth <= interval.high for interval in intervals])
        covered.append(_binomial(n, truth)[holds].sum())
    assert np.mean(covered) == pytest.approx(0.95, abs=0.01)
    assert min(covered) > 0.91


def _binomial(n: int, p: float) -> np.ndarray:
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


@pytest.mark.parametrize(
    "cells", [(0.2, 0.1, 0.4, 0.3), (0.05, 0.05, 0.05, 0.85), (0.5, 0.0, 0.3, 0.2)], ids=["moderate", "rare", "nested"]
)
def test_the_paired_interval_covers_as_often_as_it_says(cells: tuple[float, float, float, float]) -> None:
    """4,000 samples of 50 tasks; a binomial standard error of 0.35 points."""
    samples = np.random.default_rng(1).multinomial(50, cells, size=4000)
    interval_of = functools.cache(_paired_counts)
    truth = cells[2] - cells[1]
    intervals = [interval_of(*map(int, sample)) for sample in samples]
    assert 0.94 <= np.mean([interval.low <= truth <= interval.high for interval in intervals]) <= 0.985


def _paired_counts(both: int, only_before: int, only_after: int, neither: int) -> Interval:
    before = [True] * (both + only_before) + [False] * (only_after + neither)
    after = [True] * both + [False] * only_before + [True] * only_after + [False] * neither
    return paired_difference(before, after)


def test_the_interval_of_a_skewed_mean_covers_about_as_often_as_it_says() -> None:
    """300 samples of 200 exponential values; a binomial standard error of 1.3 points."""
    rng = np.random.default_rng(2)
    intervals = [mean_interval(rng.exponential(size=200), resamples=999, seed=step) for step in range(300)]
    assert 0.91 <= np.mean([interval.low <= 1.0 <= interval.high for interval in intervals]) <= 0.98


@functools.cache
def _paid(n: int, k: int, bounds: tuple[float, float] | None) -> Interval:
    """Of `n` tasks, `k` pay 10 and the others nothing."""
    return mean_interval([10.0] * k + [0.0] * (n - k), bounds=bounds, resamples=1999)


@pytest.mark.parametrize("bounds", [(0.0, 10.0), (-5.0, 20.0), None], ids=str)
@pytest.mark.parametrize("n", [5, 10, 20, 50])
def test_the_mean_of_few_tasks_with_a_rare_return_is_covered(n: int, bounds: tuple[float, float] | None) -> None:
    """Exact coverage, with limits that are drawn; a bootstrap of what was seen covers the mean of 20 tasks in 64 %."""
    for rate in (0.01, 0.05, 0.1, 0.3, 0.95):
        holds = [one.low <= 10 * rate <= one.high for one in (_paid(n, k, bounds) for k in range(n + 1))]
        assert _binomial(n, rate)[holds].sum() > 0.94, rate


def test_an_interval_of_a_mean_of_zeros_and_ones_is_that_of_clopper_and_pearson() -> None:
    from scipy import stats

    for successes, n in [(0, 5), (1, 20), (7, 30), (30, 30)]:
        found = mean_interval([1.0] * successes + [0.0] * (n - successes), bounds=(0, 1), resamples=99_999)
        expected = stats.binomtest(successes, n).proportion_ci(method="exact")
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.005)


DRAWS = {
    "normal": (lambda rng, n: rng.normal(size=n), 0.0),
    "exponential": (lambda rng, n: rng.exponential(size=n), 1.0),
    "lognormal": (lambda rng, n: rng.lognormal(size=n), math.exp(0.5)),
    "uniform": (lambda rng, n: rng.random(n), 0.5),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("n", [20, 80])
def test_the_mean_of_tasks_without_known_bounds_is_covered_in_nine_of_ten_cases(name: str, n: int) -> None:
    """300 samples; a binomial standard error of 1.3 to 1.7 points."""
    draw, truth = DRAWS[name]
    rng = np.random.default_rng(2)
    intervals = [mean_interval(draw(rng, n), resamples=499, seed=step) for step in range(300)]
    assert np.mean([interval.low <= truth <= interval.high for interval in intervals]) > 0.9


def test_a_rare_return_beyond_all_others_is_covered_where_it_is_known_that_there_may_be_one() -> None:
    """One task in 20 pays 20, the others 0 or 1: without bounds nothing tells of it until it is seen."""
    rng, covered = np.random.default_rng(3), {"known": 0, "unknown": 0}
    truth = 0.05 * 20 + 0.95 * 0.5
    for step in range(300):
        values = np.where(rng.random(20) < 0.05, 20.0, rng.integers(0, 2, 20))
        for name, bounds in (("known", (0.0, 20.0)), ("unknown", None)):
            found = mean_interval(values, bounds=bounds, resamples=499, seed=step)
            covered[name] += found.low <= truth <= found.high
    assert covered["known"] / 300 > 0.95
    assert 0.5 < covered["unknown"] / 300 < 0.8, "the docstring of mean_interval names this figure"


def test_drawing_whole_tasks_covers_where_drawing_single_plays_does_not() -> None:
    """40 tasks of very different difficulty, each played 10 times: the plays of one task are not independent."""
    rng = np.random.default_rng(3)
    tasks = np.repeat(np.arange(40), 10).tolist()
    covered = {"whole": 0, "single": 0}
    for step in range(150):
        values = (rng.random(400) < np.repeat(rng.random(40) < 0.5, 10)).astype(float)
        whole = mean_interval(values, clusters=tasks, resamples=499, seed=step)
        single = mean_interval(values, resamples=499, seed=step)
        covered["whole"] += whole.low <= 0.5 <= whole.high
        covered["single"] += single.low <= 0.5 <= single.high
    assert covered["whole"] / 150 > 0.89
    assert covered["single"] / 150 < 0.6


def test_real_valued_differences_are_paired() -> None:
    """Pairing takes the spread between tasks out of the interval."""
    rng = np.random.default_rng(4)
    before = rng.normal(0, 10, 100)
    found = paired_difference(before, before + 1 + rng.normal(0, 0.1, 100))
    assert found.low > 0.9
    assert found.high < 1.1


def test_limits_that_are_drawn_are_the_same_every_time() -> None:
    values = np.random.default_rng(5).random(30)
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values) != mean_interval(values, seed=1)


def test_the_interval_agrees_with_students_t_on_many_normal_values() -> None:
    from scipy import stats

    values = np.random.default_rng(6).normal(5, 2, 400)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    found = mean_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_too_few_or_equal_values_give_honest_limits() -> None:
    assert mean_interval([3.0]) == Interval(3.0, -math.inf, math.inf, 1)
    assert mean_interval([3.0] * 99) == Interval(3.0, -math.inf, math.inf, 99)
    assert mean_interval(range(FEWEST - 1)) == Interval((FEWEST - 2) / 2, -math.inf, math.inf, FEWEST - 1)
    assert math.isfinite(mean_interval(range(FEWEST)).high)
    assert mean_interval([1.0, 2.0], clusters=["a", "a"]) == Interval(1.5, -math.inf, math.inf, 1)
    nothing = mean_interval([], bounds=(0, 1))
    assert (math.isnan(nothing.value), nothing.low, nothing.high, nothing.n) == (True, 0.0, 1.0, 0)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: wilson(3, 2), "3 successes of 2"),
        (lambda: paired_difference([1.0], [1.0, 2.0]), "two lists of one length"),
        (lambda: mean_interval([1.0, 2.0], clusters=["a"]), "2 values but 1 clusters"),
        (lambda: mean_interval([0.5, 2.0], bounds=(0, 1)), "values from 0.5 to 2 do not lie in 0 to 1"),
    ],
)
def test_lists_that_disagree_are_refused(call: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        call()


# ----------------------------------------------------------------------------------------- what would flatter is said


def test_bounds_count_the_plays_that_failed_as_lost_and_as_won() -> None:
    result = Evaluation(plays(True, True, True, False).plays, {"env_error": 3, "time_limit": 1})
    assert result.bounds == (3 / 8, 7 / 8)
    assert result.summary() == {**result.success.summary(), "failures": 4, "all_lost": 3 / 8, "all_won": 7 / 8}
    repeated = Evaluation(plays(True, False).plays + plays(True, True).plays, {"env_error": 1})
    assert repeated.bounds[0] < repeated.success.value < repeated.bounds[1]
    assert Evaluation((), {"env_error": 2}).bounds == (0.0, 1.0)
    assert all(map(math.isnan, Evaluation(()).bounds))


def test_a_share_of_failures_is_warned_of_and_a_few_are_not() -> None:
    few = Evaluation(plays(*[True] * 39).plays, {"env_error": 1})
    many = Evaluation(plays(*[True] * 30).plays, {"env_error": 7, "time_limit": 3})
    assert few.notes() == {}
    assert many.notes()["failures"] == (
        "10 of 40 plays failed by machinery (7 env_error, 3 time_limit) and are not counted; with them success lies "
        "between 75.0% and 100.0%"
    )


def test_the_first_reason_of_a_failure_is_in_its_warning() -> None:
    worlds.Faulty.left = 6
    result = play(lambda: worlds.Faulty("raise"), retries=0)
    assert result.notes()["failures"] == (
        "no play was counted: all 6 failed by machinery (6 env_error); the first: RuntimeError: the world broke"
    )


def test_equal_keys_are_explained() -> None:
    result = Evaluation(plays(True, False, True).plays + plays(True, False).plays)
    assert result.notes()["keys"].startswith("5 plays have 3 different task keys ('task 0' 2 times), and plays with")
    assert plays(True, False).notes() == {}


class Silent(worlds.Counting):
    """Pays at the end, and says nothing of success."""

    def step(self, action: str) -> Any:
        *shown, info = super().step(action)
        del info["success"]
        return (*shown, info)


def test_a_reward_at_the_end_is_no_success_unless_somebody_says_so() -> None:
    result = play(Silent)
    assert {one.success for one in result.plays} == {None}
    assert math.isnan(result.success.value)
    assert (result.success.n, result.mean_return.value) == (6, 1.0)
    assert "[player] success_above" in result.notes()["success"]
    with pytest.raises(DataError, match="nothing says what success is"):
        compare(result, result)
    speakers: Speakers = {"agent": part("policy", "expert")}
    for above, won in ((0.0, 1.0), (1.0, 0.0)):
        on = player(Silent, success_above=above)
        told = asyncio.run(evaluate(on, speakers, [Task("train", index) for index in range(6)], seed=0))
        assert told.success.value == won
        assert told.notes() == {}


def test_a_setting_of_success_changes_nothing_where_the_world_says_it() -> None:
    speakers: Speakers = {"agent": part("policy", "random")}
    tasks = [Task("train", index) for index in range(6)]
    on = player(lambda: worlds.Counting(length=50, cap=4), success_above=-1.0)
    assert asyncio.run(evaluate(on, speakers, tasks, seed=0)).success.value == 0.0


def test_a_world_that_says_success_only_where_there_is_some_has_failed_elsewhere() -> None:
    said = Evaluation((_play("a", True), dataclasses.replace(_play("b", False), success=None)))
    assert said.success == wilson(1, 2)


def test_the_best_update_is_not_one_whose_plays_failed(run: Run) -> None:
    keep_evaluation(run, 2, DURING, plays(True, True, True, False), COLUMNS)
    failed = Evaluation(plays(True).plays, {"env_error": 3})
    keep_evaluation(run, 4, DURING, failed, COLUMNS)
    keep_evaluation(run, 6, DURING, Evaluation((), {"env_error": 4}), COLUMNS)
    assert best_update(run, 9) == 1


def test_the_best_update_has_the_highest_return_where_nothing_says_success(run: Run) -> None:
    for update, paid in ((2, 0.5), (4, 0.75), (6, 0.25)):
        keep_evaluation(run, update, DURING, Evaluation((Play("a", None, paid, 3, "terminated"),)), COLUMNS)
    assert best_update(run, 9) == 3


def test_a_run_in_a_world_that_says_no_success_reports_none(tmp_path: Path) -> None:
    tables = {
        "name": "silent", "runs": str(tmp_path), "model": "table", "policy": "tabular", "trainer": "tabular",
        "sampler": {"tasks": 2}, "stages": [{"name": "rl", "updates": 2}],
        "evaluation": {"split": "valid", "tasks": 4, "every": 1, "during_split": "train", "during_tasks": 4},
    }  # fmt: skip
    parts = {"environment": lambda: Silent()}  # noqa: PLW0108  # its parameters are no settings
    result = agentrl.train(tables, parts=parts)
    after: Any = json.loads((result.folder / "summary.json").read_text())["after"]
    assert (after["success"], after["low"], after["tasks"]) == (None, None, 4)
    assert after["return"] is not None
    lines = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    assert all("success" not in line and "during/success" not in line and "return" in line for line in lines)
    assert "this world does not say what success is" in (result.folder / "run.log").read_text()
    assert {t.success for t in Run.open(result.folder).commits()[0].trajectories()} == {None}
    judged = agentrl.train(tables | {"player": {"success_above": 0.0}}, parts=parts)
    assert judged.summary["after"]["success"] is not None  # type: ignore[index]
    assert {t.success for t in Run.open(judged.folder).commits()[0].trajectories()} <= {True, False}
