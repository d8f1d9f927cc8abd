"""Everything a plugin can do: offer parts of each kind, columns, kits and commands, and watch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import pluggy

from agentrl.parts.kinds import KINDS

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


def _offering(hook: str, does: str) -> Callable[[Register], None]:
    def offer(register: Register) -> None: ...

    offer.__name__, offer.__doc__ = hook, f"Offer {hook.removeprefix('register_')}: {does}."
    return offer


def register_columns(declare: Callable[[Column], None]) -> None:
    """Declare columns: `declare(agentrl.Column("name", "float32", "token"))`. Equal twins are fine."""


def register_kits(register: Register) -> None:
    """Offer kits: `register("sandbox", "module:check")` checks parts of a kind by `check(make, *, name) -> Report`."""


def register_commands(cli: click.Group) -> None:
    """Add commands to the `agentrl` command line (`cli` is a click.Group)."""


def on_trajectories(update: int, trajectories: Sequence[Trajectory]) -> None:
    """Watch: called with what was collected, before credit. Return values are ignored, what it raises is logged."""


def on_update(update: int, metrics: dict[str, float]) -> None:
    """Watch: called after an update was committed to disk. Return values are ignored, what it raises is logged."""


_OTHERS: tuple[Callable[..., None], ...] = (
    register_columns, register_kits, register_commands, on_trajectories, on_update,
)  # fmt: skip
HOOKS = {hook.__name__: hookspec(hook) for hook in (*(_offering(k.hook, k.does) for k in KINDS.values()), *_OTHERS)}
"""Every hook by name."""
