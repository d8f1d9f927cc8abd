"""A table of logits, one per state and action: the smallest model that learns."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

import agentrl
from agentrl import Completion, Folder, Ids, Message, Prompt, Shared, Stream, Tool, Version, Weights

FILE = "table.json"


@agentrl.hookimpl
def register_models(register: agentrl.Register) -> None:
    register("table", Table)


class TableCodec:
    """A text becomes one id by hashing, so that ids depend neither on the order in which states are met nor on what
    was evaluated in between. The prompt is the id of what the world said last."""

    name = "table"
    stop_ids: frozenset[int] = frozenset()
    max_context = 2
    roles = frozenset({"system", "user", "assistant", "tool"})
    tools = False
    thoughts: Literal["none", "kept", "dropped"] = "none"

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}  # what ids stand for, to be read by people
        self._prompts: dict[str, Ids] = {}

    def prompt(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), after: Completion | None = None
    ) -> Prompt:
        """Raises PolicyFault where the world said nothing."""
        for message in reversed(messages):
            if message.role in ("user", "tool"):
                ids = self._prompts.get(message.content)
                if ids is None:
                    ids = self._prompts[message.content] = np.array([self.token(message.content)], np.int32)
                    ids.flags.writeable = False
                if after is None or not len(after.prompt_ids):
                    return Prompt(ids)
                return Prompt(ids, "new", int(after.prompt_ids[0] == ids[0]))
        raise agentrl.PolicyFault("model 'table' found no message from the world in the dialogue")

    def say(self, text: str, *, stop: Sequence[str] = ()) -> Ids:
        ends = [text.index(word) + len(word) for word in stop if word and word in text]
        return np.array([self.token(text[: min(ends)] if ends else text)], np.int32)

    def decode(self, ids: Ids) -> str:
        """Raises DataError for an id that this codec never made."""
        try:
            return "".join(self._texts[int(token)] for token in ids)
        except KeyError as error:
            raise agentrl.DataError(
                f"model 'table' never named the id {error}; did another policy play this?"
            ) from None

    def save(self, folder: Path) -> None:
        """Nothing to keep: the ids are hashes."""
        folder.mkdir(parents=True, exist_ok=True)

    def token(self, text: str) -> int:
        """The id of a state or an action, in [0, 2^31). Raises PolicyFault in the unlikely case that two texts share one."""
        token = (
            int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big") >> 1
        )
        if self._texts.setdefault(token, text) != text:
            raise agentrl.PolicyFault(
                f"model 'table': {text!r} and {self._texts[token]!r} share the id {token}; a table is for few states"
            )
        return token


class Table:
    """Logits by state text and action text, 0 where nothing was learned yet.

    Acting never changes the table; only a trainer adds entries.
    """

    def __init__(self) -> None:
        self.codec = TableCodec()
        self.version = Version()
        self.logits: agentrl.Floats = np.zeros(0)  # [E], one per entry, in the order they were added
        self._positions: dict[tuple[int, str], int] = {}  # (state id, action) → entry

    async def publish(self, update: int, via: type[Shared] | type[Folder] | type[Stream]) -> Weights:
        """Shared only. Raises ConfigError for any other way."""
        if via is not Shared:
            raise agentrl.ConfigError(
                f"model 'table' is shared in its process; it cannot be handed out as {via.__name__}"
            )
        self.version = dataclasses.replace(self.version, update=update)
        return Weights(self.version, Shared(self))

    def row(self, state: int, actions: tuple[str, ...]) -> agentrl.Floats:
        """float64 [A], the logits of these actions in a state."""
        positions = [self._positions.get((state, action), -1) for action in actions]
        return np.array([self.logits[position] if position >= 0 else 0.0 for position in positions])

    def positions(self, state: int, actions: tuple[str, ...]) -> list[int]:
        """The entries of these actions in a state, added with logit 0 where they are missing; for trainers."""
        self.codec.decode(np.array([state], np.int32))
        found = [self._positions.setdefault((state, action), len(self._positions)) for action in actions]
        if len(self._positions) > len(self.logits):
            self.logits = np.concatenate([self.logits, np.zeros(len(self._positions) - len(self.logits))])
        return found

    async def save(self, folder: Path) -> None:
        """Write `table.json`: the version and a list of [state, action, logit], exact to the last bit."""
        folder.mkdir(parents=True, exist_ok=True)
        entries = [
            [self.codec.decode(np.array([state], np.int32)), action, logit]
            for (state, action), logit in zip(self._positions, self.logits.tolist(), strict=True)
        ]
        content = json.dumps({"version": self.version.update, "entries": entries}, indent=0)
        (folder / FILE).write_text(content, encoding="utf-8")

    async def load(self, folder: Path) -> None:
        """Take over a saved table, in place. Raises RecordError where there is none or it cannot be read."""
        try:
            content = json.loads((folder / FILE).read_text(encoding="utf-8"))
            version = int(content["version"])
            entries = [(str(state), str(action), float(logit)) for state, action, logit in content["entries"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise agentrl.RecordError(
                f"{folder / FILE} is not a saved table ({type(error).__name__}: {error}); give a folder that model 'table' wrote"
            ) from error
        self.version = dataclasses.replace(self.version, update=version)
        self._positions = {(self.codec.token(state), action): entry for entry, (state, action, _) in enumerate(entries)}
        self.logits = np.array([logit for _, _, logit in entries], np.float64)
