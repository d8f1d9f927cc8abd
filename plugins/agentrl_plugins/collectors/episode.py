"""One trajectory, played from reset to its outcome."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from agentrl import (
    Completion,
    ConfigError,
    ContextOverflow,
    Dialogue,
    Message,
    Outcome,
    Policy,
    SandboxFault,
    Task,
    Trajectory,
    Turn,
)
from agentrl_plugins.collectors.worlds import World

log = logging.getLogger(__name__)
_MASK = 2**63 - 1


@dataclass(frozen=True)
class Limits:
    """What ends a trajectory beside its world."""

    step_timeout_s: float
    max_turns: int | None
    max_tokens: int | None


class _Ended(Exception):
    """The trajectory is over, with this outcome."""

    def __init__(self, outcome: Outcome, error: str = "") -> None:
        self.outcome, self.error = outcome, error


class Episode:
    """Plays one task once. What the world or the machinery does wrong ends in an Outcome, never in a reward."""

    def __init__(self, world: World, policy: Policy, context: Any, dialect: Any, limits: Limits) -> None:
        self._world, self._policy, self._context, self._dialect, self._limits = world, policy, context, dialect, limits
        self.world_seconds = 0.0
        self._turns: list[Turn] = []
        self._tokens = 0

    async def play(self, task: Task, *, group: str, member: int, attempt: int, seed: int) -> Trajectory:
        """Raises ConfigError (a mistake in the run file); every other fault is the trajectory's outcome."""
        started = time.perf_counter()
        key = f"{group}#{member}.{attempt}"
        # Stable in every process, and of its own for each trajectory: what others do cannot change it.
        digest = hashlib.blake2b(f"{seed}|{task.seed}|{key}".encode(), digest_size=8).digest()
        own_seed = int.from_bytes(digest, "big") >> 1  # 63 bits: a trajectory table holds it as int64
        error = ""
        try:
            observation, info = await self._reset(task)
            task = replace(task, key=str(info.get("task", f"{task.split}/{task.index}")))
            await self._turns_of(observation, info, key, own_seed)
            outcome = Outcome.TERMINATED
        except _Ended as ended:
            outcome, error = ended.outcome, ended.error
        finally:
            self._policy.forget(key)
        if outcome.failed:
            log.warning("trajectory %s failed: %s", key, error)
        seconds = time.perf_counter() - started
        return Trajectory(
            tuple(self._turns), task, group, outcome, member, attempt, own_seed, error=error, seconds=seconds
        )

    async def _turns_of(self, observation: str, info: Mapping[str, Any], key: str, seed: int) -> None:
        env = self._world.env
        wanted = getattr(env.unwrapped, "instructions", "")
        instructions = "\n\n".join(part for part in (wanted, self._dialect.instructions) if part)
        tools = tuple(getattr(env.unwrapped, "tool_schemas", ()))
        messages: tuple[Message, ...] = ()
        while True:
            messages = self._context(instructions, self._turns, observation, messages)
            turn_seed = (seed + 0x9E3779B97F4A7C15 * (len(self._turns) + 1)) & _MASK
            dialogue = Dialogue(messages, key, turn_seed, tools, info, env, self._dialect.stop)
            completion = await self._act(dialogue)
            reading = self._dialect.read(completion.text)
            step = await self._step(reading.action)
            after, reward, terminated, truncated, after_info = step
            self._turns.append(_turn(observation, completion, reading, float(reward), info, after_info))
            self._tokens += len(completion.ids)
            if terminated:
                return
            if truncated:
                raise _Ended(Outcome.TURN_LIMIT)
            self._check_limits()
            observation, info = after, after_info

    def _check_limits(self) -> None:
        if self._limits.max_turns is not None and len(self._turns) >= self._limits.max_turns:
            raise _Ended(Outcome.TURN_LIMIT)
        if self._limits.max_tokens is not None and self._tokens >= self._limits.max_tokens:
            raise _Ended(Outcome.TOKEN_LIMIT)

    async def _act(self, dialogue: Dialogue) -> Completion:
        try:
            return await self._policy.act(dialogue)
        except ContextOverflow as error:
            if not self._turns:  # nothing was played: there is nothing to train on, and the run file is to blame
                raise _Ended(Outcome.POLICY_ERROR, f"the first prompt does not fit: {error}") from None
            raise _Ended(Outcome.CONTEXT_LIMIT) from None
        except ConfigError:
            raise
        except Exception as error:  # an engine may fail in any way; the trajectory says so and is never trained on
            raise _Ended(Outcome.POLICY_ERROR, f"{type(error).__name__}: {error}") from error

    async def _reset(self, task: Task) -> Any:
        env = self._world.env
        options = task.options if hasattr(env.unwrapped, "pick_task") else None
        return await self._in_world(lambda: env.reset(seed=task.seed, options=options))

    async def _step(self, action: str) -> Any:
        env = self._world.env
        return await self._in_world(lambda: env.step(action))

    async def _in_world(self, function: Any) -> Any:
        started = time.perf_counter()
        try:
            result = function() if self._world.inline else await self._world.call(function, self._limits.step_timeout_s)
        except ConfigError:
            raise
        except TimeoutError:
            raise _Ended(Outcome.TIME_LIMIT, f"the world took longer than {self._limits.step_timeout_s} s") from None
        except SandboxFault as error:
            raise _Ended(Outcome.SANDBOX_ERROR, str(error)) from error
        except Exception as error:  # a stranger's world may fail in any way; the trajectory says so
            raise _Ended(Outcome.ENV_ERROR, f"{type(error).__name__}: {error}") from error
        seconds = time.perf_counter() - started
        self.world_seconds += seconds
        if seconds > self._limits.step_timeout_s:
            raise _Ended(
                Outcome.TIME_LIMIT, f"the world took {seconds:.1f} s, allowed are {self._limits.step_timeout_s} s"
            )
        return result


def _turn(
    observation: str,
    completion: Completion,
    reading: Any,
    reward: float,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> Turn:
    info = dict(after)
    if "admissible" in before:
        info["admissible"] = before["admissible"]
    else:
        info.pop("admissible", None)
    info.pop("anchor", None)  # the one after belongs to the next turn
    return Turn(
        observation,
        completion,
        reading.action,
        reward,
        str(before.get("anchor", observation)),
        info.pop("rewards", {}) or {},
        reading.invalid or str(info.pop("invalid", "")),
        info,
    )
