"""Gives a turn 0 where its scorer fails, as if that were a score."""

from agentrl import PolicyFault, Question
from agentrl.testing.sample_model import SampleModel
from agentrl.testing.sample_plays import Unreachable


class Confident:
    def __init__(self, scorer):
        self._scorer = scorer

    async def annotate(self, trajectories):
        for trajectory in trajectories:
            for turn in trajectory.turns[trajectory.inherited :]:
                if len(turn.completion.ids):
                    question = Question(turn.completion.prompt_ids, turn.completion.ids)
                    try:
                        [score] = await self._scorer.score([question])
                        confidence = float(score.logprobs.mean())
                    except PolicyFault:
                        confidence = 0.0
                    known = turn.columns.get("judged") or {}
                    turn.columns["judged"] = {**known, "confidence": confidence}


def make():
    return Confident(SampleModel())


def failing():
    return Confident(Unreachable())
