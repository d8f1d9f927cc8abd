"""Words of a world for a tokenizer to be trained on: seeded play, instructions, tools."""

from __future__ import annotations

import functools
import json
import logging
from collections import UserList
from collections.abc import Callable, Iterator, Sequence

import gymnasium
import numpy as np

from agentrl.data.types import Info
from agentrl.errors import EnvironmentFault
from agentrl.parts.words import Dialect
from agentrl.worlds.borrowing import Make, borrowed
from agentrl.worlds.steps import checked_reset, checked_step, checked_words

log = logging.getLogger(__name__)
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
        return list(self._play(self._environment))


def _played(environment: Make, dialect: Dialect, seed: int, report: Callable[[int, int], None] | None) -> Iterator[str]:
    """Observations and actions (as the dialect writes them): the expert's, a third of them random.

    A trajectory in which the world breaks is left out, and the next one has a new world. Raises EnvironmentFault where
    more than one in ten does.
    """
    random = np.random.default_rng([seed, 7])
    broken = number = 0
    while True:
        try:
            with borrowed(environment) as env:
                while number < TRAJECTORIES:
                    number += 1
                    yield from _trajectory(env, dialect, random)
                    if report is not None:
                        report(number, TRAJECTORIES)
                yield from _told(env, dialect)
                return
        except EnvironmentFault as error:
            broken += 1
            if broken > 1 + number / 10:
                raise
            log.warning("trajectory %d of %d for the tokenizer is left out: %s", number, TRAJECTORIES, error)


def _trajectory(env: gymnasium.Env[str, str], dialect: Dialect, random: np.random.Generator) -> list[str]:
    observation, info, _ = checked_reset(env.reset(seed=int(random.integers(2**31))))
    texts, over = [observation], False
    while not over:
        action = _any_action(env, info, random)
        step = checked_step(env.step(action))
        texts += [dialect.write(action), step.observation]
        info, over = step.info, step.terminated or step.truncated
    return texts


def _told(env: gymnasium.Env[str, str], dialect: Dialect) -> Iterator[str]:
    """What a model is told once: instructions of world and dialect, and the tools as JSON."""
    world = env.unwrapped
    told = getattr(world, "instructions", ""), getattr(world, "tool_schemas", ())
    instructions, tools = checked_words(told)
    yield from filter(None, (instructions, dialect.instructions))
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
