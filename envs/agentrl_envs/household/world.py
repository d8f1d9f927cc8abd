"""Household: the Gymnasium world around the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias, cast

import gymnasium

import agentrl
from agentrl_envs.household import texts
from agentrl_envs.household.catalogue import OBJECTS, ROOM_WEIGHTS, TASK_TYPES, RoomKind, TaskType
from agentrl_envs.household.engine import Machine, State
from agentrl_envs.household.expert import EVERYTHING, expert_action
from agentrl_envs.household.game import Game
from agentrl_envs.household.generate import Recipe, game, site

Info: TypeAlias = dict[str, Any]
Snapshot: TypeAlias = tuple[Game, State, int, str, Mapping[str, Any] | None]


class Household(agentrl.Environment):
    """Find, clean, heat, cool and put away things in rooms of text, as in ALFWorld (Shridhar et al. 2021).

    Settings: `receptacles`, `object_types` and `copies` are ranges, ends included: how many receptacles a room has
    (held to what its kind can have: kitchens 5–40), how many types of objects, how many of each. `objects` names the
    only types that may appear (empty: all). `layouts` is the number of training rooms. `anchor`: the observation, or
    the true state. `expert`: one that searches, or an oracle. `admissible=False` leaves the list out of `info`.

    Raises ConfigError for settings that allow no task.
    """

    instructions = texts.INSTRUCTIONS
    splits = {"train": 1_000_000, "valid_seen": 1_000, "valid_unseen": 1_000}  # noqa: RUF012

    metadata: ClassVar[dict[str, Any]] = agentrl.Environment.metadata | {"render_modes": ["ansi"]}  # type: ignore[misc]

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
        help_in_admissible: bool = True,
    ) -> None:
        self._recipe = Recipe(task_types, rooms, receptacles, object_types, copies, objects, layouts)
        _check(self._recipe, max_turns)
        self._max_turns = max_turns
        self._reward = reward
        self._anchor_is_state = anchor == "state"
        self._oracle = expert == "oracle"
        self._admissible = admissible
        self._help = help_in_admissible
        self._machine: Machine | None = None
        self._turns = 0
        self._last = ""
        self.render_mode: str | None = None

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, Info]:
        """Begin a task; without an index, one drawn from the split."""
        super().reset(seed=seed)
        task = self.pick_task(options)
        self._machine = Machine(game(self._recipe, task.split, task.index))
        self._turns = 0
        self._last = texts.intro(self._machine.game.layout.receptacles, self._machine.game.goal.text)
        return self._last, self._info(self._machine, 0.0, "")

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Run one command. Once the goal is reached or the turns are used up, nothing happens any more."""
        machine = self._playing()
        if machine.won or self._turns >= self._max_turns:
            self._last = texts.NOTHING_HAPPENS
            return self._last, 0.0, machine.won, not machine.won, self._info(machine, 0.0, "the task is over")
        self._turns += 1
        self._last, invalid = machine.apply(action.strip())
        won = machine.won
        reward = self._reward if won else 0.0
        return self._last, reward, won, not won and self._turns >= self._max_turns, self._info(machine, reward, invalid)

    def expert_action(self) -> str:
        """The command an expert would give now, from any state."""
        machine = self._playing()
        return "look" if machine.won else expert_action(machine, EVERYTHING if self._oracle else machine.seen)

    def render(self) -> str | None:
        """The last observation."""
        return self._last if self.render_mode == "ansi" else None

    def snapshot(self) -> object:
        """Game, state and random state; a few microseconds."""
        machine = self._playing()
        random_state = None if self._np_random is None else self._np_random.bit_generator.state
        return machine.game, machine.state(), self._turns, self._last, random_state

    def restore(self, snapshot: object) -> None:
        """Go back to a snapshot, also one taken by another instance."""
        played, state, self._turns, self._last, random_state = cast(Snapshot, snapshot)
        if self._machine is None or self._machine.game is not played:
            self._machine = Machine(played)
        self._machine.load(state)
        if random_state is not None:
            self.np_random.bit_generator.state = random_state

    def _playing(self) -> Machine:
        if self._machine is None:
            raise gymnasium.error.ResetNeeded("call reset() first: no task has begun")
        return self._machine

    def _info(self, machine: Machine, reward: float, invalid: str) -> Info:
        info: Info = {
            "task": machine.game.key,
            "anchor": machine.describe() if self._anchor_is_state else self._last,
            "rewards": {"goal": reward},
            "milestones": machine.milestones,
            "success": machine.won,
            "invalid": invalid,
        }
        if self._admissible:
            info["admissible"] = machine.admissible(self._help)
        return info


def _check(recipe: Recipe, max_turns: int) -> None:
    """Raises ConfigError with what to change."""
    for name, (least, most), smallest in (
        ("receptacles", recipe.receptacles, 1),
        ("object_types", recipe.object_types, 1),
        ("copies", recipe.copies, 1),
        ("layouts", (recipe.layouts, recipe.layouts), 1),
        ("max_turns", (max_turns, max_turns), 1),
    ):
        if not smallest <= least <= most:
            raise agentrl.ConfigError(
                f"{name} = {(least, most)}: give a range from at least {smallest}, smaller end first"
            )
    known = sorted({thing for things in OBJECTS.values() for thing in things})
    for thing in recipe.objects:
        if thing not in known:
            raise agentrl.ConfigError(f"there is no object type {thing!r}. {agentrl.did_you_mean(thing, known)}")
    if not recipe.kinds:
        raise agentrl.ConfigError(
            f"none of the rooms {recipe.rooms} allows any of the tasks {recipe.task_types}: add rooms or task types"
        )
    site(recipe, False, 0)  # whether there is a room that fits
