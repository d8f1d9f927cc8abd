"""The run file: tables in, checked specs out."""

from __future__ import annotations

import copy
import inspect
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentrl.errors import ConfigError, did_you_mean
from agentrl.parts.host import Host
from agentrl.parts.registry import Spec, check_settings

STAGE_KINDS = (
    "environment",
    "policy",
    "context",
    "dialect",
    "collector",
    "sampler",
    "credit",
    "loss",
    "trainer",
)
"""Kinds of which a stage has one. A stage that does not name its own takes the run's; so with shapers and judges."""

LIST_KINDS = {"shapers": "shaper", "judges": "judge", "loggers": "logger"}
_DEFAULTS: dict[str, Any] = {
    "context": {"name": "full"},
    "dialect": {"name": "plain"},
    "collector": {"name": "asynchronous"},
    "sampler": {"name": "uniform"},
}


@dataclass(frozen=True)
class Stage:
    """One loop of a run: `updates` updates with these parts."""

    name: str
    updates: int
    parts: Mapping[str, Spec]
    shapers: tuple[Spec, ...] = ()
    judges: tuple[Spec, ...] = ()
    evaluate: bool = True


@dataclass(frozen=True)
class EvaluationPlan:
    """Which held-out tasks are played, and when. The first `tasks` tasks of the split, whatever the run's seed."""

    split: str
    tasks: int = 200
    seed: int = 0
    policy: Mapping[str, Any] = field(default_factory=dict)  # settings that differ from the run's policy
    every: int = 0  # play `during` every so many updates; 0 never
    during_split: str | None = None  # a split that final numbers are not taken from; picks the best checkpoint
    during_tasks: int = 50


@dataclass(frozen=True)
class RunConfig:
    """A whole run, checked."""

    name: str
    seed: int
    runs: Path
    parts: Mapping[str, Spec]
    stages: tuple[Stage, ...]
    evaluation: EvaluationPlan | None
    loggers: tuple[Spec, ...]
    tables: Mapping[str, Any]  # what was read, overrides applied: this is what a run folder keeps


def read_tables(source: Path | str | Mapping[str, Any], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The tables of a run file, with `key.sub=value` overrides applied. Raises ConfigError."""
    if isinstance(source, Mapping):
        tables = copy.deepcopy(dict(source))
    else:
        path = Path(source)
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(
                f"there is no run file {str(path)!r}. `ls examples/*.toml` shows some to start from."
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid TOML: {error}") from None
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    for override in overrides:
        _override(tables, override)
    return tables


def parse(tables: Mapping[str, Any], host: Host) -> RunConfig:
    """Check everything that can be checked without building anything. Raises ConfigError at the first mistake."""
    allowed = {"name", "seed", "runs", "model", "evaluation", "stages", *STAGE_KINDS, *LIST_KINDS}
    _only(tables, allowed, "the run file")
    stages = _take(tables, "stages", list, "the run file")
    if not stages:
        raise ConfigError("the run file has no [[stages]]; add at least one")
    config = RunConfig(
        name=_take(tables, "name", str, "the run file"),
        seed=_take(tables, "seed", int, "the run file", 0),
        runs=Path(_take(tables, "runs", str, "the run file", "runs")),
        parts={kind: Spec.from_table(kind, tables[kind]) for kind in ("model", *STAGE_KINDS) if kind in tables},
        stages=tuple(_stage(position, stage, tables) for position, stage in enumerate(stages)),
        evaluation=_evaluation(tables),
        loggers=_specs(tables, "loggers"),
        tables=tables,
    )
    names = [stage.name for stage in config.stages]
    if len(set(names)) < len(names):
        raise ConfigError(f"two stages share a name: {', '.join(names)}. Give each [[stages]] its own `name`.")
    for spec in _all_specs(config):
        check(spec, host)
    return config


def check(spec: Spec, host: Host) -> None:
    """Whether the part exists and its settings fit; nested parts too. Raises ConfigError."""
    part = host.part(spec.kind, spec.name)
    plain, nested = host.split(spec, part)
    check_settings(plain, part, without=nested)
    for inner in nested.values():
        check(inner, host)


def _all_specs(config: RunConfig) -> list[Spec]:
    specs = list(config.parts.values()) + list(config.loggers)
    for stage in config.stages:
        specs += [*stage.parts.values(), *stage.shapers, *stage.judges]
    return list({id(spec): spec for spec in specs}.values())


def _stage(position: int, table: Any, tables: Mapping[str, Any]) -> Stage:
    where = f"[[stages]] number {position + 1}"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} must be a table, not {table!r}")
    _only(table, {"name", "updates", "evaluate", "shapers", "judges", *STAGE_KINDS}, where)
    parts: dict[str, Spec] = {}
    for kind in STAGE_KINDS:
        chosen = table.get(kind, tables.get(kind, _DEFAULTS.get(kind)))
        if chosen is not None:
            inherited = tables.get(kind, _DEFAULTS.get(kind))
            if isinstance(chosen, Mapping) and "name" not in chosen and isinstance(inherited, Mapping):
                chosen = {**inherited, **chosen}  # a stage may change single settings of the run's part
            parts[kind] = Spec.from_table(kind, chosen)
    for kind in ("environment", "policy", "trainer"):
        if kind not in parts:
            raise ConfigError(f"{where} has no [{kind}], and neither has the run; add one")
    updates = _take(table, "updates", int, where)
    if updates < 1:
        raise ConfigError(f"{where}: updates = {updates}; it must be at least 1")
    return Stage(
        name=_take(table, "name", str, where, f"stage{position + 1}"),
        updates=updates,
        parts=parts,
        shapers=_specs(table if "shapers" in table else tables, "shapers"),
        judges=_specs(table if "judges" in table else tables, "judges"),
        evaluate=_take(table, "evaluate", bool, where, True),
    )


def _evaluation(tables: Mapping[str, Any]) -> EvaluationPlan | None:
    if "evaluation" not in tables:
        return None
    table = tables["evaluation"]
    fields = inspect.signature(EvaluationPlan).parameters
    _only(table, set(fields), "[evaluation]")
    plan = EvaluationPlan(
        split=_take(table, "split", str, "[evaluation]"),
        tasks=_take(table, "tasks", int, "[evaluation]", 200),
        seed=_take(table, "seed", int, "[evaluation]", 0),
        policy=_take(table, "policy", Mapping, "[evaluation]", {}),
        every=_take(table, "every", int, "[evaluation]", 0),
        during_split=table.get("during_split"),
        during_tasks=_take(table, "during_tasks", int, "[evaluation]", 50),
    )
    if plan.tasks < 1 or plan.during_tasks < 1 or plan.every < 0:
        raise ConfigError("[evaluation]: tasks and during_tasks must be at least 1, every at least 0")
    if plan.every and plan.during_split in (None, plan.split):
        raise ConfigError(
            "[evaluation]: every > 0 needs during_split, a split other than split: the best checkpoint may not be chosen "
            "on the tasks that the final numbers are taken from"
        )
    return plan


def _specs(table: Mapping[str, Any], key: str) -> tuple[Spec, ...]:
    return tuple(Spec.from_table(LIST_KINDS[key], entry) for entry in _take(table, key, list, "the run file", []))


def _only(table: Mapping[str, Any], allowed: set[str], where: str) -> None:
    for key in table:
        if key not in allowed:
            raise ConfigError(f"{where} has no key {key!r}. {did_you_mean(key, allowed)}")


def _take(table: Mapping[str, Any], key: str, kind: type[Any], where: str, default: Any = None) -> Any:
    if key not in table:
        if default is None:
            raise ConfigError(f"{where} needs `{key}` ({kind.__name__})")
        return default
    value = table[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"{where}: {key} = {value!r}; it takes {kind.__name__}")
    return value


def _override(tables: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ConfigError(f"{override!r} is no override; write key.sub=value, for instance stages.1.credit.gamma=0.9")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    *parents, last = path.strip().split(".")
    place: Any = tables
    for key in parents:
        place = _enter(place, key, override)
    if isinstance(place, list):
        raise ConfigError(f"override {override!r} sets a whole list entry; name a key inside it")
    place[last] = value


def _enter(place: Any, key: str, override: str) -> Any:
    if isinstance(place, list):
        named = {entry.get("name", ""): entry for entry in place if isinstance(entry, dict)}
        if key in named:
            return named[key]
        if key.isdigit() and int(key) < len(place):
            return place[int(key)]
        words = [*filter(None, named), *(str(i) for i in range(len(place)))]
        raise ConfigError(
            f"override {override!r}: {key!r} is neither a name nor a position. {did_you_mean(key, words)}"
        )
    if isinstance(place.get(key), str):
        place[key] = {"name": place[key]}
    inner = place.setdefault(key, {})
    if not isinstance(inner, (dict, list)):
        raise ConfigError(f"override {override!r}: {key!r} is {inner!r}, not a table")
    return inner
