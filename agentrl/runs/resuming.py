"""Which run goes on, and by which run file: the one it began with, or one that only adds updates and stages to it."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from agentrl.data.manifest import RUN_FILE
from agentrl.data.record import Run, is_run
from agentrl.errors import ConfigError
from agentrl.parts.host import Host
from agentrl.parts.injected import Updates
from agentrl.parts.run_file import RunFile, Stage, parse
from agentrl.parts.tables import Tables, read_tables

_NOTHING = object()


def chosen_run(target: Path | str, host: Host) -> tuple[Path, Tables | None, str]:
    """The run that a person means by a folder or a run file, the tables that lengthen it, and what should be said.

    Raises ConfigError where there is none.
    """
    path = Path(target)
    if path.is_dir():
        return path, None, ""
    if not path.exists():
        raise ConfigError(
            f"there is no run folder or run file {str(target)!r} to go on with; `ls runs` shows runs made here"
        )
    if path.name == RUN_FILE and is_run(path.parent):
        return path.parent, None, ""
    config = parse(read_tables(path), host)
    run = newest_run(config)
    try:
        added = additions(run.config if run.begun is None else run.begun, config.tables)
    except ConfigError as error:
        return run.folder, None, f"{run.folder} goes on by its own run.toml, which differs from {path}: {error}"
    return run.folder, dict(config.tables) if added else None, ""


def newest_run(config: RunFile) -> Run:
    """The newest of the runs `name`, `name-2` … that a run file made. Raises ConfigError where there is none.

    Raises RecordError for one that is damaged: another one must not go on in its place.
    """
    found: list[tuple[str, int, Run]] = []
    for folder in config.runs.iterdir() if config.runs.is_dir() else ():
        number = re.fullmatch(rf"{re.escape(config.name)}(?:-([1-9][0-9]*))?", folder.name)
        if number is not None and is_run(folder):
            run = Run.open(folder)
            if run.config.get("name") == config.name:
                found.append((str(run.manifest.get("created", "")), int(number[1] or 1), run))
    if not found:
        raise ConfigError(
            f"there is no run of {config.name!r} under {config.runs}/ to go on with; omit --resume to begin one"
        )
    return max(found, key=lambda entry: entry[:2])[2]


def additions(begun: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """What a run file adds to the one that a run began with, in words: updates of its last stage, further stages.

    Where data lies may change, too. Raises ConfigError for any other change.
    """
    stages = begun.get("stages")
    last = f"stages.{len(stages) - 1}" if isinstance(stages, list) else ""
    added = []
    for key, before, after in _differences("", begun, now):
        if key == "runs":
            continue
        more = isinstance(before, int) and isinstance(after, int) and after > before
        if more and key in (f"{last}.updates", f"{last}.repeat"):
            added.append(f"{key} = {after}, which was {before}")
        elif before is _NOTHING and re.fullmatch(r"stages\.[0-9]+", key):
            added.append(f"{key} is a further stage")
        elif _is_path(before) and _is_path(after):
            added.append(f"{key} = {str(after)!r}, which was {str(before)!r}")
        else:
            raise ConfigError(
                f"{key} is {_written(after)}, and was {_written(before)} when the run began. A run goes on as it began; "
                "only updates of its last stage and further stages may be added. Put it back, or begin another run, "
                "with start_from if it is to begin with these weights"
            )
    return added


def told_of_updates(before: Stage, config: RunFile, host: Host) -> list[str]:
    """Parts of a stage that was given more updates which ask how many there are, and may follow a schedule."""
    stage = next((stage for stage in config.stages if stage.name == before.name), before)
    if stage.updates == before.updates:
        return []
    specs = [*stage.parts.values(), *stage.shapers, *stage.judges]
    return [
        f"{spec.kind} {spec.name!r} was told of {before.updates} updates until then: a schedule over the updates of its "
        f"stage is not that of a run that had {stage.updates} from the start"
        for spec in specs
        if any(parameter.contract is Updates for parameter in host.parameters(spec).values())
    ]


def _differences(key: str, before: object, after: object) -> Iterator[tuple[str, object, object]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in {**before, **after}:
            inner = f"{key}.{name}" if key else str(name)
            yield from _differences(inner, before.get(name, _NOTHING), after.get(name, _NOTHING))
    elif isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        for number, pair in enumerate(itertools.zip_longest(before, after, fillvalue=_NOTHING)):
            yield from _differences(f"{key}.{number}", *pair)
    elif before != after:
        yield key, before, after


def _is_path(value: object) -> bool:
    return isinstance(value, str) and os.path.isabs(value)


def _written(value: object) -> str:
    return "not given" if value is _NOTHING else repr(value)
