"""Checks that we ship: every contract has one, and every installed plugin is put through it."""

from collections.abc import Callable

from agentrl.errors import ConfigError, did_you_mean
from agentrl.parts.host import Host, default_host
from agentrl.parts.kinds import KINDS
from agentrl.parts.registry import Entry, Spec
from agentrl.testing.environment import check_environment
from agentrl.testing.parts import check_context, check_credit, check_dialect, check_sampler
from agentrl.testing.report import CheckFailed, CheckSkipped, Report, Result, require, run_checks
from agentrl.testing.samples import sample_scope


def kit(kind: str, host: Host | None = None) -> Callable[..., Report]:
    """The kit of a kind of part: `kit("sandbox")(MyProvider, name="mine")`. Its first argument makes the part.

    Raises ConfigError for a kind that has none.
    """
    host = host or default_host()
    own = KINDS[kind].kit if kind in KINDS else ""
    if own:
        return Entry(kind, own, "agentrl").load()  # type: ignore[return-value]
    offered = [entry.name for entry in host.registry("kit")]
    if kind not in offered:
        have = [*offered, *(name for name, known in KINDS.items() if known.kit)]
        raise ConfigError(f"there is no kit for a {kind} yet. {did_you_mean(kind, have)}")
    return host.part("kit", kind)  # type: ignore[return-value]


def check_part(spec: Spec, host: Host) -> Report:
    """Put a part through the kit of its kind. Raises ConfigError for a kind that has none."""
    check = kit(spec.kind, host)
    if spec.kind == "environment":
        return check(spec)
    return check(lambda: host.build(spec, sample_scope()), name=spec.name)


__all__ = [
    "CheckFailed",
    "CheckSkipped",
    "Report",
    "Result",
    "check_context",
    "check_credit",
    "check_dialect",
    "check_environment",
    "check_part",
    "check_sampler",
    "kit",
    "require",
    "run_checks",
]
