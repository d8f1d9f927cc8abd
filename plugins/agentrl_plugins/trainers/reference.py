"""Reference: the weights a trainer started from, kept to measure how far the policy has drifted."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from typing import Any

import torch

from agentrl import Logprobs, Row
from agentrl_plugins.trainers.scoring import score
from agentrl_plugins.trainers.workers import Workers


class Reference:
    """A frozen copy of the weights, or, for a LoRA adapter, the base model with the adapter switched off."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._copy: Any = None if model.lora else copy.deepcopy(model.module).requires_grad_(False)

    def score(self, rows: Sequence[Row], microbatch_tokens: int, workers: Workers) -> list[Logprobs]:
        """Per row float32 [L]: log-probs where sampled, else 0."""
        module = self._model.module if self._copy is None else self._copy
        with self._model.module.disable_adapter() if self._copy is None else contextlib.nullcontext():
            return score(module, rows, microbatch_tokens, workers)

    def state(self) -> dict[str, torch.Tensor]:
        return {} if self._copy is None else dict(self._copy.state_dict())

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Raises RuntimeError where the weights are of another model."""
        if self._copy is not None:
            self._copy.load_state_dict(state)
