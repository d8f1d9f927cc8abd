"""The part that all adapters share: tasks, turns, the end, `info`, and snapshots that replay."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import gymnasium

import agentrl

Info: TypeAlias = dict[str, Any]
Snapshot: TypeAlias = tuple[agentrl.Task, tuple[str, ...], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Scene:
    """What a foreign world shows at its start or after one action."""

    observation: str
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    success: bool = False
    admissible: tuple[str, ...] | None = None
    invalid: str = ""


class Adapter(agentrl.Environment):
    """A world of somebody else. Children say how a task begins and what an action does; live parts go in `_live`.

    A foreign world can seldom be copied, so a snapshot holds the task and the actions so far, and `restore` plays them
    again: exact where the world is deterministic given its seed, and as slow as those steps. An action after the end
    does nothing.
    """

    max_turns: int = 100
    _live: Any = None
    _task: agentrl.Task | None = None
    _key: str = ""
    _scene: Scene = Scene("")
    _actions: tuple[str, ...] = ()
    render_mode: str | None = None

    def begin(self, task: agentrl.Task) -> Scene:
        """Start the task; the same task begins the same way, always."""
        raise NotImplementedError

    def act(self, action: str) -> Scene:
        """Take one action of a task that is not over."""
        raise NotImplementedError

    def content(self) -> str:
        """What makes the task that has begun the task it is; equal for equal tasks, also of different splits."""
        return self._scene.observation

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, Info]:
        """Begin a task; without an index, one drawn from the split."""
        super().reset(seed=seed)
        self._begin(self.pick_task(options))
        return self._scene.observation, self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Take one action. Once the task is over, nothing happens any more."""
        if self._task is None:
            raise gymnasium.error.ResetNeeded("call reset() first: no task has begun")
        if self._scene.terminated or self._scene.truncated:
            self._scene = replace(self._scene, reward=0.0, invalid="the task is over")
        else:
            self._act(action)
        scene = self._scene
        return scene.observation, scene.reward, scene.terminated, scene.truncated, self._info()

    def render(self) -> str | None:
        """The last observation."""
        return self._scene.observation if self.render_mode == "ansi" else None

    def snapshot(self) -> object:
        """Task, actions so far and random state."""
        random_state = None if self._np_random is None else self._np_random.bit_generator.state
        return self._task, self._actions, random_state

    def restore(self, snapshot: object) -> None:
        """Begin the task again and take its actions again."""
        task, actions, random_state = cast(Snapshot, snapshot)
        self._begin(task)
        for action in actions:
            self._act(action)
        if random_state is not None:
            self.np_random.bit_generator.state = random_state

    def __getstate__(self) -> Info:
        return {name: value for name, value in self.__dict__.items() if name != "_live"}

    def __setstate__(self, state: Info) -> None:
        self.__dict__.update(state)
        if self._task is not None:
            self.restore(self.snapshot())

    def _begin(self, task: agentrl.Task) -> None:
        self._task, self._actions = task, ()
        self._scene = self.begin(task)
        digest = hashlib.blake2b(self.content().encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        self._key = f"{type(self).__name__.lower()}-{digest}"

    def _act(self, action: str) -> None:
        self._actions = (*self._actions, action)
        scene = self.act(action)
        used_up = len(self._actions) >= self.max_turns and not scene.terminated
        self._scene = replace(scene, truncated=scene.truncated or used_up)

    def _info(self) -> Info:
        scene = self._scene
        info = {
            "task": self._key,
            "rewards": {"world": scene.reward},
            "success": scene.success,
            "invalid": scene.invalid,
        }
        return info if scene.admissible is None else info | {"admissible": scene.admissible}


def foreign(module: str, *, extra: str) -> Any:
    """Import the library behind an adapter. Raises ConfigError that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise agentrl.ConfigError(
            f"this environment needs {module!r}, which cannot be imported ({error}): pip install 'agentrl[{extra}]'"
        ) from error
