"""Every installed plugin is put through the kit of its kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mcp_support import listening

from agentrl import ConfigError, Spec, default_host
from agentrl.testing import check_environment, check_part

HOST = default_host()


def installed(kind: str) -> list[str]:
    return [entry.name for entry in HOST.registry(kind)]


@pytest.fixture
def mcp_server() -> Iterator[str]:
    """The world `mcp` is nothing without a server."""
    with listening() as url:
        yield url


@pytest.mark.parametrize("name", installed("environment"))
def test_every_world_conforms(name: str, request: pytest.FixtureRequest) -> None:
    """A world whose library, data or sandbox is not here is skipped with its own words."""
    settings = {"url": request.getfixturevalue("mcp_server"), "reset_tool": "clear"} if name == "mcp" else {}
    spec = Spec("environment", name, settings)
    try:
        world = HOST.build(spec)
        world.step(str(world.reset(seed=0)[1].get("admissible", ["test"])[0]))  # some notice only now
        world.close()
    except ConfigError as missing:
        pytest.skip(str(missing))
    report = check_environment(spec, actions=200 if world.unwrapped.blocks else 1_000)
    assert report.passed, report.failures


@pytest.mark.parametrize(
    ("kind", "name"), [(k, n) for k in ("credit", "context", "dialect", "sampler") for n in installed(k)]
)
def test_every_part_conforms(kind: str, name: str) -> None:
    report = check_part(Spec(kind, name), HOST)
    assert report.passed, report.failures
