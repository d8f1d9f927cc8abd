"""Evaluations in a run folder: `evaluations/000020` after 20 updates, `evaluations/000020-during` for the split that picks the best."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from agentrl.data.columns import Column
from agentrl.data.durable import folder_damage
from agentrl.data.record import Run
from agentrl.data.table import write_trajectories
from agentrl.errors import DataError
from agentrl.evaluation.protocol import Evaluation

FINAL, DURING = "", "-during"
FILE, TABLE = "evaluation.json", "trajectories.parquet"


def keep_evaluation(run: Run, update: int, name: str, result: Evaluation, columns: Mapping[str, Column]) -> None:
    """Write scores and trajectories, whole or not at all."""

    def write(folder: Path) -> None:
        folder.mkdir()
        (folder / FILE).write_text(json.dumps(result.to_json(), indent=1), encoding="utf-8")
        write_trajectories(folder / TABLE, result.trajectories, update=update, columns=columns)

    run.write_folder(f"evaluations/{update:06d}{name}", write)


def read_evaluation(run: Run, update: int, name: str = FINAL) -> Evaluation | None:
    """A stored evaluation, None where there is none. Raises DataError for a damaged one."""
    place = run.folder / f"evaluations/{update:06d}{name}"
    for path in (place / FILE, place.with_suffix(".json")):  # the second form is that of earlier versions
        if path.exists():
            try:
                evaluation = Evaluation.from_json(path.read_bytes())
                if problem := folder_damage(path.parent, only=FILE):
                    raise DataError(problem)
                return evaluation
            except (DataError, OSError) as error:
                raise DataError(f"{path} is damaged: {error}; delete it, and --resume plays it again") from error
    return None


def best_update(run: Run, last: int) -> int:
    """The update with the highest success on the split that `during_split` names; the last one where none was played."""
    scores: dict[int, float] = {}
    for path in run.folder.glob(f"evaluations/{'[0-9]' * 6}{DURING}"):
        update = int(path.name.removesuffix(DURING))
        result = read_evaluation(run, update, DURING)
        if result is not None and result.plays:
            scores[update - 1] = result.success.value
    return max(scores, key=lambda update: (scores[update], update)) if scores else last
