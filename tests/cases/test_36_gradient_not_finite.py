"""Case 36: gradients that are not finite reach weights and checkpoint elsewhere. Here the run ends before such a step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cases import lamp_runs, tinyhf
from safetensors.torch import load_file

import agentrl


def test_a_run_that_blows_up_ends_and_its_checkpoints_are_finite(tmp_path: Path) -> None:
    folder = tinyhf.tiny_folder(tmp_path / "model")
    with pytest.raises(agentrl.PolicyFault, match="finite"):
        lamp_runs.run(folder, tmp_path / "runs", updates=3, loss="nll", trainer={"learning_rate": 1e37})
    for file in (tmp_path / "runs").glob("lamps/updates/*/checkpoint/model/model.safetensors"):
        assert all(bool(torch.isfinite(weight).all()) for weight in load_file(file).values())
