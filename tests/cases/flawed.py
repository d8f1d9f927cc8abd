"""Lamps as a stranger may write them: one task of the 24 is flawed in a way that a setting names, all others are sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from cases.lamps import Lamps

import agentrl

FLAWED = 5
"""Index of the flawed task."""
MADE: list[int] = []
"""One entry for each world that was made; the constructor of the flaw "made" looks at it."""

Step = tuple[Any, Any, Any, Any, Any]


def _raises(error: BaseException) -> Callable[..., Any]:
    def raise_it(*_: Any) -> Any:
        raise error

    return raise_it


STEPS: Mapping[str, Callable[[Any, Any, Any, Any, dict[str, Any]], Any]] = {
    "reward: nothing": lambda o, r, e, c, i: (o, None, e, c, i),
    "reward: a word": lambda o, r, e, c, i: (o, "much", e, c, i),
    "reward: a numeral in quotes": lambda o, r, e, c, i: (o, "1.0", e, c, i),
    "reward: a list of one": lambda o, r, e, c, i: (o, np.array([r]), e, c, i),
    "reward: two numbers": lambda o, r, e, c, i: (o, np.array([r, r]), e, c, i),
    "reward: complex": lambda o, r, e, c, i: (o, 1j, e, c, i),
    "reward: NaN": lambda o, r, e, c, i: (o, float("nan"), e, c, i),
    "reward: infinite": lambda o, r, e, c, i: (o, float("-inf"), e, c, i),
    "reward: beyond floats": lambda o, r, e, c, i: (o, 10**400, e, c, i),
    "rewards: a list": lambda o, r, e, c, i: (o, r, e, c, i | {"rewards": [0.5]}),
    "rewards: a part is nothing": lambda o, r, e, c, i: (o, r, e, c, i | {"rewards": {"goal": None}}),
    "rewards: a part is NaN": lambda o, r, e, c, i: (o, r, e, c, i | {"rewards": {"goal": float("nan")}}),
    "step: four values": lambda o, r, e, c, i: (o, r, e or c, i),
    "step: nothing": lambda o, r, e, c, i: None,
    "info: nothing": lambda o, r, e, c, i: (o, r, e, c, None),
    "info: a list": lambda o, r, e, c, i: (o, r, e, c, ["success"]),
    "observation: nothing": lambda o, r, e, c, i: (None, r, e, c, i),
    "observation: bytes": lambda o, r, e, c, i: (o.encode(), r, e, c, i),
    "terminated: an array": lambda o, r, e, c, i: (o, r, np.array([e, e]), c, i),
    "truncated: a word": lambda o, r, e, c, i: (o, r, e, "false", i),
    "success: a word": lambda o, r, e, c, i: (o, r, e, c, i | {"success": "false"}),
    "success: an array": lambda o, r, e, c, i: (o, r, e, c, i | {"success": np.array([True, False])}),
    "success: one half": lambda o, r, e, c, i: (o, r, e, c, i | {"success": 0.5}),
    "admissible: a word": lambda o, r, e, c, i: (o, r, e, c, i | {"admissible": "01234"}),
    "admissible: numbers": lambda o, r, e, c, i: (o, r, e, c, i | {"admissible": (0, 1)}),
    "admissible: a set": lambda o, r, e, c, i: (o, r, e, c, i | {"admissible": {"0", "1"}}),
    "calls: a number": lambda o, r, e, c, i: (o, r, e, c, i | {"calls": 2}),
    "cost: a word": lambda o, r, e, c, i: (o, r, e, c, i | {"cost": "much"}),
    "raises": _raises(RuntimeError("the lamps fell down")),
    "raises: an exit": _raises(SystemExit(3)),
    "raises: a panic": _raises(BaseException("a panic of a library")),
    "close": _raises(RuntimeError("the lamps fell down")),
}  # fmt: skip
"""Flaw → what a step gives in place of what it should."""

RESETS: Mapping[str, Callable[[str, dict[str, Any]], Any]] = {
    "reset: no info": lambda o, i: o,
    "reset: info is nothing": lambda o, i: (o, None),
    "reset: observation is nothing": lambda o, i: (None, i),
    "reset: observation in a mapping": lambda o, i: ({"text": o}, i),
    "reset: hidden is a list": lambda o, i: (o, i | {"hidden": [1]}),
}

WORDS: Mapping[str, tuple[str, Callable[[], Any]]] = {
    "tools: raise": ("tool_schemas", _raises(ConnectionError("the tools are gone"))),
    "tools: exit": ("tool_schemas", _raises(SystemExit(1))),
    "tools: an attribute is missing": ("tool_schemas", _raises(AttributeError("no tools yet"))),
    "tools: a word": ("tool_schemas", lambda: "search"),
    "tools: a mapping": ("tool_schemas", lambda: {"search": {}}),
    "instructions: raise": ("instructions", _raises(ConnectionError("nobody tells"))),
    "instructions: a list": ("instructions", lambda: ["light", "the", "lamps"]),
}
"""Flaw → which property, and what it gives."""

SOUND: Mapping[str, Callable[[Any, Any, Any, Any, dict[str, Any]], Any]] = {
    "numpy": lambda o, r, e, c, i: (np.str_(o), np.float32(r), np.bool_(e), np.bool_(c), i | {"success": np.bool_(e)}),
    "whole numbers": lambda o, r, e, c, i: (o, int(r), int(e), int(c), i | {"success": int(e)}),
    "reward: a truth": lambda o, r, e, c, i: (o, bool(r), e, c, i),
    "both ends": lambda o, r, e, c, i: (o, r, e or c, e or c, i),
    "info: huge and live": lambda o, r, e, c, i: (o, r, e, c, i | {"n": 10**400, "file": open("/dev/null"), "s": {1}}),  # noqa: SIM115
    "admissible: an array": lambda o, r, e, c, i: (o, r, e, c, i | {"admissible": np.array(list("01234"))}),
    "nothing said": lambda o, r, e, c, i: (o, r, e, c, i | dict.fromkeys(("anchor", "speaker", "calls", "rewards", "invalid"))),
    "invalid: False": lambda o, r, e, c, i: (o, r, e, c, i | {"invalid": False}),
    "invalid: numpy": lambda o, r, e, c, i: (o, r, e, c, i | {"invalid": np.False_}),
    "invalid: 0": lambda o, r, e, c, i: (o, r, e, c, i | {"invalid": 0}),
}  # fmt: skip
"""What looks odd and is fine."""


class Flawed(Lamps):
    """`flaw` is one of the above, `made` (every fourth world cannot be made) or `close` (which raises after a step that does)."""

    def __init__(self, *, flaw: str, blocks: bool = False) -> None:
        MADE.append(len(MADE))
        self.flaw, self.blocks, self.flawed = flaw, blocks, False
        if flaw == "made" and len(MADE) % 4 == 0:
            raise ConnectionError("the server of the lamps refused")

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> Any:
        observation, info = super().reset(seed=seed, options=options)
        self.flawed = self.lamps == FLAWED
        if self.flawed and self.flaw in RESETS:
            return RESETS[self.flaw](observation, info)
        return observation, info

    def step(self, action: str) -> Any:
        result = super().step(action)
        change = {**STEPS, **SOUND}.get(self.flaw)
        return change(*result) if self.flawed and change else result

    def close(self) -> None:
        if self.flaw == "close" and self.flawed:
            raise OSError("already closed")

    @property
    def tool_schemas(self) -> Any:
        return self._told("tool_schemas", ())

    @property
    def instructions(self) -> Any:  # type: ignore[override]
        return self._told("instructions", "Light all lamps.")

    def _told(self, name: str, sound: object) -> object:
        where, gives = WORDS.get(self.flaw, ("", lambda: None))
        return gives() if self.flawed and where == name else sound


def register_environments(register: agentrl.Register) -> None:
    register("flawed", Flawed)
