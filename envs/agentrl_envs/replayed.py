"""Worlds that cannot be copied, such as those of other libraries and servers: their snapshots play again."""

from __future__ import annotations

from typing import Any

import agentrl
from agentrl import Scene


class Replayed(agentrl.TextWorld):
    """A snapshot holds the task and the actions so far, and `restore` takes them again.

    Exact where the world is deterministic given its task, and as slow as those steps.
    """

    _actions: tuple[str, ...] = ()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take one action. Once the task is over, nothing happens any more."""
        if self._playing:
            self._actions = (*self._actions, action)
        return super().step(action)

    def state(self) -> object:
        return self._actions

    def load(self, state: tuple[str, ...]) -> None:
        self.scene = self._opening(self.task)
        for self.turn, action in enumerate(state, 1):
            self.scene = self.act(action)
        self._actions = state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self._key:
            self.restore(self.snapshot())

    def _opening(self, task: agentrl.Task) -> Scene:
        self._actions = ()
        return super()._opening(task)
