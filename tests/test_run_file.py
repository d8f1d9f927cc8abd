"""Run files: bad input gets one clear line, overrides reach every key, stages inherit what they do not name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentrl import ConfigError, default_host
from agentrl.parts.run_file import RunFile, parse
from agentrl.parts.tables import read_tables


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


def parsed(**changes: Any) -> RunFile:
    return parse(tables(**changes), default_host())


def test_a_good_file_gives_one_spec_per_part() -> None:
    config = parsed()
    assert config.stages[0].parts["credit"].name == "grpo"
    assert config.stages[0].parts["collector"].name == "asynchronous"
    assert config.parts["model"].name == "table"
    assert config.tables == tables()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stagse": []}, "no key 'stagse'. Did you mean 'stages'"),
        ({"parts": {}}, "no key 'parts'"),
        ({"stages": {}}, r"stages = \{\}; it takes list"),
        ({"stages": [{"updates": 2, "credti": "grpo"}]}, "Did you mean 'credit'"),
        ({"stages": [{"name": "rl"}]}, r"\[\[stages\]\] number 1 needs `updates`"),
        ({"stages": [{"updates": 0}]}, r"updates = 0; it takes .*greater than or equal to 1"),
        ({"stages": [{"updates": True}]}, "updates = True; it takes int"),
        ({"stages": [{"updates": 1, "staleness": -1}]}, "staleness = -1"),
        ({"stages": [{"updates": 1, "trains": "agent"}]}, "trains = 'agent'; it takes list"),
        ({"stages": [{"updates": 1, "player": {"max_turn": 3}}]}, "Did you mean 'max_turns'"),
        ({"stages": [{"name": "a", "updates": 1}, {"name": "a", "updates": 1}]}, "share a name"),
        ({"player": {"concurrency": 0}}, "concurrency = 0; it takes"),
        ({"player": 3}, r"\[player\] must be a table"),
        ({"credit": {"name": "gigpoo"}}, "Did you mean 'gigpo'"),
        ({"credit": {"name": "gigpo", "gama": 1}}, "Did you mean 'gamma'"),
        ({"credit": {"name": "gigpo", "gamma": "high"}}, "gamma = 'high' does not fit"),
        ({"environment": {"name": "corridr"}}, "Did you mean 'corridor'"),
        ({"evaluation": {"split": "valid", "taks": 3}}, "Did you mean 'tasks'"),
        ({"evaluation": {"tasks": 3}}, r"\[evaluation\] needs `split` \(str\)"),
        ({"evaluation": {"split": "valid", "every": 3}}, "during_split"),
        ({"evaluation": {"split": "valid", "every": 3, "during_split": "valid"}}, "during_split"),
        ({"name": 3}, "it takes str"),
        ({"seed": "3"}, "seed = '3'; it takes int"),
        ({"checkpoint_every": 0}, "checkpoint_every = 0; it takes"),
        ({"shapers": [{"nme": "x"}]}, "needs `name"),
        ({"models": {"critic": {"name": "tabel"}}}, "Did you mean 'table'"),
        ({"policies": {"user": {"name": "randm"}}}, "Did you mean 'random'"),
        ({"policies": {"user": 3}}, "must be a table or a name"),
        ({3: "x"}, "no key 3"),
        ({"credit": {"name": 3}}, r"\[credit\] needs `name = .*, not 3"),
        ({"stages": [{"name": "a/b", "updates": 1}]}, "'a/b' cannot name a stage: use letters"),
        ({"stages": [{"name": "", "updates": 1}]}, "'' cannot name a stage"),
        ({"stages": [{"updates": 1, "trains": []}]}, r"trains = \[\]; it takes list.*at least 1"),
        ({"stages": [{"updates": 1, "trains": [1]}]}, r"trains = \[1\]; it takes list\[str\]"),
        ({"stages": [{"updates": 1, "trains": ["agnet"]}]}, "trains 'agnet'. Did you mean 'agent'"),
        ({"models": {"model": "table"}}, "'model' cannot name a model: it is the run's own"),
        ({"models": {"../x": "table"}}, "'../x' cannot name a model"),
        ({"policies": {"agent": "random"}}, "'agent' cannot name a policy: it is the run's own"),
        ({"policy": {"name": "tabular", "model": 3}}, "model = 3; it takes a part"),
        (
            {"policy": {"name": "tabular", "model": "models.nope"}},
            "'models.nope' names no model of this run. .*models.model",
        ),
        ({"policy": {"name": "tabular", "model": "policies.agent"}}, "'policies.agent' names no model of this run"),
        ({"policy": {"name": "tabular", "model": {"name": "tabel"}}}, "Did you mean 'table'"),
        ({"evaluation": {"split": "valid", "policy": {"temperatur": 0}}}, "Did you mean 'temperature'"),
        ({"evaluation": {"split": "valid", "policy": {"temperature": "cold"}}}, "temperature = 'cold' does not fit"),
        ({"seed": -1}, "seed = -1; it takes int: .*greater than or equal to 0"),
        ({"loss": {"name": "sum", "parts": "ppo"}}, "loss 'sum': parts takes a list of parts, not 'ppo'"),
        ({"loss": {"name": "sum", "parts": ["ppo", 3]}}, "loss 'sum': parts = 3; it takes a part"),
        ({"policy": {"name": "tabular", "model": ["table"]}}, "model takes one part, not"),
        ({"runs": 3}, "runs = 3; it takes Path: input is not a valid path$"),
    ],
)
def test_a_mistake_gets_a_clear_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse({**tables(), **changes}, default_host())


@pytest.mark.parametrize("kind", ["environment", "policy", "trainer"])
def test_a_stage_without_a_part_that_has_no_default_is_told_which(kind: str) -> None:
    given = tables()
    del given[kind]
    with pytest.raises(ConfigError, match=rf"number 1 has no \[{kind}\], and neither has the run"):
        parse(given, default_host())


def test_stages_without_any_model_are_refused() -> None:
    given = tables()
    del given["model"]
    with pytest.raises(ConfigError, match=r"no \[model\]; a trainer needs one"):
        parse(given, default_host())


def test_a_table_without_a_name_changes_settings_of_the_part_that_is_taken_where_none_is_named() -> None:
    config = parsed(
        collector={"group_size": 3}, stages=[{"updates": 1}, {"updates": 1, "collector": {"group_size": 4}}]
    )
    specs = [config.parts["collector"], *(stage.parts["collector"] for stage in config.stages)]
    assert [(spec.name, spec.settings) for spec in specs] == [("asynchronous", {"group_size": n}) for n in (3, 3, 4)]


def test_a_file_without_stages_can_be_evaluated() -> None:
    config = parsed(stages=[], evaluation={"split": "valid"})
    assert config.plan == []
    assert config.spec("environment") is not None
    assert config.spec("context") is not None
    assert config.spec("loss") is None


def test_a_stage_changes_single_settings_of_a_part_of_the_run() -> None:
    config = parsed(credit={"name": "gigpo", "gamma": 0.9}, stages=[{"updates": 1, "credit": {"step_weight": 0.5}}])
    assert config.stages[0].parts["credit"].settings == {"gamma": 0.9, "step_weight": 0.5}


def test_a_stage_that_names_a_part_takes_nothing_of_the_runs() -> None:
    config = parsed(credit={"name": "gigpo", "gamma": 0.9}, stages=[{"updates": 1, "credit": {"name": "grpo"}}])
    assert config.stages[0].parts["credit"].settings == {}


def test_a_stage_changes_single_keys_of_the_player() -> None:
    config = parsed(
        player={"concurrency": 7, "max_turns": 3},
        stages=[{"name": "a", "updates": 1, "player": {"max_turns": 5}}, {"name": "b", "updates": 1}],
    )
    assert [(s.player.concurrency, s.player.max_turns.now) for s in config.stages] == [(7, 5), (7, 3)]
    assert config.player.max_turns.now == 3


def test_settings_of_the_player_that_stood_in_the_collector_still_work() -> None:
    config = parsed(
        collector={"name": "asynchronous", "group_size": 2, "concurrency": 7, "retries": 0},
        stages=[{"name": "a", "updates": 1, "collector": {"max_turns": 5}}, {"name": "b", "updates": 1}],
    )
    assert config.player.concurrency == 7
    assert [stage.player.retries for stage in config.stages] == [0, 0]
    limits = [stage.player.max_turns for stage in config.stages]
    assert [limit and limit.now for limit in limits] == [5, None]
    assert [dict(stage.parts["collector"].settings) for stage in config.stages] == [{"group_size": 2}] * 2


def test_stages_repeat_in_the_order_that_is_written() -> None:
    stages = [
        {"name": "warm", "updates": 1},
        {"name": "a", "updates": 2},
        {"name": "b", "updates": 3},
        {"name": "loop", "repeat": 2, "of": ["a", "b"]},
        {"name": "last", "updates": 1},
    ]
    assert [stage.name for stage in parsed(stages=stages).plan] == ["warm", "a", "b", "a", "b", "last"]


@pytest.mark.parametrize(
    ("loop", "message"),
    [
        ({"repeat": 2}, "`repeat` and `of` belong together"),
        ({"of": ["a"]}, "`repeat` and `of` belong together"),
        ({"repeat": 2, "of": ["x"]}, "stage 'loop' repeats 'x'. .*'?a"),
        ({"repeat": 2, "of": ["loop"]}, "stage 'loop' repeats 'loop'"),
        ({"repeat": 2, "of": ["outer"]}, "'outer', which itself repeats"),
        ({"repeat": 2, "of": ["a"], "updates": 3}, "which repeats others, has no key 'updates'"),
    ],
)
def test_a_repetition_that_makes_no_sense_is_refused(loop: dict[str, Any], message: str) -> None:
    stages = [{"name": "a", "updates": 1}, {"name": "outer", "repeat": 2, "of": ["a"]}, {"name": "loop", **loop}]
    with pytest.raises(ConfigError, match=message):
        parsed(stages=stages)


def test_lists_of_parts_are_the_runs_unless_a_stage_has_its_own() -> None:
    config = parsed(stages=[{"name": "a", "updates": 1}, {"name": "b", "updates": 1, "judges": []}], judges=[])
    assert [stage.judges for stage in config.stages] == [(), ()]


def test_overrides_reach_tables_lists_and_names() -> None:
    found = read_tables(
        tables(), ["seed=3", "stages.rl.updates=7", "stages.0.name=x", "credit.ddof=0", "policy=random"]
    )
    assert (found["seed"], found["stages"], found["policy"]) == (3, [{"name": "x", "updates": 7}], "random")
    assert found["credit"] == {"name": "grpo", "ddof": 0}
    assert read_tables(tables(policy="tabular"), ["policy.temperature=0"])["policy"] == {
        "name": "tabular",
        "temperature": 0,
    }


@pytest.mark.parametrize(
    "override", ["seed", "stages.9.updates=1", "stages.lr.updates=1", "name.x=1", "=3", "stages.0=1"]
)
def test_a_bad_override_is_refused(override: str) -> None:
    with pytest.raises(ConfigError):
        read_tables(tables(name=3), [override])


def test_a_missing_file_and_a_broken_file_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no run file"):
        read_tables(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tables(tmp_path)
    for content in (b"a = = 1", b"a = '\xff'"):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(ConfigError, match="not valid TOML"):
            read_tables(tmp_path / "bad.toml")


def test_the_given_tables_are_not_changed() -> None:
    given = tables(collector={"name": "asynchronous", "concurrency": 7})
    read_tables(given, ["stages.0.updates=9"])
    parse(given, default_host())
    assert given == tables(collector={"name": "asynchronous", "concurrency": 7})
