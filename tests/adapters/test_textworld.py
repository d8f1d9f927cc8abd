"""The TextWorld adapter on games made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from adapter_support import assert_conforms, build, play_expert

from agentrl import ConfigError

textworld = pytest.importorskip("textworld")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:jericho")
RECIPE: dict[str, Any] = {"rooms": 3, "objects": 4, "quest_length": 3}


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two games to train on and one to validate on, as a user would keep them."""
    folder = tmp_path_factory.mktemp("games")
    for split, seed in (("train", 1), ("train", 2), ("valid", 3)):
        options = textworld.GameOptions()
        options.nb_rooms, options.nb_objects, options.quest_length, options.seeds = 3, 4, 3, seed
        options.path = str(folder / split / f"game{seed}.z8")
        textworld.make(options)
    return folder


def test_textworld_conforms(games: Path) -> None:
    assert_conforms("textworld", games=str(games))


def test_the_games_of_a_folder_are_its_splits(games: Path) -> None:
    assert build("textworld", games=str(games)).splits == {"train": 2, "valid": 1}
    with pytest.raises(ConfigError, match="no game file"):
        build("textworld", games=str(games / "nowhere"))


def test_games_are_made_when_first_played_and_kept(tmp_path: Path) -> None:
    env = build("textworld", cache=str(tmp_path), **RECIPE)
    observation, info = env.reset(options={"split": "valid", "index": 3})
    steps = play_expert(env)
    assert steps[-1][4]["success"]
    assert sum(step[1] for step in steps) == 1
    assert "$" not in observation
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.z8")}
    again = build("textworld", cache=str(tmp_path), **RECIPE).reset(options={"split": "valid", "index": 3})
    assert (observation, info) == again
    assert made == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.z8")}


@pytest.mark.parametrize(
    "action", ["save", "QUIT", "look. save", "script", "go east then restart", "\\ q", "transcript"]
)
def test_commands_about_the_program_are_not_played(
    games: Path, action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = build("textworld", games=str(games))
    env.reset(options={"split": "train", "index": 0})
    _, _, terminated, _, info = env.step(action)
    assert info["invalid"]
    assert not terminated
    assert not list(tmp_path.iterdir())
