"""Runs of a tiny language model on the lamps, as cases need them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cases import lamps

import agentrl

HOST = agentrl.Host({"lamps": lamps})


def run(folder: Path, runs: Path, *, updates: int = 2, **tables: Any) -> agentrl.Result:
    """Train the model in `folder`; `tables` are laid over those of the run: model, policy, trainer, loss, context."""
    own = {name: tables.get(name, {}) for name in ("model", "policy", "trainer")}
    stage = {
        "name": "learn",
        "updates": updates,
        "sampler": {"name": "uniform", "tasks": 4},
        "collector": {"name": "asynchronous", "group_size": 2},
        "credit": "grpo",
        "loss": tables.get("loss", "ppo"),
        "trainer": {"name": "packed", "learning_rate": 1e-3, "workers": 1, **own["trainer"]},
    }
    return agentrl.train(
        {
            "name": "lamps",
            "seed": 1,
            "runs": str(runs),
            "environment": {"name": "lamps"},
            "model": {"name": "pretrained", "path": str(folder), **own["model"]},
            "policy": {"name": "transformers", "max_tokens": 6, "workers": 1, **own["policy"]},
            "dialect": "plain",
            "context": tables.get("context", "full"),
            "stages": [stage],
        },
        host=HOST,
    )


def metrics(result: agentrl.Result) -> list[dict[str, float]]:
    """Of every update."""
    return [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]


def trajectories(result: agentrl.Result) -> list[agentrl.Trajectory]:
    """All that was played."""
    return [
        trajectory
        for table in sorted(result.folder.glob("updates/*/trajectories.parquet"))
        for trajectory in agentrl.read_trajectories(table)
    ]
