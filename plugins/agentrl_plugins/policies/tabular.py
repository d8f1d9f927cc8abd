"""The tabular policy: a softmax over the admissible actions of a state, for worlds with few states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import agentrl
from agentrl_plugins.models.table import Table


@agentrl.hookimpl
def register_policies(register: Any) -> None:
    register("tabular", Tabular)


class Tabular:
    """Acts by a `table`. The state is the last message from the world, an action is one token.

    `prompt_ids` is [id of the state], `ids` [id of the action]. `temperature=0` is greedy. The world must list its
    `admissible` actions, which may differ from turn to turn, also in equal states.
    """

    def __init__(self, model: Table, dialect: Any = None, *, temperature: float = 1.0) -> None:
        if not isinstance(model, Table):
            raise agentrl.ConfigError(
                f"policy 'tabular' needs the model 'table', not {type(model).__name__}. Write [model] name = \"table\"."
            )
        if temperature < 0:
            raise agentrl.ConfigError(f"policy 'tabular': temperature = {temperature}; it may not be negative")
        self._model = model
        self._dialect: _Plain = dialect if dialect is not None else _Plain()
        self._sampling = agentrl.Sampling(temperature=temperature)
        self._cache: dict[tuple[str, tuple[str, ...]], _Choice] = {}
        self._cached_version = model.version
        self._sampled = 0

    async def act(self, dialogue: agentrl.Dialogue) -> agentrl.Completion:
        """Raises ConfigError for a world without lists of admissible actions, PolicyFault for an empty list."""
        choice = self._choice(dialogue)
        self._sampled += 1
        return choice.completions[choice.draw(np.random.Generator(np.random.Philox(key=dialogue.seed)).random())]

    def encode(self, dialogue: agentrl.Dialogue, text: str) -> agentrl.Completion:
        """The completion that says `text` here, whether admissible or not; log-prob 0."""
        return self._completion(text, _state(dialogue), self._dialect.read(text).action, 0.0, None)

    def forget(self, key: str) -> None:
        """Nothing is kept per trajectory."""

    async def refresh(self, model: agentrl.Model) -> None:
        if not isinstance(model, Table):
            raise agentrl.PolicyFault(f"policy 'tabular' was refreshed with a {type(model).__name__}; it needs a Table")
        self._model = model
        self._cache = {}

    def metrics(self) -> dict[str, float]:
        sampled, self._sampled = self._sampled, 0
        return {"tokens_sampled": float(sampled)}

    def close(self) -> None:
        self._cache = {}

    def _choice(self, dialogue: agentrl.Dialogue) -> _Choice:
        admissible = dialogue.info.get("admissible")
        if admissible is None:
            raise agentrl.ConfigError(
                "policy 'tabular' chooses among info[\"admissible\"], and this world does not give it; "
                "take a world that does, or another policy"
            )
        if not admissible:
            raise agentrl.PolicyFault("policy 'tabular' was given an empty list of admissible actions")
        if self._cached_version != self._model.version:
            self._cache, self._cached_version = {}, self._model.version
        state, actions = _state(dialogue), tuple(admissible)
        choice = self._cache.get((state, actions))
        if choice is None:
            choice = self._cache[state, actions] = self._new_choice(state, actions)
        return choice

    def _new_choice(self, state: str, actions: tuple[str, ...]) -> _Choice:
        logprobs = _logprobs(self._model.row(self._model.token(state), actions), self._sampling.temperature)
        probabilities = np.exp(logprobs)
        entropy = -float(np.sum(probabilities * np.where(probabilities > 0, logprobs, 0.0)))
        completions = [
            self._completion(self._dialect.write(action), state, action, logprob, entropy)
            for action, logprob in zip(actions, logprobs.tolist(), strict=True)
        ]
        return _Choice(np.cumsum(probabilities), completions)

    def _completion(
        self, text: str, state: str, action: str, logprob: float, entropy: float | None
    ) -> agentrl.Completion:
        return agentrl.Completion(
            text=text,
            prompt_ids=np.array([self._model.token(state)], np.int32),
            ids=np.array([self._model.token(action)], np.int32),
            logprobs=np.array([logprob], np.float32),
            entropy=None if entropy is None else np.array([entropy], np.float32),
            versions=np.array([self._model.version], np.int32),
            sampling=self._sampling,
        )


@dataclass(frozen=True, slots=True)
class _Choice:
    """What may be said in one state, made once per version of the table and shared by all its turns."""

    cumulative: agentrl.Floats  # [A]
    completions: list[agentrl.Completion]

    def draw(self, uniform: float) -> int:
        index = int(self.cumulative.searchsorted(uniform, side="right"))
        return min(index, len(self.completions) - 1)  # the sum of the chances may round to less than 1


class _Plain:
    """Used where the run has no dialect: an action is written as it is."""

    def write(self, action: str) -> str:
        return action

    def read(self, text: str) -> agentrl.Reading:
        return agentrl.Reading(text)


def _logprobs(logits: agentrl.Floats, temperature: float) -> agentrl.Floats:
    """float64 [A]; temperature 0 puts everything on the first of the best.

    >>> _logprobs(np.array([0.0, 0.0]), 1.0).round(3).tolist()
    [-0.693, -0.693]
    """
    if temperature == 0:
        return np.where(np.arange(len(logits)) == int(np.argmax(logits)), 0.0, -np.inf)
    shifted: agentrl.Floats = (logits - logits.max()) / temperature
    return shifted - float(np.log(np.exp(shifted).sum()))


def _state(dialogue: agentrl.Dialogue) -> str:
    for message in reversed(dialogue.messages):
        if message.role in ("user", "tool"):
            return message.content
    raise agentrl.PolicyFault("policy 'tabular' found no message from the world in the dialogue")
