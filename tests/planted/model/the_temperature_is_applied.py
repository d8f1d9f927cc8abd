"""Scores at temperature 1, whatever was sampled with."""

import dataclasses

from agentrl import Sampling
from agentrl.testing.sample_model import SampleModel


class Cold(SampleModel):
    async def score(self, questions, **options):
        return await super().score([dataclasses.replace(q, sampling=Sampling()) for q in questions], **options)


make = Cold
