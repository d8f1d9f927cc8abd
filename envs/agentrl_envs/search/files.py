"""Reads question files as FlashRAG and Search-R1 keep them (NQ, TriviaQA, PopQA, HotpotQA, 2Wiki, MuSiQue, Bamboogle)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import agentrl
from agentrl_envs.records import read_records


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and its right answers."""

    text: str
    answers: tuple[str, ...]


def questions(path: Path) -> list[Asked]:
    """All questions of a `.jsonl` or `.parquet` file: `question`, and `golden_answers` (or `answers`, `answer`, or the
    `reward_model` of Search-R1's prepared files).

    Raises ConfigError for a missing file or one of another kind, DataError for an entry that is no question.
    """
    found = [_asked(record, path, number) for number, record in enumerate(read_records(path))]
    if not found:
        raise agentrl.DataError(f"{path} holds no question")
    return found


def _asked(record: object, path: Path, number: int) -> Asked:
    if isinstance(record, Mapping):
        text, answers = record.get("question"), _answers(record)
        if isinstance(text, str) and text.strip() and answers:
            return Asked(_clean(text), tuple(dict.fromkeys(map(_clean, answers))))
    raise agentrl.DataError(
        f'{path}: entry {number} is no question: "question" (a text) and "golden_answers" (a list of texts) are needed'
    )


def _answers(record: Mapping[str, object]) -> list[str]:
    for name in ("golden_answers", "answers", "answer"):
        if record.get(name) is not None:
            return _texts(record[name])
    truth = record.get("reward_model") or {}
    truth = truth.get("ground_truth") if isinstance(truth, Mapping) else None
    return _texts(truth.get("target") if isinstance(truth, Mapping) else truth)


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, str) and item.strip()]


def _clean(text: str) -> str:
    return text.strip().encode("utf-8", "replace").decode()
