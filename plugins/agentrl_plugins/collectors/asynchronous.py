"""Asynchronous collector: every trajectory advances on its own, and nobody waits for the slowest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium

import agentrl
from agentrl import ConfigError, Policy, Task, Trajectory
from agentrl_plugins.collectors.episode import Episode, Limits
from agentrl_plugins.collectors.worlds import InlineWorld, ThreadedWorld, World


@agentrl.hookimpl
def register_collectors(register: Any) -> None:
    register("asynchronous", Asynchronous)


class Asynchronous:
    """Plays each task `group_size` times, at most `concurrency` trajectories at once.

    A failed attempt (fault of a world, a policy, a sandbox, or a step longer than `step_timeout_s`) is retried up to
    `retries` times and returned beside its successors. Worlds that block run in threads of their own; a world whose
    step never returns is given up and replaced. (A world stepped inline cannot be interrupted: its time limit is
    checked after the step.)
    """

    def __init__(
        self,
        environments: Callable[[], gymnasium.Env[str, str]],
        context: Any,
        dialect: Any,
        *,
        group_size: int = 1,
        concurrency: int = 256,
        retries: int = 1,
        step_timeout_s: float = 60.0,
        max_turns: int | None = None,
        max_tokens: int | None = None,
    ) -> None:
        """`max_turns` and `max_tokens` (sampled, per trajectory) come on top of the world's own limit."""
        for name, value in (
            ("group_size", group_size),
            ("concurrency", concurrency),
            ("step_timeout_s", step_timeout_s),
        ):
            if value <= 0:
                raise ConfigError(f"collector 'asynchronous': {name} = {value}; it must be positive")
        self._environments, self._context, self._dialect = environments, context, dialect
        self._group_size, self._concurrency, self._retries = group_size, concurrency, retries
        self._limits = Limits(step_timeout_s, max_turns, max_tokens)
        self._idle: list[World] = []
        self._seconds = dict.fromkeys(("world_seconds", "collect_seconds"), 0.0)
        self.finished = 0  # trajectories of the current call that are over, for displays

    async def collect(self, policy: Policy, tasks: Sequence[Task], *, seed: int) -> list[Trajectory]:
        """All attempts, ordered by task, member and attempt."""
        started = time.perf_counter()
        self.finished = 0
        jobs = [
            (task, f"{task.split}/{task.index}@{i}", member)
            for i, task in enumerate(tasks)
            for member in range(self._group_size)
        ]
        results: list[list[Trajectory]] = [[] for _ in jobs]
        pending = iter(range(len(jobs)))

        async def work() -> None:
            world = self._idle.pop() if self._idle else self._new_world()
            try:
                for position in pending:
                    task, group, member = jobs[position]
                    world = await self._play(world, policy, task, group, member, seed, results[position])
                    self.finished += 1
            except BaseException:
                world.close()
                raise
            self._idle.append(world)

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(self._concurrency, len(jobs))):
                    workers.create_task(work())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        self._seconds["collect_seconds"] += time.perf_counter() - started
        return [trajectory for attempts in results for trajectory in attempts]

    async def _play(
        self, world: World, policy: Policy, task: Task, group: str, member: int, seed: int, attempts: list[Trajectory]
    ) -> World:
        for attempt in range(self._retries + 1):
            episode = Episode(world, policy, self._context, self._dialect, self._limits)
            trajectory = await episode.play(task, group=group, member=member, attempt=attempt, seed=seed)
            self._seconds["world_seconds"] += episode.world_seconds
            attempts.append(trajectory)
            if not trajectory.outcome.failed:
                break
            world.close()  # whatever it is in the middle of, it cannot be trusted any more
            world = self._new_world()
        return world

    def _new_world(self) -> World:
        env = self._environments()
        return ThreadedWorld(env) if getattr(env.unwrapped, "blocks", False) else InlineWorld(env)

    def metrics(self) -> dict[str, float]:
        """Seconds since the last call: inside worlds (summed over trajectories), and of collecting."""
        seconds, self._seconds = self._seconds, dict.fromkeys(self._seconds, 0.0)
        return seconds

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
