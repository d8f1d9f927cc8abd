"""The tabular policy: a softmax over the admissible actions of a state, for worlds with few states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

import agentrl
from agentrl import Dialect, Model
from agentrl_plugins.models.table import Table


@agentrl.hookimpl
def register_policies(register: agentrl.Register) -> None:
    register("tabular", Tabular)


class Tabular:
    """Acts by a `table`. The state is the last message from the world, an action is one token.

    `prompt_ids` is [id of the state], `ids` [id of the action]. `temperature=0` is greedy. The world must list its
    `admissible` actions, which may differ from turn to turn, also in equal states.
    """

    accepts: frozenset[type] = frozenset({agentrl.Shared})
    exact: bool | None = True
    repeatable = True

    def __init__(self, model: Model, dialect: Dialect, *, temperature: Annotated[float, "0 is greedy"] = 1.0) -> None:
        if not isinstance(model, Table):
            raise agentrl.ConfigError(
                f"policy 'tabular' needs the model 'table', not {type(model).__name__}. Write [model] name = \"table\"."
            )
        if temperature < 0:
            raise agentrl.ConfigError(f"policy 'tabular': temperature = {temperature}; it may not be negative")
        self._model, self._dialect = model, dialect
        self.codec, self.version = model.codec, model.version
        self._sampling = agentrl.Sampling(temperature=temperature)
        self._logits = model.logits
        self._cache: dict[tuple[int, tuple[str, ...]], _Choice] = {}
        self._sampled = 0

    async def act(self, dialogue: agentrl.Dialogue) -> agentrl.Completion:
        """Raises ConfigError for a world without lists of admissible actions, PolicyFault for an empty list."""
        choice = self._choice(dialogue)
        self._sampled += 1
        return choice.completions[choice.draw(np.random.Generator(np.random.Philox(key=dialogue.seed)).random())]

    def forget(self, key: str) -> None:
        """Nothing is kept per trajectory."""

    async def refresh(self, weights: agentrl.Weights) -> None:
        """Raises PolicyFault for weights that are no table of this process."""
        model = weights.handle.model if isinstance(weights.handle, agentrl.Shared) else None
        if not isinstance(model, Table):
            raise agentrl.PolicyFault(
                f"policy 'tabular' was refreshed with {weights.handle!r}; it needs a shared table"
            )
        self._model, self.version = model, weights.version
        self._cache = {}

    def metrics(self) -> dict[str, float]:
        sampled, self._sampled = self._sampled, 0
        return {"tokens_sampled": float(sampled)}

    def close(self) -> None:
        self._cache = {}

    def _choice(self, dialogue: agentrl.Dialogue) -> _Choice:
        admissible = dialogue.info.get("admissible")
        if not isinstance(admissible, (list, tuple)):
            raise agentrl.ConfigError(
                "policy 'tabular' chooses among info[\"admissible\"], and this world does not give it; "
                "take a world that does, or another policy"
            )
        if not admissible:
            raise agentrl.PolicyFault("policy 'tabular' was given an empty list of admissible actions")
        if self._model.logits is not self._logits:  # a trainer never changes an array, it makes a new one
            self._cache, self._logits = {}, self._model.logits
        prompt = dialogue.prompt or self.codec.prompt(dialogue.messages)
        state, actions = int(prompt.ids[0]), tuple(admissible)
        choice = self._cache.get((state, actions))
        if choice is None:
            choice = self._cache[state, actions] = self._new_choice(prompt.ids, actions)
        return choice

    def _new_choice(self, prompt_ids: agentrl.Ids, actions: tuple[str, ...]) -> _Choice:
        logprobs = _logprobs(self._model.row(int(prompt_ids[0]), actions), self._sampling.temperature)
        probabilities = np.exp(logprobs)
        entropy = -float(np.sum(probabilities * np.where(probabilities > 0, logprobs, 0.0)))
        square = float(np.sum(probabilities**2))
        completions = [
            agentrl.Completion(
                text=self._dialect.write(action),
                prompt_ids=prompt_ids,
                ids=np.array([self.codec.token(action)], np.int32),
                logprobs=np.array([logprob], np.float32),
                entropy=np.array([entropy], np.float32),
                versions=np.array([self._model.version.update], np.int32),
                sampling=self._sampling,
                square=np.array([square], np.float32),
            )
            for action, logprob in zip(actions, logprobs.tolist(), strict=True)
        ]
        return _Choice(np.cumsum(probabilities), completions)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What may be said in one state, made once per version of the table and shared by all its turns."""

    cumulative: agentrl.Floats  # [A]
    completions: list[agentrl.Completion]

    def draw(self, uniform: float) -> int:
        index = int(self.cumulative.searchsorted(uniform, side="right"))
        return min(index, len(self.completions) - 1)  # the sum of the chances may round to less than 1


def _logprobs(logits: agentrl.Floats, temperature: float) -> agentrl.Floats:
    """float64 [A]; temperature 0 puts everything on the first of the best.

    >>> _logprobs(np.array([0.0, 0.0]), 1.0).round(3).tolist()
    [-0.693, -0.693]
    """
    if temperature == 0:
        return np.where(np.arange(len(logits)) == int(np.argmax(logits)), 0.0, -np.inf)
    shifted: agentrl.Floats = (logits - logits.max()) / temperature
    return shifted - float(np.log(np.exp(shifted).sum()))
