"""Lets the padding of short questions into their scores."""

import dataclasses

from agentrl.testing.sample_model import SampleModel


class CountsPadding(SampleModel):
    async def score(self, questions, **options):
        longest = max(len(question.prompt_ids) for question in questions)
        return [
            dataclasses.replace(score, logprobs=score.logprobs - 0.001 * (longest - len(question.prompt_ids)))
            for question, score in zip(questions, await super().score(questions, **options), strict=True)
        ]


make = CountsPadding
