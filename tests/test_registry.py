"""Names and settings of parts: what fits is built, what does not gets one clear line."""

from __future__ import annotations

import pytest

from agentrl import ConfigError, PluginError, Spec
from agentrl.parts.registry import Registry, build, check_settings, settings_of


def shifted(values: list[float], *, by: float = 1.0, times: int = 1) -> list[float]:
    return [value + by * times for value in values]


class Scaled:
    def __init__(self, model: object, *, factor: float, name: str = "x", on: bool = True) -> None:
        self.model, self.factor, self.on = model, factor, on


def test_a_function_gets_its_settings_bound() -> None:
    part = build(Spec("credit", "shifted", {"by": 2}), shifted)
    assert part([1.0]) == [3.0]


def test_a_class_is_constructed_with_settings_and_the_parts_it_asks_for() -> None:
    model = object()
    part = build(Spec("trainer", "scaled", {"factor": 3}), Scaled, {"model": model, "other": 1})
    assert (part.model, part.factor) == (model, 3.0)


def test_a_missing_part_is_named() -> None:
    with pytest.raises(ConfigError, match="needs a model"):
        build(Spec("trainer", "scaled", {"factor": 3}), Scaled, {})


def test_a_misspelt_setting_gets_the_nearest_right_word() -> None:
    with pytest.raises(ConfigError, match=r"no setting 'tmies'. Did you mean 'times'\? Allowed: by, times"):
        check_settings(Spec("credit", "shifted", {"tmies": 1}), shifted)


def test_a_missing_setting_is_named_with_its_type() -> None:
    with pytest.raises(ConfigError, match=r"needs the setting 'factor' \(float\)"):
        check_settings(Spec("trainer", "scaled"), Scaled)


@pytest.mark.parametrize(("name", "value"), [("by", "much"), ("times", 1.5), ("times", True), ("times", "2")])
def test_a_wrong_value_says_what_was_given_and_what_is_taken(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} = .* does not fit: .* It takes .*default"):
        check_settings(Spec("credit", "shifted", {name: value}), shifted)


def test_a_number_is_no_string_and_no_bool() -> None:
    for settings in ({"factor": 1, "name": 3}, {"factor": 1, "on": 1}):
        with pytest.raises(ConfigError, match="does not fit"):
            check_settings(Spec("trainer", "scaled", settings), Scaled)


def test_every_default_stands_in_the_signature_alone() -> None:
    assert {name: setting.default for name, setting in settings_of(shifted).items()} == {"by": 1.0, "times": 1}


def test_the_second_owner_of_a_name_is_refused_naming_both() -> None:
    registry = Registry("credit")
    registry.add("gigpo", shifted, "one")
    with pytest.raises(PluginError, match="'one'.*'two'"):
        registry.add("gigpo", shifted, "two")


def test_a_lazy_target_that_is_not_there_says_so() -> None:
    registry = Registry("credit")
    registry.add("gone", "agentrl.data.types:Nothing", "one")
    with pytest.raises(PluginError, match="cannot be imported"):
        registry.entry("gone").load()


def test_a_table_without_a_name_says_how_to_see_the_names() -> None:
    with pytest.raises(ConfigError, match="agentrl list credit"):
        Spec.from_table("credit", {"gamma": 1})
