"""Answers the questions of a scorer: many of them packed into few forward passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from agentrl import DataError, Ids, Logprobs, Question, Scores
from agentrl_plugins.models.passes import forward_sequences
from agentrl_plugins.models.sampling import entropy, log_distribution

_TOKENS = 4096  # of one forward pass


def answer(
    module: Any, questions: Sequence[Question], *, top: int = 0, moments: bool = False, features: bool = False
) -> list[Scores]:
    """One Scores per question, in order. Raises DataError for a question without a prompt."""
    for number, question in enumerate(questions):
        if not len(question.prompt_ids):
            raise DataError(f"question {number} has no prompt; a token can only be scored after another")
    scores: list[Scores | None] = [None] * len(questions)
    with torch.no_grad():
        for members in _passes(questions):
            for number, score in zip(
                members, _pass([questions[i] for i in members], module, top, moments, features), strict=True
            ):
                scores[number] = score
    return [score for score in scores if score is not None]


def _passes(questions: Sequence[Question]) -> Iterator[list[int]]:
    """Numbers of the questions of each pass: one sampling, and tokens within bounds."""
    for sampling in dict.fromkeys(question.sampling for question in questions):
        members: list[int] = []
        tokens = 0
        for number in (i for i, question in enumerate(questions) if question.sampling == sampling):
            length = len(questions[number].prompt_ids) + len(questions[number].ids)
            if members and tokens + length > _TOKENS:
                yield members
                members, tokens = [], 0
            members.append(number)
            tokens += length
        yield members


def _pass(questions: Sequence[Question], module: Any, top: int, moments: bool, features: bool) -> Iterator[Scores]:
    sequences = [np.concatenate([question.prompt_ids, question.ids]) for question in questions]
    lengths = [len(sequence) for sequence in sequences]
    starts = np.cumsum([0, *lengths[:-1]])
    counts = [len(question.ids) for question in questions]
    kept = np.concatenate([
        start + len(question.prompt_ids) - 1 + np.arange(count)
        for start, question, count in zip(starts, questions, counts, strict=True)
    ])  # fmt: skip
    flat = np.concatenate(sequences).astype(np.int64)
    passed = forward_sequences(module, lengths, flat, kept, hidden=features)
    logits, hidden = passed.logits, passed.hidden
    sampling = questions[0].sampling
    labels = torch.from_numpy(flat[kept + 1]).to(logits.device)
    logprobs = log_distribution(logits, sampling.temperature, sampling.top_p, sampling.top_k)  # [K, V]
    columns: dict[str, Logprobs | Ids] = {"logprobs": _numpy(logprobs.gather(-1, labels[:, None])[:, 0])}
    if moments:
        probs = logprobs.exp()
        columns |= {"entropy": _numpy(entropy(logprobs, probs)), "square": _numpy((probs * probs).sum(-1))}
    if top:
        values, ids = logprobs.topk(min(top, logprobs.shape[-1]))
        columns |= {"top_logprobs": _numpy(values), "top_ids": ids.cpu().numpy().astype(np.int32)}
    if hidden is not None:
        columns["features"] = _numpy(hidden)
    ends = np.cumsum(counts)
    for start, end in zip(ends - counts, ends, strict=True):
        yield Scores(**{name: value[start:end] for name, value in columns.items()})  # type: ignore[arg-type]


def _numpy(tensor: torch.Tensor) -> Logprobs:
    return tensor.float().cpu().numpy()
