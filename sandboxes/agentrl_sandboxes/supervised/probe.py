"""What a sandbox enforces, as seen by a probe that runs inside it like any program."""

from __future__ import annotations

import os

from agentrl import Sandbox, SandboxFault

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


def apart(namespaces: dict[str, str]) -> list[str]:
    """Kinds of namespaces that are not this process's own."""
    return sorted(name for name, link in namespaces.items() if link != os.readlink(f"/proc/self/ns/{name}"))


def probe(sandbox: Sandbox) -> bytes:
    """What the probe prints."""
    result = sandbox.python(_PROBE)
    if not result.ok:
        raise SandboxFault(f"a sandbox could not be measured: {result.status}, {result.stderr.text[-300:]}")
    return result.stdout.head + result.stdout.tail
