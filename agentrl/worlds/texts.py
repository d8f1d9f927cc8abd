"""Words of a world for a tokenizer to be trained on: seeded play, instructions, tools."""

from __future__ import annotations

import contextlib
import functools
import json
from collections import UserList
from collections.abc import Callable, Iterable, Iterator, Sequence

import gymnasium
import numpy as np

from agentrl.data.types import Info
from agentrl.parts.words import Dialect

TRAJECTORIES = 400
"""How many trajectories are played."""


class WorldTexts(UserList[str]):
    """What a world and its expert say, its instructions and its tools; played when first read, once."""

    def __init__(
        self,
        environment: Callable[[], gymnasium.Env[str, str]],
        dialect: Dialect,
        seed: int,
        report: Callable[[int, int], None] | None = None,
    ) -> None:
        """`report(done, of)` is told how far the play is."""
        self._play = functools.partial(_played, dialect=dialect, seed=seed, report=report)
        self._environment = environment

    @functools.cached_property
    def data(self) -> list[str]:  # type: ignore[override]
        """All of them."""
        with contextlib.closing(self._environment()) as env:
            return list(self._play(env))


def _played(
    env: gymnasium.Env[str, str], dialect: Dialect, seed: int, report: Callable[[int, int], None] | None
) -> Iterator[str]:
    """Observations and actions (as the dialect writes them): the expert's, a third of them random."""
    random = np.random.default_rng([seed, 7])
    for number in range(TRAJECTORIES):
        observation, info = env.reset(seed=int(random.integers(2**31)))
        over = False
        while not over:
            action = _any_action(env, info, random)
            yield observation
            yield dialect.write(action)
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        yield observation
        if report is not None:
            report(number + 1, TRAJECTORIES)
    yield from _told(env, dialect)


def _told(env: gymnasium.Env[str, str], dialect: Dialect) -> Iterator[str]:
    """What a model is told once: instructions of world and dialect, and the tools as JSON."""
    for words in (getattr(env.unwrapped, "instructions", ""), dialect.instructions):
        if words:
            yield str(words)
    tools: Iterable[object] = getattr(env.unwrapped, "tool_schemas", ()) or ()
    for tool in tools:
        yield json.dumps(tool, ensure_ascii=False)


def _any_action(env: gymnasium.Env[str, str], info: Info, random: np.random.Generator) -> str:
    listed = info.get("admissible")
    admissible: Sequence[str] = tuple(listed) if isinstance(listed, (list, tuple)) else ()
    if random.random() < 1 / 3 and admissible:
        return str(admissible[int(random.integers(len(admissible)))])
    try:
        return str(env.unwrapped.expert_action())  # type: ignore[attr-defined]
    except (AttributeError, NotImplementedError):
        return str(admissible[0]) if admissible else str(env.action_space.sample())
