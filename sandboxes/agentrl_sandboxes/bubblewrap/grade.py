"""The grade of a sandbox: measured by a probe that runs inside it like any program, never assumed."""

from __future__ import annotations

import json
import platform
from typing import Any

from agentrl_sandboxes.bubblewrap.sandbox import BubblewrapSandbox
from agentrl_sandboxes.supervised.probe import apart, probe


def measure(sandbox: BubblewrapSandbox, facts: dict[str, Any], version: str) -> dict[str, Any]:
    """JSON-able. `facts` are the warden's; what they claim of the program is checked against the probe."""
    seen = json.loads(probe(sandbox))
    status, outside = seen["status"], sandbox.host_identity()
    own = apart(seen["namespaces"])
    return {
        "sandbox": "bubblewrap",
        "level": "namespaces" if len(own) == len(seen["namespaces"]) and status["Seccomp"] == "2" else "process",
        "namespaces": own,
        "uid": {"inside": int(status["Uid"].split()[0]), "host": outside["uid"], "groups": outside["groups"]},
        "capabilities": status["CapEff"],
        "no_new_privileges": status["NoNewPrivs"] == "1",
        "seccomp": facts["seccomp"][sandbox.spec.profile] if status["Seccomp"] == "2" else None,
        "network": "none" if seen["interfaces"] == ["lo"] and "net" in own else ", ".join(seen["interfaces"]),
        "limits": _limits(facts),
        "files": "overlay in memory" if facts["overlay"] else "copies in memory",
        "system": "read-only, own inodes"
        if facts["overlay"]
        else "read-only, shared inodes (locks and watches refused)",
        "cgroup": facts["cgroup"],
        "bubblewrap": version,
        "python": facts["python"],
        "kernel": platform.release(),
    }


def _limits(facts: dict[str, Any]) -> dict[str, str]:
    memory, pids = facts["cgroup"].get("memory"), facts["cgroup"].get("pids")
    return {
        "wall": "supervisor",
        "cpu": "supervisor, checked every 0.1 s; rlimit per process",
        "memory": f"cgroup {memory}" if memory else "rlimit per process; all together by the supervisor every 0.1 s",
        "pids": f"cgroup {pids}" if pids else "rlimit per user namespace",
        "file": "rlimit",
        "disk": "size of a file system in memory",
        "output": "supervisor",
    }
