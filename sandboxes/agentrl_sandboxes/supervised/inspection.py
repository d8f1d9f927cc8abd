"""What a sandbox enforces, as seen by a program of ours that runs inside it like any other."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from agentrl import Sandbox, SandboxFault

_INSPECT = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
names = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
print(json.dumps({
    "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in names},
    "status": {name: status[name].strip() for name in ("Uid", "CapEff", "NoNewPrivs", "Seccomp")},
    "interfaces": sorted(line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line),
}))
"""


@dataclass(frozen=True)
class Inspection:
    """What a program in a sandbox sees of itself."""

    namespaces: dict[str, str]
    capabilities: str  # as hexadecimal digits
    no_new_privileges: bool
    filtered: bool  # whether a seccomp filter is in force
    uid: int
    interfaces: list[str]  # of the network

    @property
    def own_namespaces(self) -> list[str]:
        """Kinds of namespaces that are not this process's own."""
        return sorted(name for name, link in self.namespaces.items() if link != os.readlink(f"/proc/self/ns/{name}"))

    @property
    def network(self) -> str:
        """What there is beside a loopback, "none" if nothing."""
        return "none" if self.interfaces == ["lo"] else ", ".join(self.interfaces)


def inspect_inside(sandbox: Sandbox) -> Inspection:
    """Run that program. Raises SandboxFault when it fails."""
    result = sandbox.python(_INSPECT, cwd="/")
    if not result.ok:
        raise SandboxFault(f"a sandbox could not be measured: {result.status}, {result.stderr.text[-300:]}")
    facts = json.loads(result.stdout.head + result.stdout.tail)
    status = facts["status"]
    return Inspection(
        namespaces=facts["namespaces"],
        capabilities=status["CapEff"],
        no_new_privileges=status["NoNewPrivs"] == "1",
        filtered=status["Seccomp"] == "2",
        uid=int(status["Uid"].split()[0]),
        interfaces=facts["interfaces"],
    )
