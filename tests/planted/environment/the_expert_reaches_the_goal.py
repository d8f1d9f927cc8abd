"""Has an expert that goes into the first door."""

from agentrl.testing.samples import Stairs


class ExpertIsLost(Stairs):
    def expert_action(self):
        return "in"


make = ExpertIsLost
