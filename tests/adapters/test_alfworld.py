"""The ALFWorld adapter on games that we write in its format; the household beside the official engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from adapter_support import assert_conforms, build, play_expert

from agentrl import ConfigError, Spec, default_host

pytest.importorskip("alfworld")
SMALL: dict[str, Any] = {"receptacles": (6, 8), "object_types": (6, 6)}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder laid out as the original's: two games to train on, one unseen."""
    from official.games import write_game

    folder = tmp_path_factory.mktemp("alfworld")
    ours = default_host().build(Spec("environment", "household", dict(SMALL)))
    for split, count in (("train", 2), ("valid_unseen", 1)):
        for index in range(count):
            ours.reset(options={"split": split, "index": index})
            game = ours.machine.game
            write_game(game, folder / "json_2.1.1" / split / f"{game.goal.type}-{index}" / "trial_1")
    return folder


def test_alfworld_conforms(path: Path) -> None:
    # The hand-written expert is not guaranteed to succeed; so says the original.
    assert_conforms("alfworld", path=str(path), actions=100, max_turns=15)


def test_the_original_splits_are_found(path: Path) -> None:
    assert build("alfworld", path=str(path)).splits == {"train": 2, "valid_unseen": 1}
    with pytest.raises(ConfigError, match="alfworld-download"):
        build("alfworld", path=str(path / "nowhere"))


def test_the_original_expert_solves_a_game(path: Path) -> None:
    env = build("alfworld", path=str(path), expert=True)
    env.reset(options={"split": "train", "index": 0})
    steps = play_expert(env)
    assert steps[-1][1] == 1
    assert steps[-1][4]["success"]


def test_unsolvable_games_and_other_kinds_of_tasks_are_left_out(path: Path, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train/game.tw-pddl").write_text('{"solvable": false}')
    with pytest.raises(ConfigError, match="no playable"):
        build("alfworld", path=str(tmp_path))
    with pytest.raises(ConfigError, match="no playable"):
        build("alfworld", path=str(tmp_path), task_types=["look_at_obj_in_light"])


def test_the_household_plays_as_the_official_engine_does() -> None:
    from official.household import compare

    *_, found = compare(2, seed=7, most_turns=20)
    assert found.steps > 20
    assert found.differences == []
