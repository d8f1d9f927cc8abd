"""Any Gymnasium world: text spaces as they are, all others put into words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium import spaces

import agentrl
from agentrl import Scene
from agentrl_envs.adapters import gridworlds
from agentrl_envs.adapters.adapter import Adapter, foreign
from agentrl_envs.adapters.known import known
from agentrl_envs.adapters.spaces import check, choices, form, read, show

DEFAULT_TURNS = 200
SEEDS = 2**30


@agentrl.hookimpl
def register_environments(register: Callable[[str, object], None]) -> None:
    register("gymnasium", make)


def make(
    *,
    id: str = "FrozenLake-v1",  # noqa: A002 – Gymnasium's own word
    settings: dict[str, Any] | None = None,
    action_names: tuple[str, ...] = (),
    max_turns: int = 0,
    valid: int = 0,
    success_reward: float | None = None,
) -> gymnasium.Env[str, str]:
    """The world `id` made with `settings`; one whose spaces are text already is given as it is.

    `action_names` replaces the names of a finite set of actions. `max_turns` 0 keeps the world's own limit (200 where
    it has none). A task is a seed of the world; `valid` keeps that many seeds apart as a split, which is of use where
    the world draws its layout from the seed. A success is what the world calls one (`info["is_success"]`), else an end
    with a last reward of at least `success_reward`, which is known for the toy-text worlds and MiniGrid.

    Raises ConfigError for an unknown id, for spaces that cannot be put into words, and for settings that would change
    nothing.
    """
    env = _make(id, settings or {}, max_turns)
    if all(isinstance(space, _TEXT) for space in (env.observation_space, env.action_space)):
        _check_words(id, action_names=action_names, valid=valid, success_reward=success_reward)
        return env
    return Gymnasium(env, action_names=action_names, max_turns=max_turns, valid=valid, success_reward=success_reward)


class Gymnasium(Adapter):
    """A world with other spaces, in words. Refused actions leave it as it is and count as a turn."""

    resources = ()  # Gymnasium's worlds can be pickled, and what is made with live objects must be

    def __init__(
        self,
        env: gymnasium.Env[object, object],
        *,
        action_names: tuple[str, ...] = (),
        max_turns: int = 0,
        valid: int = 0,
        success_reward: float | None = None,
    ) -> None:
        spec = env.spec
        self._id = spec.id if spec else type(env.unwrapped).__name__
        self._live = env
        told = known(self._id)
        self._grid = gridworlds.is_gridworld(env.observation_space)
        self._told: Callable[[gymnasium.Env[object, object], Any], str] | None = told.show if told else None
        names = action_names or (gridworlds.ACTIONS if self._grid else told.actions if told else ())
        self._names = _check_names(names, env.action_space, self._id)
        known_reward = gridworlds.SUCCESS_REWARD if self._grid else told.success_reward if told else None
        self._success_reward = known_reward if success_reward is None else success_reward
        self.max_turns = max_turns or (spec and spec.max_episode_steps) or DEFAULT_TURNS
        if valid:
            self.splits = {"train": SEEDS, "valid": valid}
        check(env.action_space, f"the action of {self._id}")
        if not self._grid:
            check(env.observation_space, f"the observation of {self._id}")
        rules = gridworlds.RULES if self._grid else told.rules if told else f"You act in the world {self._id}."
        self.instructions = f"{rules}\nEach turn, answer with {form(env.action_space, self._names)}."

    def begin(self, task: agentrl.Task) -> Scene:
        self._seed = task.index + SEEDS * (task.split == "valid")
        observation, info = self._live.reset(seed=self._seed)
        return Scene(self._words(observation), admissible=self._admissible(info))

    def act(self, action: str) -> Scene:
        try:
            value = read(self._live.action_space, action, self._names)
        except ValueError as refused:
            return Scene(self.scene.observation, admissible=self.scene.admissible, invalid=str(refused))
        observation, reward, terminated, truncated, info = self._live.step(value)
        reward = float(reward)
        success = info.get("is_success")
        if success is None and self._success_reward is not None:
            success = terminated and reward >= self._success_reward
        words, admissible = self._words(observation), self._admissible(info)
        said = None if success is None else bool(success)
        return Scene(words, reward, bool(terminated), said, admissible, truncated=bool(truncated))

    def content(self) -> str:
        """The world and its seed: what is drawn later hangs on it even where two seeds begin alike."""
        return f"{self._live.spec} {self._seed}"

    def close(self) -> None:
        self._live.close()

    def _words(self, observation: object) -> str:
        if self._grid:
            return gridworlds.describe(observation)
        if self._told is not None:
            return self._told(self._live, observation)
        return show(self._live.observation_space, observation)

    def _admissible(self, info: dict[str, Any]) -> tuple[str, ...] | None:
        """Every action of a finite set; where the world gives a mask of those that change something, only these."""
        listed, mask = choices(self._live.action_space, self._names), info.get("action_mask")
        if listed is None or mask is None or len(mask) != len(listed) or not any(mask):
            return listed
        return tuple(name for name, allowed in zip(listed, mask, strict=True) if allowed)


_TEXT = (agentrl.UnicodeText, spaces.Text)


def _make(env_id: str, settings: dict[str, Any], max_turns: int) -> gymnasium.Env[Any, Any]:
    if env_id.startswith(("MiniGrid-", "BabyAI-")):
        foreign("minigrid", extra="minigrid")  # registers its worlds
    try:
        return gymnasium.make(env_id, max_turns or None, disable_env_checker=True, **settings)
    except (gymnasium.error.Error, TypeError, ModuleNotFoundError) as error:
        raise agentrl.ConfigError(f"Gymnasium cannot make {env_id!r} with settings {settings}: {error}") from error


def _check_words(env_id: str, **settings: object) -> None:
    for name, value in settings.items():
        if value not in ((), 0, None):
            raise agentrl.ConfigError(
                f"{name} = {value!r} is for worlds that are put into words; {env_id} is played in words of its own"
            )


def _check_names(names: tuple[str, ...], space: gymnasium.Space[object], env_id: str) -> tuple[str, ...]:
    if not names:
        return ()
    if not isinstance(space, spaces.Discrete):
        raise agentrl.ConfigError(f"action_names are for a finite set of actions; those of {env_id} are {space}")
    if len(names) != space.n or len({name.casefold() for name in names}) != len(names):
        raise agentrl.ConfigError(f"action_names = {list(names)}: {env_id} needs {space.n} different names")
    return names
