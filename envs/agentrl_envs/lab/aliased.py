"""Aliased: some anchors hide a part of the state."""

from __future__ import annotations

from typing import Any

import agentrl
from agentrl_envs.lab.exact import Transition, certain
from agentrl_envs.lab.tabular import TabularWorld, divided, require


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("lab_aliased", Aliased)


class Aliased(TabularWorld[tuple[int, bool]]):
    """Fetch the key and leave by the exit at one end of a row of `rooms`; without the key the exit stays shut.

    For credits that take equal anchors as equal states (GiGPO, GraphGPO). The observation always says whether you have
    the key; in a share `hidden` of the rooms the anchor does not. There such a credit mixes two states, and a graph
    sees shortcuts that skip the key. With `hidden` = 0 anchors are the true state, and these credits are at their best.

    By hand, uniform play, one turn left, next to the exit: V = 1/2 with the key and 0 without it, so an anchor that
    hides the key is worth something in between. Two turns left, where the key lies next to the exit: V = 1/6.
    """

    instructions = "Take the key to the exit. Commands: left, right, take."

    def __init__(self, *, rooms: int = 8, hidden: float = 0.3, max_turns: int = 30) -> None:
        require(rooms >= 5 and 0 <= hidden <= 1, f"rooms = {rooms}, hidden = {hidden}: give at least 5, and 0 to 1")
        require(max_turns >= 2 * rooms, f"max_turns = {max_turns}: give at least 2 * rooms")
        super().__init__(divided(("left", "right"), range(1, rooms - 1), range(1, rooms - 1)))
        self._last, self.max_turns = rooms - 1, max_turns
        # Spread evenly: a room hides where the running sum of the share passes a whole number.
        self._hides = [int((room + 1) * hidden) > int(room * hidden) for room in range(rooms)]

    def start(self) -> tuple[int, bool]:
        return int(self.details[1]), False

    def look(self, state: tuple[int, bool]) -> agentrl.Scene:
        (room, key), (side, _, place) = state, self.details
        anchor = f"Room {room} of {self._last}. The exit is on the {side}."
        lies = not key and room == place
        text = f"{anchor} {'You have the key.' if key else 'The key lies here.' if lies else 'You have no key.'}"
        ways = ("right",) if room == 0 else ("left",) if room == self._last else ("left", "right")
        actions = (*ways, "take") if lies else ways
        return agentrl.Scene(text, admissible=actions, anchor=anchor if self._hides[room] else text)

    def transitions(self, state: tuple[int, bool], action: str) -> tuple[Transition[tuple[int, bool]], ...]:
        (room, key), side = state, self.details[0]
        if action == "take":
            return certain((room, True))
        room += 1 if action == "right" else -1
        out = key and room == (0 if side == "left" else self._last)
        return certain((room, key), float(out), out)

    def expert(self, state: tuple[int, bool]) -> str:
        (room, key), (side, _, place) = state, self.details
        return str(side) if key else "take" if room == place else "left" if room > place else "right"
