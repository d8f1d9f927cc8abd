"""The distribution tokens are drawn from: temperature and filters, the same for the engine and for a trainer."""

from __future__ import annotations

import torch
from torch.nn.functional import log_softmax


def log_distribution(logits: torch.Tensor, temperature: float, top_p: float = 1.0, top_k: int = 0) -> torch.Tensor:
    """float32 [K, V], differentiable: log-probs after temperature and filters; -inf where a filter removed a token.

    `top_k` keeps the k largest (0 keeps all), then `top_p` the fewest that together hold at least that much. With
    temperature 0 all the mass is on the largest logit.
    """
    logits = logits.float()
    if temperature == 0:
        best = torch.zeros_like(logits, dtype=torch.bool).scatter_(-1, logits.argmax(-1, keepdim=True), True)
        return torch.zeros_like(logits).masked_fill(~best, -torch.inf)
    if temperature != 1:
        logits = logits / temperature
    if 0 < top_k < logits.shape[-1]:
        least = logits.topk(top_k).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1:
        ordered, places = logits.softmax(-1).sort(descending=True, stable=True)
        full_without = ordered.cumsum(-1) - ordered >= top_p
        logits = logits.masked_fill(torch.zeros_like(full_without).scatter(-1, places, full_without), -torch.inf)
    return log_softmax(logits, -1)


def draw(probs: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """int64 [K]: one token per row of `probs` [K, V] by inverse CDF in float64, from `uniforms` float64 [K] in [0, 1).

    A row's token depends on that row alone, and never on a generator of the process.
    """
    cumulative = probs.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1:].contiguous()
    tokens = torch.searchsorted(cumulative, uniforms[:, None] * total, right=True)
    last = torch.searchsorted(cumulative, total)  # the last token with any mass, should rounding overshoot
    return torch.minimum(tokens, last)[:, 0].clamp_max(probs.shape[-1] - 1)  # NaN compares with nothing


def entropy(logprobs: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
    """[K], nats. Removed tokens (-inf) add nothing."""
    return -(probs * logprobs.clamp_min(-1e4)).sum(-1)
