"""A sandbox whose programs run under supervisors: everything that does not depend on how these come to be."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Literal

from agentrl import (
    Command,
    ConfigError,
    DataError,
    ExecResult,
    FileTree,
    Output,
    OutputStream,
    Sandbox,
    SandboxFault,
    SandboxSession,
    SandboxSpec,
)
from agentrl_sandboxes.inside.messages import Answer, FileAnswer, FileEntry, FinalEnding, Job, Task
from agentrl_sandboxes.supervised.jobs import enforced, read_result
from agentrl_sandboxes.supervised.supervisor import Supervisor, SupervisorGone, TooLong
from agentrl_sandboxes.supervised.taken import read_tree

_LARGEST_GET_BYTES = 2**30


class SupervisedSandbox(Sandbox):
    """Runs each program under a supervisor that nobody else uses meanwhile."""

    def __init__(self, spec: SandboxSpec, abilities: frozenset[str], warm: bool) -> None:
        """`warm`: whether `python` can fork the supervisor's own interpreter."""
        self.spec, self.abilities, self._warm = spec, abilities, warm
        self._lock = threading.Lock()
        self._idle: list[Supervisor] = []
        self._busy: set[Supervisor] = set()
        self.generation = 0
        """How often it was reset or restored: supervisors of an earlier generation are not used again."""
        self._closed = False

    @abstractmethod
    def _new_supervisor(self) -> Supervisor:
        """Another one; called with the lock held."""

    @abstractmethod
    def _end_supervisor(self, supervisor: Supervisor) -> Answer:
        """End one with all that runs there, and say why it was gone, if it was: see `why_gone`."""

    @abstractmethod
    def _files(self, task: Task, payload: bytes = b"") -> list[tuple[FileAnswer, bytes]]:
        """Have a task of files done: its answers, with contents. Raises DataError where a program is in the way."""

    def run(self, command: Command, *, on_output: Output | None = None) -> ExecResult:
        job: Job = {"limits": enforced(self.spec.limits, command.timeout_s), "cwd": absolute(command.cwd)}
        job["stream"] = on_output is not None
        task: Task = {"env": dict(command.env)}
        if command.snippet and self._warm:
            job["kind"], task["code"], task["args"] = "python", command.argv[2], list(command.argv[3:])
        else:
            job["kind"], task["argv"] = "argv", list(command.argv)
        return self._do(job, task, command.stdin, on_output)

    def session(
        self, kind: Literal["python", "shell"], *, cwd: str = "", env: Mapping[str, str] | None = None
    ) -> SandboxSession:
        if kind not in ("python", "shell"):
            raise ConfigError(f"there is no session of kind {kind!r}; there are 'python' and 'shell'")
        return _Session(self, kind, {"kind": f"session.{kind}", "cwd": absolute(cwd), "env": dict(env or {})})

    def put_tree(self, files: Mapping[str, bytes], *, executable: Collection[str] = ()) -> None:
        entries: list[FileEntry] = [
            (path, len(data), 0o755 if path in executable else 0o644) for path, data in files.items()
        ]
        refused: dict[str, str] = {}
        try:
            for answer, _ in self._files({"files": entries}, b"".join(files.values())):
                refused.update(answer.get("refused", {}))
        except DataError as error:
            refused = {", ".join(files): str(error)}
        if refused:
            raise DataError("not written: " + "; ".join(f"{path!r} is {why}" for path, why in sorted(refused.items())))

    def get_tree(self, *paths: str, max_mib: float = 64.0, max_files: int = 10_000) -> FileTree:
        max_bytes = min(int(max_mib * 2**20), _LARGEST_GET_BYTES)
        wanted = list(paths or ["."])
        task: Task = {"paths": wanted, "max_bytes": max_bytes, "max_files": max_files}
        try:
            return read_tree(self._files(task), wanted, max_bytes, max_files)
        except (DataError, ValueError) as error:  # whatever a program did to its own files: there are none to be had
            return FileTree({}, dict.fromkeys(wanted, f"not readable: {error}"))

    def take(self) -> Supervisor:
        """An idle supervisor, or a new one; to be given to `put_back`. Raises SandboxFault when this is closed."""
        with self._lock:
            self._check_open()
            supervisor = self._idle.pop() if self._idle else self._new_supervisor()
            self._busy.add(supervisor)
            return supervisor

    def put_back(self, supervisor: Supervisor) -> None:
        """Keep a supervisor for the next job if it can do one, else end it."""
        with self._lock:
            self._busy.discard(supervisor)
            if supervisor.reusable and supervisor.generation == self.generation and not self._closed:
                self._idle.append(supervisor)
                return
        supervisor.close()
        if not self._closed:
            with contextlib.suppress(SandboxFault):  # whoever asks next will be told
                self._end_supervisor(supervisor)

    def why_gone(self, supervisor: Supervisor) -> ExecResult:
        """The result of a run whose supervisor vanished. Raises SandboxFault unless that is the program's own doing."""
        if self._closed:
            return ExecResult("killed", reason="the sandbox was closed meanwhile")
        if supervisor.generation != self.generation:
            return ExecResult("killed", reason="the sandbox was reset or restored meanwhile")
        answer: Answer = {**self._end_supervisor(supervisor), **supervisor.last_words}
        if answer["expired"]:
            raise SandboxFault(f"the sandbox's time to live ({self.spec.ttl_s:g} s) was over during this run")
        if answer["out_of_memory"]:
            return ExecResult("out_of_memory", reason="the supervisor went down with the program")
        if answer.get("crowded"):
            return ExecResult("too_many_processes", reason="there was no room for a supervisor either")
        if answer.get("signal"):
            return ExecResult("signalled", signal=answer["signal"], reason="a program here killed its own supervisor")
        raise SandboxFault("the supervisor of this run ended unexpectedly")

    def when_lost(self, fault: SandboxFault) -> ExecResult:
        """The result of a run in a sandbox that is gone as a whole. Raises the fault unless a program did that."""
        raise fault

    def _do(self, job: Job, task: Task, payload: bytes = b"", on_output: Output | None = None) -> ExecResult:
        try:
            supervisor = self.take()
        except SandboxFault as fault:
            return self.when_lost(fault)
        try:
            return read_result(*supervisor.run(job, task, payload, on_output))
        except SupervisorGone:
            return self.why_gone(supervisor)
        except TooLong as error:
            return _not_started(error)
        finally:
            self.put_back(supervisor)

    def _drop_idle(self) -> None:
        for supervisor in self._idle:
            supervisor.close()
        self._idle.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise SandboxFault("this sandbox is closed")


def absolute(cwd: str) -> str:
    """A working directory as seen from inside; a relative one starts at the workspace."""
    return cwd if cwd.startswith("/") else f"/workspace/{cwd}"


def _not_started(error: TooLong) -> ExecResult:
    """As a shell says it of what the kernel does not take."""
    message = f"{error}\n".encode()
    return ExecResult("exited", 126, stderr=OutputStream(message, b"", len(message)))


class _Session(SandboxSession):
    """Keeps one supervisor for itself, from its first call to its end."""

    def __init__(self, sandbox: SupervisedSandbox, kind: str, job: Job) -> None:
        self.kind = kind
        self._sandbox, self._job = sandbox, job
        self._supervisor: Supervisor | None = None
        self._lock = threading.Lock()
        self._calls = 0

    def run(self, code: str, *, timeout_s: float | None = None) -> ExecResult:
        with self._lock:
            if self._supervisor is None or self._supervisor.generation != self._sandbox.generation:
                self._leave()
                try:
                    self._supervisor = self._sandbox.take()
                except SandboxFault as fault:
                    return self._sandbox.when_lost(fault)
            job: Job = {**self._job, "limits": enforced(self._sandbox.spec.limits, timeout_s)}
            try:
                ending, data = self._supervisor.run(job, {"code": code})
            except TooLong as error:
                self._leave()
                return dataclasses.replace(
                    _not_started(error), reason="the session is lost, the next call starts a new one"
                )
            except SupervisorGone:
                result = self._sandbox.why_gone(self._supervisor)
                self._leave()
                return dataclasses.replace(
                    result, reason=f"{result.reason}; the session is lost, the next call starts a new one"
                )
            result = read_result(ending, data)
            self._calls += 1
            return dataclasses.replace(result, reason=self._remarks(ending, result.reason))

    def close(self) -> None:
        with self._lock:
            self._leave()

    def _remarks(self, ending: FinalEnding, reason: str) -> str:
        remarks = [reason] if reason else []
        if ending["fresh"] and self._calls > 1:
            remarks.append("the session had ended since the last call: this call ran in a new one")
        if not ending["alive"]:
            remarks.append("the session has ended: its variables are lost, and the next call starts a new one")
            self._calls = 0
        return "; ".join(remarks)

    def _leave(self) -> None:
        if self._supervisor is not None:
            self._supervisor.reusable = False  # what a session has seen, nobody else is to see
            self._sandbox.put_back(self._supervisor)
            self._supervisor = None
        self._calls = 0
