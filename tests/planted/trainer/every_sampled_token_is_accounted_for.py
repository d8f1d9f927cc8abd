"""Counts the tokens of prompts among those that it trained."""

from agentrl.testing.sample_model import SampleModel, SampleTrainer


class Boasts(SampleTrainer):
    async def update(self, batch, advantages):
        metrics = await super().update(batch, advantages)
        prompts = sum(len(turn.completion.prompt_ids) for t in batch.usable for turn in t.turns)
        return metrics | {"tokens_scored": metrics["tokens_scored"] + prompts}


def make():
    return Boasts(SampleModel())
