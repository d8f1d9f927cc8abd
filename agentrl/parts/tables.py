"""Run files as tables: read from TOML, with overrides from the command line."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentrl.errors import ConfigError, did_you_mean

Tables = dict[str, object]


def read_tables(source: Path | str | Mapping[str, object], overrides: Sequence[str] = ()) -> Tables:
    """The tables of a run file, with `key.sub=value` overrides applied. Raises ConfigError."""
    tables: Tables
    if isinstance(source, Mapping):
        tables = copy.deepcopy(dict(source))
    else:
        path = Path(source).expanduser()
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
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


def _override(tables: Tables, override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ConfigError(f"{override!r} is no override; write key.sub=value, for instance stages.1.credit.gamma=0.9")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    *parents, last = path.strip().split(".")
    place: Tables | list[object] = tables
    for key in parents:
        if isinstance(place, list):
            inner = _entry(place, key, override)
        else:
            if isinstance(place.get(key), str):
                place[key] = {"name": place[key]}
            inner = place.setdefault(key, {})
        if not isinstance(inner, (dict, list)):
            raise ConfigError(f"override {override!r}: {key!r} is {inner!r}, not a table")
        place = inner
    if isinstance(place, list):
        raise ConfigError(f"override {override!r} sets a whole list entry; name a key inside it")
    place[last] = value


def _entry(place: list[object], key: str, override: str) -> object:
    """The entry of a list that a key names, by its `name` or its position."""
    named = {str(entry.get("name", "")): entry for entry in place if isinstance(entry, dict)}
    positions = {str(number): entry for number, entry in enumerate(place)}
    if key not in {**positions, **named}:
        words = filter(None, [*named, *positions])
        raise ConfigError(
            f"override {override!r}: {key!r} is neither a name nor a position. {did_you_mean(key, words)}"
        )
    return {**positions, **named}[key]
