"""What the tests of sandboxes share: whether they can run here, and one provider for all of them."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

import pytest

from agentrl_sandboxes.bubblewrap.provider import Bubblewrap

ROOT = Path(__file__).parents[1]
OBSTACLE = Bubblewrap().obstacle()
needs_bubblewrap = pytest.mark.skipif(bool(OBSTACLE), reason=f"no bubblewrap here: {OBSTACLE}")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can look at this")


@functools.cache
def provider() -> Bubblewrap:
    """One for all tests of this process; it ends with the process."""
    return Bubblewrap()


def worker_env() -> dict[str, str]:
    """Environment of a separate Python that imports the code under test."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@functools.cache
def docker_obstacle() -> str:
    """Why there is no Docker here; asked once."""
    from agentrl_sandboxes.docker.provider import Docker

    return Docker(timeout_s=5.0).obstacle()
