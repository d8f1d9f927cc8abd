"""The plugins of strangers in examples/third_party, as a host that has them installed would see them."""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import agentrl
from agentrl import Host, Trajectory
from agentrl.data.record import Run

FOLDER = Path(__file__).parents[1] / "examples/third_party"
SEEDS = (1, 2, 3)
"""Of tests of effects. Their margins were frozen after what the seeds 11 to 15 gave: at most half of the mean difference,
and at least four of its standard errors."""

PLUGINS = ("graph_credit", "second_try", "reread", "summary_context", "haggle", "guests")


@functools.cache
def plugin(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def host() -> Host:
    made = Host({name: plugin(name) for name in PLUGINS})
    assert not made.broken, made.broken
    return made


TINY = {"name": "tiny", "layers": 1, "width": 16, "heads": 2, "kv_heads": 1, "head_width": 8, "vocabulary": 300}
"""A transformer that nothing is to be learned with."""


def train(tables: Mapping[str, Any], **parts: Any) -> Run:
    return Run.open(agentrl.train(tables, host=host(), parts=parts).folder)


def played(run: Run) -> list[Trajectory]:
    return [trajectory for commit in run.commits() for trajectory in commit.trajectories()]


def metrics_of(run: Run) -> list[dict[str, Any]]:
    """Of every update."""
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def success_at_the_end(run: Run, updates: int) -> float:
    """Mean of the last updates: what was trained with, before each of them."""
    return float(np.mean([metrics["success"] for metrics in metrics_of(run)[-updates:]]))


def assert_ahead(effect: Sequence[float], control: Sequence[float], margin: float) -> None:
    """By more than the margin in the mean over seeds, which are paired, and with each of them."""
    gains = np.subtract(effect, control)
    assert gains.mean() > margin, f"{np.round(effect, 3)} against {np.round(control, 3)}: not {margin} ahead"
    assert gains.min() > 0, f"{np.round(effect, 3)} against {np.round(control, 3)}: behind with a seed"
