"""Overhead of the framework per turn: a null policy and a null world, 256 trajectories at once (goal <= 100 us)."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import numpy as np

from agentrl import Completion, Dialogue, Environment, Play, Spec, Task, default_host
from agentrl.parts.run_file import PlayerSettings
from agentrl.worlds.player import EpisodePlayer

GOAL_US = 100.0
TURNS, AT_ONCE, ROUNDS = 20, 256, 7


class NullWorld(Environment):
    """Does nothing for a fixed number of turns."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
        self.left = TURNS
        return "go on", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.left -= 1
        return "go on", 0.0, self.left == 0, False, {}


class NullWorlds:
    """Makes them."""

    threaded = False

    def __call__(self, clock: object) -> NullWorld:
        return NullWorld()


class NullPolicy:
    """Answers at once, after one round of the event loop as an engine would."""

    ids = np.zeros(3, np.int32)
    logprobs = np.zeros(3, np.float32)

    async def act(self, dialogue: Dialogue) -> Completion:
        await asyncio.sleep(0)
        return Completion("go", self.ids, self.ids, self.logprobs, None, self.ids)

    def forget(self, key: str) -> None:
        """Nothing is kept."""


async def bare_loop() -> None:
    """The limit: the same turns, awaited in plain asyncio with nothing around them."""
    policy, dialogue = NullPolicy(), Dialogue((), "", 0)

    async def one() -> None:
        world = NullWorld()
        world.reset()
        over = False
        while not over:
            completion = await policy.act(dialogue)
            _, _, over, _, _ = world.step(completion.text)

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))


def timed(function: Any) -> float:
    started = time.perf_counter()
    asyncio.run(function())
    return (time.perf_counter() - started) / (TURNS * AT_ONCE) * 1e6


def main() -> None:
    host = default_host()
    context, dialect = host.build(Spec("context", "full")), host.build(Spec("dialect", "plain"))
    plays = [Play(Task("train", index), str(index), 0, index) for index in range(AT_ONCE)]

    async def play() -> None:
        await EpisodePlayer(NullWorlds(), context, dialect, PlayerSettings()).play({"agent": NullPolicy()}, plays)

    pairs = [(timed(play), timed(bare_loop)) for _ in range(ROUNDS)]
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    overhead = ours - bare
    print(f"framework per turn   {overhead:7.1f} us   goal {GOAL_US:.0f} us, ratio {overhead / GOAL_US:.2f}")
    print(f"  player {ours:.1f} us, bare asyncio loop {bare:.1f} us, ratio {ours / bare:.1f}; {AT_ONCE} at once")


if __name__ == "__main__":
    main()
