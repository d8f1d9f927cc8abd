"""The buffer: every draw is numbered, played and trained once, at most so many updates ahead, also across a resume."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from agentrl import Batch, Completion, Draw, Group, Outcome, PluginError, RecordError, Task, Trajectory, Turn
from agentrl.worlds.buffer import Buffer, draw_from_json, draw_to_json


class Tasks:
    """`count` tasks per update, in order; keeps a log of the updates that it was asked for."""

    def __init__(self, count: int = 2) -> None:
        self.count, self.asked = count, list[int]()

    def next(self, update: int) -> list[Task]:
        self.asked.append(update)
        return [Task("train", 10 * update + number) for number in range(self.count)]


class Choosy(Tasks):
    """Keeps what `wanted` wants."""

    def __init__(self, wanted: Callable[[Group], Any], count: int = 2) -> None:
        super().__init__(count)
        self.wanted = wanted

    def keep(self, group: Group) -> Any:
        return self.wanted(group)


def group_of(draw: Draw) -> Group:
    trajectory = Trajectory((), draw.task, str(draw.number), Outcome.TERMINATED, seed=draw.seed)
    return Group(str(draw.number), draw.number, (trajectory,))


class Plays:
    """Plays a draw for `rounds(draw)` turns of the event loop."""

    def __init__(self, rounds: Callable[[Draw], int] = lambda draw: 1) -> None:
        self.rounds, self.begun, self.cancelled = rounds, list[Draw](), list[int]()

    async def __call__(self, draw: Draw) -> list[Group]:
        self.begun.append(draw)
        try:
            for _ in range(self.rounds(draw)):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(draw.number)
            raise
        return [group_of(draw)]


def batches(buffer: Buffer, sampler: Any, plays: Any) -> list[Batch]:
    async def all_of_them() -> list[Batch]:
        async with buffer:
            return [batch async for batch in buffer.batches(sampler, plays)]

    return asyncio.run(all_of_them())


def until_death(buffer: Buffer, sampler: Any, plays: Any, upto: int) -> tuple[list[Batch], Any]:
    """The batches of the updates before `upto`, and what the commit of the last of them keeps of the buffer."""

    async def some_of_them() -> tuple[list[Batch], Any]:
        found: list[Batch] = []
        async with buffer:
            async for batch in buffer.batches(sampler, plays):
                found.append(batch)
                await asyncio.sleep(0)  # while it is trained on, plays go on
                if batch.update + 1 == upto:
                    break
            return found, json.loads(json.dumps(buffer.state()))

    return asyncio.run(some_of_them())


def draws_of(batch: Batch) -> list[int]:
    return [group.draw for group in batch.groups]


def test_without_staleness_a_batch_is_all_draws_of_its_update_in_order() -> None:
    sampler, plays = Tasks(3), Plays(lambda draw: 9 - draw.number)
    found = batches(Buffer(0, 3, seed=1), sampler, plays)
    assert [draws_of(batch) for batch in found] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert [batch.update for batch in found] == [0, 1, 2]
    assert [draw.update for draw in plays.begun] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert sampler.asked == [0, 1, 2]


def test_draws_are_numbered_over_the_whole_run_and_have_seeds_of_their_own() -> None:
    first, second, other = Plays(), Plays(), Plays()
    batches(Buffer(0, 2, seed=1), Tasks(), first)
    batches(Buffer(2, 4, seed=1, next_draw=4), Tasks(), second)
    batches(Buffer(0, 2, seed=2), Tasks(), other)
    drawn = first.begun + second.begun
    assert [draw.number for draw in drawn] == list(range(8))
    assert len({draw.seed for draw in drawn}) == 8
    assert not {draw.seed for draw in drawn} & {draw.seed for draw in other.begun}


def test_a_task_says_how_many_copies_it_wants() -> None:
    class Copies(Tasks):
        def next(self, update: int) -> list[Task]:
            return [Task("train", 0, copies=7), Task("train", 1)]

    plays = Plays()
    batches(Buffer(0, 1, seed=0), Copies(), plays)
    assert [draw.copies for draw in plays.begun] == [7, 0]


@pytest.mark.parametrize("staleness", [1, 2, 5])
def test_with_staleness_so_many_updates_are_drawn_ahead_and_never_beyond_the_stage(staleness: int) -> None:
    sampler, plays = Tasks(2), Plays(lambda draw: 1 + draw.number % 5)

    async def watched() -> list[int]:
        ahead = []
        async with buffer:
            async for batch in buffer.batches(sampler, plays):
                ahead.append(max(sampler.asked) - batch.update)
        return ahead

    buffer = Buffer(0, 6, seed=0, staleness=staleness)
    ahead = asyncio.run(watched())
    assert ahead == [min(staleness, 5 - update) for update in range(6)]
    assert sampler.asked == list(range(6))


def test_with_staleness_the_first_that_are_finished_are_taken_by_number_and_the_last_update_takes_the_rest() -> None:
    slow = {0, 3}
    found = batches(Buffer(0, 3, seed=0, staleness=1), Tasks(2), Plays(lambda draw: 50 if draw.number in slow else 1))
    assert [draws_of(batch) for batch in found] == [[1, 2], [4, 5], [0, 3]]


def test_every_draw_is_trained_exactly_once_whatever_takes_how_long() -> None:
    for staleness in range(4):
        plays = Plays(lambda draw: (draw.number * 7919) % 23)
        found = batches(Buffer(0, 9, seed=0, staleness=staleness), Tasks(3), plays)
        assert sorted(number for batch in found for number in draws_of(batch)) == list(range(27))
        assert [len(batch.groups) for batch in found] == [3] * 9


def test_a_collector_may_give_no_group_or_two() -> None:
    class Uneven(Plays):
        async def __call__(self, draw: Draw) -> list[Group]:
            return [group_of(draw)] * (draw.number % 3)

    found = batches(Buffer(0, 2, seed=0), Tasks(3), Uneven())
    assert [draws_of(batch) for batch in found] == [[1, 2, 2], [4, 5, 5]]


# --------------------------------------------------------------------------------------------------- not kept


def test_a_group_that_is_not_kept_is_recorded_and_its_task_drawn_again() -> None:
    sampler, plays = Choosy(lambda group: group.draw not in (1, 2)), Plays()
    buffer = Buffer(0, 2, seed=0)
    found = batches(buffer, sampler, plays)
    assert [draws_of(batch) for batch in found] == [[0, 3], [4, 5]]
    assert [[group.draw for group in batch.rejected] for batch in found] == [[1, 2], []]
    assert [draw.task.index for draw in plays.begun][:4] == [0, 1, 1, 1]
    assert [t.group for t in found[0].recorded] == ["0", "3", "1", "2"]
    assert [t.group for t in found[0].trajectories] == ["0", "3"]
    assert buffer.metrics() == {"draws/redrawn": 2.0, "draws/not_kept": 2.0}
    assert buffer.metrics() == {}


def test_after_so_many_redraws_a_group_is_taken_as_it_is() -> None:
    plays = Plays()
    found = batches(Buffer(0, 1, seed=0, redraws=1.5), Choosy(lambda group: False), plays)
    assert len(plays.begun) == 2 + 3
    assert len(found[0].groups) == 2
    assert len(found[0].rejected) == 3


@pytest.mark.parametrize("hasty", [True, False])
def test_without_staleness_what_is_drawn_again_does_not_depend_on_who_is_done_first(hasty: bool) -> None:
    judged: list[int] = []

    def odd(group: Group) -> bool:
        judged.append(group.draw)
        return group.draw > 3

    plays = Plays(lambda draw: 1 + (draw.number if hasty else 9 - draw.number))
    (batch,) = batches(Buffer(0, 1, seed=3), Choosy(odd, 4), plays)
    assert judged == list(range(8))
    assert [group.draw for group in batch.rejected] == [0, 1, 2, 3]
    assert [(draw.number, draw.task.index) for draw in plays.begun] == [(n, n % 4) for n in range(8)]


def test_a_group_of_which_every_play_failed_is_not_drawn_again() -> None:
    class Fails(Plays):
        async def __call__(self, draw: Draw) -> list[Group]:
            failed = Trajectory((), draw.task, str(draw.number), Outcome.ENV_ERROR)
            return [Group(str(draw.number), draw.number, (failed,))]

    plays = Fails()
    (batch,) = batches(Buffer(0, 1, seed=0), Choosy(lambda group: False), plays)
    assert (draws_of(batch), batch.rejected) == ([0, 1], ())


@pytest.mark.parametrize("staleness", [1, 2, 3])
def test_groups_that_are_not_kept_are_recorded_however_late_they_are(staleness: int) -> None:
    sampler = Choosy(lambda group: group.draw % 3 > 0)
    plays = Plays(lambda draw: (draw.number * 7919) % 23)
    found = batches(Buffer(0, 6, seed=0, staleness=staleness), sampler, plays)
    recorded = [group.draw for batch in found for group in batch.groups + batch.rejected]
    assert sorted(recorded) == sorted(draw.number for draw in plays.begun)
    assert not any(group.draw % 3 == 0 for batch in found for group in batch.groups)


def test_a_straggler_of_long_ago_may_be_drawn_again_after_two_resumes() -> None:
    def rounds(draw: Draw) -> int:
        return 10**6 if draw.number == 0 else 1

    buffer = Buffer(0, 6, seed=0, staleness=3)
    _, state = until_death(buffer, Tasks(2), Plays(rounds), 2)
    for first in (2, 4):
        buffer = Buffer(first, 6, seed=0, staleness=3)
        buffer.restore(state)
        if first == 2:
            _, state = until_death(buffer, Tasks(2), Plays(rounds), 4)
    found = batches(buffer, Choosy(lambda group: group.draw != 0), Plays())
    assert [group.draw for batch in found for group in batch.rejected] == [0]


# ----------------------------------------------------------------------------------------------------- resuming


@pytest.mark.parametrize("staleness", [0, 1, 3])
@pytest.mark.parametrize("died", [1, 3])
def test_after_a_resume_no_draw_is_trained_twice_and_none_is_lost(staleness: int, died: int) -> None:
    def rounds(draw: Draw) -> int:
        return (draw.number * 7919) % 23

    first = Buffer(0, 6, seed=4, staleness=staleness)
    before, state = until_death(first, Tasks(2), Plays(rounds), died)
    second = Buffer(died, 6, seed=4, staleness=staleness)
    second.restore(state)
    replayed, again = len(state["draws"]), Plays(rounds)
    after = batches(second, Tasks(2), again)
    trained = [number for batch in before + after for number in draws_of(batch)]
    assert sorted(trained) == list(range(12))
    assert [draw.number for draw in again.begun][:replayed] == [draw["number"] for draw in state["draws"]]
    assert second.metrics().get("resume/replayed", 0) == replayed
    whole = Plays(rounds)
    batches(Buffer(0, 6, seed=4, staleness=staleness), Tasks(2), whole)
    seeds = {draw.number: (draw.seed, draw.task.index) for draw in whole.begun}
    assert all(seeds[draw.number] == (draw.seed, draw.task.index) for draw in again.begun)


def test_a_draw_is_plain_data_with_the_words_of_its_prefix() -> None:
    turn = Turn("a room", Completion("look"), "look", 0.5, "a room")
    draw = Draw(3, Task("train", 7, 5, "key", (turn,), 2), 2, 99, 1)
    again = draw_from_json(json.loads(json.dumps(draw_to_json(draw))))
    assert (again.number, again.copies, again.seed, again.update) == (3, 2, 99, 1)
    assert (again.task.split, again.task.index, again.task.seed, again.task.key) == ("train", 7, 5, "key")
    assert [(t.observation, t.action) for t in again.task.prefix] == [("a room", "look")]


def test_a_prefix_keeps_who_said_what_and_which_turns_left_the_world_alone() -> None:
    said = Completion("<think>a summary</think>")
    turns = (
        Turn("a room", said, "", 0.0, "a room", agent="guide", kind="speak"),
        Turn("a room", Completion("lok"), "lok", 0.0, "a room", invalid="no such word"),
    )
    draw = Draw(3, Task("train", 7, 5, "key", turns), 0, 99, 1)
    again = draw_from_json(json.loads(json.dumps(draw_to_json(draw)))).task.prefix
    assert [(t.agent, t.kind, t.action, t.invalid, t.completion.text) for t in again] == [
        ("guide", "speak", "", "", "<think>a summary</think>"), ("agent", "act", "lok", "no such word", "lok"),
    ]  # fmt: skip


@pytest.mark.parametrize("state", [{}, {"next_draw": "x"}, {"next_draw": 1, "admitted": 1, "sizes": [], "draws": [{}]}])
def test_a_state_that_is_none_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="the draws of this run cannot be read"):
        Buffer(0, 1, seed=0).restore(state)


# ------------------------------------------------------------------------------------------------------ mistakes


def test_what_still_runs_is_cancelled_when_a_play_fails() -> None:
    class Fails(Plays):
        async def __call__(self, draw: Draw) -> list[Group]:
            if draw.number == 1:
                raise RuntimeError("the collector broke")
            return await super().__call__(draw)

    plays = Fails(lambda draw: 10**6)
    with pytest.raises(RuntimeError, match="the collector broke"):
        batches(Buffer(0, 1, seed=0), Tasks(3), plays)
    assert sorted(plays.cancelled) == [0, 2]


@pytest.mark.parametrize("tasks", [[], None, ["task"], (Task("train", 0),)])
def test_a_sampler_that_gives_no_tasks_is_named(tasks: Any) -> None:
    class Wrong(Tasks):
        def next(self, update: int) -> Any:
            return tasks

    with pytest.raises(PluginError, match="sampler Wrong gave .* for update 0; it gives a list of at least one"):
        batches(Buffer(0, 1, seed=0), Wrong(), Plays())


@pytest.mark.parametrize("groups", [None, [None], "groups"])
def test_a_collector_that_gives_no_groups_is_named(groups: Any) -> None:
    async def collect(draw: Draw) -> Any:
        return groups

    with pytest.raises(PluginError, match="the collector gave .* for draw 0; it gives a list of agentrl.Group"):
        batches(Buffer(0, 1, seed=0), Tasks(), collect)


@pytest.mark.parametrize("answer", [None, "yes", 0.5])
def test_a_sampler_whose_keep_is_neither_yes_nor_no_is_named(answer: Any) -> None:
    with pytest.raises(PluginError, match="sampler Choosy.keep gave .*; it gives True or False"):
        batches(Buffer(0, 1, seed=0), Choosy(lambda group: answer), Plays())
