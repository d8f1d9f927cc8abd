"""Every kit finds what it was made to find: a wrong plugin fails the check that it is named after, and no other.

Where several are wrong in one way, `__` and a word tell their files apart.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from planted_sound import (
    Letters,
    Newest,
    SaysHowMuch,
    Whitened,
    against_every_turn,
    against_the_same_place,
    early_turns,
    for_what_was_spoken,
    shorter_is_better,
    signs,
    weights,
    with_values,
)
from planted_support import (
    MODEL,
    OTHER,
    Bounded,
    Brackets,
    Branches,
    History,
    InTurn,
    Lengths,
    Lines,
    PolicyGradient,
    Repeats,
    Summaries,
    against_the_mean,
    halved,
)

from agentrl import default_host
from agentrl.parts.kinds import KINDS
from agentrl.testing import Report, check_environment, check_model, check_plugin, check_policy, kit
from agentrl.testing.sample_model import SampleModel, SamplePolicy, SampleTrainer
from agentrl.testing.sample_plays import Wanderer
from agentrl.testing.samples import Stairs
from agentrl_sandboxes.checks.kit import CHEAP, check_provider
from agentrl_sandboxes.local import CONFIRMATION

FOLDER = Path(__file__).parent / "planted"
PLANTED = sorted(FOLDER.glob("*/*.py"))


def _sandbox(plant: ModuleType, name: str) -> Report:
    """The contract; of one that is named after an escape, those attempts to escape that take a moment."""
    escapes = name.startswith("escape")
    with plant.make() as provider:
        if provider.obstacle():
            pytest.skip(provider.obstacle())
        return check_provider(provider, name=name, contract=not escapes, attempts=CHEAP if escapes else ())


CHECKS: dict[str, Callable[[ModuleType, str], Report]] = {
    "environment": lambda plant, name: check_environment(plant.make, name=name, actions=300),
    "sandbox": _sandbox,
    "model": lambda plant, name: check_model(
        plant.make, name=name, other=lambda: plant.make(1), saved=getattr(plant, "saved", None)
    ),
    "policy": lambda plant, name: check_policy(plant.make, name=name, model=MODEL, other=OTHER),
    "plugin": lambda plant, name: check_plugin("planted", default_host().with_plugins({"planted": plant})),
    "judge": lambda plant, name: kit("judge")(plant.make, name=name, failing=getattr(plant, "failing", None)),
}


@pytest.mark.parametrize("path", PLANTED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_check_that_a_fault_is_named_after_finds_it_and_no_other_does(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONFIRMATION, "1")
    plant, kind = _loaded(path, monkeypatch), path.parent.name
    check = CHECKS.get(kind, lambda plant, name: kit(kind)(plant.make, name=name))
    report = check(plant, path.stem)
    failures = [re.sub(r"\W+", "_", result.check) for result in report.failures]
    assert failures == [path.stem.partition("__")[0]], report.failures


SOUND: tuple[tuple[str, Callable[..., object]], ...] = (
    ("context", History),
    ("context", Bounded),
    ("context", Summaries),
    ("context", Newest),
    ("context", Letters),
    ("context", SaysHowMuch),
    ("dialect", Brackets),
    ("collector", Repeats),
    ("collector", Branches),
    ("sampler", InTurn),
    ("credit", lambda: against_the_mean),
    ("credit", lambda: for_what_was_spoken),
    ("credit", lambda: against_the_same_place),
    ("credit", lambda: partial(against_the_same_place, gamma=0.5, std=True)),
    ("credit", lambda: against_every_turn),
    ("credit", lambda: partial(against_every_turn, gamma=0.5, late=0.7)),
    ("credit", lambda: early_turns),
    ("credit", lambda: with_values),
    ("shaper", lambda: halved),
    ("shaper", Whitened),
    ("shaper", lambda: Whitened(0.01, bonus=0.1)),
    ("shaper", lambda: Whitened(bonus=0.1)),
    ("shaper", lambda: weights),
    ("shaper", lambda: shorter_is_better),
    ("shaper", lambda: signs),
    ("loss", PolicyGradient),
    ("trainer", lambda: SampleTrainer(SampleModel())),
    ("judge", Lengths),
    ("logger", Lines),
)


@pytest.mark.parametrize(("kind", "make"), SOUND, ids=lambda value: getattr(value, "__name__", value))
def test_a_sound_part_passes_every_check(kind: str, make: Callable[..., object]) -> None:
    report = kit(kind)(make)
    assert report.passed, report.failures


def test_a_sound_world_model_and_policy_pass_every_check() -> None:
    for report in (
        check_environment(Stairs, actions=1_000),
        check_model(SampleModel, other=lambda: SampleModel(1)),
        check_policy(lambda: SamplePolicy(MODEL), model=MODEL, other=OTHER),
        check_policy(Wanderer),
    ):
        assert report.passed, report.failures


@pytest.mark.parametrize("name", [name for name, _ in default_host().manager.list_name_plugin()])
def test_every_installed_plugin_passes_the_kit_of_plugins(name: str) -> None:
    report = check_plugin(name, default_host())
    assert report.passed, report.failures


@pytest.mark.parametrize("kind", [*KINDS, "plugin"])
def test_every_kind_has_three_planted_faults(kind: str) -> None:
    assert len(list((FOLDER / kind).glob("*.py"))) >= 3


def _loaded(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"planted.{path.parent.name}.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, module.__name__, module)  # what is pickled is found by its module, elsewhere too
    spec.loader.exec_module(module)
    return module
