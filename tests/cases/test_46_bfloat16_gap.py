"""Case 46: log-probs of trainer and sampler drift apart in bfloat16 elsewhere. Here the gap stays what rounding makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cases import lamp_runs, tinyhf


@pytest.mark.parametrize(
    ("model", "policy"),
    [({}, {}), ({"lora_rank": 4}, {}), ({}, {"temperature": 0.7, "top_p": 0.9})],
    ids=["all weights", "adapter", "filters"],
)
def test_in_bfloat16_trainer_and_engine_agree_to_rounding(
    tmp_path: Path, model: dict[str, Any], policy: dict[str, Any]
) -> None:
    folder = tinyhf.tiny_folder(tmp_path / "model")
    result = lamp_runs.run(folder, tmp_path / "runs", model={"dtype": "bfloat16"} | model, policy=policy)
    for measured in lamp_runs.metrics(result):
        assert measured["train/logprob_gap"] < 1e-3
        assert measured["train/logprob_gap_max"] < 0.02
