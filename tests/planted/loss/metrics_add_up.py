"""Gives a metric as a mean over the micro-batch."""

from planted_support import PolicyGradient


class MeanRatio(PolicyGradient):
    def __call__(self, batch):
        loss, _ = super().__call__(batch)
        return loss, {"ratio": float((batch.logprobs - batch.behaviour).exp().mean().detach())}


make = MeanRatio
