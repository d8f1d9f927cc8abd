"""Flags with True every action that did not run, where the reason belongs."""

from agentrl.testing.samples import Stairs


class Flags(Stairs):
    def step(self, action):
        *shown, info = super().step(action)
        return (*shown, info | {"invalid": bool(info["invalid"])})


make = Flags
