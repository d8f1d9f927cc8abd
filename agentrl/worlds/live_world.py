"""A world as one trajectory lives in it: what it takes is measured, and what goes wrong in it is an outcome."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from agentrl.data.types import Info, Outcome, Task
from agentrl.errors import SandboxFault
from agentrl.parts.faults import in_words
from agentrl.parts.words import Tool
from agentrl.worlds.stepping import Raised, ThreadedWorld, World, tried
from agentrl.worlds.steps import Step, checked_reset, checked_step, checked_words

Given = TypeVar("Given")
Result = TypeVar("Result")


class Ended(Exception):
    """The trajectory is over, with this outcome."""

    def __init__(self, outcome: Outcome, error: str = "") -> None:
        self.outcome, self.error = outcome, error


class LiveWorld:
    """Every function raises Ended where the world, or time, says so; ConfigError and PluginError pass."""

    def __init__(self, world: World, step_timeout_s: float) -> None:
        self.env, self.bare, self.clock = world.env, world.env.unwrapped, world.clock
        self.seconds = 0.0
        self._thread = world if isinstance(world, ThreadedWorld) else None
        self._limit_s = step_timeout_s
        self.has_tools = hasattr(type(self.bare), "tool_schemas") or "tool_schemas" in vars(self.bare)
        """Whether it may offer tools, others after each action too."""

    async def reset(self, task: Task) -> tuple[str, Info, Info]:
        """Observation, info, and what is hidden."""
        options = task.options if hasattr(self.bare, "pick_task") else None
        result = await self.call(lambda: self.env.reset(seed=task.seed, options=options))
        return self._read(checked_reset, result)

    def words(self) -> tuple[str, tuple[Tool, ...]]:
        """The world's instructions and the tools that it offers now."""
        try:
            told = tried(lambda: (_attribute(self.bare, "instructions"), _attribute(self.bare, "tool_schemas")))
        except Raised as raised:
            raise fault(raised.error) from raised.error
        return self._read(checked_words, told)

    async def step(self, action: str) -> Step:
        """One step, checked."""
        return self._read(checked_step, await self.call(lambda: self.env.step(action)))

    async def call(self, function: Callable[[], Result]) -> Result:
        """Run a function of the world, in the world's own thread where it has one."""
        clock = self.clock
        started, waited = time.perf_counter(), clock.waited_s
        try:
            result = await self._thread.call(function, self._limit_s) if self._thread is not None else tried(function)
        except Raised as raised:
            raise fault(raised.error) from raised.error
        except TimeoutError:
            raise Ended(Outcome.TIME_LIMIT, f"the world took longer than {self._limit_s} s") from None
        seconds = clock.own_s(started, waited)
        self.seconds += seconds
        if seconds > self._limit_s:
            raise Ended(Outcome.TIME_LIMIT, f"the world took {seconds:.1f} s, allowed are {self._limit_s} s")
        return result

    def _read(self, check: Callable[[Given], Result], result: Given) -> Result:
        try:
            return check(result)
        except Exception as error:  # what a stranger's world gave may raise whatever it likes when it is looked at
            ended = fault(error)
            raise Ended(ended.outcome, f"the world {type(self.bare).__name__}: {ended.error}") from error


def _attribute(world: object, name: str) -> object:
    """None where the world has none; what a property raises is not taken for that."""
    return getattr(world, name) if hasattr(type(world), name) else getattr(world, name, None)


def fault(error: BaseException) -> Ended:
    """The outcome that an exception of a world stands for."""
    sandbox, late = isinstance(error, SandboxFault), isinstance(error, TimeoutError)
    outcome = Outcome.SANDBOX_ERROR if sandbox else Outcome.TIME_LIMIT if late else Outcome.ENV_ERROR
    return Ended(outcome, in_words(error))
