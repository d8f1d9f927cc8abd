"""What a stranger's code may do instead of an answer: raise anything, or never end. Both become one line."""

from __future__ import annotations

import contextlib
import contextvars
import signal
import sysconfig
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

UNENDING = "it had not ended after"
_AGAIN_S = 5.0
_limit_s: contextvars.ContextVar[float | None] = contextvars.ContextVar("limit_s", default=None)
_OURS = (str(Path(__file__).parents[1]), *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))


class Unending(BaseException):
    """Something took too long. No `Exception`, so that code which catches those cannot catch it."""


@contextlib.contextmanager
def limits(seconds: float | None) -> Iterator[None]:
    """Inside, each check that runs in the main thread is stopped after so many seconds; None for no limit."""
    token = _limit_s.set(seconds)
    try:
        yield
    finally:
        _limit_s.reset(token)


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Stop what runs inside after the seconds that `limits` allows. Raises Unending."""
    seconds = _limit_s.get()
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise Unending(f"{UNENDING} {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S)  # again, for code that catches everything
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def reason(error: BaseException) -> str:
    """What was raised and where in the stranger's code, in one line."""
    if isinstance(error, Unending):
        return str(error)
    words = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith((*_OURS, "<"))]
    where = f" ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else ""
    return f"raised {type(error).__name__}{': ' + words if words else ''}{where}"
