"""Optimizer: AdamW or Muon over the trainable parameters, with schedule, gradient clipping and float32 masters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from agentrl import ConfigError, PolicyFault
from agentrl_plugins.trainers.workers import Workers

_Convolution = torch.nn.modules.conv._ConvNd
_LANES = 4  # Muon's matrices are dealt out to so many optimisers, which workers step side by side


Kind = Literal["adamw", "muon"]
Course = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class Rates:
    """How far a step goes."""

    learning_rate: float
    matrix_learning_rate: float
    weight_decay: float
    betas: tuple[float, float]
    clip_norm: float | None

    def __post_init__(self) -> None:
        """Raises ConfigError for a rate or norm that is not above 0."""
        names = ("learning_rate", "matrix_learning_rate", "clip_norm")
        check_positive({name: getattr(self, name) for name in names})


def check_positive(settings: Mapping[str, float | None]) -> None:
    """Raises ConfigError naming the first that is given and not above 0."""
    for name, value in settings.items():
        if value is not None and value <= 0:
            raise ConfigError(f"trainer 'packed': {name} = {value}; it must be above 0")


@dataclass(frozen=True)
class Schedule:
    """Share of the learning rate over time, which is counted in updates and runs on inside them.

    torch's schedulers count steps; how many an update has depends here on what was played (`minibatch_tokens`, rows that
    cannot move the weights), so that a course over updates cannot be given to them beforehand.
    """

    kind: Course
    warmup_updates: float
    total_updates: int | None

    def __post_init__(self) -> None:
        """Raises ConfigError for a schedule that never ends."""
        if self.kind != "constant" and self.total_updates is None:
            raise ConfigError(
                f"schedule {self.kind!r} ends at total_updates, which is missing; give the number of updates of the stage"
            )

    def share(self, begin: float, end: float) -> float:
        """For a step from `begin` to `end`, as 2.5 to 3.0 for the second of two steps in the third update.

        >>> [Schedule("linear", 1.0, 5).share(t, t + 0.5) for t in (0.0, 0.5, 1.0, 2.0, 4.5, 9.0)]
        [0.5, 1.0, 1.0, 0.75, 0.125, 0.0]

        A stage that ends with its warm-up does not decay:

        >>> [Schedule("linear", 2.0, 2).share(t, t + 0.5) for t in (0.0, 1.5)]
        [0.25, 1.0]
        """
        if end < self.warmup_updates:
            return end / self.warmup_updates
        if self.kind == "constant" or self.total_updates is None:
            return 1.0
        decay = self.total_updates - self.warmup_updates
        rest = min(1.0, max(0.0, (begin - self.warmup_updates) / decay)) if decay > 0 else 0.0
        return 1 - rest if self.kind == "linear" else (1 + math.cos(math.pi * rest)) / 2


class Optimizer:
    """Steps the trainable parameters of a module.

    Weights that are not float32 are stepped on a float32 copy, because a learning rate of 1e-6 is lost in bfloat16.
    Matrices decay, vectors do not.
    """

    def __init__(self, module: torch.nn.Module, base: Any, kind: Kind, rates: Rates, schedule: Schedule) -> None:
        """`base`: the transformers model, which knows its embeddings (they and vectors take AdamW, not Muon)."""
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._masters = [_master(parameter) for parameter in self.parameters]
        self._rates, self._schedule = rates, schedule
        pairs = list(zip(self._masters, self.parameters, strict=True))
        matrices = _inner_matrices(module, base) if kind == "muon" else set()
        others = [master for master, parameter in pairs if id(parameter) not in matrices]
        self._slices = [piece for master, own in pairs if id(own) in matrices for piece in _slices(master)]
        groups = [
            {"params": [master for master in others if master.ndim > 1], "weight_decay": rates.weight_decay},
            {"params": [master for master in others if master.ndim <= 1], "weight_decay": 0.0},
        ]
        self._parts: list[tuple[torch.optim.Optimizer, float]] = []
        if others:
            fused = others[0].device.type in ("cpu", "cuda")
            groups = [group for group in groups if group["params"]]
            rate = rates.learning_rate
            self._parts.append((torch.optim.AdamW(groups, rate, rates.betas, fused=fused), rate))
        for lane in filter(None, (self._slices[lane::_LANES] for lane in range(_LANES))):
            rate = rates.matrix_learning_rate
            self._parts.append((torch.optim.Muon([piece.weight for piece in lane], rate, rates.weight_decay), rate))

    def zeros(self) -> list[torch.Tensor]:
        """Float32 sums for the gradients of one minibatch."""
        return [torch.zeros_like(master) for master in self._masters]

    def step(
        self, gradients: Sequence[torch.Tensor], begin: float, end: float, workers: Workers
    ) -> tuple[float, float]:
        """Clip and step, in the schedule from `begin` to `end`; the norm before clipping and the learning rate.

        Raises PolicyFault, and changes nothing, where a gradient is not finite.
        """
        norm = float(torch.nn.utils.get_total_norm(gradients))
        if not math.isfinite(norm):
            raise PolicyFault(
                f"the gradient is not finite (norm {norm}); nothing was changed by this step. A smaller learning rate, "
                "clip_norm or float32 weights usually help; the last checkpoint is whole."
            )
        if self._rates.clip_norm and norm > self._rates.clip_norm:
            for gradient in gradients:
                gradient.mul_(self._rates.clip_norm / norm)
        share = self._schedule.share(begin, end)
        self._give(gradients)
        for optimizer, rate in self._parts:
            for group in optimizer.param_groups:
                group["lr"] = rate * share
        for _ in workers.map(lambda part: part[0].step(), self._parts):
            pass
        self._give([None] * len(self._masters))
        with torch.no_grad():
            for parameter, master in zip(self.parameters, self._masters, strict=True):
                if master is not parameter:
                    parameter.copy_(master)
        return norm, self._rates.learning_rate * share

    def _give(self, gradients: Sequence[torch.Tensor | None]) -> None:
        for master, gradient in zip(self._masters, gradients, strict=True):
            master.grad = gradient
        for piece in self._slices:
            piece.take_gradient()

    def state(self) -> dict[str, Any]:
        """Everything but the weights themselves, as tensors and plain data."""
        copies = [
            None if master is parameter else master.detach()
            for parameter, master in zip(self.parameters, self._masters, strict=True)
        ]
        return {
            "parts": [optimizer.state_dict() for optimizer, _ in self._parts],
            "masters": copies,
            "shapes": self._shapes(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Raises ValueError or KeyError where the state is of another optimiser or model."""
        parts, masters = state["parts"], state["masters"]
        if state["shapes"] != self._shapes() or len(parts) != len(self._parts):
            raise ValueError("other parameters or another optimiser")
        for (optimizer, _), own in zip(self._parts, parts, strict=True):
            optimizer.load_state_dict(own)
        with torch.no_grad():
            for master, copy in zip(self._masters, masters, strict=True):
                if copy is not None:
                    master.copy_(copy)

    def _shapes(self) -> list[list[int]]:
        return [list(parameter.shape) for parameter in self.parameters]


@dataclass(frozen=True, eq=False)
class _Slice:
    """A matrix that Muon steps: a whole weight, or one expert's of a weight [E, …, …] that holds those of all."""

    weight: torch.nn.Parameter  # shares the memory of `whole`
    whole: torch.nn.Parameter
    expert: int | None

    def take_gradient(self) -> None:
        gradient = self.whole.grad
        self.weight.grad = gradient if gradient is None or self.expert is None else gradient[self.expert]


def _slices(master: torch.nn.Parameter) -> list[_Slice]:
    if master.ndim == 2:
        return [_Slice(master, master, None)]
    return [_Slice(torch.nn.Parameter(matrix), master, expert) for expert, matrix in enumerate(master.detach())]


def _inner_matrices(module: torch.nn.Module, base: Any) -> set[int]:
    """Ids of the weights that are matrices, or hold one for each expert; not embeddings, convolutions, experts' biases."""
    ends = {id(layer.weight) for layer in (base.get_input_embeddings(), base.get_output_embeddings()) if layer}
    return {
        id(parameter)
        for layer in module.modules()
        for name, parameter in layer.named_parameters(recurse=False)
        if parameter.ndim == 2 or (parameter.ndim == 3 and min(parameter.shape[1:]) > 1)
        if id(parameter) not in ends and not name.endswith("bias") and not isinstance(layer, _Convolution)
    }


def _master(parameter: torch.nn.Parameter) -> torch.nn.Parameter:
    if parameter.dtype == torch.float32:
        return parameter
    return torch.nn.Parameter(parameter.detach().float())
