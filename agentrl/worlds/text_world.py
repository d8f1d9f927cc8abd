"""TextWorld: a world of which an author writes how a task begins and what an action does, and nothing else."""

from __future__ import annotations

import copy
import hashlib
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import msgspec

from agentrl.data.types import Task
from agentrl.errors import ConfigError, did_you_mean
from agentrl.worlds.environment import Environment

OVER = "the task is over"


class Scene(msgspec.Struct, frozen=True):
    """What a world shows at the beginning of a task, or after one action.

    A struct and no dataclass, since every step makes one: a frozen dataclass of this size costs a microsecond.
    """

    observation: str
    reward: float = 0.0
    """Of this action; where only `rewards` are given, their sum."""
    done: bool = False
    """Whether the task has ended by itself (Gymnasium's `terminated`)."""
    success: bool | None = None
    """Whether the goal is reached; None: see the world's `success_above`."""
    admissible: Sequence[str] | None = None
    """Every action that would run now; None where they cannot be listed."""
    invalid: str = ""
    """Why the action did not run; empty if it did."""
    anchor: str | None = None
    """What a credit may take as the same state; None: the observation."""
    milestones: tuple[str, ...] | None = None
    """What was reached so far; it only grows."""
    rewards: Mapping[str, float] | None = None
    """The reward in named parts, which sum to it; None: one part, named by the world's `reward_name`."""
    truncated: bool = False
    """Whether the task was cut short; `max_turns` needs no word of the world."""
    feedback: str = ""
    """Why an action failed or fell short, in words that no observation holds."""
    calls: Sequence[Mapping[str, Any]] | None = None
    """The calls of this action: `name`, `arguments`, `error` ("" where it ran)."""
    documents: Mapping[str, Sequence[str]] | None = None
    """Ids of documents of the task so far: those `seen` and those `cited`."""
    cost: Mapping[str, float] | None = None
    """What this action cost the world: `seconds`, `tokens`, `calls`, money."""
    hidden: Mapping[str, Any] | None = None
    """At the beginning only: reference material for judges and credits, which no observation may hold."""
    info: Mapping[str, Any] | None = None
    """Anything else for `info`."""

    def replace(self, **changes: Any) -> Scene:
        """The same scene, but for these fields."""
        return msgspec.structs.replace(self, **changes)


class TextWorld(Environment):
    """A world whose author writes `begin(task) -> Scene` and `act(action) -> Scene`.

    It counts turns and ends a task after `max_turns` of them, answers actions that come after the end, asks for a
    reset before the first step, fills `info`, renders the last observation, and takes snapshots. By default a snapshot
    is a copy of all attributes but `resources`; a world that knows what changes overrides `state` and `load`.

    >>> class Door(TextWorld):
    ...     success_above = 0.0
    ...     def begin(self, task):
    ...         return Scene("You stand before a door.", admissible=("open", "wait"))
    ...
    ...     def act(self, action):
    ...         return Scene("It is open.", 1.0, done=True) if action == "open" else Scene("Nothing happens.")
    >>> world = Door()
    >>> world.reset(options={"index": 0})[0]
    'You stand before a door.'
    >>> world.step("open")[:4]
    ('It is open.', 1.0, True, False)
    """

    metadata: ClassVar[dict[str, Any]] = Environment.metadata | {"render_modes": ["ansi"]}  # type: ignore[misc]

    max_turns: int = 100
    """After so many actions a task that is not done is truncated."""

    reward_name: str = "goal"
    """What the reward is called in `info["rewards"]` where the world names no parts."""

    success_above: float | None = None
    """A task that is done with a reward above this is a success, where its scene does not say; None: nobody says."""

    after_the_end: str | None = None
    """What is observed when an action comes after the end; None: the last observation again."""

    resources: ClassVar[tuple[str, ...]] = ()
    """Attributes that are never copied or pickled (catalogues, connections); `open` makes them again."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Sizes by name, for `sizes`."""

    render_mode: str | None = None
    task: Task
    """The task that is being played."""
    turn: int = 0
    """How many actions of this task were taken, the present one included."""
    scene: Scene = Scene("")
    """What was shown last."""

    _key: str = ""
    _playing: bool = False  # whether an action can be taken: a task has begun and is not over

    def begin(self, task: Task) -> Scene | str:
        """Start the task, the same one for every seed. Text alone stands for a Scene that holds nothing else."""
        raise NotImplementedError(f"{type(self).__name__} must write begin(task)")

    def act(self, action: str) -> Scene:
        """Take one action of a task that is not over."""
        raise NotImplementedError(f"{type(self).__name__} must write act(action)")

    def content(self) -> str:
        """What tells this task from all others, asked right after `begin`; it goes into the task's key as a hash."""
        return self.scene.observation

    def key(self, task: Task) -> str:
        """The task's name in `info["task"]`, asked right after `begin`."""
        return f"{task.split}/{task.index}-{fingerprint(self.content())}"

    def open(self) -> None:
        """Make what `resources` names; `__init__` calls it, and it is called after unpickling."""

    def state(self) -> object:
        """All that `act` changes or depends on, in a value that no later action changes."""
        memo: dict[int, Any] = {}
        left_out = _OWN.union(self.resources)
        return {name: _copied(value, memo) for name, value in self.__dict__.items() if name not in left_out}

    def load(self, state: Any) -> None:
        """Go back to a `state`, which stays as it is: it may be loaded again."""
        memo: dict[int, Any] = {}
        kept = _OWN.union(self.resources)
        for name in [name for name in self.__dict__ if name not in kept and name not in state]:
            del self.__dict__[name]
        self.__dict__.update({name: _copied(value, memo) for name, value in state.items()})

    @classmethod
    def sizes(cls, preset: str, **given: Any) -> dict[str, Any]:
        """The sizes of a preset, each replaced by the one that is given and not None.

        Raises ConfigError for an unknown preset.
        """
        if preset not in cls.presets:
            raise ConfigError(f"unknown preset {preset!r}. {did_you_mean(preset, cls.presets)}")
        return {**cls.presets[preset], **{name: value for name, value in given.items() if value is not None}}

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin a task; without an index, one drawn from the split."""
        super().reset(seed=seed)
        return self._begin(self.pick_task(options))

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take one action. Once the task is over, nothing happens any more.

        Raises gymnasium.error.ResetNeeded before the first reset.
        """
        if not self._playing:
            return self._show(self._after_the_end())
        self.turn += 1
        try:
            scene = self.act(action)
            if not isinstance(scene, Scene):
                raise TypeError(f"{type(self).__name__}.act gave {reprlib.repr(scene)}; it gives an agentrl.Scene")
        except BaseException:  # a fault of the machinery, which is no turn: the world stands where it stood
            self.turn -= 1
            raise
        return self._show(scene)

    def render(self) -> str | None:
        """The last observation."""
        return self.scene.observation if self.render_mode == "ansi" else None

    def snapshot(self) -> object:
        """The task, how far it was played, the random state, and `state`."""
        self._require_task()
        return self.task, self._key, self.turn, self.scene, self._playing, self._random_state(), self.state()

    def restore(self, snapshot: object) -> None:
        """Go back to a snapshot, any number of times, also one taken by another instance of the same settings."""
        taken: Any = snapshot
        self.task, self._key, turn, scene, playing, random_state, state = taken
        self.load(state)
        self.turn, self.scene, self._playing = turn, scene, playing  # last, for a world may load by playing again
        if isinstance(random_state, int):
            self._np_random, self._luck = None, random_state
        else:
            self.np_random.bit_generator.state = random_state

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in self.resources}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.open()

    def _begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        self.task, self.turn, self._playing = task, 0, True
        self.scene = scene = self._opening(task)
        self._key = self.key(task)
        observation, *_, info = self._show(scene)
        return observation, info if scene.hidden is None else {**info, "hidden": scene.hidden}

    def _opening(self, task: Task) -> Scene:
        begun = self.begin(task)
        if not isinstance(begun, (Scene, str)):
            raise TypeError(
                f"{type(self).__name__}.begin gave {reprlib.repr(begun)}; it gives an agentrl.Scene, or text"
            )
        return Scene(begun) if isinstance(begun, str) else begun

    def _after_the_end(self) -> Scene:
        self._require_task()
        last, idle = self.scene, {"reward": 0.0, "invalid": OVER, "feedback": "", "calls": None}
        if self.after_the_end is not None:
            idle["observation"] = self.after_the_end
        rewards = None if last.rewards is None else dict.fromkeys(last.rewards, 0.0)
        return last.replace(**idle, rewards=rewards, success=self._show(last)[-1].get("success"))

    def _show(self, scene: Scene) -> tuple[str, float, bool, bool, dict[str, Any]]:  # noqa: C901
        """What Gymnasium wants to be told of a scene. Long and flat, because every step of every world runs it."""
        self.scene = scene
        observation, done, reward, rewards = scene.observation, scene.done, scene.reward, scene.rewards
        anchor, success = scene.anchor, scene.success
        above = self.success_above if success is None else None
        if rewards is not None and not reward:
            reward = sum(rewards.values())
        if type(reward) is not float:
            if reward is None or isinstance(reward, (str, bytes)):
                raise TypeError(f"{type(self).__name__} gave the reward {reward!r}; it is one number")
            reward = float(reward)
        info: dict[str, Any] = {
            "task": self._key,
            "anchor": observation if anchor is None else anchor,
            "rewards": {self.reward_name: reward} if rewards is None else rewards,
            "success": success if above is None else done and reward > above,
            "invalid": scene.invalid,
        }
        if success is None and above is None:
            del info["success"]
        if scene.admissible is not None:
            info["admissible"] = scene.admissible
        if scene.milestones is not None:
            info["milestones"] = scene.milestones
        if scene.feedback:
            info["feedback"] = scene.feedback
        if scene.calls is not None:
            info["calls"] = scene.calls
        if scene.documents is not None:
            info["documents"] = scene.documents
        if scene.cost is not None:
            info["cost"] = scene.cost
        if scene.info is not None:
            info.update(scene.info)
        truncated = not done and (self.turn >= self.max_turns or scene.truncated)
        if done or truncated:
            self._playing = False
        return observation, reward, done, truncated, info

    def _require_task(self) -> None:
        if not self._key:
            raise gymnasium.error.ResetNeeded("call reset() first: no task has begun")


def fingerprint(text: str) -> str:
    """16 hexadecimal digits that stand for a content; half a surrogate pair counts as a question mark."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


_OWN = frozenset(
    ("task", "turn", "scene", "render_mode", "spec", "_key", "_playing", "_np_random", "_np_random_seed", "_luck")
)
"""Attributes of TextWorld itself and of Gymnasium, which a snapshot holds apart or not at all."""

_ATOMS = frozenset((int, float, bool, complex, str, bytes, type(None), range))


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """A value that shares nothing changeable with this one; what never changes is not copied."""
    return value if _fixed(value) else copy.deepcopy(value, memo)


def _fixed(value: Any) -> bool:
    """Whether neither this nor anything in it can change: numbers, texts, tuples and frozen dataclasses of such."""
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind is tuple or kind is frozenset:
        return all(map(_fixed, value))
    parameters = kind.__dict__.get("__dataclass_params__")
    return (
        parameters is not None
        and parameters.frozen
        and all(_fixed(getattr(value, name)) for name in kind.__dataclass_fields__)
    )
