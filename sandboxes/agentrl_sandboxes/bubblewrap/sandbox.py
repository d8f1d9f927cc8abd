"""One bubblewrap sandbox: supervisors to run programs, a workspace of layers, and the worker that holds both."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentrl import ConfigError, DataError, SandboxFault, SandboxSnapshot, SandboxSpec
from agentrl_sandboxes.bubblewrap.layers import LayerSnapshot
from agentrl_sandboxes.bubblewrap.manager import Worker
from agentrl_sandboxes.bubblewrap.workers import Workers
from agentrl_sandboxes.inside import frames
from agentrl_sandboxes.inside.messages import Answer, FileAnswer, Request, Task
from agentrl_sandboxes.supervised.jobs import enforced, environment
from agentrl_sandboxes.supervised.sandbox import SupervisedSandbox
from agentrl_sandboxes.supervised.supervisor import Supervisor


@dataclass(frozen=True)
class Maker:
    """What a sandbox needs of whoever made it."""

    workers: Workers
    abilities: frozenset[str]
    fork: Callable[[SandboxSpec, int, Sequence[str]], BubblewrapSandbox]  # uid and frozen layers to begin with
    measure: Callable[[BubblewrapSandbox], dict[str, object]]  # the grade


class BubblewrapSandbox(SupervisedSandbox):
    """See `agentrl.Sandbox`; made by `Bubblewrap.create`."""

    def __init__(self, maker: Maker, worker: Worker, spec: SandboxSpec, uid: int, base: Sequence[str]) -> None:
        """`base`: frozen layers to begin with."""
        super().__init__(spec, maker.abilities, warm=not spec.root)  # its library may be missing in another root
        self._maker, self._worker, self._uid = maker, worker, uid
        self._workers = maker.workers
        self._layers, self._uids = self._workers.layers, self._workers.uids  # of the manager that runs now
        self._lowers: tuple[str, ...] = tuple(base)
        self._layers.retain(self._lowers)
        try:
            answer, fds = self._worker.ask(self._opening(base))
        except SandboxFault:
            self._layers.release(self._lowers)
            raise
        self._idle.append(Supervisor(fds[0], answer["pid"], 0))

    def _opening(self, base: Sequence[str]) -> Request:
        return {
            "do": "open",
            "id": self._uid,
            "root": self.spec.root,
            "profile": self.spec.profile,
            "limits": enforced(self.spec.limits),
            "disk_bytes": int(self.spec.limits.disk_mib * 2**20),
            "base": list(base),
            "ttl_s": self.spec.ttl_s,
            "env": environment(self._workers.python, self.spec.env),
        }

    def snapshot(self) -> SandboxSnapshot:
        return self._snapshot()

    def restore(self, snapshot: SandboxSnapshot) -> None:
        if not isinstance(snapshot, LayerSnapshot) or snapshot.uid != self._uid:
            raise ConfigError(
                "this snapshot is of another sandbox: it can be restored there and in forks of it. "
                "Move files between sandboxes with get_tree and put_tree."
            )
        self._remount(list(snapshot.stack))

    def fork(self) -> BubblewrapSandbox:
        snapshot = self._snapshot()  # keeps the layers until the new sandbox does
        return self._maker.fork(self.spec, self._uid, snapshot.stack)

    def reset(self) -> None:
        self._remount(None)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # it was never opened, or the interpreter is going down
            self.close()

    def host_identity(self) -> Answer:
        """`uid` and `groups` of the programs here as the host sees them."""
        supervisor = self.take()
        try:
            supervisor.wait_ready()
            return self._worker.ask({"do": "identity", "pid": supervisor.number})[0]
        finally:
            self.put_back(supervisor)

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
        self._layers.release(self._lowers)
        unused = self._layers.take_unused()
        try:
            next_id = self._workers.reserve_next_id(self._worker)
            self._worker.ask({"do": "close", "next_id": next_id, "drop": unused})
            self._workers.release(self._worker)
        except SandboxFault:  # it is gone already, and what it kept with it
            self._layers.return_unused(unused)
            self._workers.discard(self._worker)
        self._uids.release(self._uid)

    def _end_supervisor(self, supervisor: Supervisor) -> Answer:
        return self._worker.ask({"do": "end_supervisor", "pid": supervisor.number})[0]

    def _new_supervisor(self) -> Supervisor:
        answer, fds = self._worker.ask({"do": "supervisor"})
        return Supervisor(fds[0], answer["pid"], self.generation)

    def _files(self, task: Task, payload: bytes = b"") -> list[tuple[FileAnswer, bytes]]:
        """By the worker, which no program can reach; so whatever fails there is a fault of machinery."""
        with self._lock:
            self._check_open()
        answers: list[tuple[FileAnswer, bytes]] = []
        ours, theirs = socket.socketpair()
        with ours:

            def talk() -> None:
                with contextlib.suppress(ConnectionError):  # the worker's answer says why
                    frames.send(ours, task, payload)
                    while answer := frames.receive(ours):
                        answers.append(answer)

            self._worker.ask({"do": "files"}, stream=theirs.detach(), meanwhile=talk)
        return answers

    def _snapshot(self) -> LayerSnapshot:
        with self._lock:
            self._check_open()
            try:
                stack = self._copy() if self._busy else self._freeze()
            except DataError as error:
                raise DataError(f"no snapshot: {error}") from error
            return LayerSnapshot(stack, self._uid, self._layers, self._uids)

    def _freeze(self) -> list[str]:
        answer, _ = self._worker.ask({"do": "freeze"})
        if answer["ended"]:
            self._drop_idle()
        self._stand_on(answer["lowers"])
        return list(answer["stack"])

    def _copy(self) -> list[str]:
        """A frozen copy, made beside programs that are running and keep their files."""
        return [self._worker.ask({"do": "copy_layer"})[0]["layer"]]

    def _remount(self, stack: list[str] | None) -> None:
        """Show these frozen layers, or for None those that the sandbox began with, below a new one."""
        with self._lock:
            self._check_open()
            self.generation += 1
            self._drop_idle()
            answer, _ = self._worker.ask({"do": "remount", "stack": stack})
            self._stand_on(answer["lowers"])

    def _stand_on(self, lowers: Sequence[str]) -> None:
        """Keep count of the frozen layers below, and have those freed that nobody uses any more."""
        self._layers.retain(lowers)
        self._layers.release(self._lowers)
        self._lowers = tuple(lowers)
        unused = self._layers.take_unused()
        if unused:
            self._worker.ask({"do": "drop", "drop": unused})
