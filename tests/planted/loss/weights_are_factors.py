"""Takes every token for one, whatever its weight."""

from planted_support import PolicyGradient


class Unweighted(PolicyGradient):
    needs = frozenset()

    def __call__(self, batch):
        return -(batch.logprobs * batch.advantages).sum(), {}


make = Unweighted
