"""What all checks of the contract need: a small sandbox, and reasons to skip."""

from __future__ import annotations

from collections.abc import Callable

from agentrl import CheckSkipped, ExecResult, Sandbox, SandboxLimits, SandboxProvider, SandboxSpec

Check = Callable[[SandboxProvider], str | None]

SMALL = SandboxLimits(wall_s=20, cpu_s=1, memory_mib=128, pids=24, file_mib=8, disk_mib=32, output_kib=16, flood_mib=8)
LARGER = SandboxLimits(wall_s=20, memory_mib=256, disk_mib=64)
"""For sessions and snapshots, which run an interpreter beside the files."""


def small_sandbox(provider: SandboxProvider, ttl_s: float = 600.0) -> Sandbox:
    """One with low limits, to be closed by the caller."""
    return provider.create(SandboxSpec(limits=SMALL, ttl_s=ttl_s, env={"FROM_SPEC": "yes"}))


def sandbox_with(provider: SandboxProvider, ability: str) -> Sandbox:
    """One with an ability. Raises CheckSkipped for a provider that does not declare the ability."""
    if ability not in provider.abilities:
        raise CheckSkipped(f"it does not declare {ability!r}")
    return provider.create(SandboxSpec(limits=LARGER))


def text_of(result: ExecResult) -> str:
    """Everything that was kept of standard output."""
    return (result.stdout.head + result.stdout.tail).decode()


def need_limits(sandbox: Sandbox) -> None:
    """Raises CheckSkipped for a sandbox whose grade says that nothing is enforced."""
    if sandbox.grade().get("level") == "none":
        raise CheckSkipped("its grade says that it promises nothing")
