"""The page on models: what its table says of architectures is what happens."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"
COLUMNS = ("runs", "packed", "engine", "as_run", "reason")
TABLE = {
    name: dict(zip(COLUMNS, (cell.strip() for cell in cells), strict=True))
    for line in (DOCS / "models.md").read_text("utf-8").splitlines()
    if len(cells := line.strip("|").split("|")) == 6 and (name := cells.pop(0).strip()) not in ("architecture", "---")
}


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "generate_models.py"))


def test_every_architecture_of_the_library_is_in_the_table(script: dict[str, Any]) -> None:
    assert list(TABLE) == list(script["architectures"]())


def test_whatever_runs_agrees_with_the_library() -> None:
    for name, row in TABLE.items():
        assert row["runs"] in ("refused", "not tried") or float(row["as_run"]) < 1e-3, name
        if row["runs"].startswith("packed"):
            assert float(row["packed"]) < 1e-3, name
            assert float(row["engine"]) < 1e-3, name
        elif row["runs"] != "packed":
            assert row["reason"], name


def _same(row: Any) -> None:
    said = TABLE[row.name]
    assert (row.runs, row.reason) == (said["runs"], said["reason"]) or "nats" in said["reason"]
    assert row.runs == said["runs"], row.name
    assert math.isnan(row.as_run) or row.as_run < 1e-3


@pytest.mark.parametrize(
    "name", ["Qwen3ForCausalLM", "GPTJForCausalLM", "Lfm2ForCausalLM", "GptOssForCausalLM", "CpmAntForCausalLM"]
)
def test_a_sample_of_architectures_runs_as_the_table_says(script: dict[str, Any], name: str) -> None:
    _same(script["tried"](name))


@pytest.mark.heavy
def test_all_architectures_run_as_the_table_says(script: dict[str, Any]) -> None:
    for row in script["rows"](list(TABLE)):
        _same(row)
