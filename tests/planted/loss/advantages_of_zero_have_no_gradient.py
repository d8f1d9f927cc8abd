"""Says that rows without advantages may be left out, and pulls them towards the reference all the same."""

from planted_support import PolicyGradient


class Pulls(PolicyGradient):
    needs = frozenset({"behaviour", "reference"})

    def __call__(self, batch):
        loss, metrics = super().__call__(batch)
        return loss + 0.1 * (batch.weight * (batch.logprobs - batch.reference) ** 2).sum(), metrics


make = Pulls
