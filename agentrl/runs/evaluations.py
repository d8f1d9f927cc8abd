"""Playing held-out tasks with the present weights, and keeping what came of it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Mapping

from agentrl.data.record import Run
from agentrl.data.seeds import seed_of
from agentrl.data.types import AGENT, Task
from agentrl.errors import ConfigError
from agentrl.evaluation.protocol import Evaluation, evaluate
from agentrl.evaluation.store import DURING, FINAL, keep_evaluation, read_evaluation
from agentrl.parts.faults import metrics_of
from agentrl.parts.handover import Probe
from agentrl.parts.live import LiveStage, accepted
from agentrl.parts.playing import Policy
from agentrl.parts.run_file import EvaluationPlan, Stage
from agentrl.parts.weights import Model
from agentrl.runs.parts import RunParts
from agentrl.runs.progress import Progress


class Evaluations:
    """The evaluations of one run, each played once: a folder per update and split."""

    def __init__(self, run: Run, parts: RunParts, plan: EvaluationPlan, progress: Progress) -> None:
        self._run, self._parts, self._plan, self._progress = run, parts, plan, progress

    async def final(self, update: int, stage: Stage) -> None:
        """The split that final numbers are taken from, with the weights after `update` updates."""
        await self._once(update, FINAL, stage, self._plan.split, self._plan.tasks)

    async def during(self, update: int, stage: Stage) -> Evaluation | None:
        """The split that picks the best checkpoint; None where it is not due after `update` updates."""
        split, every = self._plan.during_split, self._plan.every
        if split is None or not every or not update or update % every or not stage.evaluate:
            return None
        return await self._once(update, DURING, stage, split, self._plan.during_tasks)

    async def _once(self, update: int, name: str, stage: Stage, split: str, tasks: int) -> Evaluation:
        known = read_evaluation(self._run, update, name)
        if known is not None:
            return known
        self._progress.phase = "evaluating"
        result = await play_held_out(self._parts, self._plan, stage, split, tasks, f"eval-{update}{name}")
        for policy in self._parts.policies.values():
            metrics_of(policy, type(policy).__name__)  # its counters are for the updates
        keep_evaluation(self._run, update, name, result, self._parts.host.columns)
        for about, note in result.notes().items():
            self._progress.advise(f"{about} of {split}", f"evaluation on {split!r} after {update} updates: {note}")
        return result


def check_plan(plan: EvaluationPlan, splits: Mapping[str, int]) -> None:
    """Whether a world with these splits has the tasks. Raises ConfigError."""
    wanted = [("split", plan.split, "tasks", plan.tasks)]
    if plan.every and plan.during_split is not None:
        wanted.append(("during_split", plan.during_split, "during_tasks", plan.during_tasks))
    for key, split, number, tasks in wanted:
        if split not in splits:
            raise ConfigError(
                f"[evaluation] {key} names the split {split!r}; the world has {', '.join(map(repr, splits))}"
            )
        if tasks > splits[split]:
            raise ConfigError(
                f"[evaluation] {number} = {tasks}, and the split {split!r} has {splits[split]} tasks; give at most that"
            )


async def play_held_out(
    parts: RunParts, plan: EvaluationPlan, stage: Stage | None, split: str, tasks: int, key: str = "eval"
) -> Evaluation:
    """Play the first `tasks` tasks of a split once each, with the present weights."""
    player = parts.evaluation_player(stage)
    try:
        speakers = {**parts.others(), AGENT: parts.evaluation_policy(plan)}
        for speaker in speakers.values():
            if isinstance(speaker, Policy) and speaker.accepts and speaker.version is not None:
                model: Model = parts.model(speaker.version.model)
                weights = await model.publish(model.version.update, via=accepted([speaker]))
                await Probe().refresh([speaker], weights, model)
        chosen = [Task(split, index, seed=seed_of(plan.seed, index) % 2**31) for index in range(tasks)]
        playing = evaluate(player, speakers, chosen, seed=plan.seed, key=key)
        return await asyncio.create_task(playing, context=contextvars.Context())  # it belongs to no update
    finally:
        player.close()


async def hand_over(stage: LiveStage) -> None:
    """Give the present weights to every policy of a stage; precedes the first play, also on resume."""
    await stage.refresh(await stage.publish(stage.model.version.update))
