"""One sandbox in a Docker container."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from agentrl import ConfigError, DataError, SandboxFault, SandboxSnapshot, SandboxSpec
from agentrl_sandboxes.docker.container import Container
from agentrl_sandboxes.inside.container import PLACES
from agentrl_sandboxes.supervised.jobs import environment, job_limits, read_result
from agentrl_sandboxes.supervised.sandbox import CellSandbox
from agentrl_sandboxes.supervised.supervisor import Cell, CellGone

_LARGEST_ARCHIVE = 2**31


class ArchiveSnapshot(SandboxSnapshot):
    """Files as a tar archive, kept by this process."""

    def __init__(self, data: bytes) -> None:
        self.data = data


class DockerSandbox(CellSandbox):
    """See `agentrl.Sandbox`; made by `Docker.create`."""

    def __init__(
        self,
        container: Container,
        spec: SandboxSpec,
        base: bytes,
        *,
        abilities: frozenset[str],
        fork: Callable[[SandboxSpec, bytes], DockerSandbox],
        measure: Callable[[DockerSandbox], dict[str, Any]],
    ) -> None:
        """`base`: an archive of files to begin with. `fork` makes a sandbox that begins with another one."""
        super().__init__(spec, abilities, warm=True)
        self._base, self._fork, self._measure = base, fork, measure
        self.container = container
        env = environment("/usr/bin/python3", {"PATH": container.path}, spec.env)
        container.stream.ask("begin", ttl_s=spec.ttl_s, env=env)
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
        return self._fork(self.spec, self._archive())

    def reset(self) -> None:
        self._wipe(self._base)

    def grade(self) -> dict[str, Any]:
        return self._measure(self)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            cells = [*self._idle, *self._busy]
            self._idle.clear()
        for cell in cells:
            cell.close()
        self.container.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # it was never opened, or the interpreter is going down
            if not self._closed:
                self.container.stream.abandon()  # its first process ends, and the daemon removes it

    def _new_cell(self) -> Cell:
        fd, number = self.container.stream.open()
        return Cell(fd, number, self._generation)

    def _end_cell(self, cell: Cell) -> dict[str, Any]:
        stream = self.container.stream
        if stream.alive():
            return stream.ask("end_cell", channel=cell.pid)
        if self._closed:
            return {"expired": False, "out_of_memory": False}
        if self.container.was_out_of_memory():
            return {"expired": False, "out_of_memory": True}
        raise SandboxFault(
            f"the container {self.container.name} is gone: removed, killed, or its time to live ({self.spec.ttl_s:g} s) "
            f"was over. {stream.last_words()}".strip()
        )

    def _wipe(self, data: bytes) -> None:
        with self._lock:
            self._check_open()
            self._generation += 1
            for cell in self._idle:
                cell.close()
            self._idle.clear()
            self.container.stream.ask("wipe")
        if data:
            self._unpack(data)

    def _archive(self) -> bytes:
        pieces: list[bytes] = []
        words: list[bytes] = []

        def keep(name: str, data: bytes) -> None:
            (pieces if name == "stdout" else words).append(data)

        self._own_work("archive", {"places": list(PLACES)}, b"", keep, words)
        return b"".join(pieces)

    def _unpack(self, data: bytes) -> None:
        words: list[bytes] = []
        self._own_work("unpack", {}, data, lambda name, piece: words.append(piece), words)

    def _own_work(self, kind: str, private: dict[str, Any], stdin: bytes, listen: Any, words: Sequence[bytes]) -> None:
        """Code of our own, as the program's user, whose output goes through without being kept in the container."""
        job = {**self._trusted_job(kind, 0), "stream": True}
        job["limits"] = {**job_limits(self.spec.limits, None), "flood_bytes": _LARGEST_ARCHIVE}
        job["limits"].update(head=0, tail=0, file_bytes=int(self.spec.limits.disk_mib * 2**20))
        cell = self._take()
        try:
            result = read_result(*cell.run(job, private, stdin, listen))
        except CellGone:
            result = self._why_gone(cell)
        finally:
            self._put_back(cell)
        if not result.ok:
            said = b"".join(words).decode(errors="replace")[-300:].strip()
            raise DataError(f"the files of this sandbox could not be taken or put back: {said or result.status}")
