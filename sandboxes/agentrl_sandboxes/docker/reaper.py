"""Removes containers that nobody needs any more: their process is gone, or their time to live is over."""

from __future__ import annotations

import time
from typing import Any

from agentrl import SandboxFault
from agentrl_sandboxes.docker.container import EXPIRES, LABEL, OWNER, owner_is_gone, remove
from agentrl_sandboxes.docker.daemon import Daemon, explain

_GRACE_S = 5.0


def reap(daemon: Daemon) -> list[str]:
    """A line for each container that was removed. Those of other machines go when their time is over."""
    from docker.errors import APIError

    try:
        found: list[dict[str, Any]] = daemon.call(
            "list", lambda api: api.containers(all=True, filters={"label": LABEL})
        )
    except APIError as error:
        raise SandboxFault(f"containers cannot be listed: {explain(error)}") from error
    said = []
    for container in found:
        reason = _why(container["Labels"])
        if reason:
            done = remove(daemon, container["Id"])
            said.append(f"container {container['Id'][:12]} ({reason}): {'removed' if done else 'could not be removed'}")
    return said


def _why(labels: dict[str, str]) -> str:
    if owner_is_gone(labels.get(OWNER, "")):
        return "its process has ended"
    expires = labels.get(EXPIRES, "")
    if expires.isdigit() and int(expires) + _GRACE_S < time.time():
        return "its time to live is over"
    return ""
