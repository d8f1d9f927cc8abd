"""What a run of checks found, for people and for machines."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from agentrl.testing.faults import UNENDING, limited, reason

Check = Callable[[], "str | None"]
Value = TypeVar("Value")
Verdict = Literal["passed", "failed", "skipped"]
LIMIT_S = 120.0
"""Seconds after which something that is awaited counts as stuck."""


class CheckFailed(Exception):
    """The part breaks its contract; the message says what was seen and what was expected."""


class CheckSkipped(Exception):
    """The check does not apply to this part; the message says why."""


@dataclass(frozen=True)
class Result:
    """One check."""

    check: str
    verdict: Verdict
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """All checks of one part."""

    kind: str
    name: str
    results: list[Result] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(result.verdict != "failed" for result in self.results)

    @property
    def failures(self) -> list[Result]:
        return [result for result in self.results if result.verdict == "failed"]

    def to_json(self) -> dict[str, object]:
        rows = [vars(result) for result in self.results]
        return {"kind": self.kind, "name": self.name, "passed": self.passed, "results": rows}


Tell = Callable[[str, "Result | None"], None]
_tell: contextvars.ContextVar[Tell | None] = contextvars.ContextVar("tell", default=None)
_step: contextvars.ContextVar[Callable[[str], None] | None] = contextvars.ContextVar("step", default=None)


@contextlib.contextmanager
def watched(tell: Tell, step: Callable[[str], None]) -> Iterator[None]:
    """Inside, `tell(check, None)` is called before each check and `tell(check, result)` after it, `step` with how far it is."""
    tokens = _tell.set(tell), _step.set(step)
    try:
        yield
    finally:
        _tell.reset(tokens[0])
        _step.reset(tokens[1])


def step(words: str) -> None:
    """Say how far a long check is, to whoever watches."""
    if (watch := _step.get()) is not None:
        watch(words)


def run_checks(kind: str, name: str, checks: Mapping[str, Check]) -> Report:
    """Run every check; what it returns is kept as its detail. Any exception but CheckSkipped is a failure.

    After a failed `gate`, and one that did not end (see `limits`), the others are skipped: they would only repeat that.
    """
    report = Report(kind, name)
    closed, tell = "", _tell.get() or _silent
    for check, function in checks.items():
        started = time.perf_counter()
        tell(check, None)
        verdict, detail = _not_run(closed) if closed else _tried(function)
        report.results.append(Result(check, verdict, detail, round(time.perf_counter() - started, 4)))
        tell(check, report.results[-1])
        if verdict == "failed" and (getattr(function, "gate", False) or detail.startswith(UNENDING)):
            closed = check
    return report


def gate(check: Callable[..., Value]) -> Callable[..., Value]:
    """Mark a check without which the others mean nothing."""
    check.gate = True  # type: ignore[attr-defined]
    return check


def checks_of(kit: object) -> dict[str, Check]:
    """The public methods of a kit, in the order they were written, those of its base classes first."""
    names = [name for cls in reversed(type(kit).__mro__) for name, value in vars(cls).items() if callable(value)]
    return {name: getattr(kit, name) for name in dict.fromkeys(names) if not name.startswith("_")}


def require(condition: object, message: str) -> None:
    """Raise CheckFailed with the message unless the condition holds."""
    if not condition:
        raise CheckFailed(message)


def finish(coroutine: Coroutine[object, object, Value], limit_s: float = LIMIT_S) -> Value:
    """Await something in an event loop of its own. Raises CheckFailed where it takes longer than `limit_s`."""

    async def limited() -> Value:
        return await asyncio.wait_for(coroutine, limit_s)

    try:
        return asyncio.run(limited())
    except TimeoutError:
        raise CheckFailed(f"it was awaited for {limit_s} s and had not ended") from None


def _silent(check: str, result: Result | None) -> None: ...


def _not_run(closed: str) -> tuple[Verdict, str]:
    return "skipped", f"not run, because {closed} failed"


def _tried(check: Check) -> tuple[Verdict, str]:
    token = _tell.set(None)  # a kit that runs another one speaks for itself alone
    try:
        with limited():
            return "passed", check() or ""
    except CheckSkipped as skipped:
        return "skipped", str(skipped)
    except CheckFailed as failed:
        return "failed", str(failed)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the part under test may fail in any way; that is what is being found out
        return "failed", reason(error)
    finally:
        _tell.reset(token)
