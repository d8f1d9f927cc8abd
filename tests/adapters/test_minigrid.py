"""MiniGrid and BabyAI through the Gymnasium adapter."""

from __future__ import annotations

import pytest
from adapter_support import assert_conforms, build

pytest.importorskip("minigrid")


@pytest.mark.parametrize("name", ["MiniGrid-DoorKey-5x5-v0", "BabyAI-GoToObj-v0", "BabyAI-UnlockLocal-v0"])
def test_gridworlds_conform(name: str) -> None:
    assert_conforms("gymnasium", id=name, valid=20)


def test_a_mission_is_told_with_what_is_in_view() -> None:
    env = build("gymnasium:BabyAI-GoToObj-v0")
    observation, info = env.reset(seed=0, options={"index": 0})
    lines = observation.splitlines()
    assert lines[0].startswith("Mission: go to the ")
    thing = lines[0].removeprefix("Mission: go to the ").removesuffix(".")
    assert info["admissible"][2] == "go forward"
    for _ in range(4):
        if any(line.startswith("You see") and thing in line for line in observation.splitlines()):
            return
        observation = env.step("turn left")[0]
    pytest.fail(f"turned around and saw no {thing}: {observation}")


def test_a_key_is_carried_and_opens_the_door() -> None:
    from minigrid.core.world_object import Door, Key

    env = build("gymnasium:MiniGrid-Empty-6x6-v0")
    env.reset(options={"index": 0})
    world = env.unwrapped._live.unwrapped
    world.grid.set(2, 1, Key("red"))
    world.grid.set(3, 1, Door("red", is_locked=True))
    assert "You carry a red key." in (observation := env.step("pick up")[0])
    assert "You see a locked red door 2 steps ahead." in observation
    env.step("go forward")
    assert "You see an open red door 1 step ahead." in env.step("toggle")[0]
