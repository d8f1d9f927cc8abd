"""A table of logits, one per state and action: the smallest model that learns."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

import agentrl

FILE = "table.json"


@agentrl.hookimpl
def register_models(register: Any) -> None:
    register("table", Table)


class Table:
    """Logits by state text and action text, 0 where nothing was learned yet.

    A text becomes a token by hashing, so that ids depend neither on the order in which states are met nor on what
    was evaluated in between. Acting never changes the table; only a trainer adds entries.
    """

    def __init__(self) -> None:
        self.version = 0
        self.logits: agentrl.Floats = np.zeros(0)  # [E], one per entry, in the order they were added
        self._positions: dict[tuple[int, str], int] = {}  # (state id, action) → entry
        self._texts: dict[int, str] = {}

    def token(self, text: str) -> int:
        """The id of a state or an action, in [0, 2^31). Raises PolicyFault in the unlikely case that two texts share one."""
        found = (
            int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big") >> 1
        )
        if self._texts.setdefault(found, text) != text:
            raise agentrl.PolicyFault(
                f"model 'table': {text!r} and {self._texts[found]!r} share the id {found}; a table is for few states"
            )
        return found

    def row(self, state: int, actions: tuple[str, ...]) -> agentrl.Floats:
        """float64 [A], the logits of these actions in a state."""
        positions = [self._positions.get((state, action), -1) for action in actions]
        return np.array([self.logits[position] if position >= 0 else 0.0 for position in positions])

    def positions(self, state: int, actions: tuple[str, ...]) -> list[int]:
        """The entries of these actions in a state, added with logit 0 where they are missing; for trainers."""
        if state not in self._texts:
            raise agentrl.DataError(
                f"model 'table' never named state {state}; did another policy play these trajectories?"
            )
        found = [self._positions.setdefault((state, action), len(self._positions)) for action in actions]
        if len(self._positions) > len(self.logits):
            self.logits = np.concatenate([self.logits, np.zeros(len(self._positions) - len(self.logits))])
        return found

    def save(self, folder: Path) -> None:
        """Write `table.json`: the version and a list of [state, action, logit], exact to the last bit."""
        folder.mkdir(parents=True, exist_ok=True)
        entries = [
            [self._texts[state], action, logit]
            for (state, action), logit in zip(self._positions, self.logits.tolist(), strict=True)
        ]
        content = json.dumps({"version": self.version, "entries": entries}, indent=0)
        (folder / FILE).write_text(content, encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Take over a saved table, in place. Raises RecordError where there is none or it cannot be read."""
        try:
            content = json.loads((folder / FILE).read_text(encoding="utf-8"))
            version = int(content["version"])
            entries = [(str(state), str(action), float(logit)) for state, action, logit in content["entries"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise agentrl.RecordError(
                f"{folder / FILE} is not a saved table ({type(error).__name__}: {error}); give a folder that model 'table' wrote"
            ) from error
        self.version = version
        self._positions = {(self.token(state), action): entry for entry, (state, action, _) in enumerate(entries)}
        self.logits = np.array([logit for _, _, logit in entries], np.float64)
