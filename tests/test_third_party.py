"""Strangers' plugins in examples/third_party: installed, listed, checked, short, and trained with as their files say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from string import Template
from typing import Any

import pytest
from part_lines import code_lines
from plugin_install import environ, install
from strangers import TINY, host, metrics_of

from agentrl import ConfigError, Spec
from agentrl.data.record import Run
from agentrl.parts.run_file import parse
from agentrl.testing import check_part

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "examples/third_party"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    install(PLUGIN, target)
    return target


def run(site: Path, *arguments: object) -> str:
    line = [sys.executable, "-m", "agentrl.cli", *map(str, arguments)]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=300, env=environ(site), check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_they_are_listed(site: Path) -> None:
    parts = json.loads(run(site, "list", "--json"))["parts"]
    assert parts["environment"]["guess"] == parts["credit"]["guess/late"] == "environment.guess"
    assert parts["credit"]["graph"] == "credit.graph"
    assert parts["collector"]["second_try"] == "collector.second_try"
    assert parts["judge"]["reread"] == parts["loss"]["distill"] == "judge.reread"
    assert parts["context"]["summary"] == "context.summary"
    assert parts["environment"]["guest"] == parts["environment"]["guest_by_voice"] == "environment.guests"
    assert parts["environment"]["haggle"] == "environment.haggle"


CHECKED = [("environment", name) for name in ("guess", "haggle", "guest", "guest_by_voice")] + [
    ("credit", "guess/late")
]


@pytest.mark.parametrize("part", CHECKED, ids=" ".join)
def test_the_command_checks_them(site: Path, part: tuple[str, str]) -> None:
    run(site, "check", *part)


PARTS: list[tuple[str, str, dict[str, Any]]] = [
    ("credit", "graph", {}),
    ("credit", "graph", {"form": "recipe"}),
    ("collector", "second_try", {}),
    ("judge", "reread", {}),
    ("judge", "reread", {"top": 3}),
    ("loss", "distill", {}),
    ("loss", "distill", {"form": "jensen_shannon"}),
    ("context", "summary", {"budget": 200}),
]


@pytest.mark.parametrize(("kind", "name", "settings"), PARTS, ids=[f"{kind} {name}" for kind, name, _ in PARTS])
def test_it_passes_the_kit_of_its_kind(kind: str, name: str, settings: dict[str, Any]) -> None:
    report = check_part(Spec(kind, name, settings), host())
    assert report.passed, report.failures


@pytest.mark.parametrize(
    ("kind", "name", "settings", "message"),
    [
        ("credit", "graph", {"form": "papr"}, "Did you mean 'paper'"),
        ("collector", "second_try", {"trys": 2}, "Did you mean 'tries'"),
        ("collector", "second_try", {"tries": 0}, "must be positive"),
        ("judge", "reread", {"top": -1}, "may not be negative"),
        ("loss", "distill", {"form": "reverse"}, "Did you mean 'reverse_kl'"),
        ("context", "summary", {}, "needs the setting 'budget'"),
        ("context", "summary", {"budget": 100, "share": 2.0}, "at most 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_what_does(
    kind: str, name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        check_part(Spec(kind, name, settings), host())
    assert message in str(error.value)


def test_the_lines_that_the_readme_shows_fit() -> None:
    section = (ROOT / "README.md").read_text("utf-8").partition("## Four published methods")[2].partition("\n## ")[0]
    lines = re.findall(r"`((?:credit|collector|judges|loss|context) = [^`]+)`", section)
    assert len(lines) == 10
    plain = {
        "name": "shown",
        "environment": "corridor",
        "model": {**TINY},
        "policy": "transformers",
        "trainer": "packed",
    }
    for line in lines:
        stage = {"updates": 1, "sampler": "uniform", "collector": "asynchronous", "credit": "grpo", "loss": "ppo"}
        tables = tomllib.loads(line)
        context = {"context": tables.pop("context")} if "context" in tables else {}
        parse({**plain, **context, "stages": [{**stage, **tables}]}, host())


SHORT = [
    (25, "examples/third_party/haggle.py", ["register_environments", "Haggle"]),
    (40, "examples/tool_world.py", ["register_environments", "Bakery"]),
    (12, "examples/third_party/guess_plugin.py", ["register_credits", "late"]),
    (20, "agentrl/cli/templates/judge.py.txt", ["register_judges", "Mine"]),
    (30, "examples/third_party/summary_context.py", ["Summary", "SummarySession"]),
    (40, "examples/third_party/second_try.py", ["register_collectors", "SecondTry"]),
]
"""A world, a tool world, a credit, a judge that asks the engine of the run, a context that summarises, a collector that
branches, with their hooks (but for the context, whose settings are many)."""


@pytest.mark.parametrize(("limit", "file", "names"), SHORT, ids=[file for _, file, _ in SHORT])
def test_a_part_takes_few_lines(limit: int, file: str, names: list[str]) -> None:
    text = Template((ROOT / file).read_text(encoding="utf-8")).safe_substitute(name="mine", cls="Mine")
    assert 3 < code_lines(text, *names) <= limit


def test_a_run_learns_with_it(site: Path, tmp_path: Path) -> None:
    run(site, "train", PLUGIN / "guess.toml", f"runs={tmp_path}")
    played = metrics_of(Run.open(tmp_path / "guess"))
    assert sum(m["success"] for m in played[-5:]) / 5 > sum(m["success"] for m in played[:5]) / 5 + 0.15, played[-1]


@pytest.mark.parametrize("name", ["haggle", "guest", "guest_by_voice"])
def test_the_other_run_files_run_as_they_are(site: Path, tmp_path: Path, name: str) -> None:
    run(site, "train", PLUGIN / f"{name}.toml", f"runs={tmp_path}")
    stage = "sell" if name == "haggle" else "serve"
    commits = Run.open(tmp_path / name).commits()
    assert [commit.stage for commit in commits] == [stage] * (20 if name == "haggle" else 2)
    speakers = {turn.agent for commit in commits for t in commit.trajectories() for turn in t.turns}
    assert speakers == {"haggle": {"agent", "other"}, "guest": {"agent", "guest"}, "guest_by_voice": {"agent"}}[name]
