"""What the kit of policies does with one: ask it, hand it weights, close it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import numpy as np

from agentrl.data.types import Completion, Message
from agentrl.errors import ConfigError
from agentrl.parts.handover import LARGEST_GAP, LARGEST_MEAN_GAP
from agentrl.parts.playing import Dialogue, Policy
from agentrl.parts.weights import Folder, Model, Question, Scorer, Shared, Stream, Weights
from agentrl.parts.words import Codec
from agentrl.testing.report import CheckFailed, CheckSkipped, finish, require
from agentrl.testing.samples import Stairs

Value = TypeVar("Value")
WAYS: tuple[type[Shared] | type[Folder] | type[Stream], ...] = (Shared, Folder, Stream)
MANY = 16
"""Dialogues that are answered at once."""


class Served:
    """A policy under test, and a model whose weights it plays with."""

    def __init__(self, make: Callable[[], Policy], model: Model | None, other: Model | None) -> None:
        self._make, self._model, self._other = make, model, other

    def _with(self, work: Callable[[Policy], Awaitable[Value]], policy: Policy | None = None) -> Value:
        """Do something with a policy, a new one unless given, and close it."""
        policy = policy or self._make()

        async def worked(policy: Policy) -> Value:
            return await work(policy)

        try:
            return finish(worked(policy))
        finally:
            close(policy)

    def _answers(self, dialogues: Sequence[Dialogue]) -> list[Completion]:
        """What a new policy says to each, one after the other."""

        async def work(policy: Policy) -> list[Completion]:
            return [await policy.act(dialogue) for dialogue in dialogues]

        return self._with(work)

    def _at_once(self, dialogues: Sequence[Dialogue]) -> list[Completion]:
        """What a new policy says to all of them at once."""

        async def work(policy: Policy) -> list[Completion]:
            return list(await asyncio.gather(*(policy.act(dialogue) for dialogue in dialogues)))

        return self._with(work)

    @property
    def _codec(self) -> Codec | None:
        policy = self._make()
        close(policy)
        codec: Codec | None = getattr(policy, "codec", None) or (self._model.codec if self._model is not None else None)
        return codec

    def _dialogues(self, count: int = MANY) -> list[Dialogue]:
        """First turns of plays of the sample world."""
        codec, world, dialogues = self._codec, Stairs(), []
        for number in range(count):
            observation, info = world.reset(seed=number, options={"split": "train", "index": number})
            messages = (Message("system", world.instructions), Message("user", observation))
            prompt = codec.prompt(messages) if codec is not None else None
            dialogues.append(Dialogue(messages, f"d{number}", 1000 + number, prompt, info=info, max_tokens=12))
        return dialogues

    def _published(self, policy: Policy, model: Model | None) -> Weights:
        """The weights of a model under a new number. Raises CheckSkipped where the policy takes none."""
        if not policy.accepts:
            raise CheckSkipped("it has no weights of its own")
        if model is None:
            raise CheckSkipped("no model was given to take weights from")
        update = model.version.update + 1
        for way in (way for way in WAYS if way in policy.accepts):
            try:
                return finish(model.publish(update, way))
            except ConfigError:
                continue
        raise CheckFailed(f"it takes weights as {names_of_ways(policy)}, and its model hands them out in no such way")

    def _require_repeatable(self) -> None:
        policy = self._make()
        close(policy)
        if not policy.repeatable:
            raise CheckSkipped("it says that it is not repeatable")

    def _following(self, dialogue: Dialogue, said: Completion) -> Dialogue:
        """The second turn of a dialogue."""
        reply = Message("user", "You are on floor 1.")
        messages = (*dialogue.messages, Message("assistant", said.text, completion=said), reply)
        codec = self._codec
        prompt = codec.prompt(messages, after=said) if codec is not None else None
        return dataclasses.replace(dialogue, messages=messages, prompt=prompt, seed=dialogue.seed + 1)


def largest_gap(scorer: Scorer, completions: Sequence[Completion]) -> float:
    """The largest difference between log-probs that were recorded and those of the model. Raises CheckFailed for a large one."""
    if any(not len(c.ids) or c.sampling.temperature == 0 for c in completions):
        raise CheckSkipped("it gives no ids, or is greedy")
    scores = finish(scorer.score([Question(c.prompt_ids, c.ids, c.sampling) for c in completions]))
    gaps = np.concatenate([np.abs(s.logprobs - c.logprobs) for s, c in zip(scores, completions, strict=True)])
    rounded = getattr(scorer, "rounded", False)
    near = gaps.mean() <= LARGEST_MEAN_GAP if rounded else gaps.max() <= LARGEST_GAP
    require(near, f"its log-probs and those of its model differ by up to {gaps.max():.3g} (mean {gaps.mean():.3g})")
    return float(gaps.max())


def same_answers(one: Sequence[Completion], two: Sequence[Completion]) -> bool:
    return all(
        a.text == b.text and np.array_equal(a.ids, b.ids) and np.allclose(a.logprobs, b.logprobs, atol=LARGEST_GAP)
        for a, b in zip(one, two, strict=True)
    )


def names_of_ways(policy: Policy) -> str:
    return ", ".join(sorted(way.__name__ for way in policy.accepts))


def close(policy: Policy) -> None:
    closes = getattr(policy, "close", None)
    if closes is not None:
        closes()
