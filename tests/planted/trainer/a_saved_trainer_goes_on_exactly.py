"""Forgets its momentum when it is saved."""

from agentrl.testing.sample_model import SampleModel, SampleTrainer


class Forgets(SampleTrainer):
    def save(self, folder):
        folder.mkdir(parents=True)

    def load(self, folder):
        pass


def make():
    return Forgets(SampleModel())
