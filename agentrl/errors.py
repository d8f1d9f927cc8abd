"""Every deliberate error, in one tree, named by the boundary that was crossed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AgentRLError(Exception):
    """Something agentrl itself decided to refuse; its message is meant for a person."""


class ConfigError(AgentRLError):
    """A run file, a command line or a setting asks for something that does not exist or does not fit."""


class PluginError(AgentRLError):
    """A plugin does not do what its hooks or its contract promise."""


class EnvironmentFault(AgentRLError):
    """The machinery of a world failed (not: the agent did something wrong in it)."""


class PolicyFault(AgentRLError):
    """The policy or the engine behind it could not answer."""


class SandboxFault(AgentRLError):
    """The machinery of a sandbox failed (not: the program inside it)."""


class ContextOverflow(AgentRLError):
    """A prompt leaves no room for an answer; ends the trajectory with `Outcome.CONTEXT_LIMIT`."""


class DataError(AgentRLError):
    """Arrays that belong together disagree, or a file is not what it claims to be."""


class RecordError(AgentRLError):
    """A run folder cannot be written, read or resumed."""


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """One sentence: the nearest allowed word if there is one, and the allowed words.

    >>> did_you_mean("gipgo", ["grpo", "gigpo"])
    "Did you mean 'gigpo'? Allowed: gigpo, grpo."
    """
    words = sorted(allowed)
    near = difflib.get_close_matches(given, words, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"{hint}Allowed: {', '.join(words) or 'nothing'}."
