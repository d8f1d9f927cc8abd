"""Engine: continuous batching over a LanguageModel. Synchronous: requests go in, each `step` samples one token per row."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agentrl import Completion, Floats, Ids, PolicyFault, Sampling
from agentrl_plugins.models.passes import form_of, forward_alone
from agentrl_plugins.models.ragged import flat_logits
from agentrl_plugins.models.sampling import draw, entropy, log_distribution
from agentrl_plugins.policies.slot_table import SlotTable
from agentrl_plugins.policies.slots import Ints, Prefill, SlotCache, SlotPlan, flat_order


@dataclass(eq=False)
class Request:
    """One completion to make: the prompt of dialogue `key`, with a uniform number for each token it may sample."""

    key: str
    prompt: Ids  # [P]
    uniforms: Floats  # [C at most]
    stop: tuple[str, ...] = ()


@dataclass
class Counters:
    """What the engine did since they were last taken."""

    steps: int = 0
    rows: int = 0
    tokens_sampled: int = 0
    tokens_prefilled: int = 0  # prompt tokens that no slot held
    tokens_reused: int = 0  # prompt tokens that a slot held
    tokens_computed: int = 0  # tokens that went through the model, dummies left out
    seconds: float = 0.0


class Engine:
    """Slots hold what dialogues said so far; nothing in them is computed twice while the weights stay the same."""

    def __init__(
        self,
        model: Any,
        sampling: Sampling,
        *,
        max_tokens: int,
        max_context: int,
        rows: int,
        prefill_tokens: int,
        min_rows: int,
    ) -> None:
        self.model, self.sampling = model, sampling
        self.max_context = max_context
        self._rows, self._prefill_tokens, self._min_rows = rows, prefill_tokens, min_rows
        self.counters = Counters()
        self._waiting: deque[Request] = deque()
        self._slots = SlotTable(rows, max_context, max_tokens)
        self._cache = SlotCache(rows, max_context)
        self._version = model.version
        self._stops = _Stops(model)

    @property
    def busy(self) -> bool:
        return bool(self._waiting) or self._slots.live_count > 0

    def submit(self, request: Request) -> None:
        """Queue a request; it starts with the next step that has a row for it."""
        self._waiting.append(request)

    def cancel(self, request: Request) -> None:
        """Give a request up; what was computed for its dialogue stays usable."""
        if request in self._waiting:
            self._waiting.remove(request)
        self._slots.stop(request)

    def abandon(self) -> None:
        """Give up every request."""
        self._waiting.clear()
        for request in self._slots.requests():
            self._slots.stop(request)

    def forget(self, key: str) -> None:
        """The dialogue is over: its slot is free."""
        self._slots.release(key)

    def drop(self, model: Any) -> None:
        """From now on compute with these weights; everything cached is void."""
        self.model, self._version = model, model.version
        self._slots.cached[:] = 0

    def close(self) -> None:
        self.abandon()
        self._slots.release_all()
        self._cache.clear()

    def step(self) -> list[tuple[Request, Completion]]:
        """Admit, compute what is new, sample one token for every row that is ready; returns what is finished."""
        started = time.perf_counter()
        if self.model.version != self._version:
            self.drop(self.model)
        self._admit()
        finished = self._advance() if self._slots.live_count else []
        self.counters.seconds += time.perf_counter() - started
        return finished

    def _admit(self) -> None:
        slots, left = self._slots, deque[Request]()
        for request in self._waiting:  # those whose past is here come first
            if (slot := slots.of(request.key)) is not None and slots.request[slot] is None:
                self._start(slot, request)
            else:
                left.append(request)
        self._waiting = deque()
        for request in left:
            # A slot is taken from a resting dialogue only while rows would otherwise idle: it would have to be made anew.
            slot = (
                None
                if slots.of(request.key) is not None
                else slots.take(request.key, 2 * slots.live_count < self._rows)
            )
            if slot is None:
                self._waiting.append(request)
            else:
                self._start(slot, request)

    def _start(self, slot: int, request: Request) -> None:
        known, new = self._slots.start(slot, request)
        self.counters.tokens_reused += known
        self.counters.tokens_prefilled += new

    def _advance(self) -> list[tuple[Request, Completion]]:
        slots = self._slots
        live = np.flatnonzero(slots.live)
        alone = slots.length[live] > form_of(self.model.module).packed_up_to
        rows, logits = live[alone], [self._forward_alone(slot) for slot in live[alone]]
        if len(rows) < len(live):
            packed_rows, packed_logits = self._advance_packed(live[~alone])
            rows, logits = np.concatenate([packed_rows, rows]), [*packed_logits, *logits]
        self.counters.steps += 1
        self.counters.rows += len(rows)
        if not len(rows):
            return []
        return self._sample(rows, torch.cat(logits) if len(logits) > 1 else logits[0])

    def _advance_packed(self, live: Ints) -> tuple[Ints, list[torch.Tensor]]:
        """One pass for the slots that share it; those of them whose next token can be sampled, and its logits [K, V]."""
        decoding, prefills = self._work(live)
        slots, decoded = self._slots, len(decoding)
        self._cache.reserve(int(live[-1]) + 1, int(slots.length[live].max()))
        like = next(self.model.module.parameters())
        plan = SlotPlan(self._cache, decoding, slots.cached[decoding], prefills, like)
        ends = decoded + np.cumsum([prefill.count for prefill in prefills], dtype=np.int64) - 1
        ready = [i for i, prefill in enumerate(prefills) if prefill.start + prefill.count == slots.length[prefill.slot]]
        rows = np.concatenate([decoding, np.array([prefills[i].slot for i in ready], np.int64)])
        kept = np.concatenate([np.arange(decoded), ends[ready]])
        logits = self._forward(plan, kept) if len(rows) else self._forward(plan, np.zeros(1, np.int64))
        slots.cached[decoding] += 1
        for prefill in prefills:
            slots.cached[prefill.slot] += prefill.count
        self.counters.tokens_computed += len(plan.slots)
        return rows, [logits[: len(rows)]]

    def _work(self, live: Ints) -> tuple[Ints, list[Prefill]]:
        """Slots that take one token, and what else is to be computed, oldest request first, within the budget."""
        slots = self._slots
        need = slots.length[live] - slots.cached[live]
        single = (need == 1) & (slots.cached[live] > 0)
        budget, prefills = self._prefill_tokens, []
        others = live[~single]
        for slot in others[np.argsort(slots.since[others])]:
            start = int(slots.cached[slot])
            count = min(int(slots.length[slot]) - start, budget)
            if count:
                prefills.append(Prefill(int(slot), start, count))
                budget -= count
        return live[single], flat_order(prefills)

    def _forward_alone(self, slot: int) -> torch.Tensor:
        """Logits [1, V] after all tokens of a slot, in a pass of its own and from the first token on."""
        tokens = self._slots.tokens[slot, : self._slots.length[slot]]
        self.counters.tokens_computed += len(tokens)
        if self.model.module.training:
            self.model.module.eval()
        with torch.inference_mode():
            return forward_alone(self.model.module, tokens, np.array([len(tokens) - 1]))[0]

    def _forward(self, plan: SlotPlan, kept: Ints) -> torch.Tensor:
        """Logits [≥ K, V]. Few rows round differently from many, so both ends are filled up to `min_rows`."""
        ids = self._slots.tokens[plan.slots, plan.positions]
        spare = max(0, self._min_rows - len(ids))
        ids, positions = np.pad(ids, (0, spare)), np.pad(plan.positions, (0, spare))
        kept = np.pad(kept, (0, max(0, self._min_rows - len(kept))))
        if self.model.module.training:
            self.model.module.eval()
        with torch.inference_mode():
            return flat_logits(self.model.module, plan, ids, positions, kept)

    def _sample(self, rows: Ints, logits: torch.Tensor) -> list[tuple[Request, Completion]]:
        slots, sampling = self._slots, self.sampling
        at = slots.length[rows] - slots.prompt[rows]
        with torch.inference_mode():
            logprobs = log_distribution(logits, sampling.temperature, sampling.top_p, sampling.top_k)  # [K, V]
            uniforms = torch.from_numpy(slots.uniforms[rows, at]).to(logprobs.device)
            probs = logprobs.exp()
            drawn = draw(probs, uniforms)
            chosen = logprobs.gather(-1, drawn[:, None])[:, 0]
            square = (probs * probs).sum(-1)
            taken = [
                drawn.double(),
                chosen.double(),
                entropy(logprobs, probs).double(),
                square.double(),
            ]  # one transfer
            tokens, logps, entropies, squares = torch.stack(taken).cpu().numpy()
        if not np.isfinite(logps).all():
            raise PolicyFault("the model gave log-probs that are not finite; its weights are broken (learning rate?)")
        slots.append(rows, at, tokens, logps, entropies, squares, self.model.version.update)
        self.counters.tokens_sampled += len(rows)
        return self._finished(rows, tokens.astype(np.int64))

    def _finished(self, rows: Ints, tokens: Ints) -> list[tuple[Request, Completion]]:
        slots = self._slots
        stopped = self._stops.final[tokens]
        done = stopped | (slots.length[rows] >= slots.limit[rows])
        for i in np.flatnonzero(slots.watched[rows] & ~stopped):
            request = slots.request[rows[i]]
            if request is not None and self._stops.ends(request.stop, int(tokens[i]), slots.said(rows[i])):
                stopped[i] = done[i] = True
        finished = []
        for i in np.flatnonzero(done):
            request = slots.request[rows[i]]
            assert request is not None
            finished.append((request, self._completion(int(rows[i]), request, bool(stopped[i]))))
            slots.stop(request)
        return finished

    def _completion(self, slot: int, request: Request, stopped: bool) -> Completion:
        slots = self._slots
        ids = slots.said(slot).copy()
        count = len(ids)
        return Completion(
            text=self._stops.text(ids),
            prompt_ids=request.prompt,
            ids=ids,
            logprobs=slots.logprobs[slot, :count].copy(),
            entropy=slots.entropy[slot, :count].copy(),
            versions=slots.versions[slot, :count].copy(),
            stop="stop" if stopped else "length",
            sampling=self.sampling,
            square=slots.squares[slot, :count].copy(),
        )


class _Stops:
    """What ends a completion: final tokens, and strings that may end inside any token."""

    def __init__(self, model: Any) -> None:
        self._decode = model.codec.tokenizer.backend_tokenizer.decode
        size = model.base.get_input_embeddings().weight.shape[0]
        self.final = np.zeros(size, np.bool_)
        self.final[[stop for stop in model.stop_ids if stop < size]] = True
        self._endings: dict[tuple[str, ...], np.ndarray[Any, np.dtype[np.bool_]]] = {}

    def text(self, ids: Ids) -> str:
        """The words of sampled ids, without the final token; special tokens inside stay visible."""
        if len(ids) and self.final[ids[-1]]:
            ids = ids[:-1]
        text: str = self._decode(ids.tolist(), skip_special_tokens=False)
        return text

    def ends(self, stop: tuple[str, ...], token: int, said: Ids) -> bool:
        """Whether one of the strings is now complete. Only tokens that hold a string's last character are looked at."""
        if stop not in self._endings:
            lasts = {text[-1] for text in stop if text} | {"\ufffd"}  # part of a character, whichever it becomes
            words = (self._decode([i], skip_special_tokens=False) for i in range(len(self.final)))
            self._endings[stop] = np.array([any(last in word for last in lasts) for word in words])
        return bool(self._endings[stop][token]) and any(text in self.text(said) for text in stop if text)
