"""What is tried before a run has a folder: everything is built, and one task is played."""

from __future__ import annotations

from agentrl.data.types import Task
from agentrl.errors import AgentRLError, ConfigError
from agentrl.parts.faults import metrics_of
from agentrl.parts.live import LiveStage
from agentrl.parts.playing import Play, Policy
from agentrl.parts.run_file import RunFile, Stage
from agentrl.runs.evaluations import check_plan, hand_over
from agentrl.runs.parts import RunParts

TURNS = 2


async def check_parts(config: RunFile, live: RunParts) -> None:
    """Build every stage, compare its parts, and play a task of each world for two turns. Raises AgentRLError."""
    await live.begin()
    for stage in {stage.name: stage for stage in config.plan}.values():
        parts = live.stage(stage)
        _check_policies(stage, parts)
        await hand_over(parts)
        await _play_one(stage, live, parts)
        if stage.name != config.plan[0].name:
            live.release(stage.name)
    if config.evaluation is not None:
        for stage in [stage for stage in config.plan[:-1] if stage.evaluate] + config.plan[-1:]:
            check_plan(config.evaluation, live.splits(stage))
        live.evaluation_policy(config.evaluation)


def _check_policies(stage: Stage, parts: LiveStage) -> None:
    loss = getattr(parts.trainer, "loss", None)
    for name in stage.trains:
        speaker = parts.speakers[name]
        if "behaviour" in getattr(loss, "needs", ()) and not (
            isinstance(speaker, Policy) and speaker.exact is not False
        ):
            raise ConfigError(
                f"stage {stage.name!r}: its loss compares with the log-probs of sampling, and {type(speaker).__name__} "
                'gives none; take an exact policy, or a cloning loss such as "nll"'
            )
        if stage.staleness and isinstance(speaker, Policy) and parts.model is getattr(speaker, "_model", None):
            raise ConfigError(
                f"stage {stage.name!r}: staleness = {stage.staleness} needs an engine with weights of its own; "
                f"{type(speaker).__name__} shares those that are being trained"
            )


async def _play_one(stage: Stage, live: RunParts, parts: LiveStage) -> None:
    """The first task of the stage's split, for two turns; a world that cannot be played is found out before a folder exists."""
    split = str(stage.parts["sampler"].settings.get("split", next(iter(live.splits(stage)))))
    play = Play(Task(split, 0), "check", 0, 0, max_turns=TURNS)
    played = await live.player(stage.name).play(parts.speakers, [play])
    live.player(stage.name).metrics()  # its counters, as those of the policies, are for the updates
    for speaker in parts.speakers.values():
        metrics_of(speaker, type(speaker).__name__)
    last = played[-1]
    if last.outcome.failed:
        raise AgentRLError(
            f"stage {stage.name!r}: its first task cannot be played, so nothing was begun ({last.outcome.value}: "
            f"{last.error}). Play it yourself: agentrl play {stage.parts['environment'].name}"
        )
