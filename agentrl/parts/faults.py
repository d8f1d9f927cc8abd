"""Whose fault an exception is, and in which words a person reads of it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import reprlib
from collections.abc import Awaitable
from typing import TypeVar

from agentrl.data.types import Metrics
from agentrl.errors import PluginError

log = logging.getLogger(__name__)
Result = TypeVar("Result")
LONGEST_ERROR = 2_000
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200


def in_words(error: BaseException) -> str:
    """Type and message of an exception, however long the message is and whatever reading it raises."""
    try:
        message = str(error)
    except Exception:
        message = "its message cannot be read"
    return f"{type(error).__name__}: {message[:LONGEST_ERROR]}"


def short(value: object) -> str:
    """A value for a message: not all of it, and nothing that it raises."""
    return _SHORT.repr(value)


def interrupts(error: BaseException) -> bool:
    """Whether an exception is nobody's fault: Ctrl-C, or the task that runs here was itself cancelled or closed."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return isinstance(error, (KeyboardInterrupt, GeneratorExit))


async def awaited(result: Awaitable[Result], who: str, method: str) -> Result:
    """What a coroutine of a plugin gives. Raises PluginError that names it where it is none."""
    if not inspect.isawaitable(result):
        raise PluginError(f"{who}: {method} gave {short(result)} at once; write `async def {method}`")
    return await result


def metrics_of(part: object, name: str) -> Metrics:
    """The numbers that a part has to tell since the last call; where it tells something else, none, and that is logged."""
    own = getattr(part, "metrics", None)
    if own is None:
        return {}
    try:
        return {str(key): float(value) for key, value in own().items()}
    except Exception as error:  # numbers about a run do not end it
        log.warning("metrics of %s are left out: %s", name, in_words(error))
        return {}
