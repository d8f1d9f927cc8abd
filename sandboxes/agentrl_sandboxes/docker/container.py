"""One container: hardened as far as Docker goes, with a program of ours as its first process."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentrl import ConfigError, SandboxFault, SandboxSpec
from agentrl_sandboxes.docker.boot import BOOT, boot_message
from agentrl_sandboxes.docker.daemon import Daemon, explain
from agentrl_sandboxes.docker.ownership import EXPIRES, LABEL, OWNER, owner
from agentrl_sandboxes.docker.seccomp_profile import profile
from agentrl_sandboxes.docker.stream import Stream
from agentrl_sandboxes.inside.messages import WRITABLE

if TYPE_CHECKING:
    import docker  # see daemon.py

_START_S = 60.0
_FIRST_ID, _IDS = 2_100_000_000, 40_000_000  # above the uids of bubblewrap sandboxes
_OVERHEAD_BYTES, _OVERHEAD_PIDS = 32 * 2**20, 6  # of our own processes in there


@dataclass(frozen=True)
class Build:
    """How containers of one provider are made."""

    python: str
    preload: tuple[str, ...]
    cpus: float
    runtime: str


class Container:
    """A started container and the stream to its first process."""

    def __init__(self, daemon: Daemon, build: Build, image: str, spec: SandboxSpec, idle_s: float) -> None:
        self._daemon, self._made_at = daemon, int(time.time())
        self.uid = _FIRST_ID + random.SystemRandom().randrange(_IDS)  # nobody's, so that no limit of a user is shared
        self.id = self._create(build, image, spec, idle_s)
        self.name = self.id[:12]
        try:
            self.stream = Stream(self._attach(), self.name)
        except BaseException:
            self._remove()
            raise
        try:
            self._start(build.python, image)
            facts = self.stream.handshake(boot_message(build.preload, spec.profile), _START_S)
        except SandboxFault as fault:
            message = self.stream.error_output()
            self.close()
            raise SandboxFault(f"{fault} {message}".strip() if message not in str(fault) else str(fault)) from None
        except BaseException:
            self.close()
            raise
        self.facts = facts

    def inspect(self) -> dict[str, Any]:
        """What the daemon says of it. Raises SandboxFault when it is gone."""
        from docker.errors import APIError

        try:
            description: dict[str, Any] = self._daemon.call("inspect", lambda api: api.inspect_container(self.id))
        except APIError as error:
            raise SandboxFault(f"the container {self.name} is gone: {explain(error)}") from error
        return description

    def was_out_of_memory(self) -> bool:
        """Whether it is gone because memory ran out, by what the daemon remembers: the container itself is removed."""
        from docker.errors import APIError

        if self.stream.alive():
            return False
        what = {"container": self.id, "event": "oom"}
        with contextlib.suppress(SandboxFault, APIError):
            asked = self._daemon.call(
                "ask what happened",
                lambda api: list(
                    api.events(since=self._made_at, until=int(time.time()) + 1, filters=what, decode=True)
                ),
            )
            return bool(asked)
        return False

    def close(self) -> None:
        """End it and have it removed; safe twice, and whatever the daemon says."""
        self.stream.close()
        self._remove()

    def _create(self, build: Build, image: str, spec: SandboxSpec, idle_s: float) -> str:
        from docker.errors import APIError, ImageNotFound

        labels = {
            **spec.labels, LABEL: "1", OWNER: owner(), EXPIRES: str(int(time.time() + spec.ttl_s + idle_s) + 1),
        }  # fmt: skip
        try:
            created = self._daemon.call(
                "create",
                lambda api: api.create_container(
                    image, [build.python, "-I", "-c", BOOT], user=f"{self.uid}:{self.uid}", stdin_open=True,
                    working_dir="/", labels=labels, hostname="sandbox", network_disabled=True, entrypoint=[],
                    host_config=host_config(api, build, spec, self.uid),
                ),
            )  # fmt: skip
        except ImageNotFound:
            raise ConfigError(
                f"the Docker daemon has no image {image!r}. Get it first: `docker pull {image}`; images are never "
                "fetched in passing."
            ) from None
        except APIError as error:
            raise SandboxFault(f"no container could be made: {explain(error)}") from error
        return str(created["Id"])

    def _attach(self) -> socket.socket:
        from docker.errors import APIError

        streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        try:
            opened = self._daemon.call("attach", lambda api: api.attach_socket(self.id, params=streams))
        except APIError as error:
            raise SandboxFault(f"the container {self.name} cannot be attached to: {explain(error)}") from error
        sock: socket.socket = getattr(opened, "_sock", opened)
        if type(sock) is socket.socket:  # docker-py's own goes with its response, whenever that is collected
            sock = sock.dup()
            opened._response.close()
            opened.close()
        sock.settimeout(None)
        return sock

    def _start(self, python: str, image: str) -> None:
        from docker.errors import APIError

        try:
            self._daemon.call("start", lambda api: api.start(self.id))
        except APIError as error:
            reason = explain(error)
            if "executable file not found" in reason or "no such file" in reason:
                raise ConfigError(
                    f"the image {image!r} has no {python!r}: sandboxes need Python 3.9 or newer in their image. "
                    "Name it with the setting `python`."
                ) from error
            raise SandboxFault(f"the container {self.name} did not start: {reason}") from error

    def _remove(self) -> None:
        remove(self._daemon, self.id)


def remove(daemon: Daemon, container: str) -> bool:
    """Remove a container by force; whether it is gone or going. A daemon that does not answer leaves it to the reaper."""
    from docker.errors import APIError

    try:
        daemon.call("remove", lambda api: api.remove_container(container, force=True, v=True))
    except APIError as error:
        return error.status_code in (404, 409)  # gone, or being removed by itself
    except SandboxFault:
        return False
    return True


def host_config(api: docker.APIClient, build: Build, spec: SandboxSpec, uid: int) -> dict[str, object]:
    """Everything that Docker can take away from a container."""
    limits = spec.limits
    disk = int(limits.disk_mib * 2**20)
    options = f"rw,exec,nosuid,nodev,size={disk},nr_inodes={max(disk // 4096, 1024)},uid={uid},gid={uid},mode=755"
    memory = int(limits.memory_mib * 2**20) + _OVERHEAD_BYTES
    from docker.types import LogConfig, Ulimit

    hardening = {
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges", f"seccomp={profile(spec.profile)}"],
        "pids_limit": int(limits.pids) + _OVERHEAD_PIDS,
        "mem_limit": memory,
        "memswap_limit": memory,
        "nano_cpus": int(build.cpus * 1e9),
        "tmpfs": dict.fromkeys(WRITABLE.values(), options),
        "ipc_mode": "private",
        "auto_remove": True,
        "log_config": LogConfig(type="none"),
        "ulimits": [Ulimit(name="core", soft=0, hard=0), Ulimit(name="nofile", soft=1024, hard=1024)],
    }
    config: dict[str, object] = api.create_host_config(
        **hardening, **({"runtime": build.runtime} if build.runtime else {})
    )
    return config
