"""Removes containers that nobody needs any more: their process is gone, or their time to live is over."""

from __future__ import annotations

import time

from agentrl import SandboxFault
from agentrl_sandboxes.docker.container import remove
from agentrl_sandboxes.docker.daemon import Daemon, explain
from agentrl_sandboxes.docker.ownership import EXPIRES, LABEL, OWNER, owner_is_gone

_GRACE_S = 5.0


def reap(daemon: Daemon) -> list[str]:
    """A line for each container that was removed. Those of other machines go when their time is over."""
    from docker.errors import APIError

    try:
        containers = daemon.call("list", lambda api: api.containers(all=True, filters={"label": LABEL}))
    except APIError as error:
        raise SandboxFault(f"containers cannot be listed: {explain(error)}") from error
    lines = []
    for container in containers:
        reason = _why(container["Labels"])
        if reason:
            removed = remove(daemon, container["Id"])
            lines.append(
                f"container {container['Id'][:12]} ({reason}): {'removed' if removed else 'could not be removed'}"
            )
    return lines


def _why(labels: dict[str, str]) -> str:
    if owner_is_gone(labels.get(OWNER, "")):
        return "its process has ended"
    expires = labels.get(EXPIRES, "")
    if expires.isdigit() and int(expires) + _GRACE_S < time.time():
        return "its time to live is over"
    return ""
