"""Checks that we ship: every contract has one, and every installed plugin is put through it."""

from collections.abc import Callable

from agentrl.errors import ConfigError, did_you_mean
from agentrl.parts.host import Host, default_host
from agentrl.parts.registry import Spec
from agentrl.testing.environment import check_environment
from agentrl.testing.parts import check_context, check_credit, check_dialect, check_sampler
from agentrl.testing.report import CheckFailed, CheckSkipped, Report, Result, require, run_checks


def kit(kind: str, host: Host | None = None) -> Callable[..., Report]:
    """The kit that a plugin offers for a kind of part: `kit("sandbox")(MyProvider, name="mine")`.

    Its first argument makes the part. Raises ConfigError for a kind that no plugin has a kit for.
    """
    return (host or default_host()).part("kit", kind)  # type: ignore[no-any-return]


def check_part(spec: Spec, host: Host) -> Report:
    """The kit of the part's kind. Raises ConfigError for a kind that has none."""
    if spec.kind == "environment":
        return check_environment(spec)
    if spec.kind == "sampler":
        splits = {"train": 100}
        return check_sampler(lambda: host.build(spec, splits=splits, seed=0), name=spec.name)
    kits: dict[str, Callable[..., Report]] = {
        "credit": check_credit,
        "context": check_context,
        "dialect": check_dialect,
    }
    offered = [entry.name for entry in host.registry("kit")]
    if spec.kind in offered:
        return kit(spec.kind, host)(lambda: host.build(spec), name=spec.name)
    if spec.kind not in kits:
        allowed = ["environment", "sampler", *kits, *offered]
        raise ConfigError(f"there is no kit for a {spec.kind} yet. {did_you_mean(spec.kind, allowed)}")
    return kits[spec.kind](host.build(spec), name=spec.name)


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
