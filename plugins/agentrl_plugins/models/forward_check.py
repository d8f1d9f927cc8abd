"""Forward check: whether our packed forward pass and our engine compute a model as the library does, tried at load."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedConfig, PreTrainedModel

from agentrl import ConfigError
from agentrl_plugins.models.passes import Form, forward_alone, set_form
from agentrl_plugins.models.ragged import flat_logits, local_sizes, ragged_logits, use_ragged_attention
from agentrl_plugins.policies.slots import Prefill, SlotCache, SlotPlan, flat_order

Sequences = Sequence[NDArray[np.int64]]
Logits = list[torch.Tensor]  # [L, V] of each sequence

_TOLERANCES = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.2}
"""Nats. What is computed wrongly is mostly off by more than 1, and never by less than some tenths."""
_CHUNKS = ((6, 1, 5, 1), (4, 1, 1, 4), (3, 1, 2, 1))
"""Tokens that each sequence adds in each step of the engine: a prompt, a token, a second turn or a token, and again."""
LENGTHS = [sum(chunks) for chunks in _CHUNKS]
_WINDOWS = ("sliding_window", "sliding_window_size", "attention_chunk_size")
_forms: dict[tuple[object, ...], Form] = {}


def settle(module: PreTrainedModel) -> Form:
    """Give a module our attention where that is right, else leave it as the library made it; how it is to be run.

    A few random tokens go through the library's own forward pass, one sequence at a time, then through our packed pass
    and through the engine's, over two turns: some ten passes, once for each architecture and config of a process.
    Raises ConfigError for a module that is right in no form.
    """
    key = (type(module), module.config.to_json_string(), module.dtype, module.device.type)
    if key not in _forms:
        with torch.no_grad():
            _forms[key] = _tried(module)
    form = _forms[key]
    if form.packed_up_to:
        use_ragged_attention(module)
    set_form(module, form)
    return form


@dataclass(frozen=True)
class Gaps:
    """By how many nats our passes are off, or why one of them cannot be taken."""

    plain: float = math.nan  # a pass of the library with our attention in place, as `module.generate` takes it
    packed: float = math.nan
    engine: float = math.nan
    fault: str = ""

    def fault_beyond(self, tolerance: float) -> str:
        """What is wrong, in words; empty where nothing is."""
        if self.fault:
            return self.fault
        named = {"packed sequences": self.packed, "the engine's cache": self.engine, "single sequences": self.plain}
        wrong = [f"{what} would be off by {nats:.2g} nats" for what, nats in named.items() if not nats <= tolerance]
        return " and ".join(wrong)


def compare(module: PreTrainedModel, sequences: Sequences, reference: Logits) -> Gaps:
    """Our passes against the library's logits; leaves our attention in the module where it takes it."""
    ways: dict[str, Callable[[], Logits]] = {
        "packed": lambda: _packed_logits(module, sequences),
        "engine": lambda: _engine_logits(module, sequences),
        "plain": lambda: library_logits(module, sequences[:1]),
    }
    gaps: dict[str, float] = {}
    faults = []
    try:
        use_ragged_attention(module)
        for name, way in ways.items():
            try:
                gaps[name] = gap(way(), reference if name != "packed" else [own[_but_one(own)] for own in reference])
            except Exception as error:  # a model that was not made for this may raise anything
                faults.append(
                    _words(error) if isinstance(error, ConfigError) else f"its {name} pass fails ({_words(error)})"
                )
    except ConfigError as error:
        faults.append(_words(error))
    return Gaps(**gaps, fault=faults[0] if faults else "")


def gap(logits: Logits, reference: Logits) -> float:
    """Nats by which a sampled token's log-prob is off on average, at the position where that is most; NaN is infinite."""
    worst = 0.0
    for own, wanted in zip(logits, reference, strict=False):
        expected = torch.log_softmax(wanted.float(), -1)
        off = (torch.log_softmax(own.float(), -1) - expected).abs() * expected.exp()
        off = torch.where(torch.isneginf(expected), 0.0, off)  # tokens that cannot be sampled
        worst = max(worst, float(off.sum(-1).nan_to_num(math.inf).max()))
    return worst


def library_logits(module: PreTrainedModel, sequences: Sequences) -> Logits:
    """One pass of the library for each sequence."""
    return [forward_alone(module, sequence, np.arange(len(sequence)))[0] for sequence in sequences]


def random_sequences(module: PreTrainedModel, lengths: Sequence[int], seed: int = 0) -> Sequences:
    """Ordinary tokens: none that stands for padding, an end, an image."""
    config = module.config.get_text_config(decoder=True)
    special = {number for own in (config, module.config) for number in _special(own)}
    ordinary = np.array([number for number in range(config.vocab_size) if number not in special])
    random = np.random.default_rng(seed)
    return [ordinary[random.integers(0, len(ordinary), length)] for length in lengths]


def _tried(module: PreTrainedModel) -> Form:
    name = type(module).__name__
    sequences = random_sequences(module, LENGTHS)
    try:
        reference = library_logits(module, sequences)
        begin = len(sequences[0]) // 2
        prefix = forward_alone(module, sequences[0][:begin], np.array([0, begin - 1]))[0]
    except Exception as error:  # as above
        raise ConfigError(f"{name} cannot be run on tokens alone: {_words(error)}") from error
    if not all(bool(torch.isfinite(torch.log_softmax(own.float(), -1).amax(-1)).all()) for own in reference):
        raise ConfigError(f"{name} gives log-probs that are not finite; its weights are broken")
    allowed = _TOLERANCES.get(module.dtype, 1e-3)
    later = gap([prefix], [reference[0][[0, begin - 1]]])
    if not later <= allowed:
        raise ConfigError(
            f"{name} is no causal model: what it says of a token changes by {later:.2g} nats when others follow, so nothing "
            "can be sampled from it. Some become causal with is_decoder = true in their config.json."
        )
    windows, implementations = _windows(module.config), _implementations(module)
    with local_sizes() as masked:
        gaps = compare(module, sequences, reference)
    for config, implementation in implementations:
        config._attn_implementation_internal = implementation
    window = min({*windows, *masked} - {0}, default=math.inf)
    fault = "its window of attention is too short to be tried" if window < max(LENGTHS) else gaps.fault_beyond(allowed)
    why = f"its attention is limited to {window} tokens" if window < math.inf else ""
    return Form(0 if fault else window, fault or why, *_longest(module.config))


def _packed_logits(module: PreTrainedModel, sequences: Sequences) -> Logits:
    """After all tokens but one of each sequence, because some models do not know which logits are wanted."""
    flat = ragged_logits(module, sequences, [_but_one(sequence) for sequence in sequences])
    return list(torch.split(flat, [len(sequence) - 1 for sequence in sequences]))


def _but_one(values: Sized) -> NDArray[np.bool_]:
    mask = np.ones(len(values), np.bool_)
    mask[1] = False
    return mask


def _engine_logits(module: PreTrainedModel, sequences: Sequences) -> Logits:
    """Chunk by chunk, each sequence in a slot of its own, as the engine computes them."""
    cache = SlotCache(len(sequences), max(LENGTHS))
    cache.reserve(len(sequences), max(LENGTHS))
    parts: list[Logits] = [[] for _ in sequences]
    done = np.zeros(len(sequences), np.int64)
    like = next(module.parameters())
    for counts in zip(*_CHUNKS, strict=True):
        decoding = np.array([slot for slot, count in enumerate(counts) if count == 1 and done[slot]], np.int64)
        others = [slot for slot in range(len(counts)) if slot not in decoding]
        prefills = flat_order([Prefill(slot, int(done[slot]), counts[slot]) for slot in others])
        plan = SlotPlan(cache, decoding, done[decoding], prefills, like)
        ids = np.array([sequences[slot][at] for slot, at in zip(plan.slots, plan.positions, strict=True)])
        logits = flat_logits(module, plan, ids, plan.positions, np.arange(len(ids)))
        for slot in range(len(counts)):
            parts[slot].append(logits[torch.from_numpy(plan.slots == slot)])
        done += counts
    return [torch.cat(part) for part in parts]


def _windows(config: PreTrainedConfig) -> list[int]:
    """Windows and chunks of attention that the config names: no sequence that is tried is long enough to show them."""
    text = config.get_text_config(decoder=True)
    if getattr(text, "use_sliding_window", None) is False:
        return []
    return [value for name in _WINDOWS if isinstance(value := getattr(text, name, None), int) and value > 0]


def _longest(config: PreTrainedConfig) -> tuple[float, str]:
    """Above which length a token depends on those that follow it, so that it is not scored as it was sampled, and why."""
    text = config.get_text_config(decoder=True)
    bounds = [(math.inf, "")]
    if isinstance(topk := getattr(text, "index_topk", None), int):
        bounds.append((topk, f"above, it attends to {topk} tokens, and which they are can depend on those that follow"))
    ropes = getattr(text, "rope_parameters", None) or {}
    for rope in (ropes, *(own for own in ropes.values() if isinstance(own, Mapping))):
        if (kind := rope.get("rope_type")) in ("longrope", "dynamic"):
            original = rope.get("original_max_position_embeddings") or text.max_position_embeddings
            bounds.append((original, f"above, its positions ({kind}) are those of the longest sequence of a pass"))
    return min(bounds)


def _implementations(module: PreTrainedModel) -> list[tuple[PreTrainedConfig, str | None]]:
    """Which attention each part of a module has now."""
    configs = {id(part.config): part.config for part in module.modules() if isinstance(part, PreTrainedModel)}
    for config in list(configs.values()):
        for name in config.sub_configs:
            if (own := getattr(config, name, None)) is not None:
                configs[id(own)] = own
    return [(config, config._attn_implementation_internal) for config in configs.values()]


def _special(config: PreTrainedConfig) -> Iterator[int]:
    for name, value in config.to_dict().items():
        if name.endswith(("token_id", "token_index", "token_ids")):
            yield from value if isinstance(value, list) else [value] if isinstance(value, int) else []


def _words(error: Exception) -> str:
    """The first line of what was raised; of a type that is not ours its name too."""
    first = str(error).strip().partition("\n")[0]
    return first if isinstance(error, ConfigError) else f"{type(error).__name__}: {first}"
