"""One sandbox in a Docker container."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

from agentrl import ConfigError, DataError, ExecResult, SandboxFault, SandboxSnapshot, SandboxSpec
from agentrl_sandboxes.docker.container import Container
from agentrl_sandboxes.inside import frames
from agentrl_sandboxes.inside.messages import WRITABLE, Answer, FileAnswer, Job, Task
from agentrl_sandboxes.supervised.jobs import enforced, environment
from agentrl_sandboxes.supervised.sandbox import SupervisedSandbox
from agentrl_sandboxes.supervised.supervisor import Supervisor

_LARGEST_OUTPUT = 2**31


class ArchiveSnapshot(SandboxSnapshot):
    """Files as a tar archive, kept by this process."""

    def __init__(self, data: bytes) -> None:
        self.data = data


@dataclass(frozen=True)
class Maker:
    """What a sandbox needs of whoever made it."""

    abilities: frozenset[str]
    fork: Callable[[SandboxSpec, bytes], DockerSandbox]  # an archive of files to begin with
    start: Callable[[SandboxSpec], Container]
    measure: Callable[[DockerSandbox], dict[str, object]]  # the grade


class DockerSandbox(SupervisedSandbox):
    """See `agentrl.Sandbox`; made by `Docker.create`."""

    def __init__(self, maker: Maker, container: Container, spec: SandboxSpec, base: bytes) -> None:
        """`base`: an archive of files to begin with."""
        super().__init__(spec, maker.abilities, warm=True)
        self._maker, self._base = maker, base
        self.container = container
        self._began = time.monotonic()
        self._begin()
        if base:
            self._unpack(base)

    def _begin(self) -> None:
        env = environment("/usr/bin/python3", {"PATH": self.container.facts["path"]}, self.spec.env)
        left_s = max(self._began + self.spec.ttl_s - time.monotonic(), 0.0)
        self.container.stream.ask({"do": "begin", "ttl_s": left_s, "env": env})

    def snapshot(self) -> SandboxSnapshot:
        self._check_open()
        return ArchiveSnapshot(self._archive())

    def restore(self, snapshot: SandboxSnapshot) -> None:
        if not isinstance(snapshot, ArchiveSnapshot):
            raise ConfigError("this snapshot is of another kind of sandbox; use get_tree and put_tree between them")
        self._wipe(snapshot.data)

    def fork(self) -> DockerSandbox:
        self._check_open()
        return self._maker.fork(self.spec, self._archive())

    def reset(self) -> None:
        self._wipe(self._base)

    def grade(self) -> dict[str, object]:
        return self._maker.measure(self)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            supervisors = [*self._idle, *self._busy]
            self._idle.clear()
        for supervisor in supervisors:
            supervisor.close()
        self.container.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # it was never opened, or the interpreter is going down
            if not self._closed:
                self.container.stream.abandon()  # its first process ends, and the daemon removes it

    def _new_supervisor(self) -> Supervisor:
        fd, number = self.container.stream.open()
        return Supervisor(fd, number, self.generation)

    def _end_supervisor(self, supervisor: Supervisor) -> Answer:
        stream = self.container.stream
        if stream.alive():
            return stream.ask({"do": "end_supervisor", "channel": supervisor.number})
        if self._closed:
            return {"expired": False, "out_of_memory": False}
        if self.container.was_out_of_memory():
            return {"expired": False, "out_of_memory": True}
        raise SandboxFault(
            f"the container {self.container.name} is gone: removed, killed, or its time to live ({self.spec.ttl_s:g} s) "
            f"was over. {stream.error_output()}".strip()
        )

    def when_lost(self, fault: SandboxFault) -> ExecResult:
        if self._closed or not self.container.was_out_of_memory():
            raise fault
        return ExecResult("out_of_memory", reason="the whole sandbox went down with a program; a reset gives a new one")

    def _files(self, task: Task, payload: bytes = b"") -> list[tuple[FileAnswer, bytes]]:
        """By a process of ours in the container, so in the program's memory: where that fails, a program is to blame."""
        try:
            return list(frames.split(self._own_work("files", task, payload)))
        except ValueError as error:
            raise DataError(f"what came out cannot be read: {error}") from error

    def _wipe(self, data: bytes) -> None:
        with self._lock:
            self._check_open()
            self.generation += 1
            self._drop_idle()
            if self.container.was_out_of_memory():
                self.container.close()
                self.container = self._maker.start(self.spec)
                self._begin()
            else:
                self.container.stream.ask({"do": "wipe"})
        if data:
            self._unpack(data)

    def _archive(self) -> bytes:
        return self._own_work("archive", {"paths": list(WRITABLE.values())})

    def _unpack(self, data: bytes) -> None:
        self._own_work("unpack", {}, data)

    def _own_work(self, kind: str, task: Task, payload: bytes = b"") -> bytes:
        """What code of our own writes, as the program's user, to its output, which is not kept in the container."""
        limits = enforced(dataclasses.replace(self.spec.limits, file_mib=self.spec.limits.disk_mib))
        limits["head"], limits["tail"], limits["flood_bytes"] = 0, 0, _LARGEST_OUTPUT
        job: Job = {"kind": kind, "cwd": "/", "limits": limits, "stream": True}
        output: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        result = self._do(job, task, payload, lambda name, data: output[name].append(data))
        if not result.ok:
            reason = b"".join(output["stderr"]).decode(errors="replace")[-300:].strip()
            raise DataError(f"the files of this sandbox could not be taken or put back: {reason or result.status}")
        return b"".join(output["stdout"])
