"""The tabular trainer: exact policy gradient steps on a table of logits."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

import agentrl
from agentrl_plugins.models.table import Table

FILE = "tabular.npz"

Situation = tuple[int, tuple[str, ...], float]  # state id, admissible actions, temperature


@agentrl.hookimpl
def register_trainers(register: agentrl.Register) -> None:
    register("tabular", Tabular)


class Tabular:
    """Ascends (1 / B) Σ A log π over the turns of B trajectories, one step per update.

    π is the softmax over the admissible actions at the temperature that was sampled with. The step is on-policy: there
    is no importance ratio, so play with the newest weights.
    """

    def __init__(
        self,
        model: agentrl.Model,
        *,
        learning_rate: Annotated[float, "size of a step"] = 0.1,
        optimizer: Annotated[
            Literal["gradient", "adam"], "plain gradient ascent, or Adam (Kingma and Ba, 1412.6980, algorithm 1)"
        ] = "adam",
        clip: Annotated[float | None, "largest norm of the gradient; None: any"] = None,
        betas: Annotated[
            tuple[float, float], "decay of Adam's two moments per step", agentrl.OnlyWith("optimizer", "adam")
        ] = (0.9, 0.999),
        epsilon: Annotated[
            float, "added to the root of Adam's second moment", agentrl.OnlyWith("optimizer", "adam")
        ] = 1e-8,
    ) -> None:
        if not isinstance(model, Table):
            raise agentrl.ConfigError(f"trainer 'tabular' needs the model 'table', not {type(model).__name__}")
        if learning_rate <= 0 or (clip is not None and clip <= 0):
            raise agentrl.ConfigError(
                f"trainer 'tabular': learning_rate = {learning_rate}, clip = {clip}; both must be positive"
            )
        self.model: agentrl.Model = model
        self._table = model
        self._learning_rate, self._optimizer, self._clip = learning_rate, optimizer, clip
        self._betas, self._epsilon = betas, epsilon
        self._first, self._second, self._steps = np.zeros(0), np.zeros(0), 0  # Adam's moments [E]

    async def update(self, batch: agentrl.Batch, advantages: agentrl.Advantages) -> dict[str, float]:
        """One step. Raises DataError where trajectories and advantages do not fit each other or this model."""
        return self.train(batch.usable, advantages, batch.speakers)

    def train(
        self,
        trajectories: Sequence[agentrl.Trajectory],
        advantages: agentrl.Advantages,
        speakers: Sequence[str] = ("agent",),
    ) -> dict[str, float]:
        """`update`, for callers without an event loop."""
        started = time.perf_counter()
        weights: dict[Situation, agentrl.Floats] = {}  # [A], summed advantages of each action
        visits: dict[Situation, int] = {}
        for situation, index, advantage in _samples(trajectories, advantages, speakers):
            if situation not in weights:
                weights[situation], visits[situation] = np.zeros(len(situation[1])), 0
            weights[situation][index] += advantage
            visits[situation] += 1
        gradient, objective, entropy = self._gradient(weights, visits, len(trajectories))
        norm = float(np.linalg.norm(gradient))
        if self._clip is not None and norm > self._clip:
            gradient = gradient * (self._clip / norm)
        self._step(gradient)
        turns = sum(visits.values())
        return {
            "loss": -objective,
            "entropy": entropy,
            "gradient_norm": norm,
            "tokens": float(turns),
            "tokens_scored": float(turns),
            "seconds": time.perf_counter() - started,
        }

    def save(self, folder: Path) -> None:
        """Write the optimiser's state."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / FILE, first=self._first, second=self._second, steps=np.array(self._steps))

    def load(self, folder: Path) -> None:
        """Raises RecordError where the folder holds no state of this trainer."""
        try:
            with np.load(folder / FILE) as state:
                self._first, self._second, self._steps = state["first"], state["second"], int(state["steps"])
        except (OSError, ValueError, KeyError) as error:
            raise agentrl.RecordError(f"{folder / FILE} is not a state of trainer 'tabular': {error}") from error

    def close(self) -> None:
        """Nothing to free."""

    def _gradient(
        self, weights: dict[Situation, agentrl.Floats], visits: dict[Situation, int], count: int
    ) -> tuple[agentrl.Floats, float, float]:
        """float64 [E], the objective, and the mean entropy of a turn in nats."""
        positions = {(state, actions): self._table.positions(state, actions) for state, actions, _ in weights}
        gradient = np.zeros(len(self._table.logits))
        objective = entropy = 0.0
        for (state, actions, temperature), weight in weights.items():
            logits = self._table.logits[positions[state, actions]] / temperature
            logprobs = logits - logits.max()
            logprobs = logprobs - np.log(np.exp(logprobs).sum())
            probabilities = np.exp(logprobs)
            np.add.at(gradient, positions[state, actions], (weight - weight.sum() * probabilities) / temperature)
            objective += float(weight @ logprobs)
            entropy -= float(probabilities @ logprobs) * visits[state, actions, temperature]
        return gradient / max(1, count), objective / max(1, count), entropy / max(1, sum(visits.values()))

    def _step(self, gradient: agentrl.Floats) -> None:
        if self._optimizer == "gradient":
            self._table.logits = self._table.logits + self._learning_rate * gradient
            return
        self._steps += 1
        missing = len(gradient) - len(self._first)
        first, second = np.pad(self._first, (0, missing)), np.pad(self._second, (0, missing))
        self._first = self._betas[0] * first + (1 - self._betas[0]) * gradient
        self._second = self._betas[1] * second + (1 - self._betas[1]) * gradient**2
        mean = self._first / (1 - self._betas[0] ** self._steps)
        scale = np.sqrt(self._second / (1 - self._betas[1] ** self._steps)) + self._epsilon
        self._table.logits = self._table.logits + self._learning_rate * mean / scale


def _samples(
    trajectories: Sequence[agentrl.Trajectory], advantages: agentrl.Advantages, speakers: Sequence[str]
) -> Iterator[tuple[Situation, int, float]]:
    """Situation, index of the action taken, and advantage of every turn."""
    if len(trajectories) != len(advantages):
        raise agentrl.DataError(f"{len(trajectories)} trajectories but {len(advantages)} advantages")
    for trajectory, credit in zip(trajectories, advantages, strict=True):
        if trajectory.outcome.failed:
            raise agentrl.DataError(
                f"trajectory {trajectory.id} ended with {trajectory.outcome.value}: never train on it"
            )
        if len(credit) != len(trajectory.turns) or not all(
            np.size(value) == 1 and np.isfinite(value) for value in credit
        ):
            raise agentrl.DataError(
                f"trajectory {trajectory.id} needs one finite advantage for each of its {len(trajectory.turns)} turns, not {credit}"
            )
        for turn, advantage in list(zip(trajectory.turns, credit, strict=True))[trajectory.inherited :]:
            if (
                turn.agent in speakers
                and turn.kind == "act"
                and not np.any(np.asarray(turn.columns.get("mask", False)))
            ):
                yield *_situation(turn, trajectory), float(np.asarray(advantage).item())


def _situation(turn: agentrl.Turn, trajectory: agentrl.Trajectory) -> tuple[Situation, int]:
    listed = turn.info.get("admissible")
    completion, actions = turn.completion, tuple(listed) if isinstance(listed, (list, tuple)) else ()
    if len(completion.prompt_ids) != 1 or len(completion.ids) != 1 or completion.sampling.temperature <= 0:
        raise agentrl.DataError(
            f"a turn of {trajectory.id} was not played or encoded by policy 'tabular' with a temperature above 0"
        )
    if turn.action not in actions:
        raise agentrl.DataError(
            f'trajectory {trajectory.id}: action {turn.action!r} is not in its info["admissible"] {list(actions)}, so it has no probability'
        )
    return (int(completion.prompt_ids[0]), actions, completion.sampling.temperature), actions.index(turn.action)
