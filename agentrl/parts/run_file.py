"""The run file as models: every key, its type, its default and its meaning."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import pydantic
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from agentrl.data.schedules import Scheduled
from agentrl.data.types import AGENT
from agentrl.errors import ConfigError, did_you_mean
from agentrl.parts.host import Host
from agentrl.parts.kinds import KINDS, STAGE_KINDS
from agentrl.parts.registry import Spec
from agentrl.parts.run_tables import LIST_KINDS, kept_tables
from agentrl.parts.settings import describe, expanded, reason

_POLICIES = "policies."
_LONGEST_NAME = 200


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
    answer_timeout_s: Annotated[float, Field(gt=0)] = 3600.0
    """Seconds that a policy may take for one answer, its queue included; then the attempt failed. 1e9 is no limit."""
    max_turns: Scheduled[Annotated[int, Field(gt=0)]] | None = None
    """Turns of a trajectory, on top of the world's own limit; may be a schedule. Evaluation plays with its last value."""
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    """Sampled tokens of a trajectory."""
    success_above: float | None = None
    """A trajectory that its world ended with a return above this is a success; for worlds that do not say it themselves."""


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

    @model_validator(mode="after")
    def _best_is_chosen_elsewhere(self) -> EvaluationPlan:
        if self.every and self.during_split in (None, self.split):
            raise ValueError(
                "every > 0 needs during_split, a split other than split: the best checkpoint may not be chosen on the "
                "tasks that the final numbers are taken from"
            )
        return self

    def plays_after(self, updates: int) -> bool:
        """Whether `during_split` is due after so many updates."""
        return self.during_split is not None and self.every > 0 and updates > 0 and updates % self.every == 0


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
    trains: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = (AGENT,)
    """Speakers whose turns are trained; all others are context."""
    judge_timeout_s: Annotated[float, Field(gt=0)] = 3600.0
    """Seconds that a judge may take for one update; then it failed, and its columns are left out."""
    repeat: Annotated[int, Field(ge=1)] | None = None
    """With `of`: play the stages named there one after the other, so many times; nothing else is given then."""
    of: Annotated[tuple[str, ...], Field(strict=False)] = ()
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
    runs: Annotated[Path, Field(strict=False), AfterValidator(expanded)] = Path("runs")
    """Folder that run folders are made in."""
    start_from: Annotated[Path, Field(strict=False)] | None = None
    """Run folder whose model and codec this run begins with."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 1
    """Updates per checkpoint of weights, optimiser and states; a resumed run plays those since the last one again.

    An update that `[evaluation]` plays `during_split` after has one, too: it may be the best.
    """
    keep_trajectories: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """Updates whose trajectories are kept on disk."""
    logger_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """Seconds that a logger may take for one update; one that takes longer is given up, and the run goes on."""
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
    _known_keys(tables, known, "the run file")
    _list(tables, "stages")
    tables = kept_tables(tables, PlayerSettings.model_fields, host)
    evaluation = tables.get("evaluation")
    own: dict[str, object] = {key: tables[key] for key in RunFile.model_fields if key in tables}
    own |= {
        "parts": {
            kind: Spec.from_table(kind, _of_run(kind, tables)) for kind in ("model", *STAGE_KINDS) if kind in tables
        },
        "models": _named(tables, "models", "model"),
        "policies": _named(tables, "policies", "policy"),
        "loggers": _specs(tables, "loggers"),
        "player": _validated(PlayerSettings, tables.get("player", {}), "[player]"),
        "evaluation": None if evaluation is None else _validated(EvaluationPlan, evaluation, "[evaluation]"),
        "stages": tuple(_stage(number, stage, tables) for number, stage in enumerate(_list(tables, "stages"), start=1)),
        "tables": tables,
    }
    config = _validated(RunFile, own, "the run file")
    _check_name(config.name, "run")
    _check_policies(config)
    _check_stages(config)
    names = {f"models.{name}" for name in ("model", *config.models)}
    names |= {f"{_POLICIES}{name}" for name in (AGENT, *config.policies)}
    for spec in all_specs(config):
        host.check(spec, names)
    return config


def _known_keys(table: Mapping[str, object], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where} has no key {key!r}. {did_you_mean(str(key), known)}")


def _validated(model: type[_M], table: object, where: str) -> _M:
    """A table as a model. Raises ConfigError in the words of a person."""
    table = _mapping(table, where)
    _known_keys(table, set(model.model_fields), where)
    try:
        return model.model_validate(dict(table))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise ConfigError(f"{where}: {reason(first['msg'])}") from None
        key = str(first["loc"][0])
        takes = describe(model.model_fields[key].annotation)
        if first["type"] == "missing":
            raise ConfigError(f"{where} needs `{key}` ({takes})") from None
        raise ConfigError(f"{where}: {key} = {table[key]!r}; it takes {takes}: {reason(first['msg'])}") from None


def _stage(number: int, table: object, tables: Mapping[str, object]) -> Stage:
    where = f"[[stages]] number {number}"
    table = _mapping(table, where)
    _known_keys(table, {*Stage.model_fields, *STAGE_KINDS, *LIST_KINDS} - {"parts", "loggers"}, where)
    own: dict[str, object] = {"name": f"stage{number}"}
    own |= {key: table[key] for key in Stage.model_fields if key in table}
    if "repeat" in table or "of" in table:
        _known_keys(table, {"name", "repeat", "of"}, f"{where}, which repeats others,")
        return _validated(Stage, own, where)
    if "updates" not in table:
        raise ConfigError(f"{where} needs `updates` (int)")
    player = {**_mapping(tables.get("player", {}), "[player]"), **_mapping(table.get("player", {}), f"{where}: player")}
    own["player"] = _validated(PlayerSettings, player, f"{where}: player")
    parts: dict[str, Spec] = {}
    for kind in STAGE_KINDS:
        of_run = _of_run(kind, tables)
        chosen = table.get(kind, of_run)
        if isinstance(chosen, Mapping) and "name" not in chosen and isinstance(of_run, Mapping):
            chosen = {**of_run, **chosen}  # a stage may change single settings of the run's part
        if chosen is not None:
            parts[kind] = Spec.from_table(kind, chosen)
    for kind in ("environment", "policy", "trainer"):
        if kind not in parts:
            raise ConfigError(f"{where} has no [{kind}], and neither has the run; add one")
    lists = {key: _specs(table if key in table else tables, key) for key in ("shapers", "judges")}
    return _validated(Stage, {**own, "parts": parts, **lists}, where)


def _of_run(kind: str, tables: Mapping[str, object]) -> object:
    """The run's table for a kind, with the name that is taken where none is given; None without either."""
    default = {"name": KINDS[kind].default} if KINDS[kind].default else None
    table = tables.get(kind, default)
    if isinstance(table, str):
        return {"name": table}
    return {**default, **table} if default and isinstance(table, Mapping) else table


def _check_stages(config: RunFile) -> None:
    stages = {stage.name: stage for stage in config.stages}
    speakers = (AGENT, *config.policies)
    if len(stages) < len(config.stages):
        names = ", ".join(stage.name for stage in config.stages)
        raise ConfigError(f"two stages share a name: {names}. Give each [[stages]] its own `name`.")
    if config.stages and not config.model_names:
        raise ConfigError("this run has no [model]; a trainer needs one")
    for name, stage in stages.items():
        _check_name(name, "stage")
        if (stage.repeat is None) != (not stage.of):
            raise ConfigError(f"stage {name!r}: `repeat` and `of` belong together, such as repeat = 10, of = ['a']")
        for other in stage.of:
            if other not in stages or other == name:
                raise ConfigError(f"stage {name!r} repeats {other!r}. {did_you_mean(other, stages.keys() - {name})}")
            if inner := stages[other].of:
                raise ConfigError(
                    f"stage {name!r} repeats {other!r}, which itself repeats others; name those: of = {list(inner)}"
                )
        for speaker in stage.trains:
            if speaker not in speakers:
                raise ConfigError(f"stage {name!r} trains {speaker!r}. {did_you_mean(speaker, speakers)}")


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


def _check_name(name: str, what: str, *taken: str) -> None:
    """Names become folders of a run."""
    if name in taken:
        raise ConfigError(f"{name!r} cannot name a {what}: it is the run's own")
    if not re.fullmatch(r"[\w-]([\w .-]*[\w.-])?", name) or len(name.encode()) > _LONGEST_NAME:
        raise ConfigError(
            f"{name!r} cannot name a {what}: use letters, digits, '-', '_', and inside blanks and '.'; at most "
            f"{_LONGEST_NAME} bytes"
        )
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise ConfigError(
            f"{name!r} cannot name a {what} here: file names of this locale are {sys.getfilesystemencoding()}. Set "
            "PYTHONUTF8=1, or a locale of UTF-8 such as LC_ALL=C.UTF-8"
        ) from None


def _names_another(spec: Spec) -> bool:
    return spec.name.startswith(_POLICIES)


def all_specs(config: RunFile) -> list[Spec]:
    """Every part that a run file names or takes by default, those of its stages one by one."""
    specs = [*config.parts.values(), *config.models.values(), *config.loggers]
    specs += [spec for spec in config.policies.values() if not _names_another(spec)]
    for stage in config.stages:
        specs += [*stage.parts.values(), *stage.shapers, *stage.judges]
    if config.evaluation is not None and config.evaluation.policy and (spec := config.parts.get("policy")):
        specs.append(Spec("policy", spec.name, {**spec.settings, **config.evaluation.policy}))
    return specs


def _named(tables: Mapping[str, object], key: str, kind: str) -> dict[str, Spec]:
    named = _mapping(tables.get(key, {}), f"[{key}]")
    for name in named:
        _check_name(name, kind, "model" if kind == "model" else AGENT)
    return {name: Spec.from_table(kind, table) for name, table in named.items()}


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
