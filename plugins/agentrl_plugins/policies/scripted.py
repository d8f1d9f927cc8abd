"""Scripted demonstrators: the world's own expert (with noise, if asked) and random play; what they do can be cloned."""

from __future__ import annotations

from typing import Annotated

import gymnasium
import numpy as np

import agentrl
from agentrl import ConfigError, Info

_FREE_TEXT = (agentrl.UnicodeText, gymnasium.spaces.Text)


@agentrl.hookimpl
def register_policies(register: agentrl.Register) -> None:
    register("expert", Expert)
    register("random", Random)


class Expert:
    """The world's scripted expert; with probability `noise` a random admissible action instead.

    Noise takes actions that exist: a world whose actions are free text has to list some.
    """

    def __init__(self, *, noise: Annotated[float, "chance of a random action"] = 0.0) -> None:
        if not 0 <= noise <= 1:
            raise ConfigError(f"policy 'expert': noise = {noise}; allowed are numbers from 0 to 1")
        self._noise = noise

    def act(self, world: gymnasium.Env[str, str], info: Info, seed: int) -> str:
        """Raises ConfigError for a world without an expert, and for noise in one that lists no actions."""
        random = np.random.Generator(np.random.Philox(key=seed))
        if self._noise and random.random() < self._noise:
            other = self._other(world, info, random)
            if other is not None:
                return other
        expert = getattr(world.unwrapped, "expert_action", None)
        if expert is None:
            raise ConfigError(f"policy 'expert' needs a world with `expert_action()`; {world.unwrapped!r} has none")
        return str(expert())

    def _other(self, world: gymnasium.Env[str, str], info: Info, random: np.random.Generator) -> str | None:
        """A random action; None where the world lists its actions, and now there are none."""
        if info.get("admissible") or not isinstance(world.action_space, _FREE_TEXT):
            return _random_action(world, info, random)
        if "admissible" in info:
            return None
        raise ConfigError(
            f"policy 'expert': noise = {self._noise} takes other actions from info['admissible'], which "
            f"{world.unwrapped!r} does not give. Set noise = 0, or let the world list them (`admissible = true`, a preset)."
        )


class Random:
    """Any admissible action with equal chances; a sample of the action space where the world lists none."""

    def act(self, world: gymnasium.Env[str, str], info: Info, seed: int) -> str:
        return _random_action(world, info, np.random.Generator(np.random.Philox(key=seed)))


def _random_action(world: gymnasium.Env[str, str], info: Info, random: np.random.Generator) -> str:
    admissible = info.get("admissible")
    if isinstance(admissible, (list, tuple)) and admissible:
        return str(admissible[int(random.integers(len(admissible)))])
    space = world.action_space
    space.seed(int(random.integers(2**31)))
    return str(space.sample())
