"""Reasoning Gym (Stojanovski et al. 2025): procedurally generated questions whose answers are checked by program."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import agentrl
from agentrl import Scene
from agentrl_envs.adapters.adapter import Adapter, foreign
from agentrl_envs.adapters.generators import Generators

VALID_SHARE = 8  # one question in eight, by hash of its text, is kept for `valid`
DRAWS = 256


@agentrl.hookimpl
def register_environments(register: Callable[[str, object], None]) -> None:
    register("reasoning_gym", ReasoningGym)


class ReasoningGym(Adapter):
    """One question of the data set `id` made with `settings`; the whole answer of a turn is the action.

    The reward is the data set's own score of the last answer, from 0 to 1; a score of 1 is a success and ends the task,
    as do `attempts` answers. Some data sets score with SymPy, which evaluates what it is given: play those in a
    process of their own where answers are not to be trusted.
    """

    splits = {"train": 2**24, "valid": 1_000}  # noqa: RUF012
    resources = ("_module", "_source", "_generators")

    def __init__(
        self,
        *,
        id: str = "chain_sum",  # noqa: A002 – as for all adapters
        settings: dict[str, Any] | None = None,
        attempts: int = 1,
    ) -> None:
        names = foreign("reasoning_gym.factory", extra="reasoning_gym").DATASETS
        if id not in names:
            raise agentrl.ConfigError(f"Reasoning Gym has no data set {id!r}. {agentrl.did_you_mean(id, names)}")
        self._id, self._settings, self._attempts = id, settings or {}, attempts
        self.max_turns = attempts
        self.instructions = f"Answer the question, with the answer alone. You have {attempts} attempt(s)."
        self.open()
        self._counts = _counts(self._source)

    def open(self) -> None:
        self._module = foreign("reasoning_gym", extra="reasoning_gym")
        self._source = self._dataset(0)

    def begin(self, task: agentrl.Task) -> Scene:
        for draw in range(DRAWS):
            number = task.index * DRAWS + draw
            self._generators = Generators(number)
            with self._generators.lent():
                if not self._counts:
                    self._source = self._dataset(number)
                self._entry = self._source[number if self._counts else 0]
            digest = hashlib.blake2b(self._entry["question"].encode(), digest_size=8).digest()
            if (digest[0] % VALID_SHARE == 0) == (task.split == "valid"):
                return Scene(self._entry["question"])
        raise agentrl.ConfigError(f"{self._id} with {self._settings} has too few questions for a split {task.split!r}")

    def act(self, action: str) -> Scene:
        score, invalid = 0.0, ""
        try:
            with self._generators.lent():
                score = float(self._source.score_answer(action, self._entry))
        except Exception as error:  # the scorers of others stumble over text they did not expect: a wrong answer
            invalid = f"the answer cannot be read: {type(error).__name__}"
        left = self._attempts - self.turn
        over = score >= 1 or left == 0
        observation = "Right." if score >= 1 else f"Not right. {left} attempts left."
        return Scene(observation, score if over else 0.0, over, success=score >= 1, invalid=invalid)

    def content(self) -> str:
        return str(self._entry["question"])

    def expert_action(self) -> str:
        """The answer that the data set came with."""
        if self._entry["answer"] is None:
            raise NotImplementedError(f"{self._id} has no stored answers: many are right")
        return str(self._entry["answer"])

    def _dataset(self, seed: int) -> Any:
        try:
            return self._module.create_dataset(self._id, seed=seed, size=1, **self._settings)
        except (TypeError, ValueError, AssertionError) as error:
            raise agentrl.ConfigError(f"Reasoning Gym cannot make {self._id!r} of {self._settings}: {error}") from error


def _counts(source: Any) -> bool:
    """Whether a data set draws a question from any number, as most do; the others are made anew for each question,
    which is slower."""
    with Generators(0).lent():
        try:
            return len({source[number]["question"] for number in range(100, 108)}) > 1
        except (IndexError, KeyError):
            return False
