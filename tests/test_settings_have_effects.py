"""No setting of any installed part is idle: each is read by its part, and a run file says nothing that nobody uses.

That a parameter is read is proven from the source: its name is loaded where the part is made, and where it is only
kept as an attribute, that attribute is loaded somewhere in the packages. What a setting does is shown by the tests of
its part; those below show settings that once did nothing.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from adapter_support import build
from cases import lamps

import agentrl
from agentrl import ConfigError
from agentrl.parts.kinds import KINDS
from agentrl.parts.settings import settings_of
from agentrl.runs import run as runs

ROOT = Path(__file__).parents[1]
PACKAGES = ("agentrl", "plugins", "envs", "sandboxes", "examples/third_party")


def installed() -> Iterator[tuple[str, str]]:
    host = agentrl.default_host()
    for kind in KINDS:
        yield from ((kind, entry.name) for entry in host.registry(kind) if entry.name != "human")


@functools.cache
def attributes_read() -> frozenset[str]:
    """Names of attributes that are loaded anywhere in the packages, or asked for by name."""
    read = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    read.add(node.attr)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    read.add(node.value)
    return frozenset(read)


def source_of(part: Any) -> ast.AST:
    function = part.__init__ if inspect.isclass(part) else getattr(part, "func", part)
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def idle(part: Any, names: set[str]) -> set[str]:
    """Those of some parameters that nothing reads."""
    if not names:
        return set()
    if inspect.isclass(part) and "__init__" not in vars(part) and hasattr(part, "__dataclass_fields__"):
        return names - attributes_read()
    tree = source_of(part)
    loaded = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    kept = dict(pairs for node in ast.walk(tree) if isinstance(node, ast.Assign) for pairs in _kept(node))
    return {name for name in names if name not in loaded or kept.get(name, name) not in attributes_read() | {name}}


def _kept(node: ast.Assign) -> Iterator[tuple[str, str]]:
    """(parameter, attribute) of `self._a = a` and `self._a, self._b = a, b`."""
    for target in node.targets:
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        for place, value in zip(targets, values, strict=False):
            if isinstance(place, ast.Attribute) and isinstance(value, ast.Name):
                yield value.id, place.attr


@pytest.mark.parametrize(("kind", "name"), list(installed()))
def test_every_setting_of_a_part_is_read(kind: str, name: str) -> None:
    part = agentrl.default_host().part(kind, name)
    settings = settings_of(part, made=inspect.isclass(part) or KINDS[kind].made)
    assert idle(part, set(settings)) == set()
    for setting in settings.values():
        for needs in getattr(setting.annotation, "__metadata__", ()):
            assert not isinstance(needs, agentrl.OnlyWith) or needs.setting in settings


def test_a_setting_that_is_only_kept_is_found() -> None:
    class Keeps:
        def __init__(self, *, used: int = 1, kept_for_nobody: int = 2, forgotten: int = 3) -> None:
            self.used, self._never_looked_at_again = used, kept_for_nobody

    assert idle(Keeps, {"used", "kept_for_nobody", "forgotten"}) == {"kept_for_nobody", "forgotten"}


# ----------------------------------------------------------------------------------------------- limits of worlds


def test_a_limit_on_turns_holds_in_a_world_of_text_as_in_one_that_is_put_into_words() -> None:
    for world in ("agentrl/corridor-v0", "Taxi-v3" if "Taxi-v3" in gymnasium.registry else "Taxi-v4"):
        env = build("gymnasium", id=world, max_turns=3)
        env.reset(seed=0, options={})
        assert [env.step("wait")[3] for _ in range(3)] == [False, False, True]


def test_a_limit_on_turns_may_be_wider_than_the_worlds_own() -> None:
    env = build("gymnasium", id="CartPole-v1", settings={"sutton_barto_reward": True}, max_turns=600)
    assert env.unwrapped.max_turns == 600
    assert env.unwrapped._live.spec.max_episode_steps == 600


@pytest.mark.parametrize("setting", [{"action_names": ("go",)}, {"valid": 5}, {"success_reward": 1.0}])
def test_settings_for_words_are_refused_by_a_world_that_has_its_own(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(setting))} = .* is for worlds that are put into words"):
        build("gymnasium", id="agentrl/corridor-v0", **setting)


# ------------------------------------------------------------------------------------------------- keys of a run file

STAGE = lamps.RUN["stages"][0]
NO_EVALUATION = {key: value for key, value in lamps.RUN.items() if key != "evaluation"}
NLL = {"name": "nll"}
HOST = agentrl.Host({"lamps": lamps})


def staged(**more: Any) -> dict[str, Any]:
    return {**lamps.RUN, "stages": [{**STAGE, **more}]}


@pytest.mark.parametrize(
    ("tables", "complaint"),
    [
        (lamps.RUN | {"credit": "rloo"}, r"\[credit\] is used by no stage: each names its own; remove it"),
        (lamps.RUN | {"collector": {"group_size": 9}}, r"\[collector\] is used by no stage"),
        (staged(shapers=[]) | {"shapers": [{"name": "x"}]}, r"\[shapers\] is used by no stage"),
        (staged(loss=NLL), "stage 'learn': `loss` does nothing, for trainer 'tabular' takes none"),
        (lamps.RUN | {"loss": NLL}, r"\[loss\] does nothing, for no trainer of this run takes one"),
        (NO_EVALUATION | {"stages": [{**STAGE, "evaluate": True}]}, "evaluate = true does nothing without"),
        (staged(judge_timeout_s=5.0), "judge_timeout_s does nothing, for the stage has no judges"),
        (lamps.RUN | {"logger_timeout_s": 5.0}, "logger_timeout_s does nothing, for the run has no loggers"),
        (lamps.RUN | {"evaluation": {"split": "valid", "tasks": 7, "during_split": "train"}}, "during_split does nothing"),
        (lamps.RUN | {"evaluation": {"split": "valid", "tasks": 7, "during_tasks": 3}}, "during_tasks does nothing"),
        (
            staged(evaluate=False) | {"evaluation": {"split": "valid", "every": 1, "during_split": "train"}},
            "every does nothing, for no stage evaluates",
        ),
        (lamps.RUN | {"models": {"old": {"name": "table"}}}, r"\[models.old\] is used by nothing"),
        (
            staged(trainer={"name": "tabular", "optimizer": "gradient", "betas": [0.5, 0.5]}),
            r"trainer 'tabular': betas does nothing with optimizer = 'gradient' \(it needs 'adam' there\)",
        ),
        (staged(credit={"name": "grpo", "std": False, "ddof": 0}), "credit 'grpo': ddof does nothing with std = False"),
        (
            lamps.RUN | {"model": {"name": "pretrained", "path": "x", "lora_alpha": 8}},
            "model 'pretrained': lora_alpha does nothing with lora_rank = 0",
        ),
    ],
)  # fmt: skip
def test_a_key_that_nothing_uses_is_refused_before_a_run_begins(tables: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        runs.planned(tables, host=HOST)


@pytest.mark.parametrize(
    "tables",
    [
        lamps.RUN,
        lamps.RUN | {"credit": "rloo", "stages": [STAGE, {**STAGE, "name": "two", "credit": {"lone": "raw"}}]},
        lamps.RUN | {"evaluation": {"split": "valid", "tasks": 7, "every": 0, "during_split": "train"}},
        lamps.RUN
        | {"models": {"old": {"name": "table"}}, "policies": {"u": {"name": "tabular", "model": "models.old"}}},
    ],
)
def test_what_is_used_at_all_is_taken(tables: dict[str, Any]) -> None:
    assert runs.planned(tables, host=HOST)


def test_a_run_that_has_begun_with_such_a_key_goes_on(tmp_path: Path) -> None:
    folder = agentrl.train(lamps.RUN | {"runs": str(tmp_path)}, host=HOST).folder
    file = folder / "run.toml"
    file.write_text('credit = "rloo"\n' + file.read_text())  # as an earlier version took it
    assert agentrl.evaluate(folder, host=HOST).plays
