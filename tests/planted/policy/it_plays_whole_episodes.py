"""A demonstrator that is at its wits' end after three turns."""

from agentrl.testing.sample_plays import Wanderer


class GivesUp(Wanderer):
    def act(self, world, info, seed):
        if world.turn > 2:
            raise RuntimeError("no idea")
        return "up"


make = GivesUp
