"""Ragged forward: many sequences through any Hugging Face decoder as one flat batch, without padding tokens.

For a trainer:

    use_ragged_attention(module)                                 # once, after loading (LanguageModel has done it)
    logits = ragged_logits(module, sequences, keep)              # [K, V], with gradient

`sequences` are int arrays of token ids [L_i]; `keep` is one bool mask per sequence [L_i] (or one flat mask [N]). The
logits at position t predict token t + 1, so to score token t set `keep[t - 1]`. The K kept positions come back in
flat order: sequence by sequence, position by position. The output head runs on kept positions only; linear layers see
the N real tokens and nothing else; inside attention the tokens are put into right-padded rows of similar length.

Models of transformers that read `ALL_ATTENTION_FUNCTIONS` and do nothing else between tokens work (Llama, Mistral,
Qwen2, Qwen3 …); `forward_check.py` finds out which, and `passes.py` sends the others another way. A call without a plan
is the library's own SDPA attention, so `module.generate` and plain forwards behave as always.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from agentrl import ConfigError, DataError

NAME = "agentrl_ragged"
_WITHOUT_EFFECT = frozenset(
    {
        "is_causal",
        "position_ids",
        "use_cache",
        "logits_to_keep",
        "output_hidden_states",
        "output_attentions",
        "output_router_logits",
        "return_dict",
    }
)
"""Of what models hand to their attention: what changes no number of it, or is read above."""


class Plan(Protocol):
    """How the tokens of one flat batch see each other; handed to the forward pass as `ragged=plan`."""

    @property
    def longest(self) -> int:
        """Length of the longest sequence, its past included."""
        ...

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, dropout: float
    ) -> torch.Tensor:
        """Query [N, H, D] and keys, values [N, H_kv, D] of the flat tokens; returns [N, H, D]."""
        ...


def use_ragged_attention(module: torch.nn.Module) -> None:
    """Make the attention of a Hugging Face causal LM take plans. Raises ConfigError where the architecture cannot."""
    try:
        module.set_attn_implementation(NAME)  # type: ignore[operator]
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            f"{type(module).__name__} does not take an attention function of ours ({error}); "
            "use a decoder of transformers that supports attention backends, such as Qwen3, Llama or Mistral."
        ) from error


def ragged_logits(
    module: torch.nn.Module,
    sequences: Sequence[NDArray[Any]],
    keep: Sequence[NDArray[np.bool_]] | NDArray[np.bool_],
) -> torch.Tensor:
    """Logits [K, V] at the kept positions of several independent sequences, differentiable (see the module's text).

    Raises DataError for an empty sequence or a mask of another length.
    """
    device = next(module.parameters()).device
    flat = np.concatenate(list(sequences)).astype(np.int64)
    mask = np.concatenate(list(keep)) if isinstance(keep, (list, tuple)) else np.asarray(keep)
    if mask.shape != flat.shape:
        raise DataError(f"the keep mask has {mask.shape} entries for {flat.shape} tokens; give one bool per token")
    plan = CausalRows.of([len(sequence) for sequence in sequences], device)
    positions = np.concatenate([np.arange(len(sequence)) for sequence in sequences])
    return flat_logits(module, plan, flat, positions, np.flatnonzero(mask))


def flat_logits(
    module: torch.nn.Module, plan: Plan, ids: NDArray[Any], positions: NDArray[Any], kept: NDArray[Any]
) -> torch.Tensor:
    """One forward pass over flat tokens `ids` [N] at `positions` [N]; logits [K, V] of the flat indices `kept` [K].

    Raises ConfigError where the module does not ask the plan exactly once for each layer.
    """
    return flat_forward(module, plan, ids, positions, kept)[0]


def flat_forward(
    module: torch.nn.Module,
    plan: Plan,
    ids: NDArray[Any],
    positions: NDArray[Any],
    kept: NDArray[Any],
    *,
    hidden: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """`flat_logits`, and with `hidden` the last hidden states [K, D] of the same indices."""
    device = next(module.parameters()).device
    packed = torch.from_numpy(np.concatenate([ids, positions, kept]).astype(np.int64)).to(device, non_blocking=True)
    count = len(ids)
    once = _OncePerLayer(plan)
    out = module(
        input_ids=packed[None, :count],
        position_ids=packed[None, count : 2 * count],
        attention_mask=_no_mask(device),
        use_cache=False,
        logits_to_keep=packed[2 * count :],
        ragged=once,
        **({"output_hidden_states": True} if hidden else {}),
    )
    once.finish()
    logits: torch.Tensor = out.logits[0]
    if len(logits) != len(kept):  # a model that does not know logits_to_keep
        logits = logits[packed[2 * count :]]
    return logits, out.hidden_states[-1][0][packed[2 * count :]] if hidden else None


class _OncePerLayer:
    """A plan, and a watch over the module: each layer asks once, or the pass is not what was planned."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self.longest = plan, plan.longest
        self._layers: set[int] = set()
        self._under_way = True  # a layer that is checkpointed asks again in the backward pass, rightly

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, dropout: float
    ) -> torch.Tensor:
        if self._under_way and layer in self._layers:
            raise ConfigError(f"layer {layer} attends twice in one pass, but keeps one set of keys and values")
        self._layers.add(layer)
        return self._plan.attend(layer, query, key, value, scale, dropout)

    def finish(self) -> None:
        self._under_way = False
        if not self._layers:
            raise ConfigError("no layer uses the attention that it is given, so tokens of other sequences are seen")
        if self._layers != set(range(len(self._layers))):
            raise ConfigError(f"of all layers only {', '.join(map(str, sorted(self._layers)))} use attention")


@contextmanager
def local_sizes() -> Iterator[set[int]]:
    """Fills with the sizes of all windows and chunks that the library masks for inside; long before a sequence meets one."""
    sizes: set[int] = set()
    token = _LOCAL_SIZES.set(sizes)
    try:
        yield sizes
    finally:
        _LOCAL_SIZES.reset(token)


@dataclass(frozen=True, eq=False)
class CausalRows:
    """Plan without a cache: every sequence attends causally to itself. Padding is on the right, so no mask is needed.

    Values may be wider or narrower than keys.
    """

    buckets: tuple[torch.Tensor, ...]  # int64 [R, L] each: flat index of every cell, 0 where padded
    inverse: torch.Tensor  # int64 [N], cell of each token in the concatenated buckets
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> CausalRows:
        """Raises DataError for an empty sequence."""
        sizes = np.asarray(lengths, np.int64)
        if not len(sizes) or sizes.min() < 1:
            raise DataError(f"sequences of lengths {list(lengths)}: each needs at least one token")
        starts = np.cumsum(sizes) - sizes
        inverse = np.empty(int(sizes.sum()), np.int64)
        found, cells = [], 0
        for members in buckets(sizes):
            width = int(sizes[members[0]])
            steps = np.arange(width)
            real = steps < sizes[members, None]  # [R, L]
            index = np.where(real, starts[members, None] + steps, 0)
            inverse[index[real]] = cells + np.flatnonzero(real)
            cells += real.size
            found.append(torch.from_numpy(index).to(device))
        return cls(tuple(found), torch.from_numpy(inverse).to(device), int(sizes.max()))

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, dropout: float
    ) -> torch.Tensor:
        grouped = query.shape[1] != key.shape[1]
        outs = []
        for index in self.buckets:
            out = scaled_dot_product_attention(
                query[index].transpose(1, 2),  # [R, H, L, D]
                key[index].transpose(1, 2),
                value[index].transpose(1, 2),
                dropout_p=dropout,
                is_causal=True,
                scale=scale,
                enable_gqa=grouped,
            )
            outs.append(out.transpose(1, 2).flatten(0, 1))  # [R * L, H, D]
        return torch.cat(outs)[self.inverse] if len(outs) > 1 else outs[0][self.inverse]


def buckets(sizes: NDArray[np.int64], shortest: float = 0.7) -> list[NDArray[np.int64]]:
    """Members of each bucket, longest first; one shorter than `shortest` × its bucket's longest opens the next."""
    order = np.argsort(-sizes, kind="stable")
    found, begin = [], 0
    for place in range(1, len(order) + 1):
        if place == len(order) or sizes[order[place]] < shortest * sizes[order[begin]]:
            found.append(order[begin:place])
            begin = place
    return found


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,  # [1, H, N, D]
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    ragged: Plan | None = None,
    **kwargs: Any,  # the library's interface: every model hands over what it likes
) -> tuple[torch.Tensor, None]:
    if ragged is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    if sliding_window is not None and ragged.longest > sliding_window:
        raise ConfigError(
            f"a sequence of {ragged.longest} tokens does not fit into the sliding window of {sliding_window} of this model; "
            "set max_context to at most that."
        )
    _refuse_unread(kwargs)
    out = ragged.attend(
        module.layer_idx,  # type: ignore[arg-type]
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        query.shape[-1] ** -0.5 if scaling is None else scaling,
        dropout,
    )
    return out[None], None


def _refuse_unread(arguments: dict[str, Any]) -> None:
    """Raises ConfigError for whatever a model hands to its attention that a plan does not read."""
    if arguments.get("is_causal") is False:
        raise ConfigError("its attention is not causal")
    unread = sorted(name for name, value in arguments.items() if value is not None and name not in _WITHOUT_EFFECT)
    if unread:
        raise ConfigError(f"its attention takes {', '.join(unread)}, which packed sequences do not have")


def _mask(**settings: Any) -> torch.Tensor | None:
    """The library's own, for calls without a plan."""
    sizes, size = _LOCAL_SIZES.get(), settings.get("local_size")
    if sizes is not None and size is not None:
        sizes.add(int(size))
    return sdpa_mask(**settings)


def _no_mask(device: torch.device) -> torch.Tensor:
    """A four-dimensional mask is passed through by the models of the library, so none is built; plans do not read it.

    A model that reads it nevertheless adds zeros, and is found out because it then sees every token.
    """
    if device not in _NO_MASK:
        _NO_MASK[device] = torch.zeros(1, 1, 1, 1, device=device)
    return _NO_MASK[device]


_NO_MASK: dict[torch.device, torch.Tensor] = {}
_LOCAL_SIZES: ContextVar[set[int] | None] = ContextVar("local_sizes", default=None)
AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, _mask)
