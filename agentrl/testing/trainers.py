"""The kit for trainers: what is trained, what is context, and that it can go on exactly where it stopped."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import math
import random
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from agentrl.data.types import AGENT, Advantages, Batch, Group, Outcome, Trajectory
from agentrl.errors import AgentRLError
from agentrl.parts.learning import Trainer
from agentrl.parts.weights import Model
from agentrl.testing.compare import written
from agentrl.testing.report import CheckFailed, CheckSkipped, Report, checks_of, finish, gate, require, run_checks
from agentrl.testing.sample_plays import as_batch, sample_batch, sample_plays
from agentrl.testing.samples import GUEST


def check_trainer(make: Callable[[], Trainer], *, name: str = "?") -> Report:
    """Put a trainer through the kit. `make` gives one with a model of its own, each time with the same seed."""
    return run_checks("trainer", name, checks_of(_TrainerKit(make)))


Batches = Callable[[Model], Batch]
"""Makes a batch with the ids and log-probs of a model."""


class _TrainerKit:
    def __init__(self, make: Callable[[], Trainer]) -> None:
        self._make = make

    def _trained(
        self, batches: Batches = sample_batch, advantages: Callable[[Batch], Advantages] | None = None,
        trainer: Trainer | None = None, seed: int = 0,
    ) -> _Trained:  # fmt: skip
        """One update of a new trainer, on a batch made with its own model. `seed`: of all generators of the process."""
        _seed_everything(seed)
        trainer = trainer or self._make()
        batch = batches(trainer.model)
        metrics = finish(trainer.update(batch, (advantages or _advantages)(batch)))
        require(isinstance(metrics, Mapping), f"update gave {metrics!r}; it gives metrics, numbers by name")
        return _Trained(weights_digest(trainer.model), metrics, batch)

    @functools.cached_property
    def _counts(self) -> bool:
        """Whether it counts tokens as it should where nothing is context; one check is enough to say that it does not."""
        try:
            self.every_sampled_token_is_accounted_for()
        except CheckFailed:
            return False
        return True

    @gate
    def an_update_changes_the_model(self) -> None:
        trainer = self._make()
        before = weights_digest(trainer.model)
        after = self._trained(trainer=trainer).digest
        require(after != before, "after an update with advantages, the model that it names has the same weights")

    def its_metrics_are_numbers(self) -> str:
        metrics = self._trained().metrics
        for name, value in metrics.items():
            plain = isinstance(value, (int, float)) and math.isfinite(value)
            require(plain, f"the metric {name!r} is {value!r}; it is a plain, finite number (`float(tensor)`)")
        return ", ".join(metrics)

    def the_same_seed_gives_the_same_weights(self) -> None:
        digests = {self._trained(seed=seed).digest for seed in (1, 2)}  # what the process draws besides may not matter
        require(len(digests) == 1, "two trainers with one seed end with different weights")

    def a_saved_trainer_goes_on_exactly(self) -> None:
        one, other = self._make(), self._make()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for update in range(2):
                self._trained(partial(sample_batch, update=update), trainer=one)
            _kept(one, "save", folder / "trainer")
            finish(one.model.save(folder / "model"))
            finish(other.model.load(folder / "model"))
            _kept(other, "load", folder / "trainer")
        wanted, got = (self._trained(partial(sample_batch, update=2), trainer=t).digest for t in (one, other))
        require(wanted == got, "saved and loaded after two updates, its third one gives other weights")

    def every_sampled_token_is_accounted_for(self) -> str:
        trained = self._trained()
        tokens = trained.tokens([[False] * len(t.turns) for t in trained.batch.usable])
        _require_tokens(trained, tokens)
        return f"{tokens} tokens"

    def inherited_turns_are_context(self) -> None:
        def batches(model: Model) -> Batch:
            plays = sample_plays(model)
            root = max(plays, key=lambda t: len(t.turns))
            return as_batch([*plays, dataclasses.replace(root, parent=f"{root.id}@0", inherited=1)])

        self._require_context(batches, lambda trajectory, position: position < trajectory.inherited)

    def masked_turns_are_context(self) -> None:
        def batches(model: Model) -> Batch:
            batch = sample_batch(model)
            for turn in (t.turns[0] for t in batch.usable if len(t.turns) > 1):
                turn.columns["mask"] = np.ones(len(turn.completion.ids), np.bool_)
            return batch

        self._require_context(batches, lambda trajectory, position: "mask" in trajectory.turns[position].columns)

    def speakers_that_are_not_trained_are_context(self) -> None:
        def batches(model: Model) -> Batch:
            return sample_batch(model, speakers=(AGENT, GUEST))

        self._require_context(batches, lambda trajectory, position: trajectory.turns[position].agent == GUEST)

    def failed_trajectories_are_never_trained(self) -> None:
        def batches(model: Model) -> Batch:
            first, *others = sample_batch(model).groups
            failed = dataclasses.replace(first.trajectories[0], outcome=Outcome.TIME_LIMIT, attempt=1, error="too slow")
            return Batch(0, (Group(first.key, 0, (failed, *first.trajectories)), *others))

        same = self._trained(batches).digest == self._trained().digest
        require(same, "a failed trajectory in the batch changes the weights")

    def advantages_that_do_not_fit_are_refused(self) -> None:
        trainer = self._make()
        batch = sample_batch(trainer.model)
        before, right = weights_digest(trainer.model), _advantages(batch)
        wrong: dict[str, Advantages] = {
            "one too few": right[:-1],
            "one turn too many": [np.append(right[0], 1.0), *right[1:]],
            "one that is not a number": [np.full(len(right[0]), np.nan), *right[1:]],
        }
        for what, advantages in wrong.items():
            try:
                finish(trainer.update(batch, advantages))
            except AgentRLError:
                require(
                    weights_digest(trainer.model) == before, f"refusing advantages ({what}), it changed the weights"
                )
                continue
            raise CheckFailed(f"advantages that do not fit ({what}) were trained on; raise a DataError")

    def advantages_per_token_are_taken(self) -> None:
        def per_token(batch: Batch) -> Advantages:
            return [
                [np.full(len(turn.completion.ids), value) for turn, value in zip(t.turns, values, strict=True)]
                for t, values in zip(batch.usable, _advantages(batch), strict=True)
            ]

        same = self._trained(advantages=per_token).digest == self._trained().digest
        require(same, "the same advantages, once per turn and once per token, give different weights")

    def advantages_of_zero_are_survived(self) -> None:
        trainer = self._make()
        zeros = self._trained(advantages=lambda batch: [np.zeros(len(t.turns)) for t in batch.usable], trainer=trainer)
        metrics = dict(zeros.metrics)
        require(all(map(math.isfinite, metrics.values())), f"with advantages of 0 the metrics are {metrics}")
        self._trained(trainer=trainer)

    def the_version_is_left_to_the_model(self) -> None:
        trainer = self._make()
        before = trainer.model.version
        self._trained(trainer=trainer)
        require(
            trainer.model.version == before,
            "it changed the version of its model, which `publish` does after the update",
        )

    def its_batch_stays_as_it_was(self) -> None:
        trainer = self._make()
        batch = sample_batch(trainer.model)
        advantages = _advantages(batch)
        before = written([batch, advantages])
        finish(trainer.update(batch, advantages))
        require(written([batch, advantages]) == before, "it changes the batch or the advantages that it is given")

    def closing_twice_is_safe(self) -> None:
        trainer = self._make()
        close = getattr(trainer, "close", None)
        if close is None:
            raise CheckSkipped("there is nothing to close")
        close()
        close()

    def _require_context(self, batches: Batches, is_context: Callable[[Trajectory, int], bool]) -> None:
        """Advantages of turns that are context change nothing, and their tokens do not count."""

        def places(batch: Batch) -> list[list[bool]]:
            return [[is_context(t, position) for position in range(len(t.turns))] for t in batch.usable]

        def other(batch: Batch) -> Advantages:
            pairs = zip(places(batch), _advantages(batch), strict=True)
            return [np.where(context, 9.0, values) for context, values in pairs]

        trained = self._trained(batches)
        if self._counts:
            _require_tokens(trained, trained.tokens(places(trained.batch)))
        same = self._trained(batches, other).digest == trained.digest
        require(same, "the advantage of a turn that is context changes the weights")


@dataclass(frozen=True)
class _Trained:
    """What an update gave."""

    digest: str
    metrics: Mapping[str, float]
    batch: Batch

    def tokens(self, context: list[list[bool]]) -> int:
        """Sampled tokens of turns that are no context."""
        return sum(
            0 if is_context else len(turn.completion.ids)
            for t, places in zip(self.batch.usable, context, strict=True)
            for turn, is_context in zip(t.turns, places, strict=True)
        )


def _require_tokens(trained: _Trained, tokens: int) -> None:
    metrics = trained.metrics
    require("tokens_scored" in metrics, "its metrics lack `tokens_scored`, so that nobody knows what was not trained")
    counted = metrics["tokens_scored"] + metrics.get("tokens_not_drawn", 0.0)
    require(counted == tokens, f"{tokens} sampled tokens were to be trained, and `tokens_scored` counts {counted:g}")


def weights_digest(model: Model) -> str:
    """One hash of everything that a model saves."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        finish(model.save(folder))
        digest = hashlib.sha256()
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                digest.update(str(path.relative_to(folder)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _advantages(batch: Batch) -> Advantages:
    """Numbers of both signs, none of them 0, that depend on the trajectory alone."""
    return [np.linspace(1.0, 2.0, len(t.turns)) * (1 if t.member % 2 else -1) for t in batch.usable]


def _kept(trainer: Trainer, method: str, folder: Path) -> None:
    """Save or load a trainer, where it can; awaited where it has to be."""
    function = getattr(trainer, method, None)
    if function is not None:
        result = function(folder)
        if inspect.iscoroutine(result):
            finish(result)


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
