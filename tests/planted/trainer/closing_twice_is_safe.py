"""Closes its file twice."""

from agentrl.testing.sample_model import SampleModel, SampleTrainer


class Closes(SampleTrainer):
    opened = True

    def close(self):
        if not self.opened:
            raise OSError("it is closed already")
        self.opened = False


def make():
    return Closes(SampleModel())
