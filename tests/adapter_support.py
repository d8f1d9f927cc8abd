"""What the tests of all adapters share: the kit, told which differences a foreign world may have."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from agentrl import Spec, default_host
from agentrl.testing import check_environment


def build(name: str, **settings: Any) -> Any:
    """The installed world."""
    return default_host().build(Spec("environment", name, settings))


def assert_conforms(name: str, *, but: Collection[str] = (), actions: int = 300, **settings: Any) -> None:
    """Put a world through the kit; checks named in `but` may fail, for a reason given beside the call."""
    report = check_environment(Spec("environment", name, settings), actions=actions, step_limit_s=60)
    failed = {result.check: result.detail for result in report.failures if result.check not in but}
    assert not failed, failed


def play_expert(env: Any) -> list[Any]:
    """The steps of an episode that has begun, played by the world's own expert."""
    steps: list[Any] = []
    while not steps or not (steps[-1][2] or steps[-1][3]):
        steps.append(env.step(env.expert_action()))
    return steps
