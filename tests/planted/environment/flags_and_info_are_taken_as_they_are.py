"""Says in words whether the goal is reached, and "false" would count as a success."""

from agentrl.testing.samples import Stairs


class SaysFalse(Stairs):
    def step(self, action):
        *shown, info = super().step(action)
        return (*shown, info | {"success": str(info["success"]).lower()})


make = SaysFalse
