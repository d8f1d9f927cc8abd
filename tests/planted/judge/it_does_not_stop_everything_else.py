"""Waits for its service without letting anybody else run."""

import asyncio
import time

from planted_support import Lengths


class Blocks(Lengths):
    async def annotate(self, trajectories):
        if len(asyncio.all_tasks()) > 2:  # only where somebody could notice: the other checks need not wait
            time.sleep(0.55)
        await super().annotate(trajectories)


make = Blocks
