"""The reference of the run file is what the models say, and every file that it shows is one."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

import agentrl
from agentrl.parts.run_file import EvaluationPlan, PlayerSettings, RunFile, Stage
from agentrl.runs.run import check

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "run-file.md").read_text(encoding="utf-8")
FILES = [tomllib.loads(block) for block in re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]


def test_the_page_is_current() -> None:
    assert runpy.run_path(str(DOCS / "generate_run_file.py"))["page"]() == PAGE, "run `make docs`"


@pytest.mark.parametrize("model", [RunFile, PlayerSettings, EvaluationPlan, Stage])
def test_every_key_has_a_line(model: Any) -> None:
    for name in model.model_fields.keys() - {"parts", "tables"}:
        assert f"`{name}`" in PAGE


@pytest.mark.parametrize("tables", FILES, ids=lambda tables: tables["name"])
def test_every_file_it_shows_runs(tables: dict[str, Any], tmp_path: Path) -> None:
    tables["runs"] = str(tmp_path)
    if "stages" in tables:
        assert check(tables).plan
        assert not list(tmp_path.iterdir())
    else:
        assert agentrl.evaluate(tables).success.value == 1.0
    if tables["name"] in ("corridor", "alternating"):
        agentrl.train(tables, ["stages.0.updates=1"])


def test_the_commands_it_names_have_the_options_it_names() -> None:
    from agentrl.cli import main

    options = {option for parameter in main.commands["train"].params for option in parameter.opts}  # type: ignore[attr-defined]
    assert {"--dry-run", "--check", "--resume"} <= options
    assert {"--dry-run", "--check", "--resume"} <= set(re.findall(r"--[a-z-]+", PAGE))
