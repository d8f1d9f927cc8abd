"""A run with the transformers policy, killed with -9 again and again in every phase, equals one that ran through."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from differences import first_difference

from agentrl import read_trajectories
from agentrl.data.record import Run
from agentrl.errors import RecordError
from agentrl.runs.progress import Progress
from agentrl.runs.run import resume, train

PHASES = ("collecting", "updating", "committing", "evaluating")
LONGEST_WAIT_S = {"collecting": 0.15, "updating": 0.06, "committing": 0.03, "evaluating": 0.08}


def tables(folder: Path, updates: int) -> dict[str, Any]:
    return {
        "name": "killed",
        "seed": 5,
        "runs": str(folder),
        "environment": {"name": "corridor", "max_turns": 6},
        "model": {
            "name": "tiny",
            "layers": 1,
            "width": 16,
            "heads": 2,
            "kv_heads": 1,
            "head_width": 8,
            "vocabulary": 300,
        },
        "policy": {"name": "transformers", "max_tokens": 4},
        "context": {"name": "full", "system": False},
        "evaluation": {"split": "valid", "tasks": 6, "every": 2, "during_split": "train", "during_tasks": 4},
        "stages": [
            {
                "name": "clone",
                "updates": 3,
                "policy": {"name": "expert", "noise": 0.2},
                "sampler": {"name": "uniform", "tasks": 8},
                "loss": {"name": "nll", "observations": 0.5},
                "trainer": {"name": "packed", "optimizer": "muon", "minibatches": 2, "workers": 2},
            },
            {
                "name": "rl",
                "updates": updates,
                "sampler": {"name": "uniform", "tasks": 3},
                "collector": {"name": "asynchronous", "group_size": 4},
                "credit": {"name": "gigpo"},
                "loss": {"name": "ppo", "entropy_weight": 0.01},
                "trainer": {"name": "packed", "schedule": "linear", "learning_rate": 1e-3, "reference": "initial"},
            },
        ],
    }


def play(folder: Path, updates: int, phase: str, later: int, wait_s: float) -> None:
    """Begin or go on with the run, and die in the given phase, `later` updates from now; "" lives to the end."""
    progress = Progress()
    if phase:
        threading.Thread(target=die, args=(progress, phase, later, wait_s), daemon=True).start()
    try:
        resume(folder / "killed", progress=progress)
    except RecordError:
        train(tables(folder, updates), progress=progress)


def die(progress: Progress, phase: str, later: int, wait_s: float) -> None:
    while progress.phase == "":
        time.sleep(0.0002)
    first = progress.done
    while progress.phase != phase or progress.done < first + later:
        time.sleep(0.0002)
    time.sleep(wait_s)
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_process(*arguments: Any) -> int | None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["agentrl.runs.run", "transformers", "agentrl_plugins.policies.transformers_policy"])
    process = context.Process(target=play, args=arguments)
    process.start()
    process.join(120)
    assert process.exitcode is not None, "the run hangs"
    return process.exitcode


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("kills", "updates"), [(20, 20), pytest.param(200, 160, marks=pytest.mark.heavy)], ids=["20 kills", "200 kills"]
)
def test_a_run_killed_in_every_phase_equals_one_that_ran_through(tmp_path: Path, kills: int, updates: int) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "parts"
    assert in_a_process(whole, updates, "", 0, 0.0) == 0
    dice = random.Random(3)
    hit: Counter[str] = Counter()
    while hit.total() < kills:
        phase = PHASES[hit.total() % len(PHASES)]
        later = int(dice.random() < 0.5) if phase != "evaluating" else 0
        code = in_a_process(killed, updates, phase, later, dice.random() * LONGEST_WAIT_S[phase])
        if code == 0:
            break
        assert code == -signal.SIGKILL
        hit[phase] += 1
    assert in_a_process(killed, updates, "", 0, 0.0) == 0

    assert hit.total() >= kills, f"the run was over after {hit}"
    assert set(hit) == set(PHASES)
    one, other = Run.open(whole / "killed"), Run.open(killed / "killed")
    assert len(one.commits()) == len(other.commits()) == 3 + updates
    for left, right in zip(one.commits(), other.commits(), strict=True):
        tables_of = [read_trajectories(commit.folder / "trajectories.parquet") for commit in (left, right)]
        assert first_difference(*tables_of) == "", f"update {left.update}"
    assert files(one.folder / "model") == files(other.folder / "model")
    for name in ("codec", "evaluations"):
        left, right = (files(run.folder / name) for run in (one, other))
        assert left.keys() == right.keys()
        assert {path for path in left if left[path] != right[path]} <= {path for path in left if "parquet" in path}
    for table in one.folder.glob("evaluations/*/trajectories.parquet"):
        there = read_trajectories(other.folder / table.relative_to(one.folder))
        assert first_difference(read_trajectories(table), there) == "", table.parent.name
    summaries = [json.loads((run.folder / "summary.json").read_text()) for run in (one, other)]
    assert summaries[0]["after"] == summaries[1]["after"]
    assert not (other.folder / ".tmp").exists() or not list((other.folder / ".tmp").iterdir())
