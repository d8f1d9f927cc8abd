"""Self-distillation from feedback: a judge that reads a turn again with what the world said to it, and its loss."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import agentrl
from agentrl import Codec, Column, LossBatch, Question, Scorer, Trajectory, Turn, messages_of


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

    Writes `reread`, and with `top` the likeliest tokens, for the turns of one speaker to which the world gave
    `info["feedback"]`. This is the teacher of SDPO (2601.20802) where no sibling succeeded; it reads the whole past,
    whatever the context showed. A turn whose prompt would not fit is left out and counted as `too_long`.
    """

    def __init__(
        self,
        scorer: Scorer,
        codec: Codec,
        *,
        weights: Annotated[Literal["current", "initial", "average"], "whose judgement it is"] = "current",
        top: Annotated[int, "likeliest tokens that are kept, for the form jensen_shannon"] = 0,
        speaker: Annotated[str, "whose turns are read again"] = "agent",
    ) -> None:
        self._scorer, self._codec, self._weights, self._top, self._speaker = scorer, codec, weights, top, speaker
        self._too_long = 0

    async def annotate(self, trajectories: Sequence[Trajectory]) -> None:
        turns = [turn for trajectory in trajectories for turn in self._questions(trajectory)]
        scores = await self._scorer.score([question for _, question in turns], weights=self._weights, top=self._top)
        for (turn, _), score in zip(turns, scores, strict=True):
            turn.columns["reread"] = score.logprobs
            if self._top:
                turn.columns.update(teacher_ids=score.top_ids, teacher_logprobs=score.top_logprobs)

    def metrics(self) -> dict[str, float]:
        count, self._too_long = self._too_long, 0
        return {"too_long": float(count)}

    def _questions(self, trajectory: Trajectory) -> list[tuple[Turn, Question]]:
        """The turns that got feedback, each with its tokens after the prompt that holds it."""
        questions, past = [], list[Turn]()
        for position, turn in enumerate(trajectory.turns):
            if turn.agent != self._speaker or turn.kind != "act":
                continue
            said, feedback = turn.completion, turn.info.get("feedback")
            if feedback and len(said.ids) and position >= trajectory.inherited:
                prompt = self._codec.prompt(messages_of(past, f"{feedback}\n{turn.observation}")).ids
                fits = len(prompt) + len(said.ids) <= self._codec.max_context
                questions += [(turn, Question(prompt, said.ids, said.sampling))] * fits
                self._too_long += not fits
            past.append(turn)
        return questions


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
