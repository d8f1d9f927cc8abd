"""Run files: bad input gets one clear line, overrides reach every key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentrl import ConfigError, default_host
from agentrl.parts.run_file import parse, read_tables


def tables(**changes: Any) -> dict[str, Any]:
    return {
        "name": "t",
        "model": {"name": "table"},
        "policy": {"name": "tabular"},
        "environment": {"name": "corridor"},
        "trainer": {"name": "tabular"},
        "credit": {"name": "grpo"},
        "stages": [{"name": "rl", "updates": 2}],
        **changes,
    }


def test_a_good_file_gives_one_spec_per_part() -> None:
    config = parse(tables(), default_host())
    assert config.stages[0].parts["credit"].name == "grpo"
    assert config.stages[0].parts["collector"].name == "asynchronous"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stagse": []}, "no key 'stagse'. Did you mean 'stages'"),
        ({"stages": []}, "no .*stages"),
        ({"stages": [{"updates": 2, "credti": "grpo"}]}, "Did you mean 'credit'"),
        ({"stages": [{"updates": 0}]}, "at least 1"),
        ({"stages": [{"updates": True}]}, "it takes int"),
        ({"stages": [{"name": "a", "updates": 1}, {"name": "a", "updates": 1}]}, "share a name"),
        ({"credit": {"name": "gigpoo"}}, "Did you mean 'gigpo'"),
        ({"credit": {"name": "gigpo", "gama": 1}}, "Did you mean 'gamma'"),
        ({"credit": {"name": "gigpo", "gamma": "high"}}, "gamma = 'high' does not fit"),
        ({"environment": {"name": "corridr"}}, "Did you mean 'corridor'"),
        ({"evaluation": {"split": "valid", "taks": 3}}, "Did you mean 'tasks'"),
        ({"evaluation": {"split": "valid", "every": 3}}, "during_split"),
        ({"name": 3}, "it takes str"),
        ({"shapers": [{"nme": "x"}]}, "needs `name"),
    ],
)
def test_a_mistake_gets_a_clear_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(tables(**changes), default_host())


def test_a_stage_changes_single_settings_of_a_part_of_the_run() -> None:
    given = tables(credit={"name": "gigpo", "gamma": 0.9}, stages=[{"updates": 1, "credit": {"step_weight": 0.5}}])
    spec = parse(given, default_host()).stages[0].parts["credit"]
    assert spec.settings == {"gamma": 0.9, "step_weight": 0.5}


def test_overrides_reach_tables_lists_and_names() -> None:
    found = read_tables(
        tables(), ["seed=3", "stages.rl.updates=7", "stages.0.name=x", "credit.ddof=0", "policy=random"]
    )
    assert (found["seed"], found["stages"][0], found["policy"]) == (3, {"name": "x", "updates": 7}, "random")


@pytest.mark.parametrize("override", ["seed", "stages.9.updates=1", "name.x=1", "=3"])
def test_a_bad_override_is_refused(override: str) -> None:
    with pytest.raises(ConfigError):
        read_tables(tables(name=3), [override])


def test_a_missing_file_and_a_broken_file_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no run file"):
        read_tables(tmp_path / "no.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_tables(tmp_path / "bad.toml")


def test_the_given_tables_are_not_changed() -> None:
    given = tables()
    read_tables(given, ["stages.0.updates=9"])
    assert given == tables()
