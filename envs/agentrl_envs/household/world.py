"""Household: the Gymnasium world around the engine."""

from __future__ import annotations

from typing import Annotated, Literal

import agentrl
from agentrl import Scene
from agentrl_envs.household import texts
from agentrl_envs.household.admissible import admissible
from agentrl_envs.household.catalogue import OBJECTS, ROOM_WEIGHTS, TASK_TYPES, RoomKind, TaskType
from agentrl_envs.household.engine import Machine, State
from agentrl_envs.household.expert import EVERYTHING, expert_action
from agentrl_envs.household.game import Game
from agentrl_envs.household.generate import Recipe, game, site
from agentrl_envs.household.reasons import why


class Household(agentrl.TextWorld):
    """Find, clean, heat, cool and put away things in rooms of text, as in ALFWorld (Shridhar et al. 2021).

    Settings: `receptacles`, `object_types` and `copies` are ranges, ends included: how many receptacles a room has
    (held to what its kind can have: kitchens 5–40), how many types of objects, how many of each. `objects` names the
    only types that may appear (empty: all). `layouts` is the number of training rooms. `anchor`: the observation, or
    the true state. `expert`: one that searches, or an oracle. `admissible=False` leaves the list out of `info`.

    Raises ConfigError for settings that allow no task.
    """

    instructions = texts.INSTRUCTIONS
    splits = {"train": 1_000_000, "valid_seen": 1_000, "valid_unseen": 1_000}  # noqa: RUF012
    after_the_end = texts.NOTHING_HAPPENS

    def __init__(
        self,
        *,
        task_types: tuple[TaskType, ...] = TASK_TYPES,
        rooms: tuple[RoomKind, ...] = tuple(ROOM_WEIGHTS),
        receptacles: tuple[int, int] = (10, 30),
        object_types: tuple[int, int] = (10, 24),
        copies: tuple[int, int] = (1, 3),
        objects: tuple[str, ...] = (),
        layouts: int = 108,
        max_turns: int = 50,
        reward: float = 1.0,
        anchor: Literal["observation", "state"] = "observation",
        expert: Literal["search", "oracle"] = "search",
        admissible: bool = True,
        help_in_admissible: Annotated[bool, agentrl.OnlyWith("admissible")] = True,
    ) -> None:
        self._recipe = Recipe(task_types, rooms, receptacles, object_types, copies, objects, layouts)
        _check(self._recipe, max_turns)
        self.max_turns = max_turns
        self._reward = reward
        self._anchor_is_state = anchor == "state"
        self._oracle = expert == "oracle"
        self._admissible = admissible
        self._help = help_in_admissible

    def begin(self, task: agentrl.Task) -> Scene:
        self.machine = Machine(game(self._recipe, task.split, task.index))
        return self._scene(texts.intro(self.machine.game.layout.receptacles, self.machine.game.goal.text))

    def act(self, action: str) -> Scene:
        command = action.strip()
        text, invalid = self.machine.apply(command)
        return self._scene(text, invalid, why(self.machine, command) if invalid else "")

    def key(self, task: agentrl.Task) -> str:
        return self.machine.game.key

    def expert_action(self) -> str:
        """The command an expert would give now, from any state."""
        machine = self.machine
        return "look" if machine.won else expert_action(machine, EVERYTHING if self._oracle else machine.seen)

    def state(self) -> tuple[Game, State]:
        return self.machine.game, self.machine.state()

    def load(self, state: tuple[Game, State]) -> None:
        game, played = state
        if not hasattr(self, "machine") or self.machine.game is not game:
            self.machine = Machine(game)
        self.machine.load(played)

    def _scene(self, text: str, invalid: str = "", feedback: str = "") -> Scene:
        machine = self.machine
        won = machine.won
        return Scene(
            text,
            self._reward if won else 0.0,
            won,
            won,
            admissible(machine, self._help) if self._admissible else None,
            invalid,
            machine.describe() if self._anchor_is_state else None,
            machine.milestones,
            None,
            False,
            feedback,
        )


def _check(recipe: Recipe, max_turns: int) -> None:
    """Raises ConfigError with what to change."""
    ranges = {name: getattr(recipe, name) for name in ("receptacles", "object_types", "copies")}
    for name, (least, most) in (ranges | {"layouts": (recipe.layouts,) * 2, "max_turns": (max_turns,) * 2}).items():
        if not 1 <= least <= most:
            raise agentrl.ConfigError(f"{name} = {(least, most)}: give a range from at least 1, smaller end first")
    known = sorted({thing for things in OBJECTS.values() for thing in things})
    for thing in recipe.objects:
        if thing not in known:
            raise agentrl.ConfigError(f"there is no object type {thing!r}. {agentrl.did_you_mean(thing, known)}")
    if not recipe.kinds:
        raise agentrl.ConfigError(
            f"none of the rooms {recipe.rooms} allows any of the tasks {recipe.task_types}: add rooms or task types"
        )
    site(recipe, False, 0)  # whether there is a room that fits
