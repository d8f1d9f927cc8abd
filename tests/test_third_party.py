"""A stranger's plugin in examples/third_party: installed, listed, checked and trained with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_install import environ, install

PLUGIN = Path(__file__).parents[1] / "examples/third_party"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    install(PLUGIN, target)
    return target


def run(site: Path, *arguments: object) -> str:
    line = [sys.executable, "-m", "agentrl.cli", *map(str, arguments)]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=120, env=environ(site), check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_it_is_listed(site: Path) -> None:
    parts = json.loads(run(site, "list", "--json"))["parts"]
    assert parts["environment"]["guess"] == parts["credit"]["guess/late"] == "environment.guess"


@pytest.mark.parametrize("part", [("environment", "guess"), ("credit", "guess/late")], ids=" ".join)
def test_it_passes_the_kit(site: Path, part: tuple[str, str]) -> None:
    run(site, "check", *part)


def test_a_run_learns_with_it(site: Path, tmp_path: Path) -> None:
    run(site, "train", PLUGIN / "guess.toml", f"runs={tmp_path}")
    played = [json.loads(line) for line in (tmp_path / "guess/metrics.jsonl").read_text().splitlines()]
    assert sum(m["success"] for m in played[-5:]) / 5 > sum(m["success"] for m in played[:5]) / 5 + 0.15, played[-1]
