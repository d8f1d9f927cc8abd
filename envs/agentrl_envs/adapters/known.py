"""Gymnasium's toy-text worlds told in words instead of state numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gymnasium import Env


class Known(NamedTuple):
    """How a world is told: its actions by name, its rules, an observation as text, the last reward of a success."""

    actions: tuple[str, ...]
    rules: str
    show: Callable[[Env[object, object], Any], str]
    success_reward: float | None = None


def known(env_id: str) -> Known | None:
    """By the start of the id: versions and sizes of one world are told alike."""
    return next((told for start, told in _WORLDS.items() if env_id.split(":")[-1].startswith(start)), None)


def _lake(env: Env[object, object], state: int) -> str:
    cells = [[cell.decode() for cell in row] for row in env.unwrapped.desc]  # type: ignore[attr-defined]
    row, column = divmod(int(state), len(cells[0]))
    return _map(cells, row, column)


def _cliff(env: Env[object, object], state: int) -> str:
    rows, columns = env.unwrapped.shape  # type: ignore[attr-defined]
    cells = [["." for _ in range(columns)] for _ in range(rows)]
    cells[-1] = ["S", *["C"] * (columns - 2), "G"]
    row, column = divmod(int(state), columns)
    return _map(cells, row, column)


def _map(cells: list[list[str]], row: int, column: int) -> str:
    lines = [
        "".join(f"[{cell}]" if (y, x) == (row, column) else f" {cell} " for x, cell in enumerate(line))
        for y, line in enumerate(cells)
    ]
    return "\n".join([*lines, f"You are in row {row + 1}, column {column + 1}, on {cells[row][column]}."])


def _taxi(env: Env[object, object], state: int) -> str:
    row, column, passenger, destination = env.unwrapped.decode(int(state))  # type: ignore[attr-defined]
    cells = [[cell.decode() for cell in line] for line in env.unwrapped.desc]  # type: ignore[attr-defined]
    cells[row + 1][2 * column + 1] = "T"
    waits = "sits in the taxi" if passenger == 4 else f"waits at {'RGYB'[passenger]}"
    where = f"The taxi (T) is in row {row + 1}, column {column + 1}. The passenger {waits} and wants to go to"
    return "\n".join(["".join(line) for line in cells] + [f"{where} {'RGYB'[destination]}."])


def _blackjack(_: Env[object, object], hand: tuple[int, int, int]) -> str:
    total, dealer, ace = map(int, hand)
    return (
        f"Your cards add up to {total}, {'with' if ace else 'without'} an ace that counts 11. "
        f"The dealer shows {'an ace' if dealer == 1 else dealer}."
    )


_LAKE = (
    "Cross the frozen lake from S to G. F is ice, and ending up on a hole H loses. Unless the lake was made otherwise it "
    "is slippery: you may slide to either side of the way you chose. [ ] marks where you are."
)
_CLIFF = (
    "Walk from S to G. Every step costs 1; stepping on the cliff C costs 100 and puts you back to S. [ ] marks where "
    "you are."
)
_TAXI = (
    "Drive the taxi T to the passenger, pick them up, drive to where they want to go and drop them off. R, G, Y and B "
    "are places, | are walls, : are open. A step costs 1, a wrong pick-up or drop-off 10, the right drop-off earns 20."
)
_BLACKJACK = "Come closer to 21 than the dealer without going over it. Hit takes a card, stick ends your turn."
_WORLDS: dict[str, Known] = {
    "FrozenLake": Known(("left", "down", "right", "up"), _LAKE, _lake, 1.0),
    "CliffWalking": Known(("up", "right", "down", "left"), _CLIFF, _cliff, -1.0),
    "Taxi": Known(("south", "north", "east", "west", "pick up", "drop off"), _TAXI, _taxi, 20.0),
    "Blackjack": Known(("stick", "hit"), _BLACKJACK, _blackjack, 1.0),
}
