"""Names and settings of parts: what fits is taken, what does not gets one clear line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import pytest
from pydantic import Field

from agentrl import ConfigError, Model, Player, PluginError, Policy, Scheduled, Spec
from agentrl.parts.registry import Registry
from agentrl.parts.settings import check_settings, parameters_of, settings_of


def shifted(values: list[float], *, by: float = 1.0, times: int = 1) -> list[float]:
    return [value + by * times for value in values]


class Scaled:
    def __init__(self, model: Model, *, factor: float, name: str = "x", on: bool = True) -> None:
        self.model, self.factor, self.on = model, factor, on


def checked(settings: dict[str, object], part: object = shifted) -> dict[str, object]:
    return check_settings(Spec("credit", "mine", settings), settings_of(part))  # type: ignore[arg-type]


def test_settings_are_converted_by_their_annotations() -> None:
    assert checked({"by": 2, "times": 3}) == {"by": 2.0, "times": 3}
    assert isinstance(checked({"by": 2})["by"], float)


def test_a_misspelt_setting_gets_the_nearest_right_word() -> None:
    with pytest.raises(ConfigError, match=r"no setting 'tmies'. Did you mean 'times'\? Allowed: by, times"):
        checked({"tmies": 1})


def test_a_missing_setting_is_named_with_its_type() -> None:
    with pytest.raises(ConfigError, match=r"needs the setting 'factor' \(float\)"):
        checked({}, Scaled)


@pytest.mark.parametrize(("name", "value"), [("by", "much"), ("times", 1.5), ("times", True), ("times", "2")])
def test_a_wrong_value_says_what_was_given_and_what_is_taken(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} = .* does not fit: .* It takes .*default"):
        checked({name: value})


def test_a_number_is_no_string_and_no_bool() -> None:
    for settings in ({"factor": 1, "name": 3}, {"factor": 1, "on": 1}):
        with pytest.raises(ConfigError, match="does not fit"):
            checked(settings, Scaled)


def test_every_default_stands_in_the_signature_alone() -> None:
    assert {name: setting.default for name, setting in settings_of(shifted).items()} == {"by": 1.0, "times": 1}


def test_a_setting_may_say_what_it_means_where_it_is_annotated() -> None:
    def credit(*, gamma: Annotated[float, "discount of a turn"] = 1.0, top: Annotated[int | None, "how many"] = None):  # type: ignore[no-untyped-def]
        return gamma, top

    settings = settings_of(credit)
    assert {name: setting.meaning for name, setting in settings.items()} == {
        "gamma": "discount of a turn",
        "top": "how many",
    }
    assert checked({"gamma": 1, "top": 2}, credit) == {"gamma": 1.0, "top": 2}


def test_a_parameter_that_is_annotated_with_a_contract_is_no_setting_unless_it_has_a_default() -> None:
    def world(player: Player, *, policy: Policy, user: Policy | None = None, size: int = 3) -> None: ...

    contracts = {name: parameter.contract for name, parameter in parameters_of(world, made=True).items()}
    assert contracts == {"player": Player, "policy": Policy, "user": Policy, "size": None}
    assert set(settings_of(world)) == {"user", "size"}


def test_an_annotation_that_cannot_be_resolved_says_so() -> None:
    def credit(*, gamma: Nowhere = 1.0) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(PluginError, match="cannot be resolved.*Nowhere.*import it at run time"):
        settings_of(credit)


def test_the_second_owner_of_a_name_is_refused_naming_both() -> None:
    registry = Registry("credit")
    registry.add("gigpo", shifted, "one")
    with pytest.raises(PluginError, match="'one'.*'two'"):
        registry.add("gigpo", shifted, "two")


@dataclass(frozen=True)
class Window:
    size: int
    share: float = 1.0


def typed(
    *, share: float = 1.0, top: int | None = None, sizes: tuple[int, ...] = (), path: Path = Path("x"),
    window: Window = Window(1), turns: Scheduled[int] | None = None, limit: Annotated[int, Field(gt=0), "steps"] = 1,
    mode: Literal["SUM", "mean"] = "mean", module: ModuleType | None = None,
    windows: tuple[Window, ...] = (), nested: dict[str, Window | None] | None = None,
) -> None: ...  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        {"share": 1}, {"sizes": [1, 2]}, {"path": "a/b"}, {"window": {"size": 2}}, {"window": Window(2)}, {"turns": 3},
        {"windows": [{"size": 2}]}, {"windows": (Window(2),)},
        {"turns": Scheduled(3)}, {"limit": 2}, {"top": None},
    ],
)  # fmt: skip
def test_what_toml_writes_as_lists_text_and_tables_is_taken_for_richer_types(settings: dict[str, object]) -> None:
    ((name, value),) = checked(settings, typed).items()
    assert type(value) is not list
    assert not isinstance(value, dict)
    assert name in settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": "0.5"}, "share = '0.5' does not fit: .*number. It takes float"),
        ({"share": True}, "share = True does not fit"),
        ({"top": "3"}, "top = '3' does not fit: .*integer. It takes int | None"),
        ({"sizes": ["1"]}, r"sizes = \['1'\] does not fit: .*It takes list\[int\]"),
        ({"sizes": "12"}, "valid list"),
        ({"path": 3}, "It takes Path"),
        ({"window": {"share": 1.0}}, "'size': field required. It takes Window"),
        ({"window": {"size": "1"}}, "valid integer"),
        ({"window": {"size": 1, "shar": 2.0}}, "no key 'shar'. Did you mean 'share'"),
        ({"windows": [{"size": 1}, {"size": 1, "step": 2}]}, "no key 'step'"),
        ({"nested": {"a": {"size": 1, "step": 2}}}, "no key 'step'"),
        ({"turns": "3"}, "turns = '3' does not fit"),
        ({"turns": {"schedule": ["linear"], "from": 1}}, "Allowed: constant, cosine, linear, steps"),
        ({"limit": 0}, "greater than 0. It takes int"),
        ({"mode": "SUMM"}, "should be 'SUM' or 'mean'. Did you mean 'SUM'"),
        ({"module": 3}, "should be an instance of .*odule"),
    ],
)
def test_a_number_in_quotes_a_truth_value_or_a_wrong_table_is_refused_at_any_depth(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        checked(settings, typed)


@pytest.mark.parametrize("name", [3, "", "a.b", "a:b", "a b"])
def test_a_name_that_a_run_file_could_not_say_is_refused(name: object) -> None:
    with pytest.raises(PluginError, match="a name is made of letters"):
        Registry("credit").add(name, shifted, "one")  # type: ignore[arg-type]


def test_a_name_offered_twice_by_one_plugin_says_so() -> None:
    registry = Registry("credit")
    registry.add("gigpo", shifted, "one")
    with pytest.raises(PluginError, match="offered twice by plugin 'one'"):
        registry.add("gigpo", shifted, "one")


@pytest.mark.parametrize("body", ["raise ValueError('boom')", "def (", "import sys; sys.exit(3)"])
def test_a_lazy_target_whose_import_fails_in_any_way_names_the_plugin(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_target.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("credit")
    registry.add("gone", "broken_target:x", "one")
    with pytest.raises(
        PluginError, match="'gone' of plugin 'one' .* cannot be imported: (ValueError|SyntaxError|System)"
    ):
        registry.entry("gone").load()


@pytest.mark.parametrize(
    "target", ["agentrl.data.types:Nothing", "agentrl.nowhere:x", "agentrl.data.types:AGENT", ":x", "..:x"]
)
def test_a_lazy_target_that_is_not_there_or_no_callable_says_so(target: str) -> None:
    registry = Registry("credit")
    registry.add("gone", target, "one")
    with pytest.raises(PluginError, match="cannot be imported|is no callable"):
        registry.entry("gone").load()


@pytest.mark.parametrize("target", [3, "no colon", "a:b:c"])
def test_a_target_that_is_none_is_refused_when_it_is_registered(target: object) -> None:
    with pytest.raises(PluginError, match='give a callable or "module:object"'):
        Registry("credit").add("gone", target, "one")


def test_a_scope_is_one_of_three_words() -> None:
    registry = Registry("credit")
    registry.add("wide", shifted, "one", "update")
    assert registry.entry("wide").scope == "update"
    with pytest.raises(PluginError, match="scope = 'batch'; allowed are"):
        registry.add("wider", shifted, "one", "batch")


def test_a_table_without_a_name_says_how_to_see_the_names() -> None:
    with pytest.raises(ConfigError, match="agentrl list credit"):
        Spec.from_table("credit", {"gamma": 1})
