"""Everything a plugin can do: one hook per kind of part, two that watch, one that adds commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pluggy

hookspec = pluggy.HookspecMarker("agentrl")
hookimpl = pluggy.HookimplMarker("agentrl")

Register: TypeAlias = Callable[[str, Any], None]
"""`register("name", callable)` or `register("name", "module:object")`, which is imported only when used."""

KINDS: dict[str, str] = {
    "environment": "register_environments",
    "sandbox": "register_sandboxes",
    "model": "register_models",
    "policy": "register_policies",
    "context": "register_contexts",
    "dialect": "register_dialects",
    "collector": "register_collectors",
    "sampler": "register_samplers",
    "credit": "register_credits",
    "shaper": "register_shapers",
    "loss": "register_losses",
    "trainer": "register_trainers",
    "judge": "register_judges",
    "logger": "register_loggers",
}
"""Kind of part → the hook that offers parts of this kind."""

OFFERS: dict[str, str] = {**KINDS, "kit": "register_kits"}
"""Everything that is offered by name: parts of each kind, and kits."""


@hookspec
def register_environments(register: Register) -> None:
    """Offer worlds: callables that give a `gymnasium.Env` with text spaces; keyword-only parameters are settings."""


@hookspec
def register_sandboxes(register: Register) -> None:
    """Offer sandboxes: places where untrusted code runs (`agentrl.Sandbox`)."""


@hookspec
def register_models(register: Register) -> None:
    """Offer models: weights plus tokenizer, shared by policy and trainer (`agentrl.Model`)."""


@hookspec
def register_policies(register: Register) -> None:
    """Offer policies: who acts. Classes; positional parameters `model` and `encoder` are handed in by the run."""


@hookspec
def register_contexts(register: Register) -> None:
    """Offer contexts: what of the past the policy sees each turn."""


@hookspec
def register_dialects(register: Register) -> None:
    """Offer dialects: how an action is written in text, and read back."""


@hookspec
def register_collectors(register: Register) -> None:
    """Offer collectors: they play tasks with a policy and return trajectories."""


@hookspec
def register_samplers(register: Register) -> None:
    """Offer samplers: which tasks come next."""


@hookspec
def register_credits(register: Register) -> None:
    """Offer credits: functions `f(trajectories, *, settings) -> advantages per turn`."""


@hookspec
def register_shapers(register: Register) -> None:
    """Offer shapers: functions `f(trajectories, advantages, *, settings) -> advantages`."""


@hookspec
def register_losses(register: Register) -> None:
    """Offer losses: classes (`agentrl.Loss`) called with per-token log-probs, advantages and weights."""


@hookspec
def register_trainers(register: Register) -> None:
    """Offer trainers. Classes; positional parameters `model` and `loss` are handed in by the run."""


@hookspec
def register_judges(register: Register) -> None:
    """Offer judges: they annotate trajectories before credit."""


@hookspec
def register_loggers(register: Register) -> None:
    """Offer loggers: they take metrics somewhere."""


@hookspec
def register_kits(register: Register) -> None:
    """Offer kits: `register("sandbox", "module:check")` checks parts of a kind by `check(make, *, name) -> Report`."""


@hookspec
def register_commands(cli: Any) -> None:
    """Add commands to the `agentrl` command line (`cli` is a click.Group)."""


@hookspec
def on_trajectories(update: int, trajectories: Sequence[Any]) -> None:
    """Watch: called with what was collected, before credit. Return values are ignored."""


@hookspec
def on_update(update: int, metrics: dict[str, float]) -> None:
    """Watch: called after an update was committed to disk. Return values are ignored."""
