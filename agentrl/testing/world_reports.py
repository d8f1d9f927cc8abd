"""What worlds report in `info` for methods to read: the types of these keys, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pydantic
from typing_extensions import TypedDict

from agentrl.testing.report import CheckFailed, require


class Call(TypedDict):
    """One call of a turn; `error` is empty where it ran."""

    name: str
    arguments: Mapping[str, object]
    error: str


class Documents(TypedDict):
    """Ids of documents of the task so far."""

    seen: Sequence[str]
    cited: Sequence[str]


class Reports(TypedDict, total=False):
    """Keys of `info` that methods read, all of them optional."""

    __pydantic_config__ = pydantic.ConfigDict(strict=True)  # type: ignore[misc]

    feedback: str
    milestones: Sequence[str]
    calls: Sequence[Call]
    documents: Documents
    cost: Mapping[str, float]
    hidden: Mapping[str, object]


REPORTS = tuple(Reports.__annotations__)


def check_reports(info: Mapping[str, object]) -> set[str]:
    """Which of REPORTS an info has. Raises CheckFailed for one of another type."""
    reported = {name: info[name] for name in REPORTS if name in info}
    try:
        pydantic.TypeAdapter(Reports).validate_python(reported)
    except pydantic.ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = "".join(f"[{part!r}]" for part in fault["loc"])
        raise CheckFailed(f"info{where} is {fault['input']!r:.200}: {fault['msg'].lower()}") from None
    return set(reported)


def check_later_reports(info: Mapping[str, object], reached: Sequence[object]) -> set[str]:
    """The same after a step, with the milestones before it: they only grow, and nothing is hidden any more."""
    require("hidden" not in info, "`hidden` is for the info of reset only, and a step gave it")
    milestones = milestones_of(info, reached)
    require(set(reached) <= set(milestones), f"milestones only grow, and after {reached} come {milestones}")
    return check_reports(info)


def milestones_of(info: Mapping[str, object], default: Sequence[object]) -> Sequence[object]:
    """The milestones that an info names, else `default`."""
    given = info.get("milestones")
    return given if isinstance(given, (list, tuple)) else default


def shows_solution(observation: str, info: Mapping[str, object]) -> bool:
    """Whether an observation holds the solution that the world hides; as one of the actions to choose from it may."""
    hidden = info.get("hidden")
    solution = hidden.get("solution") if isinstance(hidden, Mapping) else None
    listed = info.get("admissible")
    if isinstance(listed, (list, tuple)) and solution in listed:
        return False
    return isinstance(solution, str) and bool(solution) and solution in observation
