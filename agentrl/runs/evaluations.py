"""Playing held-out tasks between updates, and keeping what came of it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence

from agentrl.data.record import Run
from agentrl.data.seeds import seed_of
from agentrl.data.types import AGENT, Task
from agentrl.errors import ConfigError
from agentrl.evaluation.protocol import Evaluation, evaluate
from agentrl.evaluation.store import DURING, FINAL, keep_evaluation, read_evaluation
from agentrl.parts.handover import Probe
from agentrl.parts.live import LiveStage, accepted
from agentrl.parts.playing import Policy, Speakers
from agentrl.parts.run_file import EvaluationPlan, Stage
from agentrl.parts.weights import Model
from agentrl.runs.parts import RunParts
from agentrl.worlds.player import EpisodePlayer


class Evaluations:
    """The evaluations of one run, each played once: a folder per update and split."""

    def __init__(self, run: Run, parts: RunParts, plan: EvaluationPlan) -> None:
        self._run, self._parts, self._plan = run, parts, plan

    async def final(self, update: int, stage: Stage) -> Evaluation:
        """The split that final numbers are taken from, with the weights after `update` updates."""
        return await self._kept(update, FINAL, stage, self._plan.split, self._plan.tasks)

    async def during(self, update: int, stage: Stage) -> Evaluation:
        """The split that picks the best checkpoint."""
        assert self._plan.during_split is not None
        return await self._kept(update, DURING, stage, self._plan.during_split, self._plan.during_tasks)

    def due(self, update: int, stage: Stage) -> bool:
        """Whether `during` is to be played after `update` updates."""
        return update > 0 and self._plan.every > 0 and stage.evaluate and update % self._plan.every == 0

    async def _kept(self, update: int, name: str, stage: Stage, split: str, tasks: int) -> Evaluation:
        known = read_evaluation(self._run, update, name)
        if known is not None:
            return known
        player = self._parts.evaluation_player(stage)
        try:
            speaker = self._parts.evaluation_policy(self._plan)
            speakers = {**self._parts.others(), AGENT: speaker}
            await up_to_date(self._parts, speaker)
            result = await play_tasks(player, speakers, split, tasks, self._plan.seed, f"eval-{update}{name}")
        finally:
            player.close()
            for policy in self._parts.policies.values():
                getattr(policy, "metrics", dict)()  # its counters are for the updates

        keep_evaluation(self._run, update, name, result, self._parts.host.columns)
        return result


async def up_to_date(parts: RunParts, speaker: object) -> None:
    """Give a policy the present weights of its model, if it has any."""
    if isinstance(speaker, Policy) and speaker.accepts and speaker.version is not None:
        model: Model = parts.model(speaker.version.model)
        weights = await model.publish(model.version.update, via=accepted([speaker]))
        await Probe().refresh([speaker], weights, model)


async def hand_over(stage: LiveStage) -> None:
    """Give the present weights to every policy of a stage; precedes the first play, also on resume."""
    weights = await stage.model.publish(stage.model.version.update, via=accepted(stage.policies))
    await stage.refresh(weights)


async def play_tasks(
    player: EpisodePlayer, speakers: Speakers, split: str, tasks: int, seed: int, key: str = "eval"
) -> Evaluation:
    """Play the first `tasks` tasks of a split once each."""
    chosen: Sequence[Task] = [Task(split, index, seed=seed_of(seed, index) % 2**31) for index in range(tasks)]
    playing = evaluate(player, speakers, chosen, seed=seed, key=key)
    return await asyncio.create_task(playing, context=contextvars.Context())  # an evaluation belongs to no update


def planned(plan: EvaluationPlan | None) -> EvaluationPlan:
    """The plan. Raises ConfigError where the run file has none."""
    if plan is None:
        raise ConfigError("there is no [evaluation] table; it names the split and the number of tasks")
    return plan
