"""Right parts of unusual kinds, which a kit may not accuse of anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from planted_support import History

from agentrl import Advantages, ContextOverflow, Credited, Message, Trajectory, Turn, groups


def for_what_was_spoken(trajectories: Sequence[Trajectory]) -> Advantages:
    """A credit that credits turns in which the policy spoke, and no others."""
    spoken = [np.array([turn.kind == "speak" for turn in t.turns], np.float64) for t in trajectories]
    advantages: Advantages = [np.zeros(0)] * len(trajectories)
    for members in groups(trajectories).values():
        mean = np.mean([trajectories[i].episode_return for i in members])
        for i in members:
            advantages[i] = spoken[i] * (trajectories[i].episode_return - mean)
    return advantages


def against_the_same_place(trajectories: Sequence[Trajectory], gamma: float = 1.0, std: bool = False) -> Advantages:
    """A credit: return to go minus its mean at the same place of the group, where a trunk counts once."""
    values = [_to_go(t, gamma) for t in trajectories]
    advantages: Advantages = [np.zeros(0)] * len(trajectories)
    for members in groups(trajectories).values():
        for i in members:
            for place in range(len(values[i])):
                others = [values[j][place] for j in members if trajectories[j].inherited <= place < len(values[j])]
                worth = values[i][place] - np.mean(others or 0.0)
                advantages[i] = np.append(advantages[i], worth / (np.std(others or 0.0) + 1e-3) if std else worth)
    return advantages


def against_every_turn(trajectories: Sequence[Trajectory], gamma: float = 0.9, late: float = 1.0) -> Advantages:
    """A credit: return to go in deviations of those of all turns of the group; late turns count more."""
    values = [_to_go(t, gamma) for t in trajectories]
    advantages: Advantages = [np.zeros(0)] * len(trajectories)
    for members in groups(trajectories).values():
        every = np.concatenate([values[i][trajectories[i].inherited :] for i in members])
        for i in members:
            fading = late ** np.arange(len(values[i]))[::-1]
            advantages[i] = fading * (values[i] - every.mean()) / (every.std() + 1e-6)
    return advantages


def early_turns(trajectories: Sequence[Trajectory]) -> Advantages:
    """A credit: of the return, the first turn gets most."""
    returns = np.array([t.episode_return for t in trajectories])
    advantages: Advantages = [np.zeros(0)] * len(trajectories)
    for members in groups(trajectories).values():
        for i in members:
            length = len(trajectories[i].turns)
            share = (1 - np.arange(length) / length) * 0.5 ** np.arange(length)
            advantages[i] = share * (returns[i] - returns[members].mean()) / (returns[members].std() + 1e-6)
    return advantages


def with_values(trajectories: Sequence[Trajectory]) -> Credited:
    """A credit that says what it expected."""
    expected = [np.full(len(t.turns), 0.5) for t in trajectories]
    advantages = [_to_go(t, 1.0) - value for t, value in zip(trajectories, expected, strict=True)]
    return Credited(advantages, {"value": expected})


def _to_go(trajectory: Trajectory, gamma: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    worth: np.ndarray[tuple[int], np.dtype[np.float64]] = np.array(trajectory.rewards, np.float64)
    for turn in reversed(range(len(worth) - 1)):
        worth[turn] += gamma * worth[turn + 1]
    return worth


class Whitened:
    """A shaper: in deviations of the update, which are never 0."""

    scope = "update"

    def __init__(self, more: float = 1e-8, bonus: float = 0.0) -> None:
        self.more, self.bonus = more, bonus

    def __call__(self, trajectories: Sequence[Trajectory], advantages: Advantages) -> Advantages:
        every = np.array([np.mean(number) for a in advantages for number in a])
        return [
            [(np.asarray(n) - every.mean()) / (every.std() + self.more) + self.bonus for n in a] for a in advantages
        ]


def weights(trajectories: Sequence[Trajectory], advantages: Advantages) -> Advantages:
    """A shaper: weights for cloning, exp(advantage), at most 20."""
    return [[np.minimum(np.exp(np.minimum(number, 9.0)), 20.0) for number in a] for a in advantages]


def shorter_is_better(trajectories: Sequence[Trajectory], advantages: Advantages) -> Advantages:
    """A shaper: the positive share of the largest of its group, and a little less for every turn."""
    shaped: Advantages = [np.zeros(0)] * len(advantages)
    for members in groups(trajectories).values():
        largest = max(float(np.mean(number)) for i in members for number in advantages[i])
        for i in members:
            cost = 0.01 * len(trajectories[i].turns)
            shaped[i] = [np.maximum(n, 0.0) / max(largest, 1e-9) - cost for n in map(np.asarray, advantages[i])]
    return shaped


def signs(trajectories: Sequence[Trajectory], advantages: Advantages) -> Advantages:
    """A shaper: which way."""
    return [[np.sign(np.asarray(number, np.float64)) for number in a] for a in advantages]


class Newest(History):
    """A context that leaves out the oldest turns until its prompt fits, or says that nothing does."""

    budget = 400

    def shown(self, turns: Sequence[Turn], observation: str) -> tuple[Message, ...]:
        for first in range(len(turns) + 1):
            messages = super().shown(turns[first:], observation)
            if self.count(messages) <= self.budget:
                return messages
        raise ContextOverflow(f"what is seen now takes more than {self.budget} tokens")


class Letters(History):
    """A context whose budget is of letters."""

    budget = 10

    def shown(self, turns: Sequence[Turn], observation: str) -> tuple[Message, ...]:
        kept = [turn for turn in turns[-2:] if len(turn.action) < self.budget]
        return super().shown(kept, observation)


class SaysHowMuch(History):
    """A context that says how long its prompt is, and shows all of it."""

    def shown(self, turns: Sequence[Turn], observation: str) -> tuple[Message, ...]:
        messages = super().shown(turns, observation)
        return (Message("system", f"What follows has {self.count(messages)} tokens."), *messages)
