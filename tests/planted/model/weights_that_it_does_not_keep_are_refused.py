"""Scores with its own weights, whichever are asked for."""

from agentrl.testing.sample_model import SampleModel


class Obliging(SampleModel):
    async def score(self, questions, *, weights="current", **options):
        return await super().score(questions, weights="current", **options)


make = Obliging
