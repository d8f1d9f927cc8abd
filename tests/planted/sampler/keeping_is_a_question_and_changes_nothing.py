"""Goes on to the next task when it is asked whether it keeps a group."""

from planted_support import InTurn


class Impatient(InTurn):
    def keep(self, group):
        self.place += 1
        return len({t.episode_return for t in group.trajectories}) > 1


make = Impatient
