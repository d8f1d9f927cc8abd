"""Every installed plugin is put through the kit of its kind."""

from __future__ import annotations

import pytest

from agentrl import Spec, default_host
from agentrl.testing import check_environment, check_part

HOST = default_host()
NEEDS_MORE = {"mcp", "code", "alfworld", "reasoning_gym", "scienceworld", "textarena", "textworld"}
"""Worlds that cannot be built from their defaults, or not everywhere; their own tests run the kit."""


def installed(kind: str) -> list[str]:
    return [entry.name for entry in HOST.registry(kind)]


@pytest.mark.parametrize("name", [name for name in installed("environment") if name not in NEEDS_MORE])
def test_every_world_conforms(name: str) -> None:
    report = check_environment(Spec("environment", name), actions=1_000)
    assert report.passed, report.failures


@pytest.mark.parametrize(
    ("kind", "name"), [(k, n) for k in ("credit", "context", "dialect", "sampler") for n in installed(k)]
)
def test_every_part_conforms(kind: str, name: str) -> None:
    report = check_part(Spec(kind, name), HOST)
    assert report.passed, report.failures
