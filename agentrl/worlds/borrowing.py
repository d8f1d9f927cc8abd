"""A world that is asked something outside of trajectories: for its splits, for its words."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping

import gymnasium
import numpy as np

from agentrl.errors import AgentRLError, EnvironmentFault, PluginError
from agentrl.parts.faults import in_words, interrupts, short
from agentrl.worlds.stepping import Clock, Raised, World, tried

log = logging.getLogger(__name__)
Make = Callable[[], gymnasium.Env[str, str]]
ENDLESS = {"train": 2**31 - 1}
"""The splits of a world that names none."""


@contextlib.contextmanager
def borrowed(make: Make, attempts: int = 2) -> Iterator[gymnasium.Env[str, str]]:
    """A world for the length of a block. Raises EnvironmentFault where it cannot be made, or breaks in the block."""
    env = _made(make, attempts)
    try:
        yield env
    except BaseException as error:
        if interrupts(error) or isinstance(error, AgentRLError):
            raise
        raise EnvironmentFault(f"the world {type(env.unwrapped).__name__} broke: {in_words(error)}") from error
    finally:
        World(env, Clock()).close()


def splits_of(make: Make) -> Mapping[str, int]:
    """The splits of a world. Raises EnvironmentFault as `borrowed` does, and PluginError for what are no splits."""
    with borrowed(make) as env:
        splits: object = getattr(env.unwrapped, "splits", ENDLESS)
        if isinstance(splits, Mapping) and splits and all(map(_is_size, splits.values())):
            return {str(name): int(size) for name, size in splits.items()}
        raise PluginError(
            f"the splits of the world {type(env.unwrapped).__name__} are {short(splits)}; they are a mapping, name → "
            "number of tasks"
        )


def _made(make: Make, attempts: int) -> gymnasium.Env[str, str]:
    for _ in range(attempts):
        try:
            return tried(make)
        except Raised as raised:
            cause = raised.error
            log.warning("a world could not be made: %s", in_words(cause))
    raise cause if isinstance(cause, AgentRLError) else EnvironmentFault(f"a world cannot be made: {in_words(cause)}")


def _is_size(size: object) -> bool:
    return isinstance(size, (int, np.integer)) and not isinstance(size, bool) and bool(size >= 0)
