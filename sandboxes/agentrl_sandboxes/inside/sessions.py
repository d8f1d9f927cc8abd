"""A session, as its supervisor sees it: one interpreter, many calls."""

from __future__ import annotations

import os
import select
import shlex
import signal
import time

from agentrl_sandboxes.inside import program, usage
from agentrl_sandboxes.inside.handles import Handles
from agentrl_sandboxes.inside.messages import Job
from agentrl_sandboxes.inside.run import Run, kill
from agentrl_sandboxes.inside.streams import Outputs

_INTERRUPT_GRACE_S = 0.5


def text_bytes(text: str) -> bytes:
    """As bytes, whatever surrogates are in it: a model may write any."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


class Session(Run):
    """`call`, then `attend`, again and again while it is alive."""

    def __init__(self, handles: Handles, kind: str, pid: int, outputs: Outputs, commands: int, answers: int) -> None:
        super().__init__(handles, pid, outputs)
        self._kind, self._commands, self._answers = kind, commands, answers
        self._pending = memoryview(b"")
        self._answer: int | None = None
        os.set_blocking(commands, False)

    def call(self, code: str) -> None:
        """Hand over the next call's code."""
        self._answer = None
        while select.select([self._answers], [], [], 0)[0]:
            if not os.read(self._answers, 4096):
                break  # nobody holds the other end any more
        source = text_bytes(code)
        if self._kind == "session.shell":
            ending = b" </dev/null %d>&-\nprintf '%%d\\n' $? >&%d\n" % (program.ANSWERS, program.ANSWERS)
            quoted = shlex.quote(source.decode("utf-8", "surrogateescape"))
            self._pending = memoryview(b"eval " + quoted.encode("utf-8", "surrogateescape") + ending)
        else:
            self._pending = memoryview(b"%d\n" % len(source) + source)

    def alive(self) -> bool:
        """Whether the interpreter is still there."""
        self.reap()
        return self.status is None

    def answered(self) -> int | None:
        return self._answer

    def cpu_s(self) -> float:
        return usage.now().cpu_s

    def close(self) -> None:
        super().close()
        os.close(self._commands)
        os.close(self._answers)

    def poller(self) -> select.poll:
        poller = super().poller()
        poller.register(self._answers, select.POLLIN)
        if self._pending:
            poller.register(self._commands, select.POLLOUT)
        return poller

    def serve(self, fd: int, event: int, poller: select.poll) -> None:
        if fd == self._commands:
            if event & (select.POLLERR | select.POLLHUP) or not self._feed():
                poller.unregister(fd)
        elif fd == self._answers:
            self._hear(poller)
        else:
            super().serve(fd, event, poller)

    def _finish(self, reason: str) -> int:
        if reason == "answered" or (reason == "timeout" and self._interrupt()):
            return 0
        return self.end(own=self.status is None)

    def _feed(self) -> bool:
        self._pending = self._pending[os.write(self._commands, self._pending[:65536]) :]
        return bool(self._pending)

    def _hear(self, poller: select.poll) -> None:
        data = os.read(self._answers, 64)
        if not data:
            poller.unregister(self._answers)
        elif data.strip().isdigit():
            self._answer = int(data) & 0xFF
        else:
            self._answer = 255  # the program wrote here itself

    def _interrupt(self) -> bool:
        """Ask for an end of the call; whether it came back, so that its state lives on."""
        if self._kind == "session.python":
            os.kill(self.pid, signal.SIGINT)
        else:
            for pid in usage.processes():
                if pid != self.pid:
                    kill(pid)
        poller, until = self.poller(), time.monotonic() + _INTERRUPT_GRACE_S
        while self._answer is None and self.status is None and time.monotonic() < until:
            for fd, event in poller.poll(20):
                self.serve(fd, event, poller)
        return self._answer is not None and self.status is None


def begin(handles: Handles, job: Job) -> Session:
    """Start an interpreter that waits for calls."""
    silent = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    out_r, out_w = os.pipe()
    err_r, err_w = os.pipe()
    commands_r, commands_w = os.pipe()
    answers_r, answers_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        fds = (silent, out_w, err_w, commands_r, answers_w)
        program.start_session(job, handles, fds)
    for fd in (silent, out_w, err_w, commands_r, answers_w):
        os.close(fd)
    return Session(handles, job["kind"], pid, Outputs(out_r, err_r, handles.sock), commands_w, answers_r)
