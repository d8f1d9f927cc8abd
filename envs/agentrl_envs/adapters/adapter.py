"""The part that all adapters share: how tasks are named, and how the library behind one is imported."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import agentrl
from agentrl_envs.replayed import Replayed


class Adapter(Replayed):
    """A world of somebody else. Children say how a task begins and what an action does; live parts go in `_live`.

    `content` is what makes the task that has begun the task it is; equal for equal tasks, also of different splits.
    """

    reward_name = "world"
    resources: ClassVar[tuple[str, ...]] = ("_live",)
    _live: Any = None

    def key(self, task: agentrl.Task) -> str:
        return f"{type(self).__name__.lower()}-{agentrl.fingerprint(self.content())}"


def foreign(module: str, *, extra: str) -> Any:
    """Import the library behind an adapter. Raises ConfigError that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise agentrl.ConfigError(
            f"this environment needs {module!r}, which cannot be imported ({error}). {agentrl.how_to_install(extra)}"
        ) from error
