"""The kits for samplers and collectors: which tasks come, and how one draw of them is played."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from agentrl.data.types import AGENT, Batch, Draw, Group, Outcome, Task, Trajectory
from agentrl.parts.playing import Collector, Play, Player, Sampler, Speakers
from agentrl.testing.compare import TIMES, written
from agentrl.testing.report import CheckSkipped, Report, checks_of, finish, gate, require, run_checks
from agentrl.testing.sample_model import SampleModel, SamplePolicy
from agentrl.testing.samples import SPLITS, sample_player, sample_trajectories


def check_sampler(make: Callable[[], Sampler], *, name: str = "?", splits: Mapping[str, int] = SPLITS) -> Report:
    """Put a sampler through the kit; it was made for these `splits`."""
    return run_checks("sampler", name, checks_of(_SamplerKit(make, splits)))


def check_collector(make: Callable[[Player], Collector], *, name: str = "?") -> Report:
    """Put a collector through the kit. `make(player)` gives one that plays on this player."""
    return run_checks("collector", name, checks_of(_CollectorKit(make)))


class _SamplerKit:
    def __init__(self, make: Callable[[], Sampler], splits: Mapping[str, int]) -> None:
        self._make, self._splits = make, splits

    @gate
    def it_gives_tasks(self) -> str:
        sampler = self._make()
        for update in range(3):
            tasks = sampler.next(update)
            fits = isinstance(tasks, list) and tasks and all(isinstance(task, Task) for task in tasks)
            require(fits, f"next gave {tasks!r}; it gives a list of at least one agentrl.Task")
        return f"{len(tasks)} per update"

    def its_tasks_are_tasks_of_the_world(self) -> None:
        sampler = self._make()
        for task in (task for update in range(20) for task in sampler.next(update)):
            require(task.split in self._splits, f"the split {task.split!r} is none of {', '.join(self._splits)}")
            size = self._splits[task.split]
            plain = type(task.index) is int and type(task.seed) is int and type(task.copies) is int
            require(plain, f"{task} holds a number that is no plain int, so it cannot be kept as JSON")
            require(0 <= task.index < size, f"task {task.index} of {task.split!r}, which has {size}")
            require(0 <= task.seed < 2**63 and task.copies >= 0, f"seed {task.seed}, copies {task.copies}")

    def the_same_history_gives_the_same_tasks(self) -> None:
        one, two = self._make(), self._make()
        for update in range(4):
            random.seed(update)  # whatever the process draws in between is no part of the history
            np.random.seed(update)
            first = one.next(update)
            random.seed(update + 100)
            np.random.seed(update + 100)
            require(first == two.next(update), f"two equal samplers differ at update {update}")
            for sampler in (one, two):
                _observe(sampler, _batch(update))

    def a_restored_sampler_goes_on(self) -> None:
        one, two = self._make(), self._make()
        for update in range(3):
            one.next(update)
            _observe(one, _batch(update))
        state = getattr(one, "state", None)
        if state is not None:
            getattr(two, "restore")(json.loads(json.dumps(state())))  # noqa: B009
        for update in range(3, 6):
            what = "restored from its state" if state is not None else "without state, and made anew"
            require(one.next(update) == two.next(update), f"{what}, it draws other tasks for update {update}")

    def it_can_be_asked_ahead(self) -> None:
        sampler = self._make()
        for update in range(3):
            sampler.next(update)
        for update in range(3):
            _observe(sampler, _batch(update))
        sampler.next(3)

    def keeping_is_a_question_and_changes_nothing(self) -> str:
        one, two = self._make(), self._make()
        keep = getattr(one, "keep", None)
        if keep is None:
            raise CheckSkipped("it keeps every group")
        answers = Counter[bool]()
        for update in range(3):
            require(one.next(update) == two.next(update), "a sampler that was asked what it keeps draws other tasks")
            for group in _groups():
                answer = keep(group)
                require(isinstance(answer, (bool, np.bool_)), f"keep gave {answer!r}, neither True nor False")
                require(keep(group) == answer, "keep gave another answer when it was asked again")
                answers[bool(answer)] += 1
        return f"kept {answers[True]} of {answers.total()} groups"

    def failures_can_be_observed(self) -> None:
        sampler = self._make()
        sampler.next(0)
        _observe(sampler, Batch(0, tuple(_groups())))
        sampler.next(1)

    def what_it_observes_stays_as_it_was(self) -> None:
        sampler, batch = self._make(), _batch(0)
        sampler.next(0)
        before = written(batch)
        _observe(sampler, batch)
        require(written(batch) == before, "it changes the batch that it observes")


class _CollectorKit:
    def __init__(self, make: Callable[[Player], Collector]) -> None:
        self._make = make

    def _collected(self, *draws: Draw, player: _SlowPlayer | None = None) -> list[list[Group]]:
        """The groups of some draws, collected at once by one collector."""
        collector = self._make(player or _SlowPlayer())
        speakers = {AGENT: SamplePolicy(SampleModel())}

        async def all_of_them() -> list[list[Group]]:
            return list(await asyncio.gather(*(collector.collect(draw, speakers) for draw in draws)))

        return finish(all_of_them())

    @gate
    def it_gives_a_list_of_groups(self) -> str:
        [groups] = self._collected(_draw())
        fits = isinstance(groups, list) and all(isinstance(group, Group) for group in groups)
        require(fits, f"collect gave {groups!r}; it gives a list of agentrl.Group")
        return ", ".join(f"{len(group.trajectories)} trajectories" for group in groups) or "no groups"

    def groups_belong_to_their_draw(self) -> None:
        draw = _draw(12)
        [groups] = self._collected(draw)
        for group in groups:
            require(group.draw == 12, f"a group of draw 12 says that it is of draw {group.draw}")
            key = group.key == "12" or group.key.startswith("12/")
            require(key, f'a group of draw 12 has the key {group.key!r}; keys are "12", and "12/…" for further groups')
            names = {trajectory.group for trajectory in group.trajectories}
            require(names <= {group.key}, f"trajectories of the group {group.key!r} say that theirs is {names}")

    def every_id_is_there_once(self) -> None:
        together = self._collected(_draw(12), _draw(13), player=_SlowPlayer(fails="some"))
        ids = Counter(t.id for groups in together for group in groups for t in group.trajectories)
        twice = [name for name, count in ids.items() if count > 1]
        require(not twice, f"several trajectories have the id {', '.join(twice[:3])}")

    def every_attempt_is_returned(self) -> None:
        player = _SlowPlayer(fails="some")
        [groups] = self._collected(_draw(), player=player)
        kept = {t.id for group in groups for t in group.trajectories}
        lost = [t.id for t in player.attempts if t.id not in kept]
        require(not lost, f"{len(lost)} of {len(player.attempts)} attempts were played and not returned: {lost[:3]}")

    def members_and_attempts_are_in_order(self) -> None:
        [groups] = self._collected(_draw(copies=5), player=_SlowPlayer(fails="some"))
        for group in groups:
            places = [(t.member, t.branch, t.attempt) for t in group.trajectories if t.parent is None]
            require(places == sorted(places), f"members and attempts come as {places}")

    def copies_are_played_as_wanted(self) -> None:
        for copies in (2, 5):
            player = _SlowPlayer()
            self._collected(_draw(copies=copies), player=player)
            roots = sum(play.start is None for play in player.plays)
            right = copies in (roots, len(player.plays))
            require(right, f"{copies} copies were wanted, {roots} were played from the start")

    def members_have_seeds_of_their_own(self) -> None:
        player = _SlowPlayer()
        self._collected(_draw(copies=4), player=player)
        seeds = Counter((play.seed, play.first, play.start is None) for play in player.plays)
        require(
            max(seeds.values(), default=1) == 1, "several members are played with one seed, so they are all the same"
        )

    def a_draw_is_played_with_its_own_task_and_seed(self) -> None:
        seeds = []
        for draw in (_draw(12), _draw(13, seed=77), _draw(14, seed=99)):
            player = _SlowPlayer()
            self._collected(draw, player=player)
            tasks = {(p.task.split, p.task.index, p.task.seed) for p in player.plays}
            wanted = (draw.task.split, draw.task.index, draw.task.seed)
            require(tasks <= {wanted}, f"a draw of the task {wanted} was played as {tasks}")
            seeds.append({play.seed for play in player.plays})
        require(
            not seeds[0] & seeds[1] | seeds[1] & seeds[2], "two draws with seeds of their own were played with one seed"
        )

    def delays_change_nothing(self) -> None:
        once, twice = (self._collected(_draw(copies=6), player=_SlowPlayer(seed)) for seed in (1, 2))
        same = written(once, without=TIMES) == written(twice, without=TIMES)
        require(same, "the same draw gives other trajectories when plays end in another order")

    def draws_do_not_mix(self) -> None:
        draws = [_draw(number, seed=number) for number in range(20, 24)]
        together = self._collected(*draws, player=_SlowPlayer(3))
        alone = [self._collected(draw)[0] for draw in draws]
        same = written(together, without=TIMES) == written(alone, without=TIMES)
        require(same, "draws that are collected at once give other trajectories than one after the other")

    def failures_are_kept_and_not_raised(self) -> None:
        for fails in ("some", "all"):
            player = _SlowPlayer(fails=fails)
            [groups] = self._collected(_draw(copies=4), player=player)
            failed = len({t.id for group in groups for t in group.trajectories if t.outcome.failed})
            played = sum(t.outcome.failed for t in player.attempts)
            require(failed == played, f"{played} attempts failed, and {failed} of them were returned")

    def branches_name_their_parent(self) -> str:
        [groups] = self._collected(_draw(copies=4))
        by_id = {t.id: t for group in groups for t in group.trajectories}
        branches = [t for t in by_id.values() if t.parent is not None]
        for branch in branches:
            name, _, turn = str(branch.parent).rpartition("@")
            require(name in by_id, f"the parent {branch.parent!r} of {branch.id} was not returned")
            trunk = by_id[name].turns[: branch.inherited]
            same = len(trunk) == branch.inherited == int(turn) + 1 and written(trunk) == written(
                branch.turns[: branch.inherited]
            )
            require(same, f"{branch.id} does not begin with the turns of its parent up to turn {turn}")
        if not branches:
            raise CheckSkipped("it plays no branches")
        return f"{len(branches)} branches"


class _SlowPlayer:
    """The real player on the sample world, whose plays end in a random order, and fail if they are told to."""

    def __init__(self, seed: int = 0, fails: str = "none") -> None:
        self._inner = sample_player()
        self._random, self._fails = random.Random(seed), fails
        self.plays: list[Play] = []
        self.attempts: list[Trajectory] = []

    async def play(self, speakers: Speakers, plays: Sequence[Play]) -> list[Trajectory]:
        self.plays += plays
        together = await asyncio.gather(*(self._attempts(speakers, play) for play in plays))
        attempts = [trajectory for one in together for trajectory in one]
        self.attempts += attempts
        return attempts

    def snapshot(self, trajectory: Trajectory, turn: int) -> object | None:
        return self._inner.snapshot(trajectory, turn)

    async def _attempts(self, speakers: Speakers, play: Play) -> list[Trajectory]:
        await asyncio.sleep(self._random.random() / 500)
        [played] = await self._inner.play(speakers, [play])
        failed = dataclasses.replace(
            played,
            turns=(),
            inherited=0,
            final=None,
            outcome=Outcome.ENV_ERROR,
            error="the world broke, as it was told to",
        )
        if self._fails == "all" or (self._fails == "some" and play.member == 0):
            return [failed, dataclasses.replace(failed, attempt=1)]
        if self._fails == "some" and play.member % 2:
            return [failed, dataclasses.replace(played, attempt=1)]
        return [played]


def _draw(number: int = 12, *, copies: int = 0, seed: int = 5) -> Draw:
    return Draw(number, Task("train", 5 + number, seed=number, copies=copies), copies, seed, 0)


def _groups() -> Iterator[Group]:
    """Whole groups, one without variance, one where some failed, one where all did, one of branches, an empty one."""
    trajectories = sample_trajectories()
    failed = [dataclasses.replace(t, outcome=Outcome.ENV_ERROR, turns=()) for t in trajectories[:6]]
    yield Group("0", 0, tuple(trajectories[:6]))
    yield Group("1", 1, tuple(dataclasses.replace(t, group="1") for t in (*trajectories[6:9], *failed[3:])))
    yield Group("2", 2, tuple(failed))
    yield Group("3", 3, ())


def _batch(update: int) -> Batch:
    trajectories = sample_trajectories(seed=update)
    names = dict.fromkeys(t.group for t in trajectories)
    return Batch(
        update,
        tuple(Group(name, i, tuple(t for t in trajectories if t.group == name)) for i, name in enumerate(names)),
    )


def _observe(sampler: Sampler, batch: Batch) -> None:
    observe = getattr(sampler, "observe", None)
    if observe is not None:
        observe(batch)
