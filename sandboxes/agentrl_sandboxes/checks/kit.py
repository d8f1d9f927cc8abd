"""The kit for sandboxes: the contract, and an escape suite whose every attempt is known to be able to succeed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial

from agentrl import CheckFailed, CheckSkipped, ConfigError, Report, SandboxProvider, run_checks
from agentrl_sandboxes.checks import (
    escapes_grader,
    escapes_host,
    escapes_kernel,
    escapes_network,
    escapes_processes,
    escapes_resources,
    escapes_results,
)
from agentrl_sandboxes.checks.abilities import CHECKS as ABILITY_CHECKS
from agentrl_sandboxes.checks.attempts import GOT_OUT, Attempt, Stage
from agentrl_sandboxes.checks.contract import CHECKS as CONTRACT_CHECKS
from agentrl_sandboxes.checks.naive import Naive, run_disposable
from agentrl_sandboxes.checks.scene import Scene

CHECKS = {**CONTRACT_CHECKS, **ABILITY_CHECKS}
ATTEMPTS: list[Attempt] = [
    *escapes_host.ATTEMPTS,
    *escapes_processes.ATTEMPTS,
    *escapes_network.ATTEMPTS,
    *escapes_kernel.ATTEMPTS,
    *escapes_resources.ATTEMPTS,
    *escapes_results.ATTEMPTS,
    *escapes_grader.ATTEMPTS,
]


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
    checks: dict[str, Callable[[], str | None]] = {title: partial(check, provider) for title, check in chosen.items()}
    with Scene() as scene:
        stage = Stage(provider, scene)
        for attempt in attempts:
            checks[f"escape: {attempt.kind}: {attempt.name}"] = partial(_held, stage, attempt)
        return run_checks("sandbox", name or provider.name, checks)


def succeeds_unprotected(attempt: Attempt, scene: Scene) -> bool:
    """Make an attempt where nothing stops it, to see that it can succeed; one that would hurt, in a throw-away place.

    Raises PermissionError where that cannot be done on this machine.
    """
    reason = attempt.needs(scene)
    if reason:
        raise PermissionError(reason)
    if attempt.control != "naive" and os.geteuid() != 0:
        raise PermissionError("only root can do this, protected or not")
    if attempt.control == "disposable":
        return run_disposable(attempt.code, scene.env) == GOT_OUT
    stage = Stage(Naive(scene.descriptor), scene)
    try:
        return attempt.run(stage)
    finally:
        stage.clear()


def _held(stage: Stage, attempt: Attempt) -> str | None:
    try:
        escaped = attempt.run(stage)
        if escaped and _promises_nothing(stage):
            raise CheckSkipped("it got out, and the grade says that nothing is promised")
    finally:
        stage.clear()
    if escaped:
        raise CheckFailed("it got out")
    return None


def _promises_nothing(stage: Stage) -> bool:
    return bool(stage.sandbox().grade().get("level") == "none")
