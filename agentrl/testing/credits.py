"""The kit for credits: numbers that depend on what they may depend on, and on nothing else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from agentrl.data.columns import COLUMNS, Column, check_columns
from agentrl.data.types import AGENT, Advantages, Batch, Group, Trajectory
from agentrl.parts.learning import Credit, Credited
from agentrl.parts.live import checked_advantages
from agentrl.testing.compare import flat, require_same, written
from agentrl.testing.plays import require_generators_untouched
from agentrl.testing.report import CheckFailed, CheckSkipped, Report, checks_of, gate, require, run_checks
from agentrl.testing.samples import (
    GUEST,
    sample_branches,
    sample_trajectories,
    with_spoken_turns,
    with_two_speakers,
)
from agentrl.testing.trunks import counts_trunks_again, counts_trunks_at_their_place

UNBIASED = 0.05
"""By so much may numbers of an update differ from those of the same update twice: deviations divide by N - 1."""


def check_credit(
    make: Callable[[], Credit], *, name: str = "?", scope: str = "", columns: Mapping[str, Column] = COLUMNS
) -> Report:
    """Put a credit through the kit. `scope`: what it compares, where it does not say so itself."""
    return run_checks("credit", name, checks_of(_CreditKit(make, name, scope, columns)))


class AdvantageKit:
    """What holds for credits and shapers alike; `_values` asks the part under test."""

    def __init__(self, make: Callable[[], object], name: str, scope: str) -> None:
        self._make, self._name, self._given_scope = make, name, scope

    def _values(self, part: object, trajectories: Sequence[Trajectory]) -> Advantages:
        raise NotImplementedError

    @property
    def _scope(self) -> str:
        return str(getattr(self._make(), "scope", "") or self._given_scope or "group")

    def _of(self, trajectories: Sequence[Trajectory], part: object = None) -> Advantages:
        """What a new part says of trajectories, if it is advantages."""
        values = self._values(self._make() if part is None else part, list(trajectories))
        return checked_advantages(values, trajectories, self._name)

    @gate
    def it_gives_a_finite_number_for_every_turn_or_token(self) -> str:
        trajectories = sample_trajectories()
        values = self._of(trajectories)
        for trajectory, value in zip(trajectories, values, strict=True):
            for turn, number in zip(trajectory.turns, value, strict=True):
                real = np.asarray(number).dtype.kind in "fiub"
                fits = real and np.shape(number) in ((), turn.completion.ids.shape)
                require(fits, f"a turn of {len(turn.completion.ids)} tokens got the advantage {number!r}")
        require(np.isfinite(flat(values)).all(), "an advantage is not finite")
        return f"scope {self._scope}"

    def a_second_call_gives_the_same(self) -> None:
        if self._scope == "run":
            raise CheckSkipped("its scope is the run: it may have learned in between")
        part, trajectories = self._make(), sample_trajectories()
        one, two = (self._of(trajectories, part) for _ in range(2))
        require_same(one, two, "the same trajectories get other advantages the second time", tolerance=0.0)

    def the_order_of_trajectories_changes_nothing(self) -> None:
        trajectories = sample_trajectories()
        order = np.random.default_rng(1).permutation(len(trajectories))
        shuffled = self._of([trajectories[i] for i in order])
        restored: Advantages = [np.zeros(0)] * len(trajectories)
        for place, value in zip(order, shuffled, strict=True):
            restored[place] = value
        require_same(self._of(trajectories), restored, "another order of trajectories gives other advantages")

    def other_groups_change_nothing(self) -> None:
        if self._scope != "group":
            raise CheckSkipped(f"its scope is the {self._scope}")
        trajectories = sample_trajectories()
        alone = [t for t in trajectories if t.group == "g1"]
        others = [dataclasses.replace(t, group="copy") for t in trajectories if t.group == "g2"]
        beside = [value for t, value in zip(trajectories, self._of(trajectories), strict=True) if t.group == "g1"]
        for company in (alone, [*alone, *others]):
            message = "trajectories of other groups change a group's advantages"
            require_same(self._of(company)[: len(alone)], beside, message)

    def the_same_update_twice_changes_nothing(self) -> None:
        if self._scope == "group":
            raise CheckSkipped("its scope is the group")
        trajectories = sample_trajectories()
        copies = [dataclasses.replace(t, group=f"{t.group} again") for t in trajectories]
        once, twice = self._of(trajectories), self._of([*trajectories, *copies])[: len(trajectories)]
        require_same(once, twice, "every trajectory of the update twice gives other advantages", tolerance=UNBIASED)

    def one_trajectory_alone_is_finite(self) -> None:
        for lone in (sample_trajectories()[-1:], sample_branches()[-1:]):
            require(np.isfinite(flat(self._of(lone))).all(), "a lone trajectory gets an advantage that is not finite")

    def equal_trajectories_get_equal_numbers(self) -> None:
        first = sample_trajectories()[0]
        values = self._of([dataclasses.replace(first, member=member) for member in range(4)])
        require(np.isfinite(flat(values)).all(), "where all trajectories are equal, an advantage is not finite")
        for value in values:
            require_same([value], values[:1], "equal trajectories of a group get different advantages")

    def rewards_of_any_size_stay_finite(self) -> None:
        for factor in (1e6, -1e6, 1e-9):
            values = self._of([_scaled(t, factor) for t in sample_trajectories()])
            require(np.isfinite(flat(values)).all(), f"with rewards of {factor:g} an advantage is not finite")

    def branches_are_taken(self) -> None:
        trajectories = sample_branches()
        require(np.isfinite(flat(self._of(trajectories))).all(), "an advantage of a branch is not finite")

    def spoken_and_answered_turns_are_taken(self) -> None:
        for trajectories in (with_spoken_turns(sample_trajectories()), with_spoken_turns(sample_branches())):
            require(np.isfinite(flat(self._of(trajectories))).all(), "with spoken turns an advantage is not finite")

    def each_of_two_speakers_is_taken_alone(self) -> None:
        for speaker in (AGENT, GUEST):
            seen = [t.seen_by(speaker) for t in with_two_speakers(sample_trajectories())]
            seen = [trajectory for trajectory in seen if trajectory.turns]
            require(np.isfinite(flat(self._of(seen))).all(), f"an advantage of the speaker {speaker!r} is not finite")

    def its_trajectories_stay_as_they_were(self) -> None:
        trajectories = [*sample_trajectories(), *sample_branches(seed=1)]
        trajectories[0].turns[0].columns["value"] = 0.5
        order, before = list(trajectories), written(trajectories)
        self._values(self._make(), trajectories)
        require(all(a is b for a, b in zip(order, trajectories, strict=True)), "it changes the list that it is given")
        require(
            written(trajectories) == before, "it changes the trajectories that it is given; columns go into Credited"
        )

    def global_generators_stay_untouched(self) -> None:
        require_generators_untouched(lambda: self._of(sample_trajectories()))

    def a_restored_part_goes_on(self) -> None:
        part = self._make()
        observe, state = getattr(part, "observe", None), getattr(part, "state", None)
        if observe is None and state is None:
            raise CheckSkipped("it keeps nothing from update to update")
        for update in range(2):
            trajectories = sample_trajectories(seed=update)
            self._of(trajectories, part)
            if observe is not None:
                observe(Batch(update, (Group("g0", 0, tuple(trajectories)),)))
        if state is None:
            raise CheckSkipped("it observes and has no `state`")
        other = self._make()
        getattr(other, "restore")(json.loads(json.dumps(state())))  # noqa: B009
        later = sample_trajectories(seed=7)
        require_same(
            self._of(later, part), self._of(later, other), "restored from its state, it gives other advantages"
        )


class _CreditKit(AdvantageKit):
    def __init__(self, make: Callable[[], Credit], name: str, scope: str, columns: Mapping[str, Column]) -> None:
        super().__init__(make, f"credit {name!r}", scope)
        self._credit, self._columns = make, columns

    def _values(self, part: object, trajectories: Sequence[Trajectory]) -> Advantages:
        result = part(trajectories)  # type: ignore[operator]
        return result.advantages if isinstance(result, Credited) else result

    def rewards_equal_but_for_rounding_count_as_equal(self) -> None:
        """Divided by its own deviation, the rounding of a sum is an advantage as large as any."""
        first = sample_trajectories()[0]
        equal = [dataclasses.replace(first, member=member) for member in range(4)]
        nudged = [_scaled(t, 1 + t.member * np.finfo(np.float64).eps) for t in equal]
        message = "rewards that differ by rounding only (0.1 + 0.2 and 0.3) give other advantages than equal ones"
        require_same(self._of(equal), self._of(nudged), message, tolerance=1e-3)

    def a_trunk_twice_as_long_changes_nothing(self) -> None:
        """An inherited turn counts with its parent: statistics of turns may not see it again in every branch."""
        if counts_trunks_again(self._of) or counts_trunks_at_their_place(self._of):
            raise CheckFailed(
                "the advantages of other turns change with the turns that a branch inherits: they are counted again in "
                "every branch; leave `trajectory.turns[: trajectory.inherited]` out of statistics over turns"
            )

    def columns_that_it_writes_are_declared(self) -> str:
        trajectories = sample_trajectories()
        result = self._credit()(trajectories)
        if not isinstance(result, Credited):
            raise CheckSkipped("it writes no columns")
        for name, values in result.columns.items():
            lengths, wanted = [len(value) for value in values], [len(t.turns) for t in trajectories]
            require(lengths == wanted, f"column {name!r} holds no value for each turn of each trajectory")
            for trajectory, per_turn in zip(trajectories, values, strict=True):
                for turn, value in zip(trajectory.turns, per_turn, strict=True):
                    turn.columns[name] = value
                    if name in self._columns and value is not None:
                        self._columns[name].checked(value, len(turn.completion.ids), "a turn")
        check_columns(trajectories, self._columns, self._name)
        return ", ".join(result.columns)


def _scaled(trajectory: Trajectory, factor: float) -> Trajectory:
    turns = tuple(dataclasses.replace(turn, reward=factor * turn.reward) for turn in trajectory.turns)
    return dataclasses.replace(trajectory, turns=turns)
