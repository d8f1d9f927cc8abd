"""The kit for sandboxes: the contract, and an escape suite whose every attempt is known to be able to succeed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial

from agentrl import (
    CheckFailed,
    CheckSkipped,
    ConfigError,
    Report,
    Sandbox,
    SandboxProvider,
    SandboxSpec,
    require,
    run_checks,
)
from agentrl_sandboxes.checks import (
    abilities,
    blame,
    escapes_grader,
    escapes_host,
    escapes_kernel,
    escapes_later_runs,
    escapes_meeting,
    escapes_network,
    escapes_processes,
    escapes_resources,
    escapes_results,
    limits,
    programs,
    sandboxes,
)
from agentrl_sandboxes.checks.attempts import GOT_OUT, Attempt, Target
from agentrl_sandboxes.checks.canaries import Canaries
from agentrl_sandboxes.checks.naive import Naive, run_disposable

CHECKS = {**programs.CHECKS, **limits.CHECKS, **sandboxes.CHECKS, **abilities.CHECKS, **blame.CHECKS}
ATTEMPTS: list[Attempt] = [
    *escapes_host.ATTEMPTS,
    *escapes_processes.ATTEMPTS,
    *escapes_network.ATTEMPTS,
    *escapes_meeting.ATTEMPTS,
    *escapes_later_runs.ATTEMPTS,
    *escapes_kernel.ATTEMPTS,
    *escapes_resources.ATTEMPTS,
    *escapes_results.ATTEMPTS,
    *escapes_grader.ATTEMPTS,
]
_RACES = 5  # tries, since some attempts race and a busy machine lets them lose

CHEAP = [
    attempt
    for attempt in ATTEMPTS
    if attempt.control == "naive"
    and attempt.kind
    in {
        "read host files",
        "write outside the workspace",
        "setuid",
        "see host processes",
        "reach any network",
        "ptrace",
        "new user namespaces",
        "io_uring",
        "fake exit codes in the output",
        "symlink and /proc tricks on put/get",
    }
]
"""Those that take a moment, and hurt nobody where they succeed."""


def check_sandbox(make: Callable[[], SandboxProvider], *, name: str = "") -> Report:
    """Put a provider of sandboxes through the contract and the escape suite, and close it.

    `make` gives the provider: its class, for instance. Raises ConfigError where it cannot work on this machine.
    """
    with make() as provider:
        return check_provider(provider, name=name)


def check_provider(
    provider: SandboxProvider, *, name: str = "", contract: bool = True, attempts: Sequence[Attempt] = ATTEMPTS
) -> Report:
    """Likewise, for a provider that lives on; parts of the suite can be left out.

    A sandbox whose grade says that it promises nothing may let attempts succeed: they count as skipped.
    """
    obstacle = provider.obstacle()
    if obstacle:
        raise ConfigError(f"{name or provider.name} cannot be checked here: {obstacle}")
    chosen = CHECKS if contract else {}
    checks: dict[str, Callable[[], str | None]] = {"a_sandbox_can_be_made": _Gate(provider)}
    checks |= {title: partial(check, provider) for title, check in chosen.items()}
    with Canaries() as canaries:
        target = Target(provider, canaries)
        for attempt in attempts:
            checks[f"escape: {attempt.kind}: {attempt.name}"] = partial(_held, target, attempt)
        return run_checks("sandbox", name or provider.name, checks)


def succeeds_unprotected(attempt: Attempt, canaries: Canaries) -> bool:
    """Make an attempt where nothing stops it, to see that it can succeed; one that would hurt, in a throw-away place.

    Raises PermissionError where that cannot be done on this machine.
    """
    reason = attempt.needs(canaries)
    if reason:
        raise PermissionError(reason)
    if attempt.control != "naive" and os.geteuid() != 0:
        raise PermissionError("only root can do this, protected or not")
    if attempt.control == "disposable":
        return run_disposable(attempt.code, canaries.env) == GOT_OUT
    return any(_once_unprotected(attempt, canaries) for _ in range(_RACES))


def _once_unprotected(attempt: Attempt, canaries: Canaries) -> bool:
    target = Target(Naive(leak=canaries.descriptor), canaries)
    try:
        return attempt.run(target)
    finally:
        target.clear()


class _Gate:
    """The check without which no other means anything."""

    gate = True

    def __init__(self, provider: SandboxProvider) -> None:
        self._provider = provider

    def __call__(self) -> None:
        with self._provider.create(SandboxSpec()) as sandbox:
            require(isinstance(sandbox, Sandbox), f"create gave {sandbox!r}, which is no agentrl.Sandbox")


def _held(target: Target, attempt: Attempt) -> str | None:
    try:
        escaped = attempt.run(target)
        stated = reason_stated(attempt, target) if escaped else ""
        if stated:
            raise CheckSkipped(f"it got out, and the grade says that {stated}")
    finally:
        target.clear()
    if escaped:
        raise CheckFailed("it got out")
    return None


def reason_stated(attempt: Attempt, target: Target) -> str:
    """What the grade says of an attempt that may succeed, "" where it should not."""
    grade = target.sandbox().grade()
    if grade.get("level") == "none":
        return "nothing is promised"
    channels = grade.get("channels", ())
    stated = isinstance(channels, (list, tuple)) and attempt.channel and attempt.channel in channels
    return f"this is not closed: {attempt.channel}" if stated else ""
