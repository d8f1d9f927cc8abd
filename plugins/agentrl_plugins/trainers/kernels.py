"""Kernels: forms of causal attention and RMSNorm whose backward pass is fast on a CPU, for float32 weights."""

from __future__ import annotations

import math
import types
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from agentrl_plugins.models.ragged import CausalRows

_BLOCK = 64  # queries at a time; those of one block skip every key that comes after it
_KEPT = 8 * 2**20  # attention weights that one layer may keep for the backward pass, 32 MiB
_aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class BlockCausal(CausalRows):
    """A plan whose attention is a few matrix products per block of queries, with its own backward pass.

    On one core it takes 0.7 of the time of torch's fused attention, forward and backward, because those products run
    at full speed and the upper triangle is left out in both directions. It keeps the attention weights, some L / 2 per
    token and head; where that is too much, torch's own attention runs.
    """

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, dropout: float
    ) -> torch.Tensor:
        kept = query.shape[0] * query.shape[1] * self.longest // 2
        if dropout or kept > _KEPT or query.dtype != torch.float32:
            return super().attend(layer, query, key, value, scale, dropout)
        attended: torch.Tensor = _Attention.apply(query, key, value, self, scale)  # type: ignore[no-untyped-call]
        return attended

    @property
    def cells(self) -> int:
        """Tokens and padding that attention computes with."""
        return sum(index.numel() for index in self.buckets)


class _Attention(torch.autograd.Function):
    """Query and key [N, H or H_kv, D], value [N, H_kv, E] → [N, H, E]. Heads that share keys are rows of one product."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, plan: BlockCausal, scale: float
    ) -> torch.Tensor:
        outs, saved = [], []
        for index in plan.buckets:
            keys = _rows(key, index)  # [R * H_kv, L, D]
            values = _rows(value, index)  # [R * H_kv, L, E]
            queries = _heads(query, index, key.shape[1]).mul(scale)  # [R, H_kv, G, L, D]
            out = query.new_empty(*index.shape, query.shape[1], value.shape[2])  # [R, L, H, E]
            saved += [keys, values, *_attend(queries, keys, values, _by_head(out, key.shape[1]))]
            outs.append(out.flatten(0, 1))
        ctx.save_for_backward(*saved)
        ctx.plan, ctx.scale, ctx.shape, ctx.kv_heads = plan, scale, query.shape, key.shape[1]
        return _flat(outs, plan)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        kept = torch.zeros(ctx.plan.cells, 1, 1).index_fill_(0, ctx.plan.inverse, 1.0)  # 0 in padded cells
        sums: tuple[list[torch.Tensor], ...] = ([], [], [])
        masks = torch.tensor_split(kept, np.cumsum([index.numel() for index in ctx.plan.buckets[:-1]]).tolist())
        for index, mask in zip(ctx.plan.buckets, masks, strict=True):
            keys, values = next(saved), next(saved)
            grad_out = _heads(grad, index, ctx.kv_heads, mask)
            grad_query = grad.new_empty(*index.shape, *ctx.shape[1:])  # [R, L, H, D]
            grad_heads = _by_head(grad_query, ctx.kv_heads)
            grad_keys, grad_values = torch.zeros_like(keys), torch.zeros_like(values)
            for begin, end in _blocks(index.shape[1]):
                queries, weights = next(saved), next(saved)
                _attend_back(
                    grad_out[:, :, :, begin:end],
                    (queries, keys[:, :end], values[:, :end], weights),
                    (grad_heads[:, :, :, begin:end], grad_keys[:, :end], grad_values[:, :end]),
                    ctx.scale,
                )
            sums[0].append(grad_query.flatten(0, 1))
            for total, part in zip(sums[1:], (grad_keys, grad_values), strict=True):
                by_row = part.view(-1, ctx.kv_heads, *part.shape[1:])
                total.append(by_row.transpose(1, 2).flatten(0, 1))  # [R * L, H_kv, D]
        return *(_flat(total, ctx.plan) for total in sums), None, None


def _attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, out: torch.Tensor) -> list[torch.Tensor]:
    """Fill `out` [R, H_kv, G, L, E] block by block; the queries and attention weights of every block."""
    saved = []
    hidden = torch.ones(_BLOCK, _BLOCK, dtype=torch.bool).triu(1)
    for begin, end in _blocks(queries.shape[3]):
        size = end - begin
        own = queries[:, :, :, begin:end].reshape(len(keys), -1, keys.shape[-1])  # [R * H_kv, G * block, D]
        scores = torch.bmm(own, keys[:, :end].transpose(1, 2))
        scores.view(len(keys), -1, size, end)[..., begin:].masked_fill_(hidden[:size, :size], -math.inf)
        weights = torch.softmax(scores, -1)
        out[:, :, :, begin:end] = torch.bmm(weights, values[:, :end]).view(*queries.shape[:3], size, -1)
        saved += [own, weights]
    return saved


def _attend_back(
    grad_out: torch.Tensor,  # [R, H_kv, G, block, E]
    saved: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    into: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    scale: float,
) -> None:
    """Write the gradient of one block's queries, and add to those of the keys and values it saw."""
    queries, keys, values, weights = saved
    grad_queries, grad_keys, grad_values = into
    grad_own = grad_out.reshape(*queries.shape[:2], values.shape[-1])  # [R * H_kv, G * block, E]
    grad_weights = torch.bmm(grad_own, values.transpose(1, 2))
    grad_scores = _aten._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
    grad_values.baddbmm_(weights.transpose(1, 2), grad_own)
    grad_keys.baddbmm_(grad_scores.transpose(1, 2), queries)
    grad_queries.copy_(torch.bmm(grad_scores, keys).mul_(scale).view(grad_queries.shape))


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(begin, min(length, begin + _BLOCK)) for begin in range(0, length, _BLOCK)]


def _rows(flat: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """[N, H_kv, D] → [R * H_kv, L, D]."""
    cells = flat.index_select(0, index.flatten()).view(*index.shape, *flat.shape[1:])
    return cells.transpose(1, 2).flatten(0, 1)


def _heads(flat: torch.Tensor, index: torch.Tensor, kv_heads: int, mask: torch.Tensor | None = None) -> torch.Tensor:
    """[N, H, D] → a view [R, H_kv, G, L, D]; cells that `mask` [R * L, 1, 1] has as 0 are cleared."""
    cells = flat.index_select(0, index.flatten())
    if mask is not None:
        cells.mul_(mask)
    return _by_head(cells.view(*index.shape, *flat.shape[1:]), kv_heads)


def _by_head(rows: torch.Tensor, kv_heads: int) -> torch.Tensor:
    """[R, L, H, D] → a view [R, H_kv, G, L, D]."""
    return rows.view(*rows.shape[:2], kv_heads, -1, rows.shape[-1]).permute(0, 2, 3, 1, 4)


def _flat(parts: list[torch.Tensor], plan: CausalRows) -> torch.Tensor:
    return (torch.cat(parts) if len(parts) > 1 else parts[0]).index_select(0, plan.inverse)


class _RMSNorm(torch.autograd.Function):
    """x / rms(x) · weight over the last axis; LayerNorm's fused backward with mean 0, less the mean's own share."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        inverse: torch.Tensor = torch.linalg.vecdot(x, x).div_(x.shape[-1]).add_(epsilon).rsqrt_().unsqueeze(-1)
        ctx.save_for_backward(x, weight, inverse)
        normed = x * inverse
        return normed.mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        grad, size = grad.contiguous(), x.shape[-1]
        zero = torch.zeros_like(inverse)
        grad_x, grad_weight, _ = _aten.native_layer_norm_backward(
            grad, x, (size,), zero, inverse, weight, None, (True, True, False)
        )
        share = torch.mv(grad.view(-1, size), weight).view(inverse.shape).mul_(inverse).div_(size)
        return grad_x.add_(share), grad_weight, None


def speed_up_norms(module: torch.nn.Module) -> int:
    """Give the RMSNorm layers of a float32 CPU model the kernel above, where it has the same numbers; how many it got.

    Only passes that record gradients use it: for a decoding step the layer's own lines are quicker.
    """
    return sum(_speed_up(layer) for layer in module.modules() if type(layer).__name__.endswith("RMSNorm"))


def _speed_up(layer: Any) -> bool:
    weight = getattr(layer, "weight", None)
    if weight is None or weight.dtype != torch.float32 or weight.device.type != "cpu":
        return False
    if not hasattr(layer, "variance_epsilon") or "forward" in vars(layer):
        return False
    x = torch.linspace(-1, 2, 3 * len(weight)).view(3, -1).requires_grad_()
    with torch.enable_grad():
        outs = [form(layer, x) for form in (type(layer).forward, _rms_forward)]
        grads = [torch.autograd.grad(out.square().sum(), x)[0] for out in outs]
    if not torch.allclose(outs[0], outs[1], atol=1e-5) or not torch.allclose(grads[0], grads[1], atol=1e-4):
        return False  # Gemma's, for one, multiplies by 1 + weight
    layer.forward = types.MethodType(_rms_forward, layer)
    return True


def _rms_forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    if not torch.is_grad_enabled() or x.dtype != torch.float32:
        plain: torch.Tensor = type(layer).forward(layer, x)
        return plain
    normed: torch.Tensor = _RMSNorm.apply(x, layer.weight, layer.variance_epsilon)  # type: ignore[no-untyped-call]
    return normed


class _Linear(torch.autograd.Function):
    """x Wᵀ + b in float32, with a backward pass whose products take bfloat16 factors and add up in float32."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return torch.nn.functional.linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = grad_bias = None
        rows = grad.flatten(0, -2)  # [N, out]
        short = rows.bfloat16()
        if ctx.needs_input_grad[0]:
            grad_x = torch.mm(short, weight.bfloat16()).to(x.dtype).view(x.shape)
        if ctx.needs_input_grad[1]:
            grad_weight = torch.mm(short.t(), x.flatten(0, -2).bfloat16()).to(weight.dtype)
        if ctx.needs_input_grad[2]:
            grad_bias = rows.sum(0)
        return grad_x, grad_weight, grad_bias


def set_gradient_products(module: torch.nn.Module, dtype: torch.dtype) -> int:
    """Give the float32 linear layers of a model the backward pass above (bfloat16) or take it back; how many have it.

    The forward pass keeps every bit. A processor with bfloat16 products (AVX512-BF16, AMX) computes the gradient
    faster, to about three digits; one without them gets slower.
    """
    layers = [layer for layer in module.modules() if type(layer) is torch.nn.Linear]
    for layer in layers:
        if "forward" in vars(layer) and vars(layer)["forward"].__func__ is _linear_forward:
            del layer.forward
        if dtype == torch.bfloat16 and layer.weight.dtype == torch.float32 and "forward" not in vars(layer):
            layer.forward = types.MethodType(_linear_forward, layer)  # type: ignore[method-assign]
    return sum("forward" in vars(layer) for layer in layers)


def _linear_forward(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    if not torch.is_grad_enabled():
        return torch.nn.functional.linear(x, layer.weight, layer.bias)
    out: torch.Tensor = _Linear.apply(x, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return out
