"""One container: hardened as far as Docker goes, with our supervisor as its first process."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import random
import socket
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentrl import ConfigError, SandboxFault, SandboxSpec
from agentrl_sandboxes.docker.daemon import Daemon, explain
from agentrl_sandboxes.docker.seccomp_profile import profile
from agentrl_sandboxes.docker.stream import Stream
from agentrl_sandboxes.inside.container import PLACES

LABEL, OWNER, EXPIRES = "agentrl.sandbox", "agentrl.owner", "agentrl.expires"

_BOOT = (
    "import os,sys\n"
    "def exactly(n):\n"
    "    found=b''\n"
    "    while len(found)<n:\n"
    "        piece=os.read(0,n-len(found))\n"
    "        if not piece: os._exit(3)\n"
    "        found+=piece\n"
    "    return found\n"
    "if sys.version_info<(3,9): sys.exit('Python 3.9 or newer is needed in the image')\n"
    "path='/tmp/.agentrl.zip'\n"
    "with open(path,'wb') as file: file.write(exactly(int.from_bytes(exactly(8),'big')))\n"
    "sys.path.insert(0,path)\n"
    "from agentrl_sandboxes.inside import container\n"
    "sys.path.remove(path)\n"
    "os.unlink(path)\n"
    "container.main()\n"
)
_START_S = 60.0
_FIRST_ID, _IDS = 2_100_000_000, 40_000_000  # above what bubblewrap's wardens use
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
        self._daemon = daemon
        self.uid = _FIRST_ID + random.SystemRandom().randrange(_IDS)  # nobody's, so that no limit of a user is shared
        self.info: dict[str, Any] = {}
        self.id = self._create(build, image, spec, idle_s)
        self.name = self.id[:12]
        try:
            self.stream = Stream(self._attach(), self.name)
        except BaseException:
            self._remove()
            raise
        try:
            self._start(build.python, image)
            facts = self.stream.begin(_boot_message(build.preload, spec.profile), _START_S)
        except SandboxFault as fault:
            words = self.stream.last_words()
            self.close()
            raise SandboxFault(f"{fault} {words}".strip() if words not in str(fault) else str(fault)) from None
        except BaseException:
            self.close()
            raise
        self.path, self.python = str(facts["path"]), str(facts["python"])
        self.counts = {"memory": bool(facts["memory_events"]), "pids": bool(facts["pids_events"])}

    def inspect(self) -> dict[str, Any]:
        """What the daemon says of it. Raises SandboxFault when it is gone."""
        from docker.errors import APIError

        try:
            found: dict[str, Any] = self._daemon.call("inspect", lambda api: api.inspect_container(self.id))
        except APIError as error:
            raise SandboxFault(f"the container {self.name} is gone: {explain(error)}") from error
        return found

    def was_out_of_memory(self) -> bool:
        """Whether the kernel ended it for want of memory, as far as anybody can still tell."""
        with contextlib.suppress(SandboxFault):
            return bool(self.inspect()["State"]["OOMKilled"])
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
            made: dict[str, Any] = self._daemon.call(
                "create",
                lambda api: api.create_container(
                    image, [build.python, "-I", "-c", _BOOT], user=f"{self.uid}:{self.uid}", stdin_open=True,
                    working_dir="/", labels=labels, hostname="sandbox", network_disabled=True, entrypoint=[],
                    host_config=api.create_host_config(**_hardening(api, build, spec, self.uid)),
                ),
            )  # fmt: skip
        except ImageNotFound:
            raise ConfigError(
                f"the Docker daemon has no image {image!r}. Get it first: `docker pull {image}`; images are never "
                "fetched in passing."
            ) from None
        except APIError as error:
            raise SandboxFault(f"no container could be made: {explain(error)}") from error
        return str(made["Id"])

    def _attach(self) -> socket.socket:
        from docker.errors import APIError

        wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        try:
            opened: Any = self._daemon.call("attach", lambda api: api.attach_socket(self.id, params=wanted))
        except APIError as error:
            raise SandboxFault(f"the container {self.name} cannot be spoken with: {explain(error)}") from error
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
            said = explain(error)
            if "executable file not found" in said or "no such file" in said:
                raise ConfigError(
                    f"the image {image!r} has no {python!r}: sandboxes need Python 3.9 or newer in their image. "
                    "Name it with the setting `python`."
                ) from error
            raise SandboxFault(f"the container {self.name} did not start: {said}") from error

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


@functools.cache
def owner() -> str:
    """Names this process so that a reaper on the same machine can tell whether it still lives."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.readlink('/proc/self/ns/pid')}/{os.getpid()}/{_started(os.getpid())}"


def owner_is_gone(name: str) -> bool:
    """Whether the process that made a container has ended; False for one that cannot be seen from here."""
    here, there = owner().split("/"), name.split("/")
    if len(there) != 4 or there[:2] != here[:2] or not there[2].isdigit():
        return False
    return _started(int(there[2])) != there[3]


def _started(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _hardening(api: Any, build: Build, spec: SandboxSpec, uid: int) -> dict[str, Any]:
    limits = spec.limits
    disk = int(limits.disk_mib * 2**20)
    options = f"rw,exec,nosuid,nodev,size={disk},nr_inodes={max(disk // 4096, 1024)},uid={uid},gid={uid},mode=755"
    memory = int(limits.memory_mib * 2**20) + _OVERHEAD_BYTES
    from docker.types import LogConfig, Ulimit

    found: Mapping[str, Any] = {
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges", f"seccomp={profile(spec.profile)}"],
        "pids_limit": int(limits.pids) + _OVERHEAD_PIDS,
        "mem_limit": memory,
        "memswap_limit": memory,
        "nano_cpus": int(build.cpus * 1e9),
        "tmpfs": dict.fromkeys(PLACES, options),
        "ipc_mode": "private",
        "auto_remove": True,
        "log_config": LogConfig(type="none"),
        "ulimits": [Ulimit(name="core", soft=0, hard=0), Ulimit(name="nofile", soft=1024, hard=1024)],
    }
    return {**found, **({"runtime": build.runtime} if build.runtime else {})}


def _boot_message(preload: tuple[str, ...], profile_name: str) -> bytes:
    settings = json.dumps({"preload": preload, "profile": profile_name}).encode()
    return b"".join(len(blob).to_bytes(8, "big") + blob for blob in (_program(), settings))


@functools.cache
def _program() -> bytes:
    """Our supervisor, to be run in there: the modules of `inside`, zipped."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("agentrl_sandboxes/__init__.py", "")
        for path in sorted((Path(__file__).parents[1] / "inside").glob("*.py")):
            archive.write(path, f"agentrl_sandboxes/inside/{path.name}")
    return buffer.getvalue()
