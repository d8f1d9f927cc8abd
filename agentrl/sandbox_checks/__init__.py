"""The kit for sandboxes: the contract, and an escape suite whose every attempt is known to be able to succeed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial

from agentrl.errors import ConfigError
from agentrl.sandbox import SandboxProvider
from agentrl.sandbox_checks import (
    escapes_grader,
    escapes_host,
    escapes_kernel,
    escapes_network,
    escapes_processes,
    escapes_resources,
    escapes_results,
)
from agentrl.sandbox_checks.abilities import CHECKS as ABILITY_CHECKS
from agentrl.sandbox_checks.attempts import GOT_OUT, Attempt, Stage
from agentrl.sandbox_checks.contract import CHECKS as CONTRACT_CHECKS
from agentrl.sandbox_checks.naive import Naive, run_disposable
from agentrl.sandbox_checks.scene import Scene
from agentrl.testing.report import CheckFailed, CheckSkipped, Report, run_checks

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


def check_sandbox(
    provider: SandboxProvider, *, name: str = "", contract: bool = True, attempts: Sequence[Attempt] = ATTEMPTS
) -> Report:
    """Put a sandbox through its contract and, unless its grade says that it promises nothing, the escape suite."""
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
