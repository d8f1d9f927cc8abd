"""Names a part of its reward that is larger than the reward."""

from agentrl.testing.samples import Stairs


class PromisesMore(Stairs):
    def act(self, action):
        return super().act(action).replace(rewards={"goal": 0.5, "style": 0.25})


make = PromisesMore
