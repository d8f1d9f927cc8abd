"""The TextArena adapter, on games that need no network."""

from __future__ import annotations

import itertools

import pytest
from adapter_support import assert_conforms, build

from agentrl import ConfigError

pytest.importorskip("textarena")


@pytest.mark.parametrize("name", ["Mastermind-v0", "Minesweeper-v0-small", "FrozenLake-v0-random", "2048-v0-mega-easy"])
def test_games_conform(name: str) -> None:
    assert_conforms("textarena", id=name, valid=10)


def test_a_right_guess_is_a_success_and_brackets_are_added() -> None:
    env = build("textarena:GuessTheNumber-v0")
    env.reset(options={"index": 5})
    secret = env._live.state.game_state["game_number"]
    observation, reward, terminated, _, info = env.step(str(secret))
    assert (reward, terminated, info["success"]) == (1, True, True), observation


def test_only_what_is_new_is_shown() -> None:
    env = build("textarena:Mastermind-v0")
    opening, _ = env.reset(options={"index": 0})
    observation = env.step("[1 2 3 4]")[0]
    assert "You are playing Mastermind" in opening
    assert "Feedback" in observation
    assert "You are playing Mastermind" not in observation


def test_a_second_wrong_move_in_a_row_loses() -> None:
    env = build("textarena:Mastermind-v0")
    env.reset(options={"index": 0})
    _, _, terminated, _, info = env.step("hello")
    assert info["invalid"]
    assert not terminated
    _, _, terminated, _, info = env.step("hello")
    assert info["invalid"]
    assert terminated
    assert not info["success"]


def test_different_seeds_hide_different_codes() -> None:
    env = build("textarena:Mastermind-v0")
    answers = set()
    for index, guess in itertools.product(range(6), ["[1 2 3 4]"]):
        env.reset(options={"index": index})
        answers.add(env.step(guess)[0])
    assert len(answers) > 1


@pytest.mark.parametrize(("name", "reason"), [("TicTacToe-v0", "one player"), ("NoSuchGame-v0", "no game")])
def test_games_that_cannot_be_played_are_refused(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        build(f"textarena:{name}")
