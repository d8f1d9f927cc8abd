"""Everything a plugin can do: one hook per kind of part, one for columns, two that watch, one that adds commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    import click

    from agentrl.data.columns import Column
    from agentrl.data.types import Trajectory

hookspec = pluggy.HookspecMarker("agentrl")
hookimpl = pluggy.HookimplMarker("agentrl")


class Register(Protocol):
    """`register("name", callable)`, or `register("name", "module:object")`, which is imported only when used.

    `scope` says what a credit, shaper or judge compares: "group" (unless given), "update" or "run" (it has state).
    """

    def __call__(self, name: str, part: object, *, scope: str = "") -> None: ...


@hookspec
def register_environments(register: Register) -> None:
    """Offer worlds: callables that give a `gymnasium.Env` with text spaces; keyword-only parameters are settings."""


@hookspec
def register_sandboxes(register: Register) -> None:
    """Offer sandboxes: places where untrusted code runs (`agentrl.SandboxProvider`)."""


@hookspec
def register_models(register: Register) -> None:
    """Offer models: weights plus the codec that turns words into ids (`agentrl.Model`)."""


@hookspec
def register_policies(register: Register) -> None:
    """Offer policies: who acts (`agentrl.Policy`), or who acts by looking at the world (`agentrl.Demonstrator`)."""


@hookspec
def register_contexts(register: Register) -> None:
    """Offer contexts: what of the past the policy sees each turn, a function or an `agentrl.Context`."""


@hookspec
def register_dialects(register: Register) -> None:
    """Offer dialects: how an action is written in text, and read back (`agentrl.Dialect`)."""


@hookspec
def register_collectors(register: Register) -> None:
    """Offer collectors: they play one draw and return its groups (`agentrl.Collector`)."""


@hookspec
def register_samplers(register: Register) -> None:
    """Offer samplers: which tasks come next (`agentrl.Sampler`)."""


@hookspec
def register_credits(register: Register) -> None:
    """Offer credits: functions `f(trajectories, *, settings) -> advantages`, per turn or per token."""


@hookspec
def register_shapers(register: Register) -> None:
    """Offer shapers: functions `f(trajectories, advantages, *, settings) -> advantages`."""


@hookspec
def register_losses(register: Register) -> None:
    """Offer losses: classes (`agentrl.Loss`) called with per-token log-probs, advantages and weights."""


@hookspec
def register_trainers(register: Register) -> None:
    """Offer trainers: they alone change weights while their stage runs (`agentrl.Trainer`)."""


@hookspec
def register_judges(register: Register) -> None:
    """Offer judges: they write columns into trajectories before credit (`agentrl.Judge`)."""


@hookspec
def register_loggers(register: Register) -> None:
    """Offer loggers: they take metrics somewhere (`agentrl.Logger`)."""


@hookspec
def register_columns(declare: Declare) -> None:
    """Declare columns: `declare(agentrl.Column("name", "float32", "token"))`. Equal twins are fine."""


@hookspec
def register_kits(register: Register) -> None:
    """Offer kits: `register("sandbox", "module:check")` checks parts of a kind by `check(make, *, name) -> Report`."""


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to the `agentrl` command line (`cli` is a click.Group)."""


@hookspec
def on_trajectories(update: int, trajectories: Sequence[Trajectory]) -> None:
    """Watch: called with what was collected, before credit. Return values are ignored."""


@hookspec
def on_update(update: int, metrics: dict[str, float]) -> None:
    """Watch: called after an update was committed to disk. Return values are ignored."""


class Declare(Protocol):
    """`declare(column)`."""

    def __call__(self, column: Column) -> None: ...
