"""Draws from Python's global generator, and so disturbs everybody else who does."""

import random

from agentrl.testing.samples import Stairs


class DrawsGlobally(Stairs):
    def act(self, action):
        random.random()
        return super().act(action)


make = DrawsGlobally
