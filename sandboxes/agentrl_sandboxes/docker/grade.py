"""The grade of a container: measured by a program that runs in it, and by what the daemon says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from agentrl_sandboxes.docker.daemon import Daemon
from agentrl_sandboxes.docker.sandbox import DockerSandbox
from agentrl_sandboxes.inside import seccomp
from agentrl_sandboxes.inside.messages import ContainerFacts
from agentrl_sandboxes.supervised.channels import open_channels
from agentrl_sandboxes.supervised.inspection import inspect_inside


def measure(sandbox: DockerSandbox, daemon: Daemon) -> dict[str, object]:
    """JSON-able. A setting that the daemon took but does not enforce is not in `limits`."""
    inside = inspect_inside(sandbox)
    container = sandbox.container.inspect()
    server = daemon.call("ask what it can do", lambda api: api.info())
    version = daemon.call("ask for its version", lambda api: api.version())
    config = container["HostConfig"]
    filter_ = seccomp.compile_filter(sandbox.spec.profile)
    return {
        "sandbox": "docker",
        "level": "container" if inside.filtered and inside.capabilities.strip("0") == "" else "process",
        "namespaces": inside.own_namespaces,
        "uid": {"inside": inside.uid, "host": inside.uid, "groups": []},
        "capabilities": inside.capabilities,
        "no_new_privileges": inside.no_new_privileges,
        "seccomp": seccomp.fingerprint(filter_) if inside.filtered else None,
        "network": inside.network,
        "limits": _limits(sandbox.container.facts, server, config),
        "files": "file systems in memory",
        "system": "read-only" if config["ReadonlyRootfs"] else "writable",
        "channels": open_channels(sandbox.spec.profile, own_devices=False, runs_apart=sandbox.container.facts["apart"]),
        "cgroup": f"v{server.get('CgroupVersion', '1')}, {server.get('CgroupDriver')}",
        "docker": version.get("Version"),
        "runtime": config.get("Runtime"),
        "image": container["Image"],
        "python": sandbox.container.facts["python"],
        "kernel": server.get("KernelVersion") or os.uname().release,
    }


def _limits(facts: ContainerFacts, server: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    return {
        "wall": "supervisor",
        "cpu": "supervisor, checked every 0.1 s; rlimit per process"
        + (f"; {config['NanoCpus'] / 1e9:g} cores by cgroup" if server.get("CpuCfsQuota") else ""),
        "memory": "cgroup" if facts["memory_events"] and server.get("MemoryLimit") else "rlimit per process",
        "pids": "cgroup (a few more where no second program runs)" if server.get("PidsLimit") else "rlimit",
        "file": "rlimit",
        "disk": "size of a file system in memory, for each of four folders",
        "output": "supervisor",
    }
