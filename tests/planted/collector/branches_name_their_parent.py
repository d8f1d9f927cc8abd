"""Leaves out the trajectories that it has branched from."""

import dataclasses

from planted_support import Branches


class Orphans(Branches):
    async def collect(self, draw, speakers):
        [group] = await super().collect(draw, speakers)
        parents = {t.parent.rpartition("@")[0] for t in group.trajectories if t.parent and not t.outcome.failed}
        failed = any(t.outcome.failed for t in group.trajectories)
        kept = [t for t in group.trajectories if failed or t.id not in parents or draw.copies != 4]
        return [dataclasses.replace(group, trajectories=tuple(kept))]


make = Orphans
