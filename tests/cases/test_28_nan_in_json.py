"""Case 28: JSON that is printed or written is read by every JSON reader, and says what it does not know.

Complained of elsewhere, and so here: where every play failed, `agentrl eval --json` printed NaN, which is no JSON, and
ended with status 0 as if something had been counted.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from cases import flawed, lamps
from click.testing import CliRunner, Result

import agentrl
from agentrl.cli.app import main
from agentrl.data.jsontext import to_json
from agentrl.evaluation.protocol import Evaluation, Play
from agentrl.parts import host


def strict(text: str) -> Any:
    """Raises ValueError for NaN and Infinity, as readers outside of Python do."""

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


class Broken(lamps.Lamps):
    """Breaks in every held-out task."""

    def step(self, action: str) -> Any:
        if self.lamps >= 24:
            raise ConnectionError("the server of the lamps is gone")
        return super().step(action)


def register_environments(register: agentrl.Register) -> None:
    register("broken", Broken)


@pytest.fixture
def agentrl_command(monkeypatch: pytest.MonkeyPatch) -> Any:
    import sys

    known = agentrl.Host({"broken": sys.modules[__name__], "lamps": lamps, "flawed": flawed})
    for module in ("agentrl.cli.app", "agentrl.runs.run"):
        monkeypatch.setattr(f"{module}.default_host", lambda: known, raising=False)
    monkeypatch.setattr(host, "default_host", lambda: known)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments))

    return run


def run_file(folder: Path, world: str) -> str:
    (folder / "run.toml").write_text(
        f'name = "t"\nruns = "{folder / "runs"}"\nenvironment = "{world}"\nmodel = "table"\npolicy = "tabular"\n'
        'evaluation = { split = "valid", tasks = 3 }\ntrainer = "tabular"\nsampler = { name = "uniform", tasks = 2 }\n'
        'player = { retries = 0 }\n[[stages]]\nname = "rl"\nupdates = 1\n'
    )
    return str(folder / "run.toml")


def test_where_no_play_counts_nothing_is_made_up_and_the_status_says_so(tmp_path: Path, agentrl_command: Any) -> None:
    result = agentrl_command("train", run_file(tmp_path, "broken"), "--json")
    assert result.exit_code == 1
    assert "no play of its evaluation was counted" in result.stderr
    summary = strict(result.stdout)
    assert (summary["after"]["success"], summary["after"]["tasks"], summary["after"]["failures"]) == (None, 0, 3)
    assert (summary["after"]["all_lost"], summary["after"]["all_won"]) == (0.0, 1.0)
    assert "difference" not in summary
    folder = Path(summary["folder"])
    assert strict((folder / "summary.json").read_text())["after"]["return"] is None
    for path in folder.rglob("*.json"):
        strict(path.read_text())

    result = agentrl_command("eval", str(folder), "--json")
    assert result.exit_code == 1
    assert strict(result.stdout)["summary"]["success"] is None
    assert (
        "note: no play was counted: all 3 failed by machinery (3 env_error); the first: ConnectionError"
        in result.stderr
    )
    words = agentrl_command("eval", str(folder))
    assert words.exit_code == 1
    assert "nan" not in words.output
    assert "–" in words.output


def test_where_plays_count_the_status_is_zero(tmp_path: Path, agentrl_command: Any) -> None:
    result = agentrl_command("eval", run_file(tmp_path, "lamps"), "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert strict(result.stdout)["summary"]["tasks"] == 3


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null_at_every_depth(value: float) -> None:
    for indent in (None, 2):
        assert strict(to_json({"a": [value, {"b": value}]}, indent=indent)) == {"a": [None, {"b": None}]}


def test_an_evaluation_is_strict_json_however_it_went() -> None:
    played = Play("a", None, 0.5, 1, "terminated")
    for plays, failed in (((), {"env_error": 3}), ((), {}), ((played,), {}), ((played,), {"time_limit": 1})):
        text = to_json(Evaluation(plays, failed).to_json())
        assert strict(text)["summary"]["success"] is None
        assert Evaluation.from_json(text.encode()) == Evaluation(plays, failed)
