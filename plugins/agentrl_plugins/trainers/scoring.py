"""Scoring: rows through the model, and out come log-probs of the distribution that was sampled from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from agentrl import (
    Column,
    Columns,
    ConfigError,
    DataError,
    Floats,
    Logprobs,
    Loss,
    LossBatch,
    Row,
    Sampling,
    did_you_mean,
)
from agentrl_plugins.models.passes import forward_sequences
from agentrl_plugins.models.ragged import CausalRows
from agentrl_plugins.models.sampling import entropy, log_distribution
from agentrl_plugins.trainers.batching import Scope, microbatches, scored
from agentrl_plugins.trainers.kernels import BlockCausal
from agentrl_plugins.trainers.workers import Workers


@dataclass(frozen=True, eq=False)
class Pack:
    """Rows of one forward pass, flat. K tokens are scored, row by row."""

    rows: Sequence[Row]
    positions: list[NDArray[np.int64]]  # of the scored tokens of each row
    ids: NDArray[np.int64]  # [N]
    kept: NDArray[np.int64]  # [K], flat index of the token before each scored one

    @classmethod
    def of(cls, rows: Sequence[Row], scope: Scope) -> Pack:
        """Raises DataError for a row whose first token is sampled: nothing predicts it."""
        positions = [scored(row, scope) for row in rows]
        if any(row.sampled[0] for row in rows):
            raise DataError("a completion without a prompt token before it cannot be scored; prompts need one token")
        starts = np.cumsum([0] + [len(row.ids) for row in rows[:-1]])
        return cls(
            rows,
            positions,
            np.concatenate([row.ids for row in rows]).astype(np.int64),
            np.concatenate([start + own - 1 for start, own in zip(starts, positions, strict=True)]),
        )

    @property
    def labels(self) -> NDArray[np.int64]:
        """Ids of the scored tokens [K]."""
        labels: NDArray[np.int64] = self.ids[self.kept + 1]
        return labels

    def pick(self, values: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """[K], the scored entries of one array [L] per row."""
        return np.concatenate([value[own] for value, own in zip(values, self.positions, strict=True)])


@dataclass(frozen=True, eq=False)
class Scored:
    """What a forward pass gave for the K scored tokens."""

    logprobs: torch.Tensor  # [K]
    entropy: torch.Tensor | None  # [K], nats
    top_logprobs: torch.Tensor | None  # [K, k], at the ids of a column
    cells: int  # tokens and padding inside attention


@dataclass(frozen=True, eq=False)
class Extra:
    """What one row needs besides itself, each [L] or None."""

    fresh: NDArray[np.bool_]
    """Tokens of turns that the weights of the update's beginning sampled, and no older ones."""
    reference: Logprobs | None = None
    old: Logprobs | None = None
    share: Logprobs | None = None
    """Factor on the weight of each token; 0 for turns that were not drawn."""

    @property
    def undrawn(self) -> bool:
        """Whether no turn of the row was drawn."""
        return self.share is not None and not self.share.any()


_KNOWN = {"reference", "old", "entropy", "behaviour"}


def needed_columns(loss: Loss, columns: Columns) -> list[Column]:
    """The columns that a loss needs. Raises ConfigError for one that nobody declared."""
    names = {need.removeprefix("top:") for need in loss.needs} - (_KNOWN - {"reference"})
    for name in names:
        if name not in columns:
            raise ConfigError(f"the loss needs the column {name!r}. {did_you_mean(name, columns)}")
    return [columns[name] for name in sorted(names | {"reference"})]


def filled(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """The rows, each with all of these columns: where nobody wrote one, its `fill` stands.

    Raises DataError where two rows have another number of values per token.
    """
    whole = [dict(row.columns) for row in rows]
    for column in columns:
        axes = {own[column.name].shape[1:] for own in whole if column.name in own}
        if len(axes) > 1:
            raise DataError(f"column {column.name!r} has {' and '.join(map(str, sorted(axes)))} values per token")
        shape = next(iter(axes), tuple(max(1, axis) for axis in column.shape))
        for row, own in zip(rows, whole, strict=True):
            if column.name not in own:
                own[column.name] = np.full((len(row.ids), *shape), column.fill, np.dtype(column.dtype))
    return [dataclasses.replace(row, columns=own) for row, own in zip(rows, whole, strict=True)]


def forward(module: torch.nn.Module, pack: Pack, *, want_entropy: bool = False, top: str = "") -> Scored:
    """Log-probs, with gradient unless switched off, after the temperature and filters of the rows' sampling.

    `top`: a column of ids [L, k] whose log-probs are wanted too.
    """
    like = next(module.parameters())
    kind = BlockCausal if like.device.type == "cpu" and like.dtype == torch.float32 else CausalRows
    passed = forward_sequences(module, [len(row.ids) for row in pack.rows], pack.ids, pack.kept, rows=kind)
    labels = torch.from_numpy(pack.labels).to(like.device)
    wanted = torch.from_numpy(pack.pick([row.columns[top] for row in pack.rows])).to(like.device) if top else None
    own, spread, others = _logprobs(passed.logits, labels, pack.rows[0].sampling, want_entropy, wanted)
    return Scored(own, spread, others, passed.cells)


def score(module: torch.nn.Module, rows: Sequence[Row], microbatch_tokens: int, workers: Workers) -> list[Logprobs]:
    """Per row float32 [L]: log-probs under a module's weights where sampled, else 0. No gradient."""
    scores = [np.zeros(len(row.ids), np.float32) for row in rows]

    def run(members: list[int]) -> None:
        pack = Pack.of([rows[i] for i in members], "sampled")
        with torch.no_grad():
            logprobs = forward(module, pack).logprobs.cpu().numpy()
        ends = np.cumsum([len(own) for own in pack.positions])
        for i, own, values in zip(members, pack.positions, np.split(logprobs, ends[:-1]), strict=True):
            scores[i][own] = values

    for _ in workers.map(run, microbatches(rows, microbatch_tokens)):
        pass
    return scores


def loss_batch(pack: Pack, result: Scored, weights: Floats, extras: Sequence[Extra]) -> LossBatch:
    """The scored tokens as a loss wants them; `weights` [R] per token of each row."""
    counts = [len(own) for own in pack.positions]
    rows = pack.rows

    def tensor(values: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
        return torch.from_numpy(values).to(result.logprobs.device, dtype)

    def picked(values: Sequence[Logprobs | None]) -> torch.Tensor | None:
        known = [value for value in values if value is not None]
        return tensor(pack.pick(known), torch.float32) if len(known) == len(rows) else None

    weight = tensor(np.repeat(weights, counts), torch.float32)
    share = picked([extra.share for extra in extras])
    groups = {group: number for number, group in enumerate(dict.fromkeys(row.group for row in rows))}
    names = set.intersection(*(set(row.columns) for row in rows)) if rows else set()
    columns = {name: torch.from_numpy(pack.pick([row.columns[name] for row in rows])) for name in sorted(names)}
    old = picked([extra.old for extra in extras])
    return LossBatch(
        logprobs=result.logprobs,
        behaviour=tensor(pack.pick([row.logprobs for row in rows]), torch.float32),
        reference=picked([extra.reference for extra in extras]),
        entropy=result.entropy,
        advantages=tensor(pack.pick([row.advantages for row in rows]), torch.float32),
        weight=weight if share is None else weight * share,
        sampled=tensor(pack.pick([row.sampled for row in rows]), torch.bool),
        trajectory=tensor(np.repeat([row.trajectory for row in rows], counts), torch.int64),
        turn=tensor(pack.pick([row.turn for row in rows]), torch.int64),
        row=tensor(np.repeat(np.arange(len(rows)), counts), torch.int64),
        group=tensor(np.repeat([groups[row.group] for row in rows], counts), torch.int64),
        columns={name: value.to(result.logprobs.device) for name, value in columns.items()}
        | ({} if old is None else {"old": old}),
        top_logprobs=result.top_logprobs,
    )


def _logprobs(
    logits: torch.Tensor,
    labels: torch.Tensor,
    sampling: Sampling,
    want_entropy: bool,
    wanted: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """[K], perhaps the entropy [K] and the log-probs [K, k] of `wanted` ids, from logits [K, V], in float32."""
    if sampling.temperature <= 0:
        raise DataError(
            "these tokens were chosen greedily (temperature 0), so they have no probability to train on; "
            "collect with a temperature above 0"
        )
    logits = logits.float()
    if sampling.temperature != 1:
        logits = logits / sampling.temperature
    if sampling.top_k or sampling.top_p < 1:
        logits = logits.masked_fill(_filtered(logits.detach(), labels, sampling), -torch.inf)
    logprobs = -cross_entropy(logits, labels, reduction="none")
    if not want_entropy and wanted is None:
        return logprobs, None, None
    distribution = torch.log_softmax(logits, -1)
    spread = entropy(distribution, distribution.exp()) if want_entropy else None
    return logprobs, spread, distribution.gather(-1, wanted.long()) if wanted is not None else None


def _filtered(logits: torch.Tensor, labels: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """bool [K, V], what the filters remove. A sampled token stays, also where the weights have moved since."""
    removed = torch.isneginf(log_distribution(logits, 1.0, sampling.top_p, sampling.top_k))
    return removed.scatter_(-1, labels[:, None], False)
