"""Tally: adds up what the micro-batches and steps of one update measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from agentrl import LossBatch, PolicyFault
from agentrl_plugins.trainers.scoring import Extra, Pack, Scored


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
    fresh_gaps: tuple[float, int]  # sum and number, of those that the present weights sampled


def measures(pack: Pack, batch: LossBatch, result: Scored, extras: Sequence[Extra]) -> dict[str, Any]:
    """All of a Piece that does not come out of the loss."""
    gaps = (batch.logprobs.detach() - batch.behaviour).abs()
    own = gaps[batch.sampled]
    fresh = torch.from_numpy(pack.pick([extra.fresh for extra in extras])).to(gaps.device)
    fresh_gaps = gaps[fresh & batch.sampled & (batch.behaviour != 0)]  # demonstrations have 0
    return {
        "weight": float(batch.weight.sum()),
        "tokens": len(pack.ids),
        "cells": result.cells,
        "gaps": (float(own.sum()), float(own.max()), len(own)),
        "scored": int((batch.sampled & (batch.weight > 0)).sum()),
        "fresh_gaps": (float(fresh_gaps.sum()), len(fresh_gaps)),
    }


class Tally:
    """Metrics of one update. Those of the loss are means over the tokens that were computed, by their weight."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._largest: dict[str, float] = {}
        self._loss = self._weight = self._norm = self._rate = 0.0
        self._tokens = self._cells = self._steps = 0
        self.scored = 0
        self._gap_sum, self._gap_max, self._gap_count = 0.0, 0.0, 0
        self._fresh_sum, self._fresh_count = 0.0, 0

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
            self._fresh_sum += piece.fresh_gaps[0]
            self._fresh_count += piece.fresh_gaps[1]

    def check_gap(self, bound: float) -> None:
        """Raises PolicyFault where engine and trainer disagree, before the first step, by more than a bound on average.

        Tokens that older weights sampled and those of demonstrations are left out.
        """
        gap = self._fresh_sum / max(1, self._fresh_count)
        if gap > bound:
            raise PolicyFault(
                f"log-probs of the trainer and of the engine differ by {gap:.3g} nats per token on average (largest "
                f"{self._gap_max:.3g}), and {bound:g} are allowed: what is trained is not what was sampled. Nothing was changed "
                "by this update. An engine with other weights or settings does this, or a model that it computes otherwise; "
                "max_logprob_gap of the trainer is the bound."
            )

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
