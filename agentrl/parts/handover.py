"""Handing weights to engines, and the probe that tells whether they arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from agentrl.data.types import Message, Metrics
from agentrl.errors import PolicyFault
from agentrl.parts.faults import awaited
from agentrl.parts.playing import Dialogue, Policy
from agentrl.parts.weights import Model, Question, Scorer, Weights

TOKENS = 16
LARGEST_GAP = 1e-4
"""Largest difference of a log-prob between an engine and the model in float32."""
LARGEST_MEAN_GAP = 0.05
"""Mean difference where weights are rounded (bfloat16)."""
TIMEOUT_S = 600.0

_ASKED = (Message("user", "What do you see here, and what will you do about it?"),)


class Probe:
    """After a hand-over each engine answers one fixed dialogue, and the model scores the same ids.

    An engine that kept old weights, missed an adapter or a tied head answers with other log-probs. `moved` says how
    far the model's own scores of its last answer went since: below the tolerance the probe proves nothing, and the
    version that the engine reports decides.
    """

    def __init__(self) -> None:
        self._last: tuple[Question, np.ndarray[tuple[int], np.dtype[np.float32]]] | None = None
        self._metrics: Metrics = {}

    async def refresh(self, policies: Sequence[Policy], weights: Weights, model: Model) -> None:
        """Returns when every policy has these weights and agrees. Raises PolicyFault where one does not."""
        await asyncio.wait_for(asyncio.gather(*(_taken(policy, weights) for policy in policies)), TIMEOUT_S)
        for policy in policies:
            if policy.version != weights.version:
                raise PolicyFault(
                    f"{type(policy).__name__} still has the weights {policy.version} after it was handed {weights.version}"
                )
        if not isinstance(model, Scorer):
            return
        if self._last is not None:
            question, before = self._last
            now = (await model.score([question]))[0].logprobs
            self._metrics["probe/moved"] = float(np.abs(now - before).max())
        for policy in policies:
            if policy.exact and policy.repeatable:
                await self._ask(policy, model, model)

    async def _ask(self, policy: Policy, model: Model, scorer: Scorer) -> None:
        dialogue = Dialogue(_ASKED, "probe", 0, model.codec.prompt(_ASKED), max_tokens=TOKENS)
        try:
            answer = await asyncio.wait_for(policy.act(dialogue), TIMEOUT_S)
        finally:
            policy.forget("probe")
        if not answer.sampling.temperature or not len(answer.ids):
            return  # greedy: nothing to compare
        question = Question(answer.prompt_ids, answer.ids, answer.sampling)
        scores = (await scorer.score([question]))[0].logprobs
        gap = np.abs(scores - answer.logprobs)
        largest, mean = float(gap.max()), float(gap.mean())
        self._last = (question, scores)
        self._metrics["probe/gap_max"] = max(largest, self._metrics.get("probe/gap_max", 0.0))
        rounded = getattr(model, "rounded", False)
        if not (mean <= LARGEST_MEAN_GAP if rounded else largest <= LARGEST_GAP):
            raise PolicyFault(
                f"after a hand-over {type(policy).__name__} answers with other weights than the model has: log-probs "
                f"differ by up to {largest:.2g} (mean {mean:.2g}). Nothing was trained on such answers; go on with --resume"
            )

    def metrics(self) -> Metrics:
        """`probe/gap_max` and `probe/moved` (nats) since the last call."""
        metrics, self._metrics = self._metrics, {}
        return metrics


async def _taken(policy: Policy, weights: Weights) -> None:
    await awaited(policy.refresh(weights), type(policy).__name__, "refresh")
