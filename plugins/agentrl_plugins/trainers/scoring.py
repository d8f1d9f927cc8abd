"""Scoring: rows through the model, and out come log-probs of the distribution that was sampled from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from agentrl import DataError, Floats, Logprobs, LossBatch, Row, Sampling
from agentrl_plugins.models.ragged import CausalRows, flat_logits
from agentrl_plugins.models.sampling import entropy, log_distribution
from agentrl_plugins.trainers.batching import Scope, microbatches, scored
from agentrl_plugins.trainers.kernels import BlockCausal


@dataclass(frozen=True, eq=False)
class Pack:
    """Rows of one forward pass, flat. K tokens are scored, row by row."""

    rows: Sequence[Row]
    positions: list[NDArray[np.int64]]  # of the scored tokens of each row
    ids: NDArray[np.int64]  # [N]
    steps: NDArray[np.int64]  # [N], position of each token in its row
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
            np.concatenate([np.arange(len(row.ids)) for row in rows]),
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

    logprobs: torch.Tensor  # float32 [K]
    entropy: torch.Tensor | None  # float32 [K]
    cells: int  # tokens and padding that attention computed with


def forward(module: Any, pack: Pack, *, want_entropy: bool = False) -> Scored:
    """Log-probs, with gradient unless switched off, after the temperature and filters of the rows' sampling."""
    like = next(module.parameters())
    kind = BlockCausal if like.device.type == "cpu" and like.dtype == torch.float32 else CausalRows
    plan = kind.of([len(row.ids) for row in pack.rows], like.device)
    logits = flat_logits(module, plan, pack.ids, pack.steps, pack.kept)
    labels = torch.from_numpy(pack.labels).to(like.device)
    found, spread = _logprobs(logits, labels, pack.rows[0].sampling, want_entropy)
    return Scored(found, spread, sum(index.numel() for index in plan.buckets))


def score(model: Any, rows: Sequence[Row], *, microbatch_tokens: int = 4096) -> list[Logprobs]:
    """Per row float32 [L]: log-probs under the model's weights where sampled, else 0. No gradient.

    These are the numbers the trainer starts an update from, to be compared with `row.logprobs`.
    """
    found = [np.zeros(len(row.ids), np.float32) for row in rows]
    for members in microbatches(rows, microbatch_tokens):
        scores_into(model.module, rows, members, found)
    return found


def scores_into(module: Any, rows: Sequence[Row], members: Sequence[int], found: list[Logprobs]) -> None:
    """Write the log-probs of one micro-batch into `found`, without gradient."""
    pack = Pack.of([rows[i] for i in members], "sampled")
    with torch.no_grad():
        logprobs = forward(module, pack).logprobs.cpu().numpy()
    ends = np.cumsum([len(own) for own in pack.positions])
    for i, own, values in zip(members, pack.positions, np.split(logprobs, ends[:-1]), strict=True):
        found[i][own] = values


def loss_batch(pack: Pack, result: Scored, weights: Floats, references: Sequence[Logprobs] | None) -> LossBatch:
    """The scored tokens as a loss wants them; `weights` [R] per token of each row."""
    counts = [len(own) for own in pack.positions]

    def tensor(values: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
        return torch.from_numpy(values).to(result.logprobs.device, dtype)

    return LossBatch(
        logprobs=result.logprobs,
        behaviour=tensor(pack.pick([row.logprobs for row in pack.rows]), torch.float32),
        reference=None if references is None else tensor(pack.pick(references), torch.float32),
        entropy=result.entropy,
        advantages=tensor(pack.pick([row.advantages for row in pack.rows]), torch.float32),
        weight=tensor(np.repeat(weights, counts), torch.float32),
        sampled=tensor(pack.pick([row.sampled for row in pack.rows]), torch.bool),
        trajectory=tensor(np.repeat([row.trajectory for row in pack.rows], counts), torch.int64),
        turn=tensor(pack.pick([row.turn for row in pack.rows]), torch.int64),
    )


def _logprobs(
    logits: torch.Tensor, labels: torch.Tensor, sampling: Sampling, want_entropy: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """[K] and perhaps [K] from logits [K, V], in float32."""
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
    if not want_entropy:
        return logprobs, None
    distribution = torch.log_softmax(logits, -1)
    return logprobs, entropy(distribution, distribution.exp())


def _filtered(logits: torch.Tensor, labels: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """bool [K, V], what the filters remove. A sampled token stays, also where the weights have moved since."""
    removed = torch.isneginf(log_distribution(logits, 1.0, sampling.top_p, sampling.top_k))
    return removed.scatter_(-1, labels[:, None], False)
