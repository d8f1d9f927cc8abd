"""Transformers: the in-process policy, continuous batching over the model that is being trained."""

from __future__ import annotations

import asyncio
from typing import Annotated

import numpy as np

from agentrl import (
    AgentRLError,
    Completion,
    ConfigError,
    ContextOverflow,
    Dialogue,
    Ids,
    Model,
    PolicyFault,
    Sampling,
    Shared,
    Weights,
)
from agentrl_plugins.models.language_model import LanguageModel
from agentrl_plugins.models.memory import out_of_memory
from agentrl_plugins.policies.engine import Engine, Request
from agentrl_plugins.policies.engines import Engines

_ADVICE = "lower rows, prefill_tokens, max_tokens or max_context of the policy, or the model's size"
_PASSES = 4  # turns of the event loop given to those just answered, so that their next requests join the next step


class TransformersPolicy:
    """Samples from a LanguageModel in this process.

    Every step of the engine takes all dialogues that wait for a token; a turn computes only what its dialogue added.
    The randomness of a turn is its dialogue's seed alone, and its log-probs do not depend on who else is in the batch.
    Weights may change while no turn is under way; with one worker also between any two steps of the event loop.
    """

    accepts: frozenset[type] = frozenset({Shared})
    exact: bool | None = True
    repeatable = True

    def __init__(
        self,
        model: Model,
        *,
        temperature: Annotated[float, "divides the logits; 0 is greedy"] = 1.0,
        top_p: Annotated[float, "sample from the likeliest tokens that hold this share of the probability"] = 1.0,
        top_k: Annotated[int, "sample from so many likeliest tokens; 0 is all"] = 0,
        max_tokens: Annotated[int, "sampled tokens of one turn"] = 32,
        max_context: Annotated[
            int | None, "tokens of prompt and completion; the model's own limit unless given"
        ] = None,
        rows: Annotated[int, "dialogues whose keys and values are kept at once"] = 256,
        prefill_tokens: Annotated[int, "prompt tokens of one step"] = 4096,
        min_rows: Annotated[int, "rows that a batch is filled up to, because smaller ones round differently"] = 8,
        workers: Annotated[
            int | None,
            "engines that share the dialogues, each on one core; unless given, one for each core of this process where "
            "a small model runs on a CPU, else one on all cores",
        ] = None,
    ) -> None:
        """Raises ConfigError for a setting out of range."""
        if not isinstance(model, LanguageModel):
            raise ConfigError('policy \'transformers\' needs a language model ([model] name = "tiny" or "pretrained")')
        limit = model.max_context
        max_context = limit if max_context is None else max_context
        for name, value, low, high in (
            ("temperature", temperature, 0, np.inf),
            ("top_p", top_p, 1e-6, 1),
            ("top_k", top_k, 0, np.inf),
            ("max_tokens", max_tokens, 1, np.inf),
            ("max_context", max_context, 2, limit),
            ("rows", rows, 1, np.inf),
            ("prefill_tokens", prefill_tokens, 1, np.inf),
            ("min_rows", min_rows, 1, np.inf),
            ("workers", 1 if workers is None else workers, 1, np.inf),
        ):
            if not low <= value <= high:
                raise ConfigError(f"policy 'transformers': {name} = {value}; allowed are {low} to {high}")
        self._sampling = Sampling(temperature, top_p, top_k)
        self._max_tokens = max_tokens
        self._engines = Engines(
            model,
            workers,
            lambda count: Engine(
                model,
                self._sampling,
                max_tokens=max_tokens,
                max_context=max_context,
                rows=-(-rows // count),
                prefill_tokens=prefill_tokens,
                min_rows=min_rows,
            ),
        )
        self._model, self._max_context = model, max_context
        self.codec, self.version = model.codec, model.version
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving: asyncio.Task[None] | None = None
        self._futures: dict[Request, asyncio.Future[Completion]] = {}
        self._arrived = 0

    async def act(self, dialogue: Dialogue) -> Completion:
        prompt = self._prompt(dialogue)
        budget = min(self._max_tokens, self._max_context - len(prompt))
        if dialogue.max_tokens is not None:
            budget = max(1, min(budget, dialogue.max_tokens))
        uniforms = np.random.Generator(np.random.Philox(key=dialogue.seed)).random(budget)
        request = Request(dialogue.key, prompt, uniforms, dialogue.stop)
        future = self._submit(request)
        try:
            return await future
        finally:
            if self._futures.pop(request, None) is not None:  # cancelled: nobody waits for it any more
                self._engines.cancel(request)

    def forget(self, key: str) -> None:
        self._engines.forget(key)

    async def refresh(self, weights: Weights) -> None:
        """Raises PolicyFault for weights that are no language model of this process, ConfigError for another codec."""
        model = weights.handle.model if isinstance(weights.handle, Shared) else None
        if not isinstance(model, LanguageModel):
            raise PolicyFault(f"policy 'transformers' shares a language model of its process; it was given {weights!r}")
        if model.codec.name != self.codec.name:
            raise ConfigError("refresh: the new model has another codec; make a new policy for it")
        self._model, self.version = model, weights.version
        self._engines.drop(model)

    def metrics(self) -> dict[str, float]:
        """Counters since the last call; `rows` is the mean number of sampled rows per step."""
        counts = self._engines.take_counters()
        return {
            "tokens_sampled": float(counts.tokens_sampled),
            "tokens_prefilled": float(counts.tokens_prefilled),
            "tokens_reused": float(counts.tokens_reused),
            "tokens_computed": float(counts.tokens_computed),
            "seconds": counts.seconds,
            "steps": float(counts.steps),
            "rows": counts.rows / max(1, counts.steps),
        }

    def close(self) -> None:
        """Free all memory; the policy can still be used, from scratch."""
        self._engines.close()

    def _prompt(self, dialogue: Dialogue) -> Ids:
        made = dialogue.prompt or self.codec.prompt(dialogue.messages, tools=dialogue.tools)
        prompt = made.ids
        if len(prompt) > self._max_context - 1:
            raise ContextOverflow(
                f"a prompt of {len(prompt)} tokens leaves no room in max_context = {self._max_context}; raise max_context of "
                'the policy (or the model), or show less of the past: [context] name = "window"'
            )
        return prompt

    def _submit(self, request: Request) -> asyncio.Future[Completion]:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what an earlier event loop left behind has nobody to wait for it
            self._engines.abandon()
            self._futures.clear()
            self._loop, self._serving = loop, None
        future = self._futures[request] = loop.create_future()
        self._engines.submit(request)
        self._arrived += 1
        if self._serving is None or self._serving.done():
            self._serving = loop.create_task(self._serve())
        return future

    async def _serve(self) -> None:
        """Step while there is work; a step that fails fails every request in it, and the next one starts afresh."""
        while self._engines.busy:
            try:
                with out_of_memory("sampling", _ADVICE):
                    finished = await self._engines.step()
            except Exception as error:  # whatever torch or the model may raise, those who wait must hear of it
                self._fail(error)
                return
            for request, completion in finished:
                future = self._futures.pop(request, None)
                if future is not None and not future.done():
                    future.set_result(completion)
            await self._give_way(len(finished))

    async def _give_way(self, answered: int) -> None:
        before = self._arrived
        await asyncio.sleep(0)
        for _ in range(_PASSES if answered else 0):
            if self._arrived - before >= answered:
                return
            await asyncio.sleep(0)

    def _fail(self, error: Exception) -> None:
        fault = error if isinstance(error, AgentRLError) else PolicyFault(f"{type(error).__name__}: {error}")
        if fault is not error:
            fault.__cause__ = error
        self._engines.close()
        futures, self._futures = self._futures, {}
        for future in futures.values():
            if not future.done():
                future.set_exception(fault)
