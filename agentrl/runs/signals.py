"""Ctrl-C and SIGTERM: a run ends well, and finishes what it writes."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """A batch system's SIGTERM ends the block as Ctrl-C does, also where SIGINT is ignored (in the background)."""

    def end(number: int, frame: FrameType | None) -> None:
        interrupt = signal.getsignal(signal.SIGINT)  # inside asyncio its own, which cancels the main task
        if not callable(interrupt):
            raise KeyboardInterrupt
        interrupt(number, frame)

    with _handling({signal.SIGTERM: end}):
        yield


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """Ctrl-C and SIGTERM during the block take effect after it, so that a write is always finished."""
    waiting: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        waiting.append(number)

    with _handling({signal.SIGINT: wait, signal.SIGTERM: wait}):
        yield
    if waiting:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _handling(handlers: dict[signal.Signals, Handler]) -> Iterator[None]:
    """Only the main thread has a say in signals; elsewhere this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
