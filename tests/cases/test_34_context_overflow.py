"""Case 34: a dialogue that outgrows the context in the middle. It ends there, is kept and trained on; one whose first
prompt does not fit is not begun, and the message says what to change."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import lamp_runs, tinyhf

import agentrl


def test_a_dialogue_that_outgrows_the_context_ends_and_is_trained_on(tmp_path: Path) -> None:
    result = lamp_runs.run(tinyhf.tiny_folder(tmp_path / "model", context=160), tmp_path / "runs", updates=1)
    outcomes = {own.outcome for own in lamp_runs.trajectories(result)}
    assert agentrl.Outcome.CONTEXT_LIMIT in outcomes
    assert all(own.turns for own in lamp_runs.trajectories(result))
    (measured,) = lamp_runs.metrics(result)
    assert measured["train/tokens_scored"] > 0


def test_a_first_prompt_that_does_not_fit_stops_the_run_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(agentrl.AgentRLError, match=r"leaves no room in max_context = 32"):
        lamp_runs.run(tinyhf.tiny_folder(tmp_path / "model", context=32), tmp_path / "runs")
