"""agentrl: train and evaluate LLM agents over many turns. Everything public is listed in `__all__`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from agentrl.gymnasium_ids import register as _register_ids

if TYPE_CHECKING:
    from agentrl.contracts import Advantages, Dialogue, Loss, LossBatch, Model, Policy, Reading
    from agentrl.environment import Environment, UnicodeText
    from agentrl.errors import (
        AgentRLError,
        ConfigError,
        ContextOverflow,
        DataError,
        EnvironmentFault,
        PluginError,
        PolicyFault,
        RecordError,
        SandboxFault,
        did_you_mean,
    )
    from agentrl.hookspecs import hookimpl
    from agentrl.host import Host, default_host
    from agentrl.registry import Spec, factory
    from agentrl.rows import Row, relation, training_rows
    from agentrl.sandbox import (
        ExecResult,
        ExecUsage,
        FileTree,
        OutputStream,
        Sandbox,
        SandboxLimits,
        SandboxProvider,
        SandboxSession,
        SandboxSnapshot,
        SandboxSpec,
    )
    from agentrl.scoring import Score, ScoringCase, score_calls, score_cases, score_tests
    from agentrl.toolcalls import ToolAction, ToolCall
    from agentrl.tools import ToolEnvironment, ToolError, tool
    from agentrl.types import (
        Completion,
        Floats,
        Ids,
        Logprobs,
        Message,
        Outcome,
        Sampling,
        Task,
        Trajectory,
        Turn,
        groups,
        trainable,
    )

_WHERE = {
    "contracts": ["Advantages", "Dialogue", "Loss", "LossBatch", "Model", "Policy", "Reading"],
    "environment": ["Environment", "UnicodeText"],
    "errors": [
        "AgentRLError",
        "ConfigError",
        "ContextOverflow",
        "DataError",
        "EnvironmentFault",
        "PluginError",
        "PolicyFault",
        "RecordError",
        "SandboxFault",
        "did_you_mean",
    ],
    "host": ["Host", "default_host"],
    "hookspecs": ["hookimpl"],
    "registry": ["Spec", "factory"],
    "rows": ["Row", "relation", "training_rows"],
    "sandbox": [
        "ExecResult",
        "ExecUsage",
        "FileTree",
        "OutputStream",
        "Sandbox",
        "SandboxLimits",
        "SandboxProvider",
        "SandboxSession",
        "SandboxSnapshot",
        "SandboxSpec",
    ],
    "scoring": ["Score", "ScoringCase", "score_calls", "score_cases", "score_tests"],
    "toolcalls": ["ToolAction", "ToolCall"],
    "tools": ["ToolEnvironment", "ToolError", "tool"],
    "types": [
        "Completion",
        "Floats",
        "Ids",
        "Logprobs",
        "Message",
        "Outcome",
        "Sampling",
        "Task",
        "Trajectory",
        "Turn",
        "groups",
        "trainable",
    ],
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}
__all__ = sorted(_MODULE_OF)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """Import the face lazily (PEP 562), so that light commands stay light."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'agentrl' has no attribute {name!r}")
    return getattr(importlib.import_module(f"agentrl.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__


_register_ids()  # gymnasium.make("agentrl/<world>-v0") works from here on
