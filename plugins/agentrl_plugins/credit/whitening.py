"""Whitening of an update: numbers of trajectories, each counted as often as it has tokens, or once."""

from __future__ import annotations

from typing import Literal

import numpy as np

import agentrl


def whitened(
    values: agentrl.Floats, counts: agentrl.Floats, *, ddof: int, epsilon: float, how: Literal["shift", "scale", "none"]
) -> agentrl.Floats:
    """[N]: (values - mean) / (deviation + epsilon), each value counted `counts` times. Equal values shift to 0.

    `scale` divides only. The order of the values changes nothing, to the last bit.

    >>> whitened(np.array([2.0, 0.0]), np.array([1.0, 1.0]), ddof=0, epsilon=0.0, how="shift").tolist()
    [1.0, -1.0]
    """
    if how == "none" or not len(values):
        return values
    order = np.lexsort((counts, values))
    sorted_values, sorted_counts = values[order], counts[order]
    total = sorted_counts.sum()
    mean = sorted_values[0] + ((sorted_values - sorted_values[0]) * sorted_counts).sum() / max(total, 1.0)
    squares = ((sorted_values - mean) ** 2 * sorted_counts).sum()
    deviation = np.sqrt(squares / max(total - ddof, 1.0))
    if deviation <= 1e-12 * np.abs(values).max():
        return values if how == "scale" else np.zeros(len(values))
    return np.asarray((values - mean if how == "shift" else values) / (deviation + epsilon), np.float64)
