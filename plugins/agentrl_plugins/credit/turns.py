"""The turns of one update read once into flat arrays. Axes: B trajectories, N turns of all of them, G groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

import agentrl

Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class FlatTurns:
    """What every credit needs of its trajectories, in their order."""

    turns: list[agentrl.Turn]  # N
    rewards: agentrl.Floats  # [N], of each turn, combined
    lengths: Codes  # [B]
    ends: Codes  # [B], position after the last turn of each trajectory
    trajectory: Codes  # [N], position of the trajectory
    group: Codes  # [B], 0 … G - 1
    inherited: Codes  # [B], leading turns that a branch has from its parent
    spoken: list[int]  # positions of turns that a context let the policy say or answered itself, in order

    @property
    def counted(self) -> NDArray[np.bool_]:
        """bool [N], the turns that statistics over turns see: an inherited one counts with its parent, a spoken one never."""
        counted = self.own
        counted[self.spoken] = False
        return counted

    @property
    def own(self) -> NDArray[np.bool_]:
        """bool [N], the turns that are not inherited."""
        return np.arange(len(self.turns)) >= (self.ends - self.lengths + self.inherited)[self.trajectory]

    @property
    def acts_before(self) -> Codes:
        """int64 [N], how many actions of its trajectory came before a turn."""
        acts = np.ones(len(self.turns), np.int64)
        acts[self.spoken] = 0
        before: Codes = np.cumsum(acts) - acts
        before -= before[self.ends - self.lengths][self.trajectory]
        return before

    def same_turn(self) -> tuple[Codes, Codes]:
        """int64 [N] and [K]: a code for each (group, turn index), and how many trajectories have begun by then.

        The latter counts those that have ended, and a branch from its first own turn on. A turn that does not count
        has a code of its own, and is there alone.
        """
        starts, counted, index = self.ends - self.lengths, self.counted, self.acts_before
        span = self.lengths.max(initial=0) + 1
        begins = np.sort(self.group * span + index[np.minimum(starts + self.inherited, self.ends - 1)])
        group = self.group[self.trajectory] * span
        members = np.searchsorted(begins, group + index, "right") - np.searchsorted(begins, group, "left")
        cell = np.where(counted, group + index, len(self.lengths) * span + np.arange(len(group)))
        _, first, codes = np.unique(cell, return_index=True, return_inverse=True)
        return codes, np.where(counted, members, 1)[first]

    @property
    def returns(self) -> agentrl.Floats:
        """float64 [B], the undiscounted return of each trajectory."""
        return np.asarray(np.bincount(self.trajectory, self.rewards, len(self.lengths)), np.float64)

    def tokens(self) -> agentrl.Floats:
        """float64 [B], how many tokens of its own each trajectory was sampled."""
        own = [len(turn.completion.ids) for turn in self.turns] * self.own
        return np.bincount(self.trajectory, own, len(self.lengths)).astype(np.float64)

    def returns_to_go(self, gamma: float) -> agentrl.Floats:
        """float64 [N], r[t] + gamma * return_to_go[t + 1] inside each trajectory, in O(N); a spoken turn costs no gamma."""
        if not 0 <= gamma <= 1:
            raise agentrl.ConfigError(f"gamma = {gamma}: a discount lies between 0 and 1")
        result = self.rewards.copy()
        discount = np.full(len(result), gamma)
        discount[self.spoken] = 1.0
        longest_first = np.argsort(-self.lengths, kind="stable")
        last = self.ends[longest_first] - 1
        alive = np.searchsorted(-self.lengths[longest_first], -np.arange(1, self.lengths.max(initial=0)), side="left")
        for back, count in enumerate(alive, start=1):  # the `count` longest have a turn `back` before their last
            here = last[:count] - back
            result[here] += discount[here] * result[here + 1]
        return result

    def split(self, values: agentrl.Floats) -> agentrl.Advantages:
        """[N] → per trajectory [T]. A spoken turn takes the value of the turn that comes after it."""
        for position in reversed(self.spoken):
            if position + 1 < self.ends[self.trajectory[position]]:
                values[position] = values[position + 1]
        starts = self.ends - self.lengths
        return [values[start:end] for start, end in zip(starts.tolist(), self.ends.tolist(), strict=True)]


def read_turns(
    trajectories: Sequence[agentrl.Trajectory], reward_weights: Mapping[str, float] | None = None
) -> FlatTurns:
    """Read trajectories. The reward of a turn is `turn.reward`, or Σ weight · part over its named `rewards`.

    Named parts without a weight count nothing. Raises DataError for a failed or empty trajectory, a reward that is
    not finite, and weights for parts that do not exist.
    """
    for trajectory in trajectories:
        if trajectory.outcome.failed or not trajectory.turns:
            what = f"ended with {trajectory.outcome.value}" if trajectory.outcome.failed else "has no turns"
            raise agentrl.DataError(
                f"trajectory {trajectory.id} {what}: credit is only for trajectories that are trained on; "
                "filter them first with agentrl.trainable(trajectories)"
            )
    turns = list(chain.from_iterable(trajectory.turns for trajectory in trajectories))
    lengths = np.array([len(trajectory.turns) for trajectory in trajectories], np.int64)
    codes: dict[str, int] = {}
    group = np.array([codes.setdefault(trajectory.group, len(codes)) for trajectory in trajectories], np.int64)
    rewards = (
        np.fromiter(map(attrgetter("reward"), turns), np.float64, len(turns))
        if reward_weights is None
        else _combined(turns, reward_weights)
    )
    inherited = np.array([trajectory.inherited for trajectory in trajectories], np.int64)
    kinds = list(map(attrgetter("kind"), turns))
    spoken = [] if kinds.count("act") == len(kinds) else [n for n, kind in enumerate(kinds) if kind != "act"]
    owner = np.repeat(np.arange(len(lengths)), lengths)
    flat = FlatTurns(turns, rewards, lengths, np.cumsum(lengths), owner, group, inherited, spoken)
    if not np.isfinite(rewards).all():
        position = int(np.argmin(np.isfinite(rewards)))
        wrong = trajectories[int(owner[position])]
        raise agentrl.DataError(f"a reward of trajectory {wrong.id} is {rewards[position]}; rewards must be finite")
    return flat


def _combined(turns: Sequence[agentrl.Turn], weights: Mapping[str, float]) -> agentrl.Floats:
    known = set().union(*(turn.rewards for turn in turns))
    for name in weights:
        if turns and name not in known:
            raise agentrl.DataError(
                f"reward_weights names {name!r}, which no turn of this update has. {agentrl.did_you_mean(name, known)}"
            )
    for turn in turns:
        if turn.reward and not turn.rewards:
            raise agentrl.DataError(
                f'reward_weights needs named rewards, but a turn has reward {turn.reward} without parts: let the world give info["rewards"]'
            )
    return np.array([sum(weights.get(name, 0.0) * part for name, part in turn.rewards.items()) for turn in turns])
