"""MiniGrid and BabyAI told in words: the mission, and what the agent's partial view holds."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces

from agentrl_envs.adapters.adapter import foreign

ACTIONS = ("turn left", "turn right", "go forward", "pick up", "drop", "toggle", "done")
SUCCESS_REWARD = 0.05
"""The reward is 1 - 0.9 · steps / limit at the goal and 0 at any other end."""
RULES = (
    "You walk through rooms on a grid and see a square in front of you. `toggle` opens and closes doors and boxes (a "
    "locked door needs the key of its colour in hand); `pick up`, `drop` and `toggle` act on the cell in front of you."
)
_WAYS = ("east", "south", "west", "north")
_DOORS = ("open", "closed", "locked")


def is_gridworld(space: object) -> bool:
    """Whether observations are those of MiniGrid: a symbolic picture, a direction and a mission."""
    return isinstance(space, spaces.Dict) and {"image", "direction", "mission"} <= set(space.spaces)


def describe(observation: Any) -> str:
    """Mission, walls ahead and to both sides, every object in view with its place, and what is carried."""
    image = observation["image"]  # [across, ahead, 3]: type, colour, state; the agent in the middle of the last row
    width, depth = image.shape[:2]
    middle, here = width // 2, depth - 1
    constants = foreign("minigrid.core.constants", extra="minigrid")
    kinds, colours = constants.IDX_TO_OBJECT, constants.IDX_TO_COLOR
    seen = []
    for distance in range(depth):
        for x in sorted(range(width), key=lambda x: (abs(x - middle), x)):
            kind, colour, state = kinds[int(image[x, here - distance, 0])], *map(int, image[x, here - distance, 1:])
            if kind in ("unseen", "empty", "floor", "wall", "agent") or (x, distance) == (middle, 0):
                continue
            named = f"{_DOORS[state]} {colours[colour]} door" if kind == "door" else f"{colours[colour]} {kind}"
            seen.append(f"You see {_article(named)} {_place(distance, x - middle)}.")
    held = kinds[int(image[middle, here, 0])], colours[int(image[middle, here, 1])]
    carried = [] if held[0] in ("empty", "unseen", "floor") else [f"You carry {_article(f'{held[1]} {held[0]}')}."]
    walls = [line for way in _sides(width, depth) if (line := _wall(image, kinds, *way))]
    mission = f"Mission: {observation['mission']}."
    return "\n".join([mission, f"You face {_WAYS[int(observation['direction'])]}.", *walls, *seen, *carried])


def _sides(width: int, depth: int) -> list[tuple[str, list[tuple[int, int]]]]:
    """Name of a direction and the cells that lie there, nearest first."""
    middle, here = width // 2, depth - 1
    return [
        ("ahead", [(middle, here - step) for step in range(1, depth)]),
        ("to the left", [(middle - step, here) for step in range(1, middle + 1)]),
        ("to the right", [(middle + step, here) for step in range(1, width - middle)]),
    ]


def _wall(image: Any, kinds: Any, side: str, cells: list[tuple[int, int]]) -> str:
    for distance, cell in enumerate(cells, 1):
        if kinds[int(image[(*cell, 0)])] == "wall":
            return f"There is a wall {distance} {_steps(distance)} {side}."
    return ""


def _place(ahead: int, across: int) -> str:
    parts = [f"{ahead} {_steps(ahead)} ahead"] if ahead else []
    if across:
        parts.append(f"{abs(across)} {_steps(abs(across))} to the {'left' if across < 0 else 'right'}")
    return " and ".join(parts)


def _steps(count: int) -> str:
    return "step" if count == 1 else "steps"


def _article(named: str) -> str:
    return f"{'an' if named[0] in 'aeiou' else 'a'} {named}"
