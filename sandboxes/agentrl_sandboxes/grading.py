"""The grade of a sandbox: measured by a probe that runs inside it like any program, never assumed."""

from __future__ import annotations

import json
import os
import platform
from typing import Any

from agentrl import Sandbox, SandboxFault
from agentrl_sandboxes.bubblewrap_sandbox import BubblewrapSandbox

_PROBE = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines() if ":" in line)
names = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
print(json.dumps({
    "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in names},
    "status": {name: status[name].strip() for name in ("Uid", "CapEff", "NoNewPrivs", "Seccomp")},
    "interfaces": sorted(line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line),
}))
"""


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


def apart(namespaces: dict[str, str]) -> list[str]:
    """Kinds of namespaces that are not this process's own."""
    return sorted(name for name, link in namespaces.items() if link != os.readlink(f"/proc/self/ns/{name}"))


def probe(sandbox: Sandbox) -> bytes:
    """What the probe prints."""
    result = sandbox.python(_PROBE)
    if not result.ok:
        raise SandboxFault(f"a sandbox could not be measured: {result.status}, {result.stderr.text[-300:]}")
    return result.stdout.head + result.stdout.tail
