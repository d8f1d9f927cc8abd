"""The player: owns worlds, concurrency, retries and limits, and plays what collectors ask for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import gymnasium

from agentrl.data.types import Batch, Trajectory
from agentrl.errors import PluginError
from agentrl.parts.faults import short
from agentrl.parts.playing import Play, Speakers
from agentrl.parts.run_file import PlayerSettings
from agentrl.parts.weights import Model
from agentrl.parts.words import Context, Dialect
from agentrl.worlds.episode import Episode, Moment, Rules, unplayed
from agentrl.worlds.live_world import fault
from agentrl.worlds.patience import Patience
from agentrl.worlds.sessions import View
from agentrl.worlds.speaking import Words
from agentrl.worlds.stepping import Clock, Raised, ThreadedWorld, World, tried

log = logging.getLogger(__name__)


class Environments(Protocol):
    """Makes worlds; `clock` is stopped while a world waits for a policy. `threaded`: it may wait whatever it says."""

    threaded: bool

    def __call__(self, clock: Clock) -> gymnasium.Env[str, str]: ...


class EpisodePlayer:
    """Plays each `Play` once, and again up to `retries` times where our machinery failed.

    At most `concurrency` trajectories run at once, first asked first served, whatever group they belong to. Worlds
    that may wait run in threads of their own; one whose step never returns is given up and replaced. (A world stepped
    inline cannot be interrupted: its time limit is checked after the step.)
    """

    def __init__(
        self,
        environments: Environments,
        context: Context | View,
        dialect: Dialect,
        settings: PlayerSettings,
        model: Model | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        """`model` writes the ids of what demonstrators and chat services say; `names` says which plugin made what."""
        self.context = context
        self._environments, self._retries = environments, settings.retries
        self._patience = Patience(settings.answer_timeout_s)
        words = Words(context, dialect, model, self._patience, names or {})
        self._rules = Rules(
            words, settings.step_timeout_s, settings.max_turns, settings.max_tokens, settings.success_above
        )
        self._places = asyncio.Semaphore(settings.concurrency)
        self._idle: list[World] = []
        self._moments: dict[str, dict[str, dict[int, Moment]]] = {}  # by group, trajectory and turn
        self._running, self._since = 0, 0.0
        self._seconds = dict.fromkeys(("world_seconds", "collect_seconds"), 0.0)

    async def play(self, speakers: Speakers, plays: Sequence[Play]) -> list[Trajectory]:
        """All attempts, in the order of the plays. Raises ConfigError and PluginError; every other fault is an Outcome."""
        if not self._running:
            self._since = time.perf_counter()
            self._patience.begin()
        self._running += 1
        try:
            async with asyncio.TaskGroup() as tasks:
                played = [tasks.create_task(self._in_place(speakers, play)) for play in plays]
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        finally:
            self._running -= 1
            if not self._running:
                self._patience.end()
                self._seconds["collect_seconds"] += time.perf_counter() - self._since
        return [trajectory for task in played for trajectory in task.result()]

    def snapshot(self, trajectory: Trajectory, turn: int) -> Moment | None:
        """The world after a turn, where the play asked for it; for `Start(snapshot=…)`."""
        return self._moments.get(trajectory.group, {}).get(trajectory.id, {}).get(turn)

    def observe(self, batch: Batch) -> None:
        """The update is over: nobody goes on from the moments of its groups, also where a play is not among them."""
        for trajectory in batch.recorded:
            self._moments.pop(trajectory.group, None)

    def metrics(self) -> dict[str, float]:
        """Seconds since the last call: inside worlds (summed over trajectories), and in which anything was played."""
        if self._running:
            now = time.perf_counter()
            self._seconds["collect_seconds"] += now - self._since
            self._since = now
        seconds, self._seconds = self._seconds, dict.fromkeys(self._seconds, 0.0)
        return seconds

    def close(self) -> None:
        """Close idle worlds and forget moments; safe twice."""
        self._moments.clear()
        while self._idle:
            self._idle.pop().close()

    async def _in_place(self, speakers: Speakers, play: Play) -> list[Trajectory]:
        async with self._places:
            attempts: list[Trajectory] = []
            for attempt in range(self._retries + 1):
                attempts.append(await self._attempt(speakers, play, attempt))
                if not attempts[-1].outcome.failed:
                    break
                log.warning("trajectory %s failed: %s", attempts[-1].id, attempts[-1].error)
            return attempts

    async def _attempt(self, speakers: Speakers, play: Play, attempt: int) -> Trajectory:
        try:
            world = self._idle.pop() if self._idle else tried(self._new_world)
        except Raised as raised:  # a world that cannot be made is like one that breaks in its first step
            ended = fault(raised.error)
            return unplayed(play, attempt, ended.outcome, ended.error)
        trusted = False
        try:
            episode = Episode(self._rules, world, speakers, play, attempt)
            trajectory = await episode.run()
            trusted = not trajectory.outcome.failed
        finally:
            if trusted:
                self._idle.append(world)
            else:
                world.close()  # whatever it is in the middle of
        self._seconds["world_seconds"] += episode.world_seconds
        if episode.moments:
            self._moments.setdefault(play.group, {})[trajectory.id] = episode.moments
        return trajectory

    def _new_world(self) -> World:
        clock = Clock()
        env = self._environments(clock)
        if not isinstance(env, gymnasium.Env):
            raise PluginError(f"a world must be a gymnasium.Env; got {short(env)}")
        blocks = self._environments.threaded or getattr(env.unwrapped, "blocks", False)
        return ThreadedWorld(env, clock) if blocks else World(env, clock)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first plain exception of a group: one mistake is told, not its echoes."""
    inner = errors.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
