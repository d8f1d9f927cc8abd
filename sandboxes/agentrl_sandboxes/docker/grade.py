"""The grade of a container: measured by a probe that runs in it like any program, and by what the daemon says."""

from __future__ import annotations

import json
import os
from typing import Any

from agentrl_sandboxes.docker.daemon import Daemon
from agentrl_sandboxes.docker.sandbox import DockerSandbox
from agentrl_sandboxes.inside import seccomp
from agentrl_sandboxes.supervised.probe import apart, probe


def measure(sandbox: DockerSandbox, daemon: Daemon) -> dict[str, Any]:
    """JSON-able. A setting that the daemon took but does not enforce is not in `limits`."""
    seen = json.loads(probe(sandbox))
    told = sandbox.container.inspect()
    server: dict[str, Any] = daemon.call("ask what it can do", lambda api: api.info())
    version: dict[str, Any] = daemon.call("ask for its version", lambda api: api.version())
    status, config = seen["status"], told["HostConfig"]
    filtered = status["Seccomp"] == "2"
    return {
        "sandbox": "docker",
        "level": "container" if filtered and status["CapEff"].strip("0") == "" else "process",
        "namespaces": apart(seen["namespaces"]),
        "uid": {"inside": int(status["Uid"].split()[0]), "host": int(status["Uid"].split()[0]), "groups": []},
        "capabilities": status["CapEff"],
        "no_new_privileges": status["NoNewPrivs"] == "1",
        "seccomp": seccomp.fingerprint(seccomp.compile_filter(sandbox.spec.profile)) if filtered else None,
        "network": "none" if seen["interfaces"] == ["lo"] else ", ".join(seen["interfaces"]),
        "limits": _limits(sandbox, server, config),
        "files": "file systems in memory",
        "system": "read-only" if config["ReadonlyRootfs"] else "writable",
        "cgroup": f"v{server.get('CgroupVersion', '1')}, {server.get('CgroupDriver')}",
        "docker": version.get("Version"),
        "runtime": config.get("Runtime"),
        "image": told["Image"],
        "python": sandbox.container.python,
        "kernel": server.get("KernelVersion") or os.uname().release,
    }


def _limits(sandbox: DockerSandbox, server: dict[str, Any], config: dict[str, Any]) -> dict[str, str]:
    counted = sandbox.container.counts
    return {
        "wall": "supervisor",
        "cpu": "supervisor, checked every 0.1 s; rlimit per process"
        + (f"; {config['NanoCpus'] / 1e9:g} cores by cgroup" if server.get("CpuCfsQuota") else ""),
        "memory": "cgroup" if counted["memory"] and server.get("MemoryLimit") else "rlimit per process",
        "pids": "cgroup (a few more where no second program runs)" if server.get("PidsLimit") else "rlimit",
        "file": "rlimit",
        "disk": "size of a file system in memory, for each of four folders",
        "output": "supervisor",
    }
