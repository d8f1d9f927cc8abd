"""A voice: lets a world that must ask a policy in the middle of a step do so from its own thread."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Sequence

from agentrl.data.types import Completion, Message
from agentrl.errors import PluginError, PolicyFault
from agentrl.parts.faults import in_words, interrupts, short
from agentrl.parts.playing import Dialogue, Policy
from agentrl.worlds.stepping import Clock
from agentrl.worlds.thoughts import OPEN, after_thought

_NUMBERS = itertools.count()


class LoopVoice:
    """Asks a policy on the event loop that is stepping the world, which may be another one in the next play."""

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self._policy, self._clock = policy, clock
        self._key = f"voice-{next(_NUMBERS)}"

    def say(self, messages: Sequence[Message], *, seed: int, timeout_s: float = 60.0) -> str:
        """What the policy answers after its thought (nothing where that was cut short); the time is not the world's.

        Raises PluginError on the loop's own thread.
        """
        loop = self._clock.loop
        if loop is None or threading.get_ident() == self._clock.loop_thread:
            raise PluginError("a world with a Voice must be stepped in a thread; do not call it from a coroutine")
        with self._clock.paused():
            answer = asyncio.run_coroutine_threadsafe(self._answer(tuple(messages), seed), loop)
            try:
                return answer.result(timeout_s)
            except TimeoutError:
                answer.cancel()
                raise TimeoutError(f"the policy did not answer within {timeout_s} s") from None

    async def _answer(self, messages: tuple[Message, ...], seed: int) -> str:
        codec = getattr(self._policy, "codec", None)
        prompt = codec.prompt(messages) if codec is not None else None
        started = time.perf_counter()
        name = type(self._policy).__name__
        try:
            completion = await self._policy.act(Dialogue(messages, self._key, seed, prompt))
        except BaseException as error:
            if isinstance(error, (Exception, asyncio.CancelledError)) or interrupts(error):
                raise
            raise PolicyFault(f"{name}: {in_words(error)}") from error  # a task that lets it pass ends the whole loop
        finally:
            self._policy.forget(self._key)
        if not isinstance(completion, Completion):
            raise PolicyFault(f"{name}.act gave {short(completion)}; a policy gives an agentrl.Completion")
        seconds = round(time.perf_counter() - started, 6)
        for name, value in (("user_calls", 1), ("user_tokens", len(completion.ids)), ("user_seconds", seconds)):
            self._clock.asked[name] = self._clock.asked.get(name, 0) + value
        opened = OPEN if getattr(codec, "opens_thought", False) and len(completion.prompt_ids) else ""
        spoken = after_thought(opened + completion.text)
        return spoken.text.lstrip() if spoken.thought else completion.text
