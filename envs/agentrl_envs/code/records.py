"""Records: problems in the files of HumanEval, MBPP, LiveCodeBench and SWE-bench, read as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from agentrl import ConfigError, DataError
from agentrl_envs.code import formats
from agentrl_envs.code.problems import Problem
from agentrl_envs.code.snapshots import swe_problem
from agentrl_envs.records import read_records

Format = Literal["auto", "humaneval", "mbpp", "livecodebench", "swe"]

_MARKS = {
    "swe": {"instance_id", "problem_statement", "FAIL_TO_PASS"},
    "humaneval": {"prompt", "entry_point", "test"},
    "livecodebench": {"question_content", "public_test_cases"},
    "mbpp": {"test_list"},
}
"""Fields by which a format is told."""


def load(
    files: Mapping[str, str], wanted: Format, *, shown: int, repositories: str, test_command: Sequence[str]
) -> dict[str, tuple[Problem, ...]]:
    """Split → problems. Raises ConfigError for a file that cannot be used, DataError for a record that is broken."""
    splits = {}
    for split, path in files.items():
        records = read_records(Path(path))
        if not records or not all(isinstance(record, dict) for record in records):
            raise ConfigError(f"{path!r} holds no records; one JSON object per line is wanted")
        chosen = _format(records[0], path) if wanted == "auto" else wanted
        make = _maker(chosen, shown, repositories, test_command)
        splits[split] = tuple(_made(make, record, path, at) for at, record in enumerate(records, 1))
    _check_disjoint(splits)
    return splits


def _format(record: Mapping[str, Any], path: str) -> str:
    for name, marks in _MARKS.items():
        if marks <= record.keys():
            return name
    known = ", ".join(f"{name} ({', '.join(sorted(marks))} …)" for name, marks in _MARKS.items())
    raise ConfigError(
        f"the records of {path!r} have the fields {', '.join(sorted(record))}: no known format. Known are {known}."
    )


def _maker(
    name: str, shown: int, repositories: str, test_command: Sequence[str]
) -> Callable[[Mapping[str, Any]], Problem]:
    if name == "swe":
        if not repositories:
            raise ConfigError(
                "SWE-style problems need `repositories`, a folder that holds a folder of files for each instance_id "
                "(or for each `repo`, with / written as __, at its base commit)"
            )
        return lambda record: swe_problem(record, Path(repositories), tuple(test_command))
    if name == "humaneval":
        return formats.humaneval
    if name == "mbpp":
        return lambda record: formats.mbpp(record, shown)
    return formats.livecodebench


def _made(make: Callable[[Mapping[str, Any]], Problem], record: Mapping[str, Any], path: str, at: int) -> Problem:
    try:
        problem = make(record)
    except KeyError as error:
        raise DataError(f"record {at} of {path!r} has no field {error}") from error
    except (ValueError, SyntaxError, TypeError, AttributeError) as error:
        raise DataError(f"record {at} of {path!r} is broken: {type(error).__name__}: {error}") from error
    if not problem.hidden and problem.repository is None:
        raise DataError(f"record {at} of {path!r} has no tests")
    return problem


def _check_disjoint(splits: Mapping[str, Sequence[Problem]]) -> None:
    where: dict[str, str] = {}
    for split, problems in splits.items():
        twice = [digest for digest, n in Counter(problem.digest for problem in problems).items() if n > 1]
        if twice:
            names = [problem.name for problem in problems if problem.digest == twice[0]]
            raise ConfigError(f"split {split!r} holds the same problem twice: {', '.join(names)}")
        for problem in problems:
            other = where.setdefault(problem.digest, split)
            if other != split:
                raise ConfigError(f"problem {problem.name!r} is in the splits {other!r} and {split!r}; keep it in one")
