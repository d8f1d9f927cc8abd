"""The kit for demonstrators: they look at a world and say what to do in it."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable

import numpy as np

from agentrl.data.types import AGENT, Info, Task
from agentrl.errors import AgentRLError
from agentrl.parts.playing import Demonstrator, Play, Speaker
from agentrl.testing.compare import written
from agentrl.testing.plays import require_generators_untouched
from agentrl.testing.report import finish, gate, require
from agentrl.testing.sample_model import SampleModel
from agentrl.testing.samples import Stairs, sample_player


def demonstrates(speaker: Speaker) -> bool:
    """Whether it acts by looking at the world: its `act` is not awaited."""
    return not inspect.iscoroutinefunction(speaker.act)


class DemonstratorKit:
    """Checks of a demonstrator, for the kit of policies."""

    def __init__(self, make: Callable[[], Demonstrator]) -> None:
        self._make = make

    def _played(self) -> list[tuple[Stairs, Info]]:
        """The sample world at some places."""
        places: list[tuple[Stairs, Info]] = []
        for number in range(6):
            world = Stairs()
            _, info = world.reset(seed=number, options={"split": "train", "index": number})
            for _ in range(number % 3):
                _, _, _, _, info = world.step("up")
            places.append((world, info))
        return places

    @gate
    def it_gives_text(self) -> str:
        for world, info in self._played():
            action = self._make().act(world, info, 0)
            require(isinstance(action, str) and action, f"act gave {action!r}; it gives the action as text")
        return f"{action!r}"

    def the_same_seed_gives_the_same_action(self) -> None:
        for seed in range(10):
            random.seed(seed)  # only the seed that it is given may matter
            np.random.seed(seed)
            one = [self._make().act(world, info, seed) for world, info in self._played()]
            random.seed(seed + 100)
            np.random.seed(seed + 100)
            two = [self._make().act(world, info, seed) for world, info in self._played()]
            require(one == two, f"with the same seed it does {one} and then {two}")

    def it_leaves_the_world_as_it_was(self) -> None:
        for seed in range(5):
            for world, info in self._played():
                before = written(world.snapshot())
                self._make().act(world, info, seed)
                require(written(world.snapshot()) == before, "it changes the world, or draws from its random numbers")

    def global_generators_stay_untouched(self) -> None:
        require_generators_untouched(
            lambda: [self._make().act(world, info, seed) for seed in range(20) for world, info in self._played()]
        )

    def it_plays_whole_episodes(self) -> str:
        plays = [Play(Task("train", number, seed=number), str(number), 0, number) for number in range(6)]
        trajectories = finish(sample_player(SampleModel()).play({AGENT: self._make()}, plays))
        for trajectory in trajectories:
            require(not trajectory.outcome.failed, f"a play ended with {trajectory.outcome.value}: {trajectory.error}")
        return f"{sum(bool(t.success) for t in trajectories)} of {len(trajectories)} tasks solved"

    def a_world_without_lists_is_played_or_refused(self) -> None:
        for world, info in self._played():
            bare = {key: value for key, value in info.items() if key != "admissible"}
            try:
                require(isinstance(self._make().act(world, bare, 0), str), "without `admissible` it gives no text")
            except AgentRLError:
                return
