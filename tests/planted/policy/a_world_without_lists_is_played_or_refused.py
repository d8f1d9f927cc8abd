"""A demonstrator that looks for the list of actions, whether the world gives one or not."""

from agentrl.testing.sample_plays import Wanderer


class Trusting(Wanderer):
    def act(self, world, info, seed):
        return info["admissible"][seed % len(info["admissible"])]


make = Trusting
