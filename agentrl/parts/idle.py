"""What a run file says and no part of the run would use: refused, for somebody believes that it does something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from agentrl.errors import ConfigError
from agentrl.parts.host import Host
from agentrl.parts.learning import Loss
from agentrl.parts.registry import Spec
from agentrl.parts.run_file import RunFile, Stage, all_specs
from agentrl.parts.run_tables import LIST_KINDS
from agentrl.parts.settings import OnlyWith

OF_STAGES = ("environment", "context", "collector", "sampler", "credit", "loss", "trainer", "shapers", "judges")
"""Keys of a run file that only stages use."""


def check_used(config: RunFile, host: Host) -> None:
    """Raises ConfigError for the first key that nothing uses.

    For runs that begin: one that has begun goes on as it is, and is evaluated as it is.
    """
    for complaint in _complaints(config, host):
        raise ConfigError(f"{complaint}; remove it")


def _complaints(config: RunFile, host: Host) -> Iterator[str]:
    tables = config.tables
    own = {str(table.get("name", f"stage{n}")): table for n, table in enumerate(_tables(tables), start=1)}
    played = [stage for name, stage in {stage.name: stage for stage in config.plan}.items() if name in own]
    for key in OF_STAGES:
        if key in tables and played and all(_names_its_own(own[stage.name], key) for stage in played):
            yield f"[{key}] is used by no stage: each names its own"
    if "loss" in tables and played and not any(_takes_loss(stage, host) for stage in played):
        yield "[loss] does nothing, for no trainer of this run takes one"
    if "logger_timeout_s" in tables and not config.loggers:
        yield "logger_timeout_s does nothing, for the run has no loggers"
    for stage in played:
        yield from _of_stage(config, stage, own[stage.name], host)
    yield from _of_evaluation(config)
    for spec in all_specs(config):
        yield from _of_part(spec, host)
    text = repr([table for key, table in tables.items() if key != "models"])
    for name in config.models:
        if f"'models.{name}'" not in text:
            yield f"[models.{name}] is used by nothing: no part names 'models.{name}'"


def _of_part(spec: Spec, host: Host) -> Iterator[str]:
    parameters = host.parameters(spec)
    for name in spec.settings:
        for needs in getattr(parameters[name].annotation, "__metadata__", ()):
            if isinstance(needs, OnlyWith) and (why := needs.idle(spec.settings, parameters)):
                yield f"{spec.kind} {spec.name!r}: {name} does nothing {why}"


def _of_stage(config: RunFile, stage: Stage, table: Mapping[str, object], host: Host) -> Iterator[str]:
    if "loss" in table and not _takes_loss(stage, host):
        yield f"stage {stage.name!r}: `loss` does nothing, for trainer {stage.parts['trainer'].name!r} takes none"
    if table.get("evaluate") is True and config.evaluation is None:
        yield f"stage {stage.name!r}: evaluate = true does nothing without an [evaluation] table"
    if "judge_timeout_s" in table and not stage.judges:
        yield f"stage {stage.name!r}: judge_timeout_s does nothing, for the stage has no judges"


def _of_evaluation(config: RunFile) -> Iterator[str]:
    plan = config.evaluation
    if plan is None:
        return
    given = plan.model_fields_set
    for key in ("during_split", "during_tasks"):
        if key in given and "every" not in given:
            yield f"[evaluation] {key} does nothing without `every`, the number of updates after which it is played"
    if plan.every and config.plan and not any(stage.evaluate for stage in config.plan):
        yield "[evaluation] every does nothing, for no stage evaluates"


def _tables(tables: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
    stages = tables.get("stages")
    return stages if isinstance(stages, list) else ()


def _names_its_own(table: Mapping[str, object], key: str) -> bool:
    """Whether a stage takes nothing of the run's table for this key."""
    own = table.get(key)
    return key in table and (key in LIST_KINDS or isinstance(own, str) or (isinstance(own, Mapping) and "name" in own))


def _takes_loss(stage: Stage, host: Host) -> bool:
    return any(parameter.contract is Loss for parameter in host.parameters(stage.parts["trainer"]).values())
