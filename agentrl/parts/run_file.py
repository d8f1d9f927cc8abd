"""The run file as models: every key, its type, its default and its meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from agentrl.data.schedules import Scheduled
from agentrl.data.types import AGENT
from agentrl.errors import ConfigError, did_you_mean
from agentrl.parts.host import Host
from agentrl.parts.kinds import KINDS, STAGE_KINDS
from agentrl.parts.registry import Spec
from agentrl.parts.settings import describe, reason, settings_of

LIST_KINDS = {kind.many: kind.name for kind in KINDS.values() if kind.many}
"""Key of a list of parts → kind of its entries."""
_POLICIES = "policies."


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)


class PlayerSettings(_Table):
    """`[player]`: how worlds are played, the same for every collector and for evaluation. A stage may change single keys."""

    concurrency: Annotated[int, Field(gt=0)] = 256
    """Trajectories that are played at once."""
    retries: Annotated[int, Field(ge=0)] = 1
    """How often an attempt that our machinery failed is played again."""
    step_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Seconds that one reset or step of a world may take; one that is stepped inline is only measured."""
    max_turns: Scheduled[Annotated[int, Field(gt=0)]] | None = None
    """Turns of a trajectory, on top of the world's own limit; may be a schedule. Evaluation plays with its last value."""
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    """Sampled tokens of a trajectory."""


class EvaluationPlan(_Table):
    """`[evaluation]`: which held-out tasks are played, and when: the first `tasks` of the split, whatever the run's seed."""

    split: str
    """Split that final numbers are taken from."""
    tasks: Annotated[int, Field(ge=1)] = 200
    """How many tasks of the split."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the plays; not that of the run, so that runs are compared on the same ones."""
    policy: dict[str, object] = {}
    """Settings of the policy that differ in evaluation, such as `temperature`."""
    every: Annotated[int, Field(ge=0)] = 0
    """Play `during_split` after every so many updates; 0 never."""
    during_split: str | None = None
    """A split that final numbers are not taken from; it picks the best checkpoint."""
    during_tasks: Annotated[int, Field(ge=1)] = 50
    """How many tasks of it."""


class Stage(_Table):
    """`[[stages]]`: one loop of a run. Parts that it does not name are the run's."""

    name: str
    """Name in metrics, commits and overrides; `stage1` … unless given."""
    updates: Annotated[int, Field(ge=1)] = 1
    """How many updates."""
    evaluate: bool = True
    """Whether held-out tasks are played before and during this stage."""
    staleness: Annotated[int, Field(ge=0)] = 0
    """By how many updates what is trained on may be older than the weights; 0 plays and trains in turn."""
    redraws: Annotated[float, Field(ge=0)] = 3.0
    """At most so many times the groups of an update are drawn again where the sampler does not keep them."""
    trains: tuple[str, ...] = ("agent",)
    """Speakers whose turns are trained; all others are context."""
    repeat: Annotated[int, Field(ge=1)] | None = None
    """With `of`: play the stages named there one after the other, so many times; nothing else is given then."""
    of: tuple[str, ...] = ()
    """Names of stages that are played only where they are repeated."""
    player: PlayerSettings = PlayerSettings()
    """Keys of `[player]` that this stage changes."""
    parts: Mapping[str, Spec] = {}
    """One part of each kind: environment, policy, context, dialect, collector, sampler, credit, loss, trainer."""
    shapers: tuple[Spec, ...] = ()
    judges: tuple[Spec, ...] = ()


class RunFile(_Table):
    """A whole run file."""

    name: str
    """Name of the run; its folder is `runs`/`name`, with a number where that exists."""
    seed: Annotated[int, Field(ge=0)] = 0
    """All randomness comes from it."""
    runs: Annotated[Path, Field(strict=False)] = Path("runs")
    """Folder that run folders are made in."""
    start_from: Annotated[Path, Field(strict=False)] | None = None
    """Run folder whose model and codec this run begins with."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 1
    """Updates per checkpoint of weights, optimiser and states; a resumed run plays those since the last one again."""
    keep_trajectories: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """Updates whose trajectories are kept on disk."""
    player: PlayerSettings = PlayerSettings()
    evaluation: EvaluationPlan | None = None
    stages: tuple[Stage, ...] = ()
    parts: Mapping[str, Spec] = {}
    """Parts of the whole run: model and one of each kind of a stage."""
    models: Mapping[str, Spec] = {}
    """`[models.NAME]`: further models, named "models.NAME" elsewhere in the file."""
    policies: Mapping[str, Spec] = {}
    """`[policies.NAME]`: further policies; one plays the speaker of its name, and is "policies.NAME" elsewhere.

    `[policies] user = "policies.agent"` lets the run's own policy play a second speaker.
    """
    loggers: tuple[Spec, ...] = ()
    tables: Mapping[str, object] = {}
    """What was read, overrides applied: this is what a run folder keeps."""

    @property
    def model_names(self) -> list[str]:
        """The run's model, then those of [models]."""
        return [*(name for name in self.parts if name == "model"), *self.models]

    @property
    def plan(self) -> list[Stage]:
        """The stages in the order they are played, repetitions written out."""
        by_name = {stage.name: stage for stage in self.stages}
        repeated = {name for stage in self.stages for name in stage.of}
        plan: list[Stage] = []
        for stage in self.stages:
            if stage.repeat is not None:
                plan += [by_name[name] for _ in range(stage.repeat) for name in stage.of]
            elif stage.name not in repeated:
                plan.append(stage)
        return plan

    def policy_of(self, speaker: str) -> str:
        """Name of the policy that plays a speaker: its own, or the one that `[policies]` names for it."""
        names = [speaker]
        while (spec := self.policies.get(names[-1])) is not None and _names_another(spec):
            names.append(spec.name.removeprefix(_POLICIES))
            if names[-1] in names[:-1]:
                raise ConfigError(f"[policies]: {' → '.join(names)} name one another; give one of them a policy")
        return names[-1]

    def spec(self, kind: str) -> Spec | None:
        """The run's part of a kind, else that of its first stage, else the default."""
        default = KINDS[kind].default
        of_stage = self.plan[0].parts.get(kind) if self.plan else None
        return self.parts.get(kind) or of_stage or (Spec(kind, default) if default else None)


_M = TypeVar("_M", bound=_Table)


def parse(tables: Mapping[str, object], host: Host) -> RunFile:
    """Check everything that can be checked without building anything. Raises ConfigError at the first mistake."""
    known = {*RunFile.model_fields, "model", *STAGE_KINDS, *LIST_KINDS} - {"parts", "tables"}
    known_keys(tables, known, "the run file")
    tables = _first_form(tables, host)
    config = validated(
        RunFile,
        {
            **{
                key: value
                for key, value in tables.items()
                if key in RunFile.model_fields and key not in ("stages", "evaluation")
            },
            "parts": {kind: Spec.from_table(kind, tables[kind]) for kind in ("model", *STAGE_KINDS) if kind in tables},
            "models": _named(tables, "models", "model"),
            "policies": _named(tables, "policies", "policy"),
            "loggers": _specs(tables, "loggers"),
            "player": validated(PlayerSettings, _mapping(tables.get("player", {}), "[player]"), "[player]"),
            "evaluation": _evaluation(tables),
            "stages": tuple(_stage(number, stage, tables) for number, stage in enumerate(_list(tables, "stages"))),
            "tables": tables,
        },
        "the run file",
    )
    _check_stages(config)
    _check_policies(config)
    for spec in _all_specs(config):
        host.check(spec)
    return config


def known_keys(table: Mapping[str, object], known: set[str], where: str) -> None:
    """Raise ConfigError for a key that means nothing here."""
    for key in table:
        if key not in known:
            raise ConfigError(f"{where} has no key {key!r}. {did_you_mean(key, known)}")


def validated(model: type[_M], table: Mapping[str, object], where: str) -> _M:
    """A table as a model. Raises ConfigError in the words of a person."""
    known_keys(table, set(model.model_fields), where)
    try:
        return model.model_validate(dict(table))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        takes = describe(model.model_fields[key].annotation) if key in model.model_fields else ""
        if first["type"] == "missing":
            raise ConfigError(f"{where} needs `{key}` ({takes})") from None
        raise ConfigError(f"{where}: {key} = {table.get(key)!r}; it takes {takes}: {reason(first['msg'])}") from None


def _stage(number: int, table: object, tables: Mapping[str, object]) -> Stage:
    where = f"[[stages]] number {number + 1}"
    table = _mapping(table, where)
    known_keys(table, {*Stage.model_fields, *STAGE_KINDS, *LIST_KINDS} - {"parts", "loggers"}, where)
    own: dict[str, object] = {key: table[key] for key in Stage.model_fields if key in table}
    own["name"] = table.get("name", f"stage{number + 1}")
    for key in ("trains", "of"):
        if isinstance(own.get(key), list):
            own[key] = tuple(own[key])  # type: ignore[arg-type]
    if "repeat" in table or "of" in table:
        known_keys(table, {"name", "repeat", "of"}, f"{where}, which repeats others,")
        return validated(Stage, own, where)
    if "updates" not in table:
        raise ConfigError(f"{where} needs `updates` (int)")
    player = {**_mapping(tables.get("player", {}), "[player]"), **_mapping(table.get("player", {}), f"{where}: player")}
    return validated(
        Stage,
        {
            **own,
            "player": validated(PlayerSettings, player, f"{where}: player"),
            "parts": _stage_parts(where, table, tables),
            "shapers": _specs(table if "shapers" in table else tables, "shapers"),
            "judges": _specs(table if "judges" in table else tables, "judges"),
        },
        where,
    )


def _stage_parts(where: str, table: Mapping[str, object], tables: Mapping[str, object]) -> dict[str, Spec]:
    parts: dict[str, Spec] = {}
    for kind in STAGE_KINDS:
        inherited = tables.get(kind, {"name": KINDS[kind].default} if KINDS[kind].default else None)
        chosen = table.get(kind, inherited)
        if isinstance(inherited, str):
            inherited = {"name": inherited}
        if isinstance(chosen, Mapping) and "name" not in chosen and isinstance(inherited, Mapping):
            chosen = {**inherited, **chosen}  # a stage may change single settings of the run's part
        if chosen is not None:
            parts[kind] = Spec.from_table(kind, chosen)
    for kind in ("environment", "policy", "trainer"):
        if kind not in parts:
            raise ConfigError(f"{where} has no [{kind}], and neither has the run; add one")
    return parts


def _check_stages(config: RunFile) -> None:
    names = [stage.name for stage in config.stages]
    if len(set(names)) < len(names):
        raise ConfigError(f"two stages share a name: {', '.join(names)}. Give each [[stages]] its own `name`.")
    for stage in config.stages:
        if (stage.repeat is None) != (not stage.of):
            raise ConfigError(
                f"stage {stage.name!r}: `repeat` and `of` belong together, such as repeat = 10, of = ['a']"
            )
        for name in stage.of:
            if name not in names or name == stage.name:
                raise ConfigError(
                    f"stage {stage.name!r} repeats {name!r}. {did_you_mean(name, set(names) - {stage.name})}"
                )
            inner = next(other for other in config.stages if other.name == name).of
            if inner:
                raise ConfigError(
                    f"stage {stage.name!r} repeats {name!r}, which itself repeats others; name those: of = {list(inner)}"
                )


def _evaluation(tables: Mapping[str, object]) -> EvaluationPlan | None:
    if "evaluation" not in tables:
        return None
    plan = validated(EvaluationPlan, _mapping(tables["evaluation"], "[evaluation]"), "[evaluation]")
    if plan.every and plan.during_split in (None, plan.split):
        raise ConfigError(
            "[evaluation]: every > 0 needs during_split, a split other than split: the best checkpoint may not be chosen "
            "on the tasks that the final numbers are taken from"
        )
    return plan


def _first_form(tables: Mapping[str, object], host: Host) -> Mapping[str, object]:
    """Settings of the player that earlier run files gave to the collector, moved to where they belong."""
    tables = dict(tables)
    _move(tables, host)
    stages = []
    for stage in _list(tables, "stages"):
        moved = dict(stage) if isinstance(stage, Mapping) else stage
        if isinstance(moved, dict):
            _move(moved, host)
        stages.append(moved)
    return tables | ({"stages": stages} if "stages" in tables else {})


def _move(table: dict[str, object], host: Host) -> None:
    collector = table.get("collector")
    if not isinstance(collector, Mapping):
        return
    name = collector.get("name", KINDS["collector"].default)
    registered = {entry.name for entry in host.registry("collector")}
    own = settings_of(host.part("collector", str(name))) if name in registered else {}
    moved = {key: value for key, value in collector.items() if key in PlayerSettings.model_fields and key not in own}
    if moved:
        table["collector"] = {key: value for key, value in collector.items() if key not in moved}
        table["player"] = {**moved, **_mapping(table.get("player", {}), "[player]")}


def _check_policies(config: RunFile) -> None:
    for name, spec in config.policies.items():
        other = config.policy_of(name)
        if other not in (AGENT, *config.policies):
            raise ConfigError(
                f'[policies]: {name} = "{_POLICIES}{other}" is no policy of this run. '
                f"{did_you_mean(other, [AGENT, *config.policies])}"
            )
        if _names_another(spec) and spec.settings:
            raise ConfigError(f"[policies.{name}] is {spec.name!r}, whose settings are given there")


def _names_another(spec: Spec) -> bool:
    return spec.name.startswith(_POLICIES)


def _all_specs(config: RunFile) -> list[Spec]:
    policies = [spec for spec in config.policies.values() if not _names_another(spec)]
    specs = [*config.parts.values(), *config.models.values(), *policies, *config.loggers]
    for stage in config.stages:
        specs += [*stage.parts.values(), *stage.shapers, *stage.judges]
    return list({id(spec): spec for spec in specs}.values())


def _named(tables: Mapping[str, object], key: str, kind: str) -> dict[str, Spec]:
    return {name: Spec.from_table(kind, table) for name, table in _mapping(tables.get(key, {}), f"[{key}]").items()}


def _specs(table: Mapping[str, object], key: str) -> tuple[Spec, ...]:
    return tuple(Spec.from_table(LIST_KINDS[key], entry) for entry in _list(table, key))


def _list(table: Mapping[str, object], key: str) -> Sequence[object]:
    value = table.get(key, [])
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"the run file: {key} = {value!r}; it takes list")
    return value


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} must be a table, not {value!r}")
    return value
