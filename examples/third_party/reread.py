"""Self-distillation from feedback: a judge that reads a turn again with what the world said to it, and its loss."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

import numpy as np

import agentrl
from agentrl import (
    AGENT,
    Codec,
    Column,
    ConfigError,
    LossBatch,
    PolicyFault,
    Question,
    Scorer,
    Scores,
    Trajectory,
    Turn,
    messages_of,
)


@agentrl.hookimpl
def register_columns(declare: Any) -> None:
    declare(Column("reread", "float32", "token", fill=1.0, help="log-prob of the token under the prompt with feedback"))


@agentrl.hookimpl
def register_judges(register: agentrl.Register) -> None:
    register("reread", Reread)


@agentrl.hookimpl
def register_losses(register: agentrl.Register) -> None:
    register("distill", Distill)


class Reread:
    """Asks the run's own weights how likely each token would have been, had the feedback stood before the observation.

    Writes `reread` for the turns to which the world gave `info["feedback"]`, and the `top` likeliest tokens where the
    loss wants them. This is the teacher of SDPO (2601.20802) where no sibling succeeded; it reads the agent's whole
    past, whatever the context showed. `weights` is "current", "initial" or "average", as far as the model keeps them.
    What would not fit is left without a teacher and counted as `too_long`.
    """

    def __init__(
        self,
        scorer: Scorer,
        codec: Codec,
        *,
        weights: Annotated[str, "which weights are asked"] = "current",
        top: Annotated[int, "likeliest tokens that are kept beside it, for `jensen_shannon`"] = 0,
    ) -> None:
        if top < 0:
            raise ConfigError(f"judge 'reread': top = {top}; it may not be negative")
        self._scorer, self._codec, self._weights, self._top, self._too_long = scorer, codec, weights, top, 0

    async def annotate(self, trajectories: Sequence[Trajectory]) -> None:
        own, asked = list[Turn](), list[tuple[Turn, Question]]()
        for trajectory in trajectories:
            acts = [turn for turn in trajectory.turns if (turn.agent, turn.kind) == (AGENT, "act")]
            for past, turn in enumerate(acts):
                feedback, said = turn.info.get("feedback"), turn.completion
                if len(said.ids) and turn not in trajectory.turns[: trajectory.inherited]:
                    own.append(turn)
                    if feedback:
                        prompt = self._codec.prompt(messages_of(acts[:past], f"{feedback}\n{turn.observation}")).ids
                        asked.append((turn, Question(prompt, said.ids, said.sampling)))
        fitting = [(t, q) for t, q in asked if len(q.prompt_ids) + len(q.ids) <= self._codec.max_context]
        self._too_long += len(asked) - len(fitting)
        with suppress(PolicyFault):  # nothing is written where nobody answers
            scores = await self._scorer.score([q for _, q in fitting], weights=self._weights, top=self._top)
            for turn in own:  # those without a teacher say so, also where no turn of the update has one
                self._write(turn, no_teacher(len(turn.completion.ids), self._top))
            for (turn, _), score in zip(fitting, scores, strict=True):
                self._write(turn, score)

    def _write(self, turn: Turn, score: Scores) -> None:
        turn.columns["reread"] = score.logprobs
        if self._top:
            turn.columns.update(teacher_ids=score.top_ids, teacher_logprobs=score.top_logprobs)

    def metrics(self) -> dict[str, float]:
        count, self._too_long = self._too_long, 0
        return {"too_long": float(count)}


def no_teacher(count: int, top: int) -> Scores:
    """What no scorer gives: log-probs above 0, and a list of tokens whose log-probs are all 0."""
    nobody = np.zeros((count, top), np.float32)
    return Scores(np.ones(count, np.float32), top_ids=nobody.astype(np.int32), top_logprobs=nobody)


class Distill:
    """Towards the teacher that `reread` asked; tokens without one count nothing.

    `reverse_kl`: sg(l - l_T) · l per sampled token, whose gradient is that of KL(student ‖ teacher) in expectation.
    `jensen_shannon`: the divergence (α = 0.5) over the teacher's likeliest tokens and one bucket for the rest, as in
    the authors' code; it needs a judge with `top`. Left out in this example: the clipped ratio for stale samples.
    """

    scope: Literal["sampled", "all"] = "sampled"
    unit: Literal["token", "row", "trajectory"] = "token"
    skips_zero = False

    def __init__(
        self,
        *,
        form: Literal["reverse_kl", "jensen_shannon"] = "reverse_kl",
        aggregation: Literal["token", "trajectory", "task"] = "token",
    ) -> None:
        self._form, self.aggregation = form, aggregation
        self.needs = frozenset({"reread"} if form == "reverse_kl" else {"teacher_logprobs", "top:teacher_ids"})

    def __call__(self, batch: LossBatch) -> tuple[Any, dict[str, float]]:
        """The scalar to minimise, and `divergence`: the estimate that it follows, in nats."""
        if self._form == "reverse_kl":
            teacher = batch.columns["reread"]
            divergence = (batch.logprobs.detach() - teacher).where(teacher <= 0, 0.0)
            return (batch.weight * divergence * batch.logprobs).sum(), {
                "divergence": float((batch.weight * divergence).sum())
            }
        token_loss = jensen_shannon(batch.top_logprobs, batch.columns["teacher_logprobs"])
        loss = (batch.weight * token_loss).sum()
        return loss, {"divergence": float(loss.detach())}


def jensen_shannon(student: Any, teacher: Any) -> Any:
    """[N], between two lists [N, k] of log-probs at the same ids; what is left of each is one bucket more."""
    import torch

    known = (teacher != 0).any(-1)
    rest = [torch.log1p(-one.logsumexp(-1, keepdim=True).exp().clamp(max=1 - 1e-6)) for one in (student, teacher)]
    p, q = (torch.cat([one, left], -1) for one, left in zip((student, teacher), rest, strict=True))
    middle = torch.logaddexp(p, q) - torch.log(torch.tensor(2.0))
    divergence = (p.exp() * (p - middle) + q.exp() * (q - middle)).sum(-1) / 2
    return divergence.where(known, 0.0)
