"""Lets the failure of its scorer end the run."""

from agentrl import Question
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
                    [score] = await self._scorer.score([question])
                    known = turn.columns.get("judged") or {}
                    turn.columns["judged"] = {**known, "confidence": float(score.logprobs.mean())}


def make():
    return Confident(SampleModel())


def failing():
    return Confident(Unreachable())
