"""Reads reference log-probs that it does not declare."""

from planted_support import PolicyGradient


class Undeclared(PolicyGradient):
    skips_zero = False

    def __call__(self, batch):
        loss, metrics = super().__call__(batch)
        return loss + 0.1 * (batch.weight * (batch.logprobs - batch.reference) ** 2).sum(), metrics


make = Undeclared
