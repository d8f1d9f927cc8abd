"""A run with the transformers policy, killed or interrupted in every phase, equals one that ran through."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import multiprocessing
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import tomli_w
from differences import first_difference

from agentrl import read_trajectories
from agentrl.cli import main
from agentrl.data.record import Run


@dataclass(frozen=True)
class Place:
    """Where a process dies: before, inside or after a call of one of our functions."""

    module: str
    name: str
    when: Literal["before", "during", "after"] = "during"
    longest_s: float = 0.0
    """Of a call in which it dies; it dies at its end at the latest."""
    into: str = ""
    """Only a call whose last argument is a path with this in it."""


RUN, RECORD, MODEL = "agentrl.runs.run", "agentrl.data.record", "agentrl_plugins.models.language_model"
LIVE = "agentrl.parts.live"
PHASES: dict[str, list[Place]] = {
    "words for the tokenizer": [Place("agentrl.worlds.texts", "_played", longest_s=0.5)],
    "set-up": [
        Place("agentrl.runs.parts", "RunParts.stage", longest_s=0.1),
        Place(RUN, "_keep_codecs", "before"),
        Place(RUN, "_Running._main", "before"),
    ],
    "collecting": [Place("agentrl.worlds.player", "EpisodePlayer.play", longest_s=0.15)],
    "annotating": [Place(LIVE, "LiveStage.annotate", "before"), Place(LIVE, "LiveStage.credit", "after")],
    "updating": [Place("agentrl_plugins.trainers.packed_trainer", "PackedTrainer.train", longest_s=0.06)],
    "publishing": [
        Place(MODEL, "LanguageModel.publish", "before"),
        Place(LIVE, "LiveStage.refresh", "before"),
        Place(LIVE, "LiveStage.refresh", "after"),
    ],
    "checkpoint": [
        Place(MODEL, "LanguageModel.write", "after"),
        Place("agentrl_plugins.trainers.packed_trainer", "PackedTrainer.save", longest_s=0.01),
    ],
    "commit, before the rename": [Place(RECORD, "move", "before", into="/updates/")],
    "commit, after the rename": [Place(RECORD, "move", "after", into="/updates/")],
    "evaluating": [
        Place("agentrl.runs.evaluations", "play_held_out", longest_s=0.08),
        Place("agentrl.runs.evaluations", "keep_evaluation", "before"),
        Place("agentrl.runs.evaluations", "keep_evaluation", "after"),
    ],
    "pruning": [
        Place(RECORD, "Run.prune", "before"),
        Place(RECORD, "Run._drop", longest_s=0.003),
        Place(RECORD, "move", "after", into="/commit.json"),
    ],
    "end of the run": [
        Place(RUN, "_Running._finish", longest_s=0.1),
        Place(RUN, "summarise", "before"),
        Place(RUN, "draw_curve", "before"),
    ],
}
"""Phase → places in it, tried one after the other."""
FIRST, LAST = "words for the tokenizer", "end of the run"
KILLS = 3  # in each phase, at least


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


def play(folder: Path, updates: int, changes: dict[str, Any], deadly: int, *death: Any) -> None:
    """Begin or go on with the run, and die as `plant` says; without more arguments it lives to the end."""
    if death:
        plant(deadly, *death)
    run_file = folder / "run.toml"
    folder.mkdir(exist_ok=True)
    run_file.write_text(tomli_w.dumps(tables(folder, updates) | changes))
    begun = (folder / "killed").exists()
    os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    main(["train", "--resume", str(folder / "killed")] if begun else ["train", str(run_file)])


def plant(deadly: int, place: Place, later: int, wait_s: float) -> None:
    """Let this process get a signal at a place, when it gets there for the `later`-th time, and again 20 ms later."""
    owner: Any = importlib.import_module(place.module)
    *inside, name = place.name.split(".")
    for part in inside:
        owner = getattr(owner, part)
    function = getattr(owner, name)
    calls = 0
    died: list[bool] = []

    def due(arguments: tuple[Any, ...]) -> bool:
        nonlocal calls
        calls += place.into in str(arguments[-1] if arguments else "")
        return calls > later and not died

    def begins(dies: bool) -> None:
        if dies and place.when == "before":
            die()
        if dies and place.when == "during":
            threading.Timer(wait_s, die).start()

    def ends(dies: bool) -> None:
        if dies and not died:
            die()

    def die() -> None:
        died.append(True)
        threading.Timer(0.02, os.kill, (os.getpid(), deadly)).start()
        os.kill(os.getpid(), deadly)

    @functools.wraps(function)
    def called(*arguments: Any, **named: Any) -> Any:
        begins(dies := due(arguments))
        result = function(*arguments, **named)
        ends(dies)
        return result

    @functools.wraps(function)
    async def awaited(*arguments: Any, **named: Any) -> Any:
        begins(dies := due(arguments))
        result = await function(*arguments, **named)
        ends(dies)
        return result

    setattr(owner, name, awaited if inspect.iscoroutinefunction(function) else called)


def in_a_process(*arguments: Any) -> int | None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["agentrl.runs.run", "transformers", "agentrl.cli", "agentrl_plugins.policies.transformers_policy"]
    )
    process = context.Process(target=play, args=arguments)
    process.start()
    process.join(120)
    assert process.exitcode is not None, "the run hangs"
    return process.exitcode


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def kill(
    folder: Path, times: int, updates: int, changes: dict[str, Any], signals: Sequence[signal.Signals]
) -> Counter[str]:
    """End a run in every phase in turn, `times` times each; what was committed before is there afterwards."""
    dice = random.Random(3)
    hit: Counter[str] = Counter()
    early, late = [FIRST] * min(times, KILLS), [LAST] * min(times, KILLS)
    phases = early + [phase for phase in PHASES if phase not in (FIRST, LAST)] * times + late
    committed: set[str] = set()
    for phase in phases:
        place = PHASES[phase][hit[phase] % len(PHASES[phase])]
        if place.name == "_keep_codecs" and committed:
            place = PHASES[phase][0]  # they are kept by now
        later = 0 if phase in (FIRST, "set-up", "evaluating", LAST) else int(dice.random() < 0.5)
        deadly = signals[hit.total() % len(signals)]
        code = in_a_process(folder, updates, changes, deadly, place, later, dice.random() * place.longest_s)
        stderr = (folder / "stderr").read_text()
        allowed = {signal.SIGINT: (130,), signal.SIGTERM: (130, -signal.SIGTERM), signal.SIGKILL: (-signal.SIGKILL,)}
        assert code in allowed[deadly], f"{phase} ({place}): {code}, {stderr}"
        assert "Traceback" not in stderr, f"{phase} ({place}): {stderr}"
        hit[phase] += 1
        there = {path.parent.name for path in folder.glob("killed/updates/*/commit.json")}
        assert committed <= there, f"lost in {phase}"
        if code == 130:
            begun = (folder / "killed").exists()
            said = f"stopped; {len(there)} of {3 + updates} updates are safe in" if begun else "nothing was begun"
            assert said in stderr or "set-up" in phase, f"{phase} ({place}): {stderr}"
        committed = there
    return hit


@pytest.mark.parametrize(
    ("times", "updates", "changes", "signals"),
    [
        pytest.param(KILLS, 30, {}, [signal.SIGKILL], id="3 kills in each phase"),
        pytest.param(1, 14, {}, [signal.SIGINT, signal.SIGTERM], id="2 signals in each phase"),
        pytest.param(20, 200, {}, [signal.SIGKILL], marks=pytest.mark.heavy, id="20 kills in each phase"),
        pytest.param(
            6, 60, {}, [signal.SIGTERM, signal.SIGINT], marks=pytest.mark.heavy, id="12 signals in each phase"
        ),
        pytest.param(
            6,
            120,
            {"checkpoint_every": 3},
            [signal.SIGKILL],
            marks=pytest.mark.heavy,
            id="a checkpoint every 3 updates",
        ),
    ],
)
def test_a_run_ended_in_every_phase_equals_one_that_ran_through(
    tmp_path: Path, times: int, updates: int, changes: dict[str, Any], signals: list[signal.Signals],
    record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "parts"
    assert in_a_process(whole, updates, changes, 0) == 0
    hit = kill(killed, times, updates, changes, signals)
    assert in_a_process(killed, updates, changes, 0) == 0
    record_property("kills", dict(hit))

    assert set(hit) == set(PHASES)
    assert min(hit.values()) >= min(times, KILLS)
    one, other = Run.open(whole / "killed"), Run.open(killed / "killed")
    assert len(one.commits()) == len(other.commits()) == 3 + updates
    for left, right in zip(one.commits(), other.commits(), strict=True):
        tables_of = [read_trajectories(commit.folder / "trajectories.parquet") for commit in (left, right)]
        assert first_difference(*tables_of) == "", f"update {left.update}"
    assert files(one.folder / "model") == files(other.folder / "model")
    for name in ("codec", "evaluations"):
        left, right = (files(run.folder / name) for run in (one, other))
        assert left.keys() == right.keys()
        timed = {path for path in left if name == "evaluations" and ("parquet" in path or "checksums" in path)}
        assert {path for path in left if left[path] != right[path]} <= timed
    for table in one.folder.glob("evaluations/*/trajectories.parquet"):
        there = read_trajectories(other.folder / table.relative_to(one.folder))
        assert first_difference(read_trajectories(table), there) == "", table.parent.name
    summaries = [json.loads((run.folder / "summary.json").read_text()) for run in (one, other)]
    assert summaries[0]["after"] == summaries[1]["after"]
    assert not (other.folder / ".tmp").exists() or not list((other.folder / ".tmp").iterdir())
