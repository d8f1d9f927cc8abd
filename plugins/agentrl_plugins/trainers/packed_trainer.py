"""PackedTrainer: policy-gradient and cloning updates on rows without padding, as fast as a small machine allows."""

from __future__ import annotations

import contextlib
import json
import math
import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from agentrl import (
    Advantages,
    Batch,
    Columns,
    ConfigError,
    DataError,
    Floats,
    Logprobs,
    Loss,
    Model,
    OnlyWith,
    PolicyFault,
    RecordError,
    Row,
    Seed,
    Trajectory,
    Updates,
    training_rows,
)
from agentrl_plugins.models.language_model import LanguageModel
from agentrl_plugins.models.memory import out_of_memory
from agentrl_plugins.trainers.batching import distinct_tokens, drawn_turns, microbatches, token_weights
from agentrl_plugins.trainers.batching import minibatches as make_minibatches
from agentrl_plugins.trainers.kernels import set_gradient_products, speed_up_norms
from agentrl_plugins.trainers.optimizers import Course, Kind, Optimizer, Rates, Schedule, check_positive
from agentrl_plugins.trainers.reference import Reference
from agentrl_plugins.trainers.scoring import Extra, Pack, filled, forward, loss_batch, needed_columns, score
from agentrl_plugins.trainers.tally import Piece, Tally, measures
from agentrl_plugins.trainers.workers import Workers

FILE, COUNTERS = "trainer.pt", "trainer.json"
_MAX_GAPS = {False: 0.01, True: 0.1}  # of weights that are rounded, or not
_STREAM = 0x7061636B  # sets the trainer's random numbers apart from others made with the same seed


MicrobatchTokens = Annotated[
    int | None,
    "row tokens of one forward pass, at most; unless given, 16,384 on a GPU, on a CPU 2,048 and fewer where a worker "
    "would idle",
]
KeptReference = Annotated[
    Literal["none", "initial"], "initial: keep the first weights for the loss's reference term, report the drift"
]
WorkerCount = Annotated[
    int | None,
    "micro-batches that run at once on a CPU, each on one core; unless given, as many as this process has cores for a "
    "small model, and one on all cores for a large one",
]
Products = Annotated[
    Literal["float32", "bfloat16"],
    "bfloat16: a faster backward pass of a float32 model, right to about three digits",
]
DrawnTurns = Annotated[
    int | None, "turns of each trajectory that are trained, drawn anew in each update and weighted by 1/p; None: all"
]

LogprobGap = Annotated[
    float | None,
    "nats by which log-probs of trainer and engine may differ, on average over an update's tokens, before the run stops; "
    "unless given, 0.01 for float32 weights and 0.1 for others",
]


class PackedTrainer:
    """Trains a language model on the tokens it sampled.

    An update cuts the trajectories into rows, shuffles them into minibatches in each epoch, and makes one optimiser
    step for each. A minibatch runs in micro-batches, which change nothing but speed, memory and rounding. The weights
    that come out do not depend on the number of workers, bit by bit, if `microbatch_tokens` is given. Dropout stays
    off, so that the first forward pass gives the engine's log-probs; `logprob_gap` is by how much it does not, and above
    `max_logprob_gap` the run stops.
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        seed: Seed,
        updates: Updates,
        columns: Columns,
        *,
        optimizer: Annotated[Kind, "muon: Muon for the hidden matrices, AdamW for all else"] = "adamw",
        learning_rate: Annotated[float, "size of AdamW's steps"] = 1e-4,
        matrix_learning_rate: Annotated[float, "size of Muon's steps", OnlyWith("optimizer", "muon")] = 0.02,
        weight_decay: Annotated[float, "share of a weight that decays per step, times the learning rate"] = 0.0,
        betas: Annotated[tuple[float, float], "decay of AdamW's two moments per step"] = (0.9, 0.95),
        schedule: Annotated[Course, "how both learning rates go on; linear and cosine end at 0"] = "constant",
        warmup_updates: Annotated[float, "updates in which the learning rates rise from 0; 0.1: a tenth of one"] = 0.0,
        total_updates: Annotated[
            int | None,
            "updates after which the schedule ends; the stage's unless given",
            OnlyWith("schedule", "linear", "cosine"),
        ] = None,
        clip_norm: Annotated[float | None, "largest norm of the gradient; None: any"] = 1.0,
        epochs: Annotated[int, "how often an update goes through its rows"] = 1,
        minibatches: Annotated[int, "optimiser steps of an epoch"] = 1,
        minibatch_tokens: Annotated[int | None, "row tokens of an optimiser step, instead of minibatches"] = None,
        microbatch_tokens: MicrobatchTokens = None,
        reference: KeptReference = "none",
        workers: WorkerCount = None,
        gradient_products: Products = "float32",
        turns: DrawnTurns = None,
        max_logprob_gap: LogprobGap = None,
    ) -> None:
        """Raises ConfigError for a setting out of range, and for a model that is no language model."""
        if not isinstance(model, LanguageModel):
            raise ConfigError('trainer \'packed\' needs a language model ([model] name = "tiny" or "pretrained")')
        self.model: Model = model
        self.loss, self._language = loss, model
        self._columns = needed_columns(loss, columns)
        self._cut = Cut(epochs, minibatches, minibatch_tokens, microbatch_tokens, workers, turns)
        self._random = np.random.default_rng([seed, _STREAM])
        check_positive({"max_logprob_gap": max_logprob_gap})
        self._max_gap = max_logprob_gap if max_logprob_gap is not None else _MAX_GAPS[model.rounded]
        self._updates = 0
        self._left: int | None = None  # the version that the last update changed
        self._written: set[str] = set()  # columns that turns have carried
        self._judged: Mapping[str, str] = {}  # what judges did to the batch
        self.progress = 0.0  # share of the update under way that is done, for displays
        suited = model.one_core_workers
        self._one_core = model.device.type == "cpu" and (suited is not None or (workers or 1) > 1)
        self._workers = Workers(workers or suited or 1)
        speed_up_norms(model.module)
        set_gradient_products(model.module, getattr(torch, gradient_products))
        course = Schedule(schedule, warmup_updates, total_updates if total_updates is not None else updates)
        rates = Rates(learning_rate, matrix_learning_rate, weight_decay, betas, clip_norm)
        self._optimizer = Optimizer(model.module, model.base, optimizer, rates, course)
        self._reference = Reference(model) if reference == "initial" else None

    async def update(self, batch: Batch, advantages: Advantages) -> dict[str, float]:
        """One update, and what happened in it.

        Raises DataError for a failed trajectory, for arrays that do not fit each other and where nothing was sampled;
        PolicyFault, before the step that it would have spoilt, for a loss or gradient that is not finite.
        """
        self._judged = batch.judged
        return self.train(batch.usable, advantages, batch.speakers)

    def train(
        self, trajectories: Sequence[Trajectory], advantages: Advantages, speakers: Sequence[str] = ("agent",)
    ) -> dict[str, float]:
        """`update`, for callers without an event loop."""
        with out_of_memory("training", advice(self._cut.microbatch_tokens)):
            return self._trained(trajectories, advantages, speakers)

    def _trained(
        self, trajectories: Sequence[Trajectory], advantages: Advantages, speakers: Sequence[str]
    ) -> dict[str, float]:
        started = time.perf_counter()
        rows = self._with_columns(training_rows(trajectories, advantages, speakers=speakers, columns=self._columns))
        if not rows:
            raise DataError(
                f"none of the {len(trajectories)} trajectories has a sampled token, so there is nothing to train on; "
                "what was played needs a model with a codec"
            )
        tally, self.progress = Tally(), 0.0
        with self._workers.alone() if self._one_core else contextlib.nullcontext():
            shares = drawn_turns(rows, self._cut.turns, self._random)
            extras = self._extras(rows, shares, self._fresh(rows, trajectories))
            plan = [members for _ in range(self._cut.epochs) for members in self._shuffled(rows)]
            for number, members in enumerate(plan):
                begin, end = (self._updates + step / len(plan) for step in (number, number + 1))
                self._step([rows[i] for i in members], [extras[i] for i in members], begin, end, tally)
                self.progress = (number + 1) / len(plan)
        self._updates += 1
        self._left = self.model.version.update
        counts = self._counts(rows, extras, tally.scored / self._cut.epochs)
        distinct = sum(distinct_tokens(trajectory, speakers) for trajectory in trajectories)
        counts["row_tokens_ratio"] = sum(len(row.ids) for row in rows) / max(1, distinct)
        return _recorded_entropy(trajectories) | tally.metrics(time.perf_counter() - started) | counts

    def _counts(self, rows: Sequence[Row], extras: Sequence[Extra], scored: float) -> dict[str, float]:
        """Rows, and sampled tokens that are accounted for."""
        idle = [row for row, extra in zip(rows, extras, strict=True) if self._idle(row) and not extra.undrawn]
        not_drawn = sum(
            int((row.sampled & (extra.share == 0)).sum())
            for row, extra in zip(rows, extras, strict=True)
            if extra.share is not None
        )
        return {
            "rows": float(len(rows)),
            "rows_skipped": float(sum(map(self._idle, rows))),
            "tokens_scored": scored + sum(int(row.sampled.sum()) for row in idle),
            "tokens_not_drawn": float(not_drawn),
        }

    def save(self, folder: Path) -> None:
        """Write optimiser, schedule, shuffling and reference; OSError or RecordError where that fails."""
        folder.mkdir(parents=True, exist_ok=True)
        random = self._random.bit_generator.state
        counters = {"updates": self._updates, "random": random, "columns": sorted(self._written)}
        (folder / COUNTERS).write_text(json.dumps(counters) + "\n", encoding="utf-8")
        reference = self._reference.state() if self._reference else {}
        try:
            torch.save({"optimizer": self._optimizer.state(), "reference": reference}, folder / FILE)
        except RuntimeError as error:  # torch's own writer hides the OSError
            raise RecordError(f"{folder / FILE} cannot be written; is the disk full? ({error})") from error

    def load(self, folder: Path) -> None:
        """Go on where the trainer that wrote the folder stood; the weights are the model's business.

        Raises RecordError where the folder is incomplete, damaged or of another trainer.
        """
        try:
            counters = json.loads((folder / COUNTERS).read_text(encoding="utf-8"))
            state = torch.load(folder / FILE, map_location="cpu", weights_only=True)
            self._optimizer.restore(state["optimizer"])
            if self._reference:
                self._reference.restore(state["reference"])
            self._random.bit_generator.state = counters["random"]
            self._updates = int(counters["updates"])
            self._written = set(counters.get("columns", ()))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise RecordError(f"{folder} holds no state of this trainer ({type(error).__name__}: {error})") from error

    def close(self) -> None:
        """End the threads."""
        self._workers.close()

    def _shuffled(self, rows: Sequence[Row]) -> list[list[int]]:
        return make_minibatches(
            rows, self.loss.aggregation, self._random, count=self._cut.minibatches, tokens=self._cut.minibatch_tokens
        )

    def _idle(self, row: Row) -> bool:
        """Whether the row cannot move the weights; it still counts in the aggregation."""
        return self.loss.skips_zero and not row.advantages.any()

    def _step(self, rows: Sequence[Row], extras: Sequence[Extra], begin: float, end: float, tally: Tally) -> None:
        """One optimiser step on a minibatch, from time `begin` to `end`; none where no row can move the weights."""
        weights = token_weights(rows, self.loss.aggregation, self.loss.scope)
        live = [i for i, row in enumerate(rows) if not self._idle(row) and not extras[i].undrawn]
        parts = microbatches([rows[i] for i in live], self._budget([rows[i] for i in live]), self.loss.unit)
        jobs = [
            _Job([rows[live[i]] for i in part], weights[[live[i] for i in part]], [extras[live[i]] for i in part])
            for part in parts
        ]
        if not jobs:
            return
        sums = self._optimizer.zeros()
        for piece in self._workers.map(self._gradients, jobs):
            for total, gradient in zip(sums, piece.gradients, strict=True):
                total.add_(gradient)
            tally.add_piece(piece)
        tally.check_gap(self._max_gap)
        norm, rate = self._optimizer.step(sums, begin, end, self._workers)
        tally.add_step(norm, rate)

    def _gradients(self, job: _Job) -> Piece:
        """Forward and backward through one micro-batch; runs in a worker."""
        module = self._language.module
        pack = Pack.of(job.rows, self.loss.scope)
        top = next((name for need in self.loss.needs if (name := need.removeprefix("top:")) != need), "")
        result = forward(module, pack, want_entropy="entropy" in self.loss.needs, top=top)
        batch = loss_batch(pack, result, job.weights, job.extras)
        loss, metrics = self.loss(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise PolicyFault(
                f"the loss is {value} on trajectories {sorted({row.trajectory for row in job.rows})} of this update; "
                "weights, advantages or log-probs are beyond bounds (is the learning rate too high?)"
            )
        gradients = torch.autograd.grad(loss, self._optimizer.parameters, materialize_grads=True)
        return Piece(gradients, value, metrics, **measures(pack, batch, result, job.extras))

    def _extras(
        self, rows: Sequence[Row], shares: Sequence[Logprobs | None], fresh: Sequence[NDArray[np.bool_]]
    ) -> list[Extra]:
        """What rows need besides themselves: reference and old log-probs, and which of their turns were drawn."""
        reference = self._references(rows)
        old = (
            score(self._language.module, rows, self._budget(rows), self._workers) if "old" in self.loss.needs else None
        )
        return [
            Extra(fresh[i], None if reference is None else reference[i], None if old is None else old[i], shares[i])
            for i in range(len(rows))
        ]

    def _fresh(self, rows: Sequence[Row], trajectories: Sequence[Trajectory]) -> list[NDArray[np.bool_]]:
        """Per row [L], the tokens of turns that the present weights sampled, where those still go by their number."""
        now = self.model.version.update
        if now == self._left:
            return [np.zeros(len(row.ids), np.bool_) for row in rows]
        turns = [
            [index for index, turn in enumerate(trajectory.turns) if (turn.completion.versions == now).all()]
            for trajectory in trajectories
        ]
        return [np.isin(row.turn, turns[row.trajectory]) for row in rows]

    def _with_columns(self, rows: Sequence[Row]) -> list[Row]:
        """Rows with every column that the loss needs; turns that carry none have its fill.

        Raises DataError for a column that no turn of this update carries, nor any before it, unless a judge had nothing
        to write, or failed.
        """
        needed = [column for column in self._columns if column.name != "reference"]
        self._written.update(name for row in rows for name in row.columns)
        silent = any(did in ("failed", "wrote nothing") for did in self._judged.values())
        for column in needed if rows and not silent else ():
            if column.name not in self._written:
                did = "; ".join(f"{name} {did}" for name, did in self._judged.items())
                raise DataError(
                    f"the loss needs the column {column.name!r}, and no turn carries it; add the judge, credit or trainer "
                    f"that writes it ({did or 'the stage has no judge'})"
                )
        return filled(rows, needed)

    def _references(self, rows: Sequence[Row]) -> list[Logprobs] | None:
        """Per row float32 [L], the log-probs of the reference; those that the turns carry come first."""
        carried = [row.columns["reference"].astype(np.float32) for row in rows if "reference" in row.columns]
        if len(carried) == len(rows):
            return carried
        if self._reference is None:
            if "reference" in self.loss.needs:
                raise DataError(
                    'the loss needs reference log-probs, and not every turn carries them; set reference = "initial" '
                    "in the trainer, or have a judge write the column reference"
                )
            return None
        return self._reference.score(rows, self._budget(rows), self._workers)

    def _budget(self, rows: Sequence[Row]) -> int:
        """Tokens of one micro-batch."""
        if self._cut.microbatch_tokens is not None:
            return self._cut.microbatch_tokens
        if self._language.device.type != "cpu":
            return 16384
        share = sum(len(row.ids) for row in rows) / self._workers.count
        return int(min(2048, max(256, 1.25 * share)))  # no more parts than workers need, even if rows differ in length


def advice(microbatch_tokens: int | None) -> str:
    """What to do where memory ran out."""
    return (
        f"lower microbatch_tokens of the trainer (now {microbatch_tokens or 'unset'}; nothing else changes by it), "
        'take dtype = "bfloat16" or lora_rank in [model], or fewer workers'
    )


@dataclass(frozen=True, eq=False)
class _Job:
    """One micro-batch: its rows, the weight of each row's tokens, and what else they need."""

    rows: Sequence[Row]
    weights: Floats
    extras: Sequence[Extra]


def _recorded_entropy(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Mean entropy per sampled token, in nats, where the engine recorded it."""
    said = (turn.completion.entropy for trajectory in trajectories for turn in trajectory.turns)
    known = [entropy for entropy in said if entropy is not None]
    return {"entropy": float(np.concatenate(known).mean())} if sum(map(len, known)) else {}


@dataclass(frozen=True)
class Cut:
    """How an update is cut into steps and passes."""

    epochs: int
    minibatches: int
    minibatch_tokens: int | None
    microbatch_tokens: int | None
    workers: int | None
    turns: int | None

    def __post_init__(self) -> None:
        """Raises ConfigError for what is not above 0, and for minibatches that are given in two ways."""
        check_positive(vars(self))
        if self.minibatch_tokens is not None and self.minibatches != 1:
            raise ConfigError("trainer 'packed': give minibatches or minibatch_tokens, not both")
