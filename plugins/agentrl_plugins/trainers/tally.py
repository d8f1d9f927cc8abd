"""Tally: adds up what the micro-batches and steps of one update measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from agentrl import LossBatch
from agentrl_plugins.trainers.scoring import Pack, Scored


@dataclass(frozen=True, eq=False)
class Piece:
    """What one micro-batch gave."""

    gradients: Sequence[torch.Tensor]
    loss: float
    metrics: Mapping[str, float]  # of the loss
    weight: float  # of all its tokens together
    tokens: int
    cells: int  # tokens and padding inside attention
    gaps: tuple[float, float, int]  # sum, largest and number of |log-prob − behaviour|
    scored: int  # sampled tokens that the loss weighed


def measures(pack: Pack, batch: LossBatch, result: Scored) -> tuple[float, int, int, tuple[float, float, int], int]:
    """`weight`, `tokens`, `cells`, `gaps` and `scored` of a Piece."""
    gaps = (batch.logprobs.detach() - batch.behaviour)[batch.sampled].abs()
    gap = (float(gaps.sum()), float(gaps.max()), len(gaps))
    scored = int((batch.sampled & (batch.weight > 0)).sum())
    return float(batch.weight.sum()), len(pack.ids), result.cells, gap, scored


class Tally:
    """Metrics of one update. Those of the loss are means over the tokens that were computed, by their weight."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._largest: dict[str, float] = {}
        self._loss = self._weight = self._norm = self._rate = 0.0
        self._tokens = self._cells = self._steps = 0
        self.scored = 0
        self._gap_sum, self._gap_max, self._gap_count = 0.0, 0.0, 0

    def add_piece(self, piece: Piece) -> None:
        self._loss += piece.loss
        self._weight += piece.weight
        self._tokens += piece.tokens
        self._cells += piece.cells
        self.scored += piece.scored
        for name, value in piece.metrics.items():
            if name.endswith("_max"):
                self._largest[name] = max(value, self._largest.get(name, value))
            else:
                self._sums[name] += value
        if not self._steps:  # the weights are still those the update began with
            self._gap_sum += piece.gaps[0]
            self._gap_max = max(self._gap_max, piece.gaps[1])
            self._gap_count += piece.gaps[2]

    def add_step(self, norm: float, rate: float) -> None:
        self._steps += 1
        self._norm += norm
        self._rate = rate

    def metrics(self, seconds: float) -> dict[str, float]:
        """Everything under the names that the logs use; `logprob_gap` is from before the first step."""
        steps, weight = max(1, self._steps), self._weight or 1.0
        return {
            "loss": self._loss / steps,
            "grad_norm": self._norm / steps,
            "learning_rate": self._rate,
            "steps": float(self._steps),
            "tokens": float(self._tokens),
            "padding_share": 1 - self._tokens / self._cells if self._cells else 0.0,
            "logprob_gap": self._gap_sum / max(1, self._gap_count),
            "logprob_gap_max": self._gap_max,
            "seconds": seconds,
            "tokens_per_second": self._tokens / seconds,
            **{name: value / weight for name, value in self._sums.items()},
            **self._largest,
        }
