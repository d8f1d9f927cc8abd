"""Gives its own list away in a snapshot, and goes on writing into it."""

from agentrl.testing.samples import Stairs


class SharesItsLog(Stairs):
    def begin(self, task):
        self.log = []
        return super().begin(task)

    def act(self, action):
        self.log.append(action)
        scene = super().act(action)
        return scene.replace(observation=f"{scene.observation} {len(self.log)} actions so far.")

    def state(self):
        return {"floor": self._floor, "goal": self._goal, "clock": self._clock, "log": self.log}

    def load(self, state):
        self._floor, self._goal, self._clock, self.log = (state[key] for key in ("floor", "goal", "clock", "log"))


make = SharesItsLog
