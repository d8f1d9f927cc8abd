"""A sample model with its codec, policy and trainer: bytes, each drawn by what the byte before it makes likely."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agentrl.data.rows import Row, relation, training_rows
from agentrl.data.types import Advantages, Batch, Completion, Floats, Ids, Message, Metrics, Sampling, no_ids
from agentrl.errors import ConfigError, ContextOverflow, PolicyFault, RecordError
from agentrl.parts.playing import Dialogue
from agentrl.parts.weights import Folder, Model, Question, Scores, Shared, Stream, Version, Weights
from agentrl.parts.words import Prompt, Tool

ROLES = {"system": 256, "user": 257, "assistant": 258, "tool": 259}
END = 260
VOCABULARY = 261
FILE = "sample.npz"


class SampleCodec:
    """A message is the id of its role, its bytes, and an end."""

    name = "sample-bytes"
    stop_ids = frozenset({END})
    max_context = 4096
    roles = frozenset(ROLES)
    tools = True
    thoughts: Literal["none", "kept", "dropped"] = "none"

    def prompt(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), after: Completion | None = None
    ) -> Prompt:
        if tools:
            messages = (Message("system", json.dumps(list(tools), default=str)), *messages)
        pieces = [self._piece(message) for message in messages]
        ids = np.concatenate([*pieces, np.array([ROLES["assistant"]], np.int32)])
        ids.flags.writeable = False
        return Prompt(ids, *relation(after, ids))

    def say(self, text: str, *, stop: Sequence[str] = ()) -> Ids:
        ends = [text.index(word) + len(word) for word in stop if word in text]
        return _bytes(text[: min(ends)]) if ends else np.append(_bytes(text), np.int32(END))

    def decode(self, ids: Ids) -> str:
        data = bytes(ids[ids < 256].tolist())
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return data.decode("utf-8", "replace")

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def _piece(self, message: Message) -> Ids:
        sampled = message.completion.ids if message.completion is not None else no_ids()
        ids = sampled if len(sampled) else _bytes(message.content)
        end = () if len(ids) and ids[-1] == END else (END,)
        return np.concatenate([(ROLES[message.role],), ids, end]).astype(np.int32)


class SampleModel:
    """float64 [V, V]: the logits of a token after another. It likes to say "up" and "in"."""

    def __init__(self, seed: int = 0) -> None:
        self.codec = SampleCodec()
        self.version = Version()
        self.logits = np.random.default_rng(seed).normal(0.0, 0.5, (VOCABULARY, VOCABULARY))
        for word in ("up", "in"):
            for before, after in pairwise([ROLES["assistant"], *word.encode(), END]):
                self.logits[before, after] += 8.0
        self._initial = self.logits.copy()

    async def publish(self, update: int, via: type[Shared] | type[Folder] | type[Stream]) -> Weights:
        if via is not Shared:
            raise ConfigError(f"the sample model is shared in its process; it cannot be handed out as {via.__name__}")
        self.version = dataclasses.replace(self.version, update=update)
        return Weights(self.version, Shared(self))

    async def score(
        self, questions: Sequence[Question], *, weights: str = "current", top: int = 0, moments: bool = False,
        features: bool = False,
    ) -> list[Scores]:  # fmt: skip
        known = {"current": self.logits, "initial": self._initial}
        if weights not in known:
            raise ConfigError(f'the sample model has the weights "current" and "initial", not {weights!r}')
        return [self._scores(question, known[weights], top, moments, features) for question in questions]

    async def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / FILE, logits=self.logits, initial=self._initial)

    async def load(self, folder: Path) -> None:
        """Raises RecordError for a folder that `save` did not write."""
        state = _read(folder)
        self.logits, self._initial = state["logits"], state["initial"]

    def distribution(self, before: NDArray[np.int64], sampling: Sampling, logits: Floats | None = None) -> Floats:
        """float64 [N, V]: log-probs of what comes after each of N tokens."""
        scaled = (self.logits if logits is None else logits)[before] / sampling.temperature
        shifted: Floats = scaled - scaled.max(-1, keepdims=True)
        logprobs: Floats = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        return logprobs

    def _scores(self, question: Question, logits: Floats, top: int, moments: bool, features: bool) -> Scores:
        before = np.concatenate([question.prompt_ids[-1:], question.ids[:-1]]).astype(np.int64)
        logprobs = self.distribution(before, question.sampling, logits)
        probs = np.exp(logprobs)
        order = np.argsort(-logprobs, -1)[:, :top] if top else None
        return Scores(
            np.take_along_axis(logprobs, question.ids[:, None].astype(np.int64), -1)[:, 0].astype(np.float32),
            entropy=-(probs * logprobs).sum(-1).astype(np.float32) if moments else None,
            square=(probs**2).sum(-1).astype(np.float32) if moments else None,
            top_ids=order.astype(np.int32) if order is not None else None,
            top_logprobs=np.take_along_axis(logprobs, order, -1).astype(np.float32) if order is not None else None,
            features=logits[before].astype(np.float32) if features else None,
        )


class SamplePolicy:
    """Samples from the sample model, one token at a time, so that other dialogues come between."""

    accepts: frozenset[type] = frozenset({Shared})
    exact: bool | None = True
    repeatable = True

    def __init__(self, model: SampleModel, *, temperature: float = 1.0, max_tokens: int = 8) -> None:
        self.codec, self.version = model.codec, model.version
        self._model, self._sampling, self._max_tokens = model, Sampling(temperature), max_tokens

    async def act(self, dialogue: Dialogue) -> Completion:
        prompt = dialogue.prompt or self.codec.prompt(dialogue.messages, tools=dialogue.tools)
        room = self.codec.max_context - len(prompt.ids)
        if room < 1:
            raise ContextOverflow(f"{len(prompt.ids)} tokens leave no room in {self.codec.max_context}")
        uniforms = np.random.Generator(np.random.Philox(key=dialogue.seed)).random(self._max_tokens)
        ids: list[int] = []
        logprobs: list[float] = []
        versions: list[int] = []
        for uniform in uniforms[: min(room, dialogue.max_tokens or room)]:
            await asyncio.sleep(0)
            before = ids[-1] if ids else int(prompt.ids[-1])
            chances = self._model.distribution(np.array([before]), self._sampling)[0]
            token = min(int(np.cumsum(np.exp(chances)).searchsorted(uniform, side="right")), VOCABULARY - 1)
            ids.append(token)
            logprobs.append(float(chances[token]))
            versions.append(self.version.update)
            text = self.codec.decode(np.array(ids, np.int32))
            if token == END or any(word in text for word in dialogue.stop):
                break
        said = np.array(ids, np.int32)
        ended: Literal["stop", "length"] = "stop" if ids[-1] == END or _stopped(dialogue, said) else "length"
        return Completion(
            self.codec.decode(said), prompt.ids, said, np.array(logprobs, np.float32),
            versions=np.array(versions, np.int32), stop=ended, sampling=self._sampling,
        )  # fmt: skip

    async def refresh(self, weights: Weights) -> None:
        """Raises PolicyFault for anything but a shared sample model."""
        model = weights.handle.model if isinstance(weights.handle, Shared) else None
        if not isinstance(model, SampleModel):
            raise PolicyFault(f"the sample policy shares the sample model, and was given {weights.handle!r}")
        self._model, self.version = model, weights.version

    def forget(self, key: str) -> None:
        """Nothing is kept."""


class SampleTrainer:
    """Policy gradient with momentum on the sample model."""

    def __init__(self, model: SampleModel, *, learning_rate: float = 1.0, momentum: float = 0.5) -> None:
        self.model: Model = model
        self._table, self._rate, self._momentum = model, learning_rate, momentum
        self._step: Floats = np.zeros_like(model.logits)

    async def update(self, batch: Batch, advantages: Advantages) -> Metrics:
        rows = training_rows(batch.usable, advantages, speakers=batch.speakers)
        gradient = np.zeros_like(self._table.logits)
        tokens = 0
        for row in rows:
            tokens += self._add(row, gradient)
        self._step = self._momentum * self._step + gradient / max(1, tokens)
        self._table.logits = self._table.logits + self._rate * self._step
        return {"tokens_scored": float(tokens), "grad_norm": float(np.linalg.norm(gradient))}

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / FILE, step=self._step)

    def load(self, folder: Path) -> None:
        self._step = _read(folder)["step"]

    def _add(self, row: Row, gradient: Floats) -> int:
        places = np.flatnonzero(row.sampled)
        before, tokens = row.ids[places - 1].astype(np.int64), row.ids[places].astype(np.int64)
        weights = row.advantages[places].astype(np.float64)
        np.add.at(gradient, (before, tokens), weights)
        np.add.at(gradient, before, -weights[:, None] * np.exp(self._table.distribution(before, row.sampling)))
        return len(places)


def _bytes(text: str) -> Ids:
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int32)


def _stopped(dialogue: Dialogue, said: Ids) -> bool:
    text = SampleCodec().decode(said)
    return any(word in text for word in dialogue.stop)


def _read(folder: Path) -> dict[str, Floats]:
    try:
        with np.load(folder / FILE) as state:
            return dict(state)
    except (OSError, ValueError, KeyError) as error:
        raise RecordError(f"{folder} holds nothing that was saved here: {error}") from error
