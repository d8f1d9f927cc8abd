"""A codec and a policy without a network: every word is one token, and a function says what comes next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from agentrl import Completion, ContextOverflow, Dialogue, Ids, Message, Prompt, Tool, Version, Weights, relation

END = 0


class WordCodec:
    """Words in the order in which they are met; a message costs one token for its role, a tool five."""

    name = "words"
    stop_ids = frozenset({END})
    roles = frozenset({"system", "user", "assistant", "tool"})
    tools = True
    thoughts: Literal["none", "kept", "dropped"] = "none"

    def __init__(self, max_context: int = 10_000) -> None:
        self.max_context = max_context
        self._words = [".", *(f"<{role}>" for role in sorted(self.roles))]
        self._roles = {word: number for number, word in enumerate(self._words) if number != END}
        self._ids: dict[str, int] = {}  # of what is said: a word that reads like a role is none

    def prompt(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), after: Completion | None = None
    ) -> Prompt:
        parts = [self._role("system", 5 * len(tools))]
        for message in messages:
            said = message.completion.ids if message.completion is not None else self._all(message.content.split())
            parts += [self._role(message.role), said]
        ids = np.concatenate([*parts, self._role("assistant")])
        return Prompt(ids, *relation(after if after is not None and len(after.ids) else None, ids))

    def say(self, text: str, *, stop: Sequence[str] = ()) -> Ids:
        return np.append(self._all(text.split()), np.int32(END))

    def decode(self, ids: Ids) -> str:
        return " ".join(self._words[i] for i in ids if i != END)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def _role(self, role: str, times: int = 1) -> Ids:
        return np.array([self._roles[f"<{role}>"]] * times, np.int32)

    def _all(self, words: Sequence[str]) -> Ids:
        for word in words:
            if word not in self._ids:
                self._ids[word] = len(self._words)
                self._words.append(word)
        return np.array([self._ids[word] for word in words], np.int32)


class Says:
    """Says what `words(dialogue)` gives, cut to the tokens that are allowed; each token as if its chance were 1/2."""

    accepts: frozenset[type] = frozenset()
    exact: bool | None = True
    repeatable = True
    version = Version()

    def __init__(self, words: Callable[[Dialogue], str], codec: WordCodec | None = None) -> None:
        self.words, self.codec = words, codec or WordCodec()
        self.asked: list[Dialogue] = []

    async def act(self, dialogue: Dialogue) -> Completion:
        assert dialogue.prompt is not None
        if len(dialogue.prompt.ids) >= self.codec.max_context:
            raise ContextOverflow(f"{len(dialogue.prompt.ids)} tokens")
        self.asked.append(dialogue)
        ids = self.codec.say(self.words(dialogue))[: dialogue.max_tokens]
        count = len(ids)
        return Completion(
            self.codec.decode(ids), dialogue.prompt.ids, ids, np.full(count, np.log(0.5), np.float32),
            np.full(count, np.log(2), np.float32), np.zeros(count, np.int32), "stop" if ids[-1] == END else "length",
        )  # fmt: skip

    async def refresh(self, weights: Weights) -> None: ...

    def forget(self, key: str) -> None: ...
