"""Passes: sequences through a module in the way that is right for it, packed together or one in each pass."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from agentrl_plugins.models.ragged import CausalRows, flat_forward

Ints = NDArray[np.int64]
_FORM = "agentrl_form"


@dataclass(frozen=True)
class Form:
    """How the forward pass of a module is taken, so that its numbers are the library's.

    Sequences of at most `packed_up_to` tokens share passes and the engine's cache; a longer one has each pass for itself,
    with the library's own attention and from its first token on. No sequence may be longer than `longest`.
    """

    packed_up_to: float = math.inf
    why_packed: str = ""  # up to there and no further
    longest: float = math.inf
    why_longest: str = ""


def form_of(module: torch.nn.Module) -> Form:
    """What was found out when the module was loaded; a module that nobody looked at is packed."""
    form: Form = getattr(module, _FORM, Form())
    return form


def set_form(module: torch.nn.Module, form: Form) -> None:
    """Remember it with the module; copies and adapters around it have it too."""
    setattr(module, _FORM, form)


@dataclass(frozen=True, eq=False)
class Passed:
    """What forward passes gave for K kept tokens."""

    logits: torch.Tensor  # [K, V]
    hidden: torch.Tensor | None  # [K, D], last hidden states
    cells: int  # tokens and padding inside attention


def forward_sequences(
    module: torch.nn.Module,
    lengths: Sequence[int],
    ids: NDArray[np.integer],
    kept: Ints,
    *,
    rows: type[CausalRows] = CausalRows,
    hidden: bool = False,
) -> Passed:
    """Independent sequences of these lengths, their tokens flat in `ids` [N]; what follows the tokens `kept` [K].

    `kept` ascends. `rows` is the plan of a packed pass.
    """
    if max(lengths) <= form_of(module).packed_up_to:
        plan = rows.of(lengths, next(module.parameters()).device)
        positions = np.concatenate([np.arange(length) for length in lengths])
        logits, states = flat_forward(module, plan, ids, positions, kept, hidden=hidden)
        return Passed(logits, states, sum(index.numel() for index in plan.buckets))
    ends = np.cumsum(lengths)
    outs = []
    for start, end in zip(ends - lengths, ends, strict=True):
        own = kept[(kept >= start) & (kept < end)] - start
        outs.append(forward_alone(module, ids[start:end], own, hidden=hidden))
    states = torch.cat([out[1] for out in outs if out[1] is not None]) if hidden else None
    return Passed(torch.cat([out[0] for out in outs]), states, len(ids))


def forward_alone(
    module: torch.nn.Module, ids: NDArray[np.integer], kept: Ints, *, hidden: bool = False
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Logits [K, V] after the tokens `kept` [K] of one sequence `ids` [L], as the library computes them; hidden [K, D]."""
    device = next(module.parameters()).device
    tokens = torch.from_numpy(ids.astype(np.int64)).to(device)
    places = torch.from_numpy(kept).to(device)
    unwrapped = getattr(module, "get_base_model", None)
    base = module if unwrapped is None else unwrapped()
    known = _parameters(type(base).forward)
    settings: dict[str, object] = {"use_cache": False} if "use_cache" in known else {}
    settings |= {"logits_to_keep": places} if "logits_to_keep" in known else {}
    settings |= {"output_hidden_states": True} if hidden else {}
    out = module(input_ids=tokens[None], **settings)
    logits: torch.Tensor = out.logits[0]
    if len(logits) != len(places):  # a model that gives them all
        logits = logits[places]
    return logits, out.hidden_states[-1][0][places] if hidden else None


@lru_cache
def _parameters(forward: Callable[..., object]) -> frozenset[str]:
    return frozenset(inspect.signature(forward).parameters)
