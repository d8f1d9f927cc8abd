"""TabularWorld: a world that is played by the same rules from which its exact values follow."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import agentrl
from agentrl_envs.lab.exact import Exact, S, Transition


class TabularWorld(Exact[S], agentrl.TextWorld):
    """A world whose author writes `look`, `transitions` and `expert`; the rules are written only once.

    `tasks` lists by split what each task is about, in values that never change, and `details` is that of the task
    being played. It begins in `first`, or where `start` says. `hidden` is for judges; `report` adds what depends on the
    action too: feedback, calls, cost.
    """

    success_above = 0.0
    details: Any
    first: S

    def __init__(self, tasks: Mapping[str, Sequence[Any]]) -> None:
        self.tasks = tasks
        self.splits = {split: len(listed) for split, listed in tasks.items()}

    def start(self) -> S:
        return self.first

    def expert(self, state: S) -> str:
        """What the expert does in a state."""
        raise NotImplementedError

    def hidden(self) -> Mapping[str, Any] | None:
        """What `info["hidden"]` of the reset holds: the solution and other reference material."""
        return None

    def report(self, state: S, action: str, outcome: Transition[S]) -> Mapping[str, Any]:
        """Fields of the scene after an action that ran, besides those of `look`, the reward and the end."""
        return {}

    def begin(self, task: agentrl.Task) -> agentrl.Scene:
        _ = self.np_random  # now, since a snapshot holds the state of a generator only if there is one
        self.details = self.tasks[task.split][task.index]
        self.place = self.start()
        return self.look(self.place).replace(hidden=self.hidden())

    def act(self, action: str) -> agentrl.Scene:
        state, action = self.place, action.strip()
        if action not in (self.scene.admissible or ()):
            return self.look(state).replace(invalid="not possible here and now")
        outcome = self._drawn(self.transitions(state, action))
        self.place = outcome.state
        changes = {"reward": outcome.reward, "done": outcome.done, **self.report(state, action, outcome)}
        return self.look(outcome.state).replace(**changes)

    def expert_action(self) -> str:
        return self.expert(self.place)

    def content(self) -> str:
        return repr(self.details)

    def state(self) -> object:
        return self.details, self.place

    def load(self, state: Any) -> None:
        self.details, self.place = state

    def _drawn(self, outcomes: Sequence[Transition[S]]) -> Transition[S]:
        """One of the outcomes; a certain one draws no random number."""
        if len(outcomes) > 1:
            luck = float(self.np_random.random())
            for outcome in outcomes:
                luck -= outcome.probability
                if luck < 0:
                    return outcome
        return outcomes[-1]


def divided(*parts: Sequence[Any]) -> dict[str, list[tuple[Any, ...]]]:
    """Every combination of one item of each part, by split: `valid` has those whose positions add up to 3 modulo 4.

    No combination is in both splits, yet a table that was trained on `train` has met each item of `valid`.

    >>> divided("ab", range(3))
    {'train': [('a', 0), ('a', 1), ('a', 2), ('b', 0), ('b', 1)], 'valid': [('b', 2)]}
    """
    tasks: dict[str, list[tuple[Any, ...]]] = {"train": [], "valid": []}
    for combination in itertools.product(*map(enumerate, parts)):
        held_out = sum(position for position, _ in combination) % 4 == 3
        tasks["valid" if held_out else "train"].append(tuple(item for _, item in combination))
    return tasks


def require(fits: bool, message: str) -> None:
    """Raises ConfigError with the message unless the settings fit."""
    if not fits:
        raise agentrl.ConfigError(message)
