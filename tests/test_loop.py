"""Nothing in the main path or around it is idle: without any one statement, without any one watcher, a named check fails."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import agentrl
from agentrl import loop
from agentrl.data.record import Run
from agentrl.runs import run as runs
from agentrl_plugins.credit.grpo import grpo
from agentrl_plugins.policies.tabular import Tabular
from agentrl_plugins.samplers.uniform import Uniform

UPDATES = 4
SOURCE = Path(loop.__file__).read_text(encoding="utf-8")


class Seen:
    """What parts were told in one run."""

    def __init__(self) -> None:
        self.judged, self.shaped, self.observed = 0, 0, 0
        self.refreshed: set[int] = set()
        self.logged: list[int] = []
        self.hooked: list[int] = []
        self.during: list[int] = []
        self.progress = runs.Progress()


def parts(seen: Seen) -> dict[str, Any]:
    class Judge:
        async def annotate(self, trajectories: Any) -> None:
            seen.judged += 1
            for trajectory in trajectories:
                for turn in trajectory.turns:
                    turn.columns["judged"] = {"seen": 1.0}

    def credit(trajectories: Any) -> Any:
        assert all("judged" in turn.columns for t in trajectories for turn in t.turns), "credit came before judges"
        return grpo(trajectories)

    def shaper(trajectories: Any, advantages: Any) -> Any:
        seen.shaped += 1
        return [advantage * 2.0 for advantage in advantages]

    class Sampler(Uniform):
        def observe(self, batch: agentrl.Batch) -> None:
            seen.observed += 1

    class Policy(Tabular):
        async def refresh(self, weights: agentrl.Weights) -> None:
            seen.refreshed.add(weights.version.update)
            await super().refresh(weights)

    class Logger:
        def log(self, update: int, metrics: Any) -> None:
            (seen.during if "during/success" in metrics else seen.logged).append(update)

    return {"judge": Judge, "credit": credit, "shaper": shaper, "sampler": Sampler, "policy": Policy, "logger": Logger}


class Hooks:
    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def on_update(self, update: int, metrics: Any) -> None:
        self.seen.hooked.append(update)


def play(runs_folder: Path) -> tuple[Seen, Path]:
    """A small run with a part of every kind that the loop calls."""
    seen = Seen()
    tables = {
        "name": "small", "seed": 2, "runs": str(runs_folder), "environment": "corridor", "model": "table",
        "trainer": {"name": "tabular", "learning_rate": 0.5}, "sampler": {"tasks": 3},
        "collector": {"name": "asynchronous", "group_size": 4}, "keep_trajectories": 2,
        "evaluation": {"split": "valid", "tasks": 3, "every": 2, "during_split": "train", "during_tasks": 3},
        "stages": [{"name": "rl", "updates": UPDATES}],
    }  # fmt: skip
    result = agentrl.train(tables, host=agentrl.Host({"hooks": Hooks(seen)}), progress=seen.progress, parts=parts(seen))
    return seen, result.folder


def judges_write_before_credit(seen: Seen, folder: Path) -> None:
    assert seen.judged == UPDATES


def every_shaper_runs(seen: Seen, folder: Path) -> None:
    assert seen.shaped == UPDATES
    kept = Run.open(folder).commits()[-1].advantages()
    assert any(np.abs(np.asarray(a)).max() > 2 * 0.5 for a in kept if a is not None), "grpo's own stay below 2.6"


def the_trainer_changes_the_weights(seen: Seen, folder: Path) -> None:
    table = json.loads((folder / "model/table.json").read_text())
    assert any(logit for _, _, logit in table["entries"])


def weights_are_numbered(seen: Seen, folder: Path) -> None:
    turns = [turn for t in Run.open(folder).commits()[-1].trajectories() for turn in t.turns]
    assert {int(turn.completion.versions[0]) for turn in turns} == {UPDATES - 1}


def engines_take_every_version(seen: Seen, folder: Path) -> None:
    assert seen.refreshed == set(range(UPDATES + 1))


def parts_observe_every_batch(seen: Seen, folder: Path) -> None:
    assert seen.observed == UPDATES


def updates_are_on_disk(seen: Seen, folder: Path) -> None:
    assert [commit.update for commit in Run.open(folder).commits()] == list(range(UPDATES))


def loggers_hear_of_every_update(seen: Seen, folder: Path) -> None:
    assert seen.logged == list(range(UPDATES))


def hooks_hear_of_every_update(seen: Seen, folder: Path) -> None:
    assert seen.hooked == list(range(UPDATES))


def tasks_are_played_during_training(seen: Seen, folder: Path) -> None:
    assert seen.during == [1, 3]
    assert {path.name for path in (folder / "evaluations").iterdir()} >= {"000002-during", "000004-during"}


def old_checkpoints_and_trajectories_go(seen: Seen, folder: Path) -> None:
    commits = Run.open(folder).commits()
    assert sum(commit.has_checkpoint for commit in commits) < UPDATES
    assert ["trajectories.parquet" in commit.files for commit in commits] == [False, False, True, True]


def displays_are_told(seen: Seen, folder: Path) -> None:
    assert seen.progress.update == UPDATES
    assert "success" in seen.progress.metrics


CHECKS: list[Callable[[Seen, Path], None]] = [
    judges_write_before_credit, every_shaper_runs, the_trainer_changes_the_weights, weights_are_numbered,
    engines_take_every_version, parts_observe_every_batch, updates_are_on_disk, loggers_hear_of_every_update,
    hooks_hear_of_every_update, tasks_are_played_during_training, old_checkpoints_and_trajectories_go,
    displays_are_told,
]  # fmt: skip
STATEMENTS = {
    "async with buffer": "updates_are_on_disk",
    "async for batch": "updates_are_on_disk",
    "await stage.annotate": "judges_write_before_credit",
    "advantages = ": "every_shaper_runs",
    "metrics = ": "the_trainer_changes_the_weights",
    "weights = ": "weights_are_numbered",
    "await stage.refresh": "engines_take_every_version",
    "stage.observe": "parts_observe_every_batch",
    "await record.commit": "updates_are_on_disk",
}
"""Beginning of each statement of the loop → the check that fails without it."""
WATCHERS = {
    "ShowsProgress": "displays_are_told",
    "EvaluatesDuring": "tasks_are_played_during_training",
    "Prunes": "old_checkpoints_and_trajectories_go",
    "Logs": "loggers_hear_of_every_update",
    "CallsHooks": "hooks_hear_of_every_update",
}


def failing(runs_folder: Path) -> set[str]:
    """Names of the checks that fail in a run; all of them where it cannot end."""
    try:
        seen, folder = play(runs_folder)
    except Exception:  # whatever a loop with a hole in it may raise
        return {check.__name__ for check in CHECKS}
    failed = set()
    for check in CHECKS:
        try:
            check(seen, folder)
        except Exception:
            failed.add(check.__name__)
    return failed


def statements() -> list[ast.stmt]:
    (learn,) = [node for node in ast.parse(SOURCE).body if isinstance(node, ast.AsyncFunctionDef)]
    return [node for node in ast.walk(learn) if isinstance(node, ast.stmt) and node is not learn
            and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]  # fmt: skip


def test_the_loop_as_it_is_passes_every_check(tmp_path: Path) -> None:
    assert failing(tmp_path) == set()


def test_every_statement_of_the_loop_is_listed() -> None:
    written = [ast.unparse(node) for node in statements()]
    assert len(written) == len(STATEMENTS)
    assert all(any(text.startswith(begin) for begin in STATEMENTS) for text in written)


@pytest.mark.parametrize(("begin", "check"), STATEMENTS.items())
def test_without_a_statement_its_check_fails(
    begin: str, check: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Without(ast.NodeTransformer):
        def generic_visit(self, node: ast.AST) -> Any:
            if isinstance(node, ast.stmt) and ast.unparse(node).startswith(begin):
                return ast.Pass()
            return super().generic_visit(node)

    tree = ast.fix_missing_locations(Without().visit(ast.parse(SOURCE)))
    module: dict[str, Any] = {"__name__": "loop_without"}
    exec(compile(tree, "loop_without", "exec"), module)
    monkeypatch.setattr(runs, "learn", module["learn"])
    assert check in failing(tmp_path)


@pytest.mark.parametrize(("watcher", "check"), WATCHERS.items())
def test_without_a_watcher_its_check_fails(
    watcher: str, check: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of_them = runs._Running._watchers

    def without(self: Any, first: int) -> list[Any]:
        return [one for one in all_of_them(self, first) if type(one).__name__ != watcher]

    monkeypatch.setattr(runs._Running, "_watchers", without)
    assert failing(tmp_path) == {check}


def test_the_loop_fits_on_a_screen_and_the_architecture_quotes_it() -> None:
    assert len(SOURCE.splitlines()) <= 60
    page = (Path(__file__).parents[1] / "docs/architecture.md").read_text(encoding="utf-8")
    block = re.search(r"^```python loop\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert block is not None, "docs/architecture.md quotes the loop in a block that begins with ```python loop"
    assert block[1].strip() in SOURCE, "docs/architecture.md quotes another loop than agentrl/loop.py"
