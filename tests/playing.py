"""Plays worlds in tests with the real player and collector; a class or function that makes the world stands for a run file's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import pytest

from agentrl import Draw, Group, Play, Spec, Task, Trajectory, default_host, seed_of
from agentrl.parts.run_file import PlayerSettings
from agentrl.worlds.player import EpisodePlayer
from agentrl.worlds.stepping import Clock
from agentrl_plugins.collectors.asynchronous import Asynchronous


class Worlds:
    """What a run makes of the environment that its file names."""

    def __init__(self, make: Callable[[], gymnasium.Env[str, str]], threaded: bool = False) -> None:
        self.make, self.threaded = make, threaded
        self.clocks: list[Clock] = []

    def __call__(self, clock: Clock) -> gymnasium.Env[str, str]:
        self.clocks.append(clock)
        return self.make()


def part(kind: str, name: str, **settings: Any) -> Any:
    return default_host().build(Spec(kind, name, settings))


def player(
    make: Callable[[], Any], *, model: Any = None, context: Any = "full", dialect: Any = "plain",
    threaded: bool = False, **settings: Any,
) -> EpisodePlayer:  # fmt: skip
    """`settings`: keys of [player]."""
    return EpisodePlayer(
        Worlds(make, threaded),
        part("context", context) if isinstance(context, str) else context,
        part("dialect", dialect) if isinstance(dialect, str) else dialect,
        PlayerSettings(**settings),
        model,
    )


def draws(tasks: Sequence[Task], seed: int = 0) -> list[Draw]:
    """What the buffer makes of tasks."""
    return [Draw(n, task, task.copies, seed_of(seed, "draw", n), 0) for n, task in enumerate(tasks)]


async def collected(
    played_on: EpisodePlayer, policy: Any, tasks: Sequence[Task], *, group_size: int = 1, seed: int = 0
) -> list[Group]:
    """The groups of all draws, played side by side."""
    speakers = policy if isinstance(policy, dict) else {"agent": policy}
    collector = Asynchronous(played_on, group_size=group_size)
    groups = await asyncio.gather(*(collector.collect(draw, speakers) for draw in draws(tasks, seed)))
    return [group for of_draw in groups for group in of_draw]


def play(
    played_on: EpisodePlayer, policy: Any, tasks: Sequence[Task] | int = 1, *, group_size: int = 1, seed: int = 0
) -> list[Trajectory]:
    """All attempts, in the order of the tasks; a number of tasks means the first ones of "train"."""
    if isinstance(tasks, int):
        tasks = [Task("train", index, seed=index) for index in range(tasks)]
    groups = asyncio.run(collected(played_on, policy, tasks, group_size=group_size, seed=seed))
    return [trajectory for group in groups for trajectory in group.trajectories]


def cancelled(make: Callable[[], EpisodePlayer], policy: Any, count: int) -> None:
    """Cancel plays that are under way, and close their player; no thread of a world is left."""
    before = set(threading.enumerate())

    async def begin_and_cancel() -> None:
        on = make()
        wanted = [Play(Task("train", 0), "0", n, n) for n in range(count)]
        plays = asyncio.ensure_future(on.play({"agent": policy}, wanted))
        await asyncio.sleep(0.2)
        plays.cancel()
        with pytest.raises(asyncio.CancelledError):
            await plays
        on.close()

    asyncio.run(begin_and_cancel())
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("world-")]
