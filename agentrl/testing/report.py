"""What a run of checks found, for people and for machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


class CheckFailed(Exception):
    """The part breaks its contract; the message says what was seen and what was expected."""


class CheckSkipped(Exception):
    """The check does not apply to this part; the message says why."""


@dataclass(frozen=True)
class Result:
    """One check."""

    check: str
    verdict: Literal["passed", "failed", "skipped"]
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

    def to_json(self) -> dict[str, Any]:
        rows = [vars(result) for result in self.results]
        return {"kind": self.kind, "name": self.name, "passed": self.passed, "results": rows}


def run_checks(kind: str, name: str, checks: Mapping[str, Callable[[], str | None]]) -> Report:
    """Run every check; what it returns is kept as its detail. Any exception but CheckSkipped is a failure."""
    report = Report(kind, name)
    for check, function in checks.items():
        started = time.perf_counter()
        try:
            verdict, detail = "passed", function() or ""
        except CheckSkipped as skipped:
            verdict, detail = "skipped", str(skipped)
        except CheckFailed as failed:
            verdict, detail = "failed", str(failed)
        except Exception as error:  # the part under test may fail in any way; that is what is being found out
            verdict, detail = "failed", f"raised {type(error).__name__}: {error}"
        report.results.append(Result(check, verdict, detail, round(time.perf_counter() - started, 4)))  # type: ignore[arg-type]
    return report


def require(condition: Any, message: str) -> None:
    """Raise CheckFailed with the message unless the condition holds."""
    if not condition:
        raise CheckFailed(message)
