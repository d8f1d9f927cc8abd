"""Makes itself a seed of its own."""

import secrets

from planted_support import InTurn


class OwnSeed(InTurn):
    def __init__(self):
        super().__init__(secrets.randbelow(2**20))

    def next(self, update):
        [task] = super().next(update)
        return [type(task)(task.split, task.index, seed=task.seed + self.seed)]


make = OwnSeed
