"""Gives back the best attempts first, whoever's they are."""

import dataclasses

from planted_support import Repeats


class BestFirst(Repeats):
    async def collect(self, draw, speakers):
        [group] = await super().collect(draw, speakers)
        order = sorted(group.trajectories, key=lambda t: (-t.member, t.attempt))
        return [dataclasses.replace(group, trajectories=tuple(order))]


make = BestFirst
