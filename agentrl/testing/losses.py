"""The kit for losses: gradients that are what they claim, however the batch is cut."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from agentrl.data.columns import COLUMNS, Column
from agentrl.data.types import Metrics
from agentrl.parts.learning import Loss, LossBatch
from agentrl.testing.report import CheckSkipped, Report, checks_of, gate, require, run_checks

if TYPE_CHECKING:
    import torch

TOKENS = 48
TOP = 4
KNOWN = frozenset({"reference", "old", "entropy", "behaviour"})
"""What a loss may need besides columns."""


def check_loss(make: Callable[[], Loss], *, name: str = "?", columns: Mapping[str, Column] = COLUMNS) -> Report:
    """Put a loss through the kit; `columns`: those that it may need."""
    return run_checks("loss", name, checks_of(_LossKit(make, columns)))


class _LossKit:
    def __init__(self, make: Callable[[], Loss], columns: Mapping[str, Column]) -> None:
        self._make, self._columns = make, columns

    def _batch(self) -> LossBatch:
        """A whole minibatch with everything that a loss may be given, needed or not."""
        return _sample(self._make(), self._columns)

    def _gradient(self, batch: LossBatch, loss: Loss | None = None) -> torch.Tensor:
        value, _ = (loss or self._make())(batch)
        return _gradient(value, batch)

    @gate
    def it_says_what_it_is(self) -> str:
        loss = self._make()
        allowed: Mapping[str, tuple[object, ...]] = {
            "aggregation": ("token", "trajectory", "task"),
            "scope": ("sampled", "all"),
            "unit": ("token", "row", "trajectory"),
            "skips_zero": (True, False),
        }
        for name, words in allowed.items():
            value = getattr(loss, name)
            require(value in words, f"{name} = {value!r}; allowed are {', '.join(map(repr, words))}")
        require(isinstance(loss.needs, frozenset), f"needs = {loss.needs!r}; it is a frozenset of names")
        for need in loss.needs:
            column = need.removeprefix("top:")
            known = column in self._columns or need in KNOWN
            require(known, f"it needs {need!r}, which is neither {', '.join(sorted(KNOWN))} nor a declared column")
        return f"needs {', '.join(sorted(loss.needs)) or 'nothing'}; unit {loss.unit}"

    @gate
    def it_gives_a_finite_scalar_and_metrics(self) -> str:
        import torch

        batch = self._batch()
        result = self._make()(batch)
        require(isinstance(result, tuple) and len(result) == 2, f"it gave {result!r}; it gives (loss, metrics)")
        value, metrics = result
        fits = isinstance(value, torch.Tensor) and value.ndim == 0 and value.requires_grad
        require(fits, f"the loss is {value!r}; it is a scalar tensor with a gradient")
        require(math.isfinite(float(value.detach())), f"the loss is {float(value.detach())}")
        require(isinstance(metrics, Mapping), f"the metrics are {metrics!r}; they are numbers by name")
        for name, number in metrics.items():
            plain = isinstance(number, (int, float)) and math.isfinite(number)
            require(plain, f"the metric {name!r} is {number!r}; it is a plain, finite number (`float(tensor)`)")
        gradient = _gradient(value, batch)
        require(bool(torch.isfinite(gradient).all()), "the gradient of the loss is not finite")
        return ", ".join(metrics)

    def what_it_does_not_need_may_be_missing(self) -> None:
        import torch

        loss, full = self._make(), self._batch()
        missing = torch.full_like(full.behaviour, math.nan)
        wanted = {need.removeprefix("top:") for need in loss.needs}
        bare = dataclasses.replace(
            full,
            behaviour=full.behaviour if "behaviour" in loss.needs else missing,
            reference=full.reference if "reference" in loss.needs else None,
            entropy=full.entropy if "entropy" in loss.needs else None,
            columns={name: value for name, value in full.columns.items() if name in wanted},
            top_logprobs=full.top_logprobs if any(need.startswith("top:") for need in loss.needs) else None,
        )
        value, _ = loss(bare)
        require(
            math.isfinite(float(value.detach())), "without what it does not declare in `needs` the loss is not finite"
        )
        same = torch.equal(_gradient(value, bare), self._gradient(full))
        require(same, "what it does not declare in `needs` changes its gradient")

    def micro_batches_change_nothing(self) -> None:
        import torch

        batch, loss = self._batch(), self._make()
        whole, gradient = loss(batch)[0], self._gradient(batch)
        total = torch.zeros(())
        parts = torch.zeros_like(gradient)
        for kept in _cuts(batch, loss.unit):
            part = _part(batch, kept)
            total = total + loss(part)[0].detach()
            parts[kept] += self._gradient(part)
        close = torch.allclose(total, whole.detach(), rtol=1e-4, atol=1e-6)
        require(
            close,
            f"the loss of the parts adds up to {float(total):.6g}, that of the whole is {float(whole.detach()):.6g}",
        )
        message = f"cut where its unit ({loss.unit}) allows it, the gradient is another one"
        require(torch.allclose(parts, gradient, rtol=1e-4, atol=1e-7), message)

    def metrics_add_up(self) -> None:
        batch, loss = self._batch(), self._make()
        whole, total = loss(batch)[1], Metrics()
        for kept in _cuts(batch, loss.unit):
            for name, value in loss(_part(batch, kept))[1].items():
                largest = name.endswith("_max")
                total[name] = max(value, total.get(name, value)) if largest else total.get(name, 0.0) + value
        for name, value in whole.items():
            close = math.isclose(value, total[name], rel_tol=1e-4, abs_tol=1e-6)
            require(
                close,
                f"{name!r} is {value:.6g} of the whole, and of its parts {total[name]:.6g}; give Σ weight · value",
            )

    def weights_are_factors(self) -> None:
        import torch

        batch = self._batch()
        doubled = self._gradient(dataclasses.replace(batch, weight=2 * batch.weight))
        close = torch.allclose(doubled, 2 * self._gradient(batch), rtol=1e-4, atol=1e-7)
        require(close, "twice the weight is not twice the gradient; the loss is Σ weight · token loss, without a mean")

    def the_gradient_is_finite_for_extreme_ratios(self) -> None:
        import torch

        for low, high in ((-1e-4, -400.0), (-400.0, -1e-4)):
            batch = self._batch()
            pushed = dataclasses.replace(
                batch,
                logprobs=torch.full_like(batch.logprobs, low).requires_grad_(),
                behaviour=torch.full_like(batch.behaviour, high),
                reference=torch.full_like(batch.behaviour, high),
                columns={name: torch.full_like(v, high) if name == "old" else v for name, v in batch.columns.items()},
            )
            finite = bool(torch.isfinite(self._gradient(pushed)).all())
            require(
                finite,
                f"with log-probs of {low:g} now and {high:g} then, the gradient is not finite; clamp the log-ratio",
            )

    def advantages_of_zero_have_no_gradient(self) -> None:
        import torch

        loss = self._make()
        if not loss.skips_zero:
            raise CheckSkipped("it does not say that it skips rows whose advantages are all 0")
        batch = self._batch()
        idle = dataclasses.replace(batch, advantages=torch.zeros_like(batch.advantages))
        largest = float(self._gradient(idle).abs().max())
        require(largest == 0, f"skips_zero = True, and with advantages of 0 its gradient is up to {largest:.3g}")

    def at_ratio_one_it_is_the_policy_gradient(self) -> None:
        import torch

        loss = self._make()
        if "behaviour" not in loss.needs:
            raise CheckSkipped("it takes no ratio to the policy that played")
        batch = _constant_in_rows(self._batch())
        now = batch.logprobs.detach().clone()
        batch = dataclasses.replace(batch, behaviour=now, reference=now, columns={**batch.columns, "old": now})
        idle = dataclasses.replace(batch, advantages=torch.zeros_like(batch.advantages))
        wanted = torch.where(batch.sampled, -batch.weight * batch.advantages, torch.zeros_like(batch.weight))
        # What does not depend on advantages (a pull towards a reference, cloning beside) is no part of the claim.
        gradient = (self._gradient(batch) - self._gradient(idle))[:, 0]
        worst = int((gradient - wanted).abs().argmax())
        require(
            torch.allclose(gradient, wanted, rtol=1e-4, atol=1e-7),
            f"where both policies agree, the advantages give a token the gradient {float(gradient[worst]):.4g}, and "
            f"−weight · advantage is {float(wanted[worst]):.4g}",
        )

    def a_second_call_gives_the_same(self) -> None:
        import torch

        loss, batch = self._make(), self._batch()
        one, two = (self._gradient(batch, loss) for _ in range(2))
        require(torch.equal(one, two), "the same batch has another gradient the second time")

    def its_batch_stays_as_it_was(self) -> None:
        import torch

        batch = self._batch()
        tensors = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
        tensors |= dict(tensors.pop("columns"))
        before = {name: tensor.detach().clone() for name, tensor in tensors.items() if tensor is not None}
        self._make()(batch)
        for name, value in before.items():
            require(torch.equal(value, tensors[name].detach()), f"it changes `{name}` of its batch in place")


def _gradient(value: torch.Tensor, batch: LossBatch) -> torch.Tensor:
    """[N, 2 + k], with respect to the log-probs of the tokens, their entropy, and the log-probs of alternatives."""
    import torch

    inputs = [tensor for tensor in (batch.logprobs, batch.entropy, batch.top_logprobs) if tensor is not None]
    gradients = iter(torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True))
    widths = ((batch.logprobs, 1), (batch.entropy, 1), (batch.top_logprobs, TOP))
    parts = [
        next(gradients).reshape(-1, width) if tensor is not None else torch.zeros(len(batch.logprobs), width)
        for tensor, width in widths
    ]
    return torch.cat(parts, 1)


def _sample(loss: Loss, columns: Mapping[str, Column]) -> LossBatch:
    """48 tokens: 8 rows of 6, two rows per trajectory, two trajectories per group; a third of them nobody sampled."""
    import torch

    random = torch.Generator().manual_seed(3)
    row = torch.arange(TOKENS) // 6
    sampled = torch.arange(TOKENS) % 3 != 0 if loss.scope == "all" else torch.ones(TOKENS, dtype=torch.bool)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    logprobs = -normal(TOKENS).abs() - 0.1
    return LossBatch(
        logprobs=logprobs.clone().requires_grad_(),
        behaviour=torch.where(sampled, logprobs + 0.3 * normal(TOKENS), torch.zeros(TOKENS)),
        reference=logprobs + 0.3 * normal(TOKENS),
        entropy=normal(TOKENS).abs().requires_grad_(),
        advantages=torch.where(sampled, normal(TOKENS), torch.zeros(TOKENS)),
        weight=(0.5 + torch.rand(TOKENS, generator=random)) / TOKENS,
        sampled=sampled,
        trajectory=row // 2,
        turn=torch.where(sampled, torch.arange(TOKENS) // 3 % 4, torch.full((TOKENS,), -1)),
        row=row,
        group=row // 4,
        columns={
            name: _column(column, random) for name, column in columns.items() if column.dtype not in ("text", "json")
        }
        | {"old": logprobs + 0.1 * normal(TOKENS)},
        top_logprobs=(-normal(TOKENS, TOP).abs() - 1.0).requires_grad_(),
    )


def _column(column: Column, random: torch.Generator) -> torch.Tensor:
    import torch

    shape = (TOKENS, *(TOP if size < 0 else size for size in column.shape))
    if column.dtype == "bool":
        return torch.zeros(shape, dtype=torch.bool)
    if column.dtype.startswith("int"):
        return torch.randint(0, 50, shape, generator=random, dtype=getattr(torch, column.dtype))
    return torch.randn(shape, generator=random, dtype=getattr(torch, column.dtype)) - 1.0


def _constant_in_rows(batch: LossBatch) -> LossBatch:
    """One weight and one advantage in each row, so that a ratio of whole rows means the same as one of tokens."""
    first = batch.row * 6 + 1
    return dataclasses.replace(
        batch,
        weight=batch.weight[first],
        advantages=batch.advantages[first] * batch.sampled,
    )


def _cuts(batch: LossBatch, unit: str) -> Iterator[torch.Tensor]:
    """bool [N] for each of three micro-batches, cut where the unit allows it."""
    import torch

    of = {"token": torch.arange(TOKENS), "row": batch.row, "trajectory": batch.trajectory}[unit]
    part = of * 3 // (int(of.max()) + 1)
    for number in range(3):
        yield part == number


def _part(batch: LossBatch, kept: torch.Tensor) -> LossBatch:
    """Some tokens of a batch, as a micro-batch of their own: rows are numbered anew."""
    import torch

    def cut(tensor: torch.Tensor | None) -> torch.Tensor | None:
        if tensor is None:
            return None
        return tensor.detach()[kept].requires_grad_(tensor.requires_grad)

    fields = {f.name: cut(getattr(batch, f.name)) for f in dataclasses.fields(batch) if f.name != "columns"}
    fields["row"] = torch.unique(batch.row[kept], return_inverse=True)[1]
    columns = {name: value[kept] for name, value in batch.columns.items()}
    return LossBatch(**fields, columns=columns)  # type: ignore[arg-type]
