"""The grade of a bubblewrap sandbox: measured by a program that runs inside it, never assumed."""

from __future__ import annotations

import platform

from agentrl_sandboxes.bubblewrap.sandbox import BubblewrapSandbox
from agentrl_sandboxes.inside.messages import Facts
from agentrl_sandboxes.supervised.channels import open_channels
from agentrl_sandboxes.supervised.inspection import inspect_inside


def measure(sandbox: BubblewrapSandbox, facts: Facts, version: str) -> dict[str, object]:
    """JSON-able. `facts` are the manager's; what they claim of the program is checked from inside."""
    inside, outside = inspect_inside(sandbox), sandbox.host_identity()
    own = inside.own_namespaces
    return {
        "sandbox": "bubblewrap",
        "level": "namespaces" if len(own) == len(inside.namespaces) and inside.filtered else "process",
        "namespaces": own,
        "uid": {"inside": inside.uid, "host": outside["uid"], "groups": outside["groups"]},
        "capabilities": inside.capabilities,
        "no_new_privileges": inside.no_new_privileges,
        "seccomp": facts["seccomp"][sandbox.spec.profile] if inside.filtered else None,
        "network": inside.network if "net" in own else ", ".join(inside.interfaces),
        "limits": _limits(facts["cgroup"]),
        "files": "overlay in memory" if facts["overlay"] else "copies in memory",
        "system": "read-only, own inodes"
        if facts["overlay"]
        else "read-only, shared inodes (locks and watches refused)",
        "channels": open_channels(sandbox.spec.profile, own_devices=facts["devices"], runs_apart=True),
        "cgroup": facts["cgroup"],
        "bubblewrap": version,
        "python": facts["python"],
        "kernel": platform.release(),
    }


def _limits(cgroup: dict[str, str]) -> dict[str, str]:
    memory, pids = cgroup.get("memory"), cgroup.get("pids")
    return {
        "wall": "supervisor",
        "cpu": "supervisor, checked every 0.1 s; rlimit per process",
        "memory": f"cgroup {memory}" if memory else "rlimit per process; all together by the supervisor every 0.1 s",
        "pids": f"cgroup {pids}" if pids else "rlimit per user namespace",
        "file": "rlimit",
        "disk": "size of a file system in memory",
        "output": "supervisor",
    }
