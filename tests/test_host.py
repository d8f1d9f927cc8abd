"""The plugin host: broken plugins are listed and never fatal."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

import agentrl
from agentrl import ConfigError, Host, Spec


def plugin(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    for key, value in members.items():
        if hasattr(value, "__module__"):
            value.__module__ = name
        setattr(module, key, value)
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


def test_a_hook_without_the_marker_is_noticed() -> None:
    def register_credits(register: Any) -> None: ...

    host = Host({"bare": plugin("bare", register_credits=register_credits)})
    assert "@agentrl.hookimpl" in host.broken["bare"]


def test_a_plugin_that_raises_takes_nothing_down_and_leaves_nothing_behind() -> None:
    def register_credits(register: Any) -> None:
        register("early", lambda trajectories: [])
        raise RuntimeError("no luck")

    host = Host({"bad": plugin("bad", register_credits=hook(register_credits))})
    assert "no luck" in host.broken["bad"]
    assert "early" not in {entry.name for entry in host.registry("credit")}
    assert "gigpo" in {entry.name for entry in host.registry("credit")}


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


def test_a_nested_table_becomes_a_factory_and_is_checked() -> None:
    def needs(environment: object, *, judge: agentrl.Policy) -> object:
        return judge()

    made = agentrl.factory(needs)
    made.__module__ = "nested"
    host = Host({"nested": plugin("nested", register_loggers=hook(lambda register: register("needs", made)))})
    spec = Spec("logger", "needs", {"judge": {"name": "random"}})
    policy = host.build(spec, environment=None, dialect=None)
    assert policy is not None
