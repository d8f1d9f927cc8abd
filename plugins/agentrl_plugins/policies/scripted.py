"""Scripted policies: the world's own expert (with noise, if asked) and random play; they also write demonstrations."""

from __future__ import annotations

from typing import Any

import numpy as np

import agentrl
from agentrl import Completion, ConfigError, Dialogue, Model, Policy


@agentrl.hookimpl
def register_policies(register: Any) -> None:
    register("expert", Expert)
    register("random", Random)


class Scripted:
    """What scripted policies share: with an `encoder` (a policy with a tokenizer) what they say gets exact ids."""

    def __init__(self, dialect: Any, encoder: Policy | None = None) -> None:
        self._dialect = dialect
        self._encoder = encoder

    def choose(self, dialogue: Dialogue, random: np.random.Generator) -> str:
        """The action to take now."""
        raise NotImplementedError

    async def act(self, dialogue: Dialogue) -> Completion:
        action = self.choose(dialogue, np.random.Generator(np.random.Philox(key=dialogue.seed)))
        return self.encode(dialogue, self._dialect.write(action))

    def encode(self, dialogue: Dialogue, text: str) -> Completion:
        return self._encoder.encode(dialogue, text) if self._encoder is not None else Completion(text)

    def forget(self, key: str) -> None:
        if self._encoder is not None:
            self._encoder.forget(key)

    async def refresh(self, model: Model) -> None:
        pass

    def metrics(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        pass


class Expert(Scripted):
    """The world's scripted expert; with probability `noise` a random admissible action instead."""

    def __init__(self, dialect: Any, encoder: Policy | None = None, *, noise: float = 0.0) -> None:
        super().__init__(dialect, encoder)
        if not 0 <= noise <= 1:
            raise ConfigError(f"policy 'expert': noise = {noise}; allowed are numbers from 0 to 1")
        self._noise = noise

    def choose(self, dialogue: Dialogue, random: np.random.Generator) -> str:
        if self._noise and random.random() < self._noise:
            return _random_action(dialogue, random)
        environment = getattr(dialogue.environment, "unwrapped", dialogue.environment)
        if not hasattr(environment, "expert_action"):
            raise ConfigError(f"policy 'expert' needs a world with `expert_action()`; {environment!r} has none")
        return str(environment.expert_action())


class Random(Scripted):
    """Any admissible action with equal chances; a sample of the action space where the world lists none."""

    def choose(self, dialogue: Dialogue, random: np.random.Generator) -> str:
        return _random_action(dialogue, random)


def _random_action(dialogue: Dialogue, random: np.random.Generator) -> str:
    admissible = dialogue.info.get("admissible")
    if admissible:
        return str(admissible[int(random.integers(len(admissible)))])
    space = dialogue.environment.action_space
    space.seed(int(random.integers(2**31)))
    return str(space.sample())
