"""Evaluations in a run folder: `evaluations/000020` after 20 updates, `evaluations/000020-during` for the split that picks the best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agentrl.data.columns import Column
from agentrl.data.durable import folder_damage
from agentrl.data.jsontext import to_json
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
        (folder / FILE).write_text(to_json(result.to_json(), indent=1), encoding="utf-8")
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
    """The update with the highest success on the split that `during_split` names; the last one where none was played.

    Plays that failed count as lost here, so that nothing wins by failing. The return decides where nothing says what
    success is.
    """
    results: dict[int, Evaluation] = {}
    for path in run.folder.glob(f"evaluations/{'[0-9]' * 6}{DURING}"):
        update = int(path.name.removesuffix(DURING))
        result = read_evaluation(run, update, DURING)
        if result is not None and result.plays:
            results[update - 1] = result
    by_success = any(result.says_success for result in results.values())

    def score(update: int) -> tuple[float, int]:
        result = results[update]
        if not by_success:
            return result.mean_return.value, update
        return (result.bounds[0] if result.says_success else 0.0), update

    return max(results, key=score) if results else last
