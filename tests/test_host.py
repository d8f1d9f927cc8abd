"""The plugin host: broken plugins are listed and never fatal."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner
from plugin_install import environ

import agentrl
from agentrl import ConfigError, Host, Spec
from agentrl.cli import app
from agentrl.parts.kinds import KINDS


def plugin(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    for key, value in members.items():
        if hasattr(value, "__module__"):
            value.__module__ = name
        setattr(module, key, value)
    return module


def plugin_with(name: str, **members: Any) -> ModuleType:
    """A module that holds what others define."""
    module = ModuleType(name)
    vars(module).update(members)
    return module


@agentrl.hookimpl
def offers_halved(register: Any) -> None:
    register("halved", lambda trajectories, *, by=2: [])


def hook(function: Any) -> Any:
    return agentrl.hookimpl(function)


def test_installed_plugins_load_without_a_fault() -> None:
    assert Host().broken == {}


def test_a_plugin_given_live_is_offered_like_an_installed_one() -> None:
    host = Host({"mine": plugin("mine", register_credits=offers_halved)})
    assert callable(host.build(Spec("credit", "halved")))


def test_a_misspelt_hook_is_switched_off_with_the_right_word() -> None:
    def register_credit(register: Any) -> None: ...

    host = Host({"typo": plugin("typo", register_credit=hook(register_credit))})
    assert "Did you mean 'register_credits'?" in host.broken["typo"]


def test_a_hook_needs_no_marker() -> None:
    def register_credits(register: agentrl.Register) -> None:
        register("bare", lambda trajectories: [])

    host = Host({"bare": plugin("bare", register_credits=register_credits)})
    assert host.broken == {}
    assert host.plugin_of(Spec("credit", "bare")) == "bare"


def test_a_hook_that_a_plugin_only_imports_is_not_its_own() -> None:
    def register_credits(register: agentrl.Register) -> None:
        register("once", lambda trajectories: [])

    owner = plugin("owner", register_credits=register_credits)
    host = Host({"owner": owner, "reader": plugin_with("reader", register_credits=register_credits)})
    assert host.broken == {}
    assert host.plugin_of(Spec("credit", "once")) == "owner"


def test_a_misspelt_hook_without_the_marker_is_switched_off_too() -> None:
    def register_credit(register: agentrl.Register) -> None: ...

    host = Host({"typo": plugin("typo", register_credit=register_credit)})
    assert "Did you mean 'register_credits'?" in host.broken["typo"]


def test_an_object_with_hooks_is_a_plugin() -> None:
    class Mine:
        def __init__(self) -> None:
            self.seen: list[int] = []

        def register_credits(self, register: agentrl.Register) -> None:
            register("mine", lambda trajectories: [])

        def on_update(self, update: int, metrics: dict[str, float]) -> None:
            self.seen.append(update)

    mine = Mine()
    host = Host({"mine": mine})
    host.manager.hook.on_update(update=3, metrics={})
    assert host.broken == {}
    assert mine.seen == [3]
    assert callable(host.build(Spec("credit", "mine")))


def test_a_plugin_of_the_first_form_is_switched_off_with_the_line_to_remove() -> None:
    def register_credits(register: Any) -> None:
        register("old", agentrl.factory(lambda trajectories: []))  # type: ignore[attr-defined]

    def register_losses(register: Any) -> None:
        from agentrl import factory  # type: ignore[attr-defined]  # noqa: F401

    old = plugin("old", register_credits=hook(register_credits))
    host = Host({"old": old, "older": plugin("older", register_losses=hook(register_losses))})
    for name in ("old", "older"):
        assert "remove @agentrl.factory (see CHANGELOG, 'Parts by type')" in host.broken[name]


def test_a_plugin_that_raises_takes_nothing_down_and_leaves_nothing_behind() -> None:
    def register_credits(register: Any) -> None:
        register("early", lambda trajectories: [])
        raise RuntimeError("no luck")

    host = Host({"bad": plugin("bad", register_credits=hook(register_credits))})
    assert "no luck" in host.broken["bad"]
    assert "early" not in {entry.name for entry in host.registry("credit")}
    assert "gigpo" in {entry.name for entry in host.registry("credit")}


async def _async_hook(register: agentrl.Register) -> None: ...


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"register_credits": 3}, "the hook 'register_credits' is no function but 3"),
        ({"register_credits": _async_hook}, "the hook 'register_credits' is async"),
        ({"register_credits": lambda reg: None}, "PluginValidationError: .*'reg'"),
        ({"register_credits": lambda register: sys.exit(3)}, "SystemExit: 3"),
        (
            {"register_columns": lambda declare: declare(agentrl.Column("x", "floaty", "token"))},
            "dtype = 'floaty'.*Allowed: bool",
        ),
    ],
)
def test_a_hook_that_is_wrong_gets_one_line(members: dict[str, Any], reason: str) -> None:
    host = Host({"bad": plugin("bad", **members)})
    assert re.search(reason, host.broken["bad"])
    assert "\n" not in host.broken["bad"]


def test_a_class_is_no_plugin() -> None:
    class Mine:
        def register_credits(self, register: agentrl.Register) -> None: ...

    assert Host({"mine": Mine}).broken == {"mine": "plugin 'mine' is the class Mine; give a module or an object"}


class Unlucky:
    def __init__(self) -> None:
        raise ValueError("no\nluck")


class Sync:
    def annotate(self) -> None: ...


class Attribute:
    annotate = 3


def unresolved(trajectories: Any, *, by: agentrl.Nothing = 1) -> Any: ...  # type: ignore[name-defined]


def broken_words(trajectories: Any, *, by: Any = 1) -> Any: ...


broken_words.__annotations__["by"] = "1 +"


@pytest.mark.parametrize(
    ("kind", "part", "message"),
    [
        ("judge", Unlucky, "judge 'mine' of plugin 'mine' cannot be made: ValueError: no luck"),
        ("credit", Unlucky, "credit 'mine' of plugin 'mine' cannot be made: ValueError: no luck"),
        ("environment", Unlucky, "environment 'mine' of plugin 'mine' cannot be made: ValueError: no luck"),
        ("environment", lambda: None, "gave None, which lacks close, reset, step, unwrapped of gymnasium.Env"),
        ("policy", lambda: None, "gave None, which lacks .*act.* of Policy"),
        ("judge", Sync, r"whose annotate cannot be called with \(trajectories\), as Judge has it"),
        ("judge", Attribute, "gave <.*, whose annotate cannot be called with"),
        ("credit", lambda: [], r"credit 'mine' of plugin 'mine' is called with \(trajectories\), and takes \(\)"),
        ("credit", lambda one, two: [], r"is called with \(trajectories\), and takes \(one, two\)"),
        ("shaper", lambda one: [], r"is called with \(trajectories, advantages\)"),
        ("context", lambda one: [], r"is called with \(instructions, turns, observation, previous\)"),
        ("credit", int, "its signature cannot be resolved: ValueError: no signature found"),
        ("credit", unresolved, "its signature cannot be resolved: AttributeError: No agentrl attribute Nothing"),
        ("credit", broken_words, "its signature cannot be resolved: SyntaxError"),
    ],
)
def test_a_part_that_cannot_be_made_or_called_is_named_with_its_plugin(kind: str, part: Any, message: str) -> None:
    members = {KINDS[kind].hook: lambda register: register("mine", part)}
    host = Host({"mine": plugin_with("mine", **{name: hook(function) for name, function in members.items()})})
    assert host.broken == {}
    with pytest.raises(agentrl.AgentRLError, match=message):
        host.build(Spec(kind, "mine"))


def test_checking_a_part_makes_none() -> None:
    members = {"register_judges": hook(lambda register: register("mine", Unlucky))}
    Host({"mine": plugin_with("mine", **members)}).check(Spec("judge", "mine"))


def test_of_two_plugins_with_one_name_the_later_is_switched_off_naming_both() -> None:
    first, second = (plugin(name, register_credits=hook(lambda register: register("same", print))) for name in "ab")
    host = Host({"a": first, "b": second})
    assert list(host.broken) == ["b"]
    assert "'a'" in host.broken["b"]
    assert "'b'" in host.broken["b"]


def test_an_unknown_kind_and_an_unknown_name_get_the_nearest_right_word() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'credit'"):
        Host().registry("credits")
    with pytest.raises(ConfigError, match="Did you mean 'gigpo'"):
        Host().part("credit", "gipgo")


def test_listing_imports_no_torch() -> None:
    code = "import sys, agentrl; agentrl.Host(); sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_columns_are_declared_by_plugins_and_equal_twins_are_fine() -> None:
    def columns(*declared: agentrl.Column) -> Any:
        def register_columns(declare: Any) -> None:
            for column in declared:
                declare(column)

        return hook(register_columns)

    margin = agentrl.Column("margin", "float32", "token")
    one, twin, other, wrong = (
        plugin(name, register_columns=columns(column))
        for name, column in (
            ("one", margin),
            ("twin", agentrl.Column("margin", "float32", "token")),
            ("other", agentrl.Column("margin", "float64", "token")),
            ("wrong", agentrl.Column("value", "float32", "token")),
        )
    )
    host = Host({"one": one, "twin": twin, "other": other, "wrong": wrong})
    assert host.columns["margin"] == margin
    assert host.columns["value"] == agentrl.COLUMNS["value"]
    assert list(host.broken) == ["other", "wrong"]
    assert "'margin' is declared by plugin 'one' and, in another way, by 'other'" in host.broken["other"]
    assert "'value' is declared by plugin 'agentrl' and, in another way, by 'wrong'" in host.broken["wrong"]


def test_another_host_may_have_further_live_plugins() -> None:
    host = Host({"mine": plugin("mine", register_credits=offers_halved)})
    more = host.with_plugins(
        {"other": plugin("other", register_credits=hook(lambda register: register("more", print)))}
    )
    assert {"halved", "more"} <= {entry.name for entry in more.registry("credit")}
    assert "more" not in {entry.name for entry in host.registry("credit")}


def test_a_part_of_a_plugin_that_is_switched_off_is_named_with_the_reason() -> None:
    def register_credits(register: Any) -> None:
        raise RuntimeError("no luck")

    host = Host({"credit.mine": plugin("credit.mine", register_credits=hook(register_credits))})
    with pytest.raises(ConfigError, match=r"no credit named 'mine'.*Switched off: credit\.mine .*no luck"):
        host.part("credit", "mine")


SLOW = """
import agentrl.parts.registry as registry, sys
registry.SLOW_S = 0.05
from agentrl.parts.host import Host
Host()
"""
HANGS = """
import os, signal, sys, time
time.sleep(0.3)
if sys.argv[1:] == ["interrupt"]:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
"""


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_plugin_that_takes_long_to_import_is_named(tmp_path: Path, interrupted: bool) -> None:
    (tmp_path / "hangs.py").write_text(HANGS)
    (tmp_path / "strange-1.dist-info").mkdir()
    (tmp_path / "strange-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1\n")
    (tmp_path / "strange-1.dist-info/entry_points.txt").write_text(
        '[agentrl]\n"credit.hangs" = "hangs"\n'.replace('"', "")
    )
    done = subprocess.run(
        [sys.executable, "-c", SLOW, *(["interrupt"] if interrupted else [])],
        env=environ(tmp_path), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "plugin 'credit.hangs' (hangs) has been imported for 0.05 s; Ctrl-C ends it" in done.stderr
    assert ("interrupted while plugin 'credit.hangs' (hangs) was imported" in done.stderr) == interrupted
    assert (done.returncode == 0) != interrupted


def test_commands_of_plugins_are_listed_and_a_plugin_that_fails_there_takes_none_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Adds:
        def register_commands(self, cli: click.Group) -> None:
            cli.command("greet", help="Says hello.")(lambda: click.echo("hello"))
            cli.command("train", help="Not ours.")(lambda: click.echo("hello"))

    class Fails:
        def register_commands(self, cli: click.Group) -> None:
            raise RuntimeError("no licence")

    host = Host({"adds": Adds(), "fails": Fails()})
    monkeypatch.setattr(app, "_host", lambda: host)
    group = app._Group("agentrl", commands=dict(app.main.commands))
    shown = CliRunner().invoke(group, ["--help"])
    assert re.search("greet +Says hello.", shown.output)
    assert "Not ours" not in shown.output
    assert "plugin 'fails' adds no commands: RuntimeError: no licence" in shown.output
    assert CliRunner().invoke(group, ["greet"]).output == "hello\n"
