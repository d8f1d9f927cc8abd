"""Has the same tasks in both splits, under keys that differ."""

from agentrl.testing.samples import Stairs


class TeachesTheTest(Stairs):
    def party(self, task):
        return task.index

    def content(self):
        return f"{self.task.split} {self.task.index}"


make = TeachesTheTest
