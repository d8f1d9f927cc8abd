"""THE MAIN PATH: play, annotate, credit, update, hand over, observe, commit. Read this file first."""

from __future__ import annotations

from typing import Protocol

from agentrl.data.types import Advantages, Batch, Metrics
from agentrl.parts.live import LiveStage
from agentrl.worlds.buffer import Buffer


class Record(Protocol):
    """Makes an update durable, then tells everybody who watches."""

    async def commit(self, batch: Batch, advantages: Advantages, metrics: Metrics) -> None: ...


async def learn(stage: LiveStage, buffer: Buffer, record: Record) -> None:
    """Every update of a stage, from the buffer's first to its last."""
    async with buffer:
        async for batch in buffer.batches(
            stage.sampler, stage.collect
        ):  # whole groups, at most `staleness` updates ahead
            await stage.annotate(batch)  # judges, critics, teachers → columns
            advantages = stage.shape(batch, stage.credit(batch))
            metrics = await stage.train(batch, advantages)
            weights = await stage.publish(batch.update + 1)
            await stage.refresh(weights)  # returns when they have arrived and a probe agrees
            stage.observe(batch)  # sampler, collector, player, context, judges, credit: fixed order
            await record.commit(batch, advantages, metrics)
