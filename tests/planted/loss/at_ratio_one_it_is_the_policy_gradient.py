"""Squares the ratio, which doubles the step."""

from planted_support import PolicyGradient


class Squares(PolicyGradient):
    def __call__(self, batch):
        ratio = (batch.logprobs - batch.behaviour).clamp(-20, 20).exp()
        return -(batch.weight * ratio**2 * batch.advantages).sum(), {}


make = Squares
