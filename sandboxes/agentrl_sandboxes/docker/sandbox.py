"""One sandbox in a Docker container."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentrl import ConfigError, DataError, Output, SandboxFault, SandboxSnapshot, SandboxSpec
from agentrl_sandboxes.docker.container import Container
from agentrl_sandboxes.inside.messages import WRITABLE, Answer, Task
from agentrl_sandboxes.supervised.jobs import environment, read_result
from agentrl_sandboxes.supervised.sandbox import SupervisedSandbox
from agentrl_sandboxes.supervised.supervisor import Supervisor, SupervisorGone

_LARGEST_ARCHIVE = 2**31


class ArchiveSnapshot(SandboxSnapshot):
    """Files as a tar archive, kept by this process."""

    def __init__(self, data: bytes) -> None:
        self.data = data


@dataclass(frozen=True)
class Maker:
    """What a sandbox needs of whoever made it."""

    abilities: frozenset[str]
    fork: Callable[[SandboxSpec, bytes], DockerSandbox]  # an archive of files to begin with
    measure: Callable[[DockerSandbox], dict[str, object]]  # the grade


class DockerSandbox(SupervisedSandbox):
    """See `agentrl.Sandbox`; made by `Docker.create`."""

    def __init__(self, maker: Maker, container: Container, spec: SandboxSpec, base: bytes) -> None:
        """`base`: an archive of files to begin with."""
        super().__init__(spec, maker.abilities, warm=True)
        self._maker, self._base = maker, base
        self.container = container
        env = environment("/usr/bin/python3", {"PATH": container.facts["path"]}, spec.env)
        container.stream.ask({"do": "begin", "ttl_s": spec.ttl_s, "env": env})
        if base:
            self._unpack(base)

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

    def _wipe(self, data: bytes) -> None:
        with self._lock:
            self._check_open()
            self.generation += 1
            for supervisor in self._idle:
                supervisor.close()
            self._idle.clear()
            self.container.stream.ask({"do": "wipe"})
        if data:
            self._unpack(data)

    def _archive(self) -> bytes:
        pieces: list[bytes] = []
        errors: list[bytes] = []

        def keep(name: str, data: bytes) -> None:
            (pieces if name == "stdout" else errors).append(data)

        self._own_work("archive", {"paths": list(WRITABLE.values())}, b"", keep, errors)
        return b"".join(pieces)

    def _unpack(self, data: bytes) -> None:
        errors: list[bytes] = []
        self._own_work("unpack", {}, data, lambda name, piece: errors.append(piece), errors)

    def _own_work(self, kind: str, task: Task, stdin: bytes, on_output: Output, errors: Sequence[bytes]) -> None:
        """Code of our own, as the program's user, whose output goes through without being kept in the container."""
        job = self._own_job(kind, 0)
        job["stream"], job["limits"]["flood_bytes"] = True, _LARGEST_ARCHIVE
        supervisor = self.take()
        try:
            result = read_result(*supervisor.run(job, task, stdin, on_output))
        except SupervisorGone:
            result = self.why_gone(supervisor)
        finally:
            self.put_back(supervisor)
        if not result.ok:
            reason = b"".join(errors).decode(errors="replace")[-300:].strip()
            raise DataError(f"the files of this sandbox could not be taken or put back: {reason or result.status}")
