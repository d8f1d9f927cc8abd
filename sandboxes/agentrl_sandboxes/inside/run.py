"""One run of a program, as its supervisor sees it: its limits and its end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time

from agentrl_sandboxes.inside import ending, frames, program, usage
from agentrl_sandboxes.inside.handles import Handles
from agentrl_sandboxes.inside.messages import Ending, Job, Limits
from agentrl_sandboxes.inside.streams import Input, Outputs

_TICK_S = 0.1
_PASSES = 40  # over the processes that are left, where no single call kills them all


class Run:
    """A started program, with everything it starts."""

    def __init__(
        self, handles: Handles, pid: int, outputs: Outputs, stdin: int = -1, jobs: socket.socket | None = None
    ) -> None:
        self.handles, self.pid, self.outputs = handles, pid, outputs
        self.input = Input(handles.sock, stdin)
        self._jobs = jobs  # where the child tells which job it has read
        self.status: int | None = None  # of waitpid, once the program has ended
        self.peak_kib = 0
        self.escaped = False  # whether something may be left that only the first process of this pid namespace can end

    def await_job(self) -> tuple[Job, bytes]:
        """The job that the child has read, and the code of a session's call, or else how often limits were hit so far."""
        assert self._jobs is not None
        poller = select.poll()
        poller.register(self._jobs, select.POLLIN)
        poller.register(self.handles.sock, 0)  # only whether the other side is gone; what comes there is for the child
        while True:
            for fd, _ in poller.poll():
                if fd != self._jobs.fileno():
                    os._exit(0)  # the end of this process ends its pid namespace
                frame = frames.receive(self._jobs)
                if frame is None:
                    os._exit(1)  # it died while it read, so nobody knows what the next byte on the socket means
                self._jobs.close()
                return frame

    def attend(self, job: Job, before: usage.LimitHits) -> Ending:
        """Wait for the end of the program, at most as long as the limits say; how that was.

        `before`: how often limits had been hit when the program could not run yet.
        """
        limits = job["limits"]
        self.outputs.start(limits["head"], limits["tail"], bool(job.get("stream")))
        self.input.start(int(job.get("stdin", 0)))
        self.peak_kib = 0
        began, cpu_before = time.monotonic(), self.cpu_s()
        reason = self._wait(limits, began, cpu_before)
        if reason == "exited" and self.handles.pids_fd < 0 and len(usage.processes()) >= limits["pids"] - 1:
            reason = "too_many_processes"  # nobody counts refused forks here; those that were allowed are still alive
        killed = self._finish(reason)
        self.outputs.drain()
        evidence = ending.Evidence(
            reason, self.status, self.answered(), before, self.limit_hits(), killed, self.peak_kib,
            time.monotonic() - began, self.cpu_s() - cpu_before, self._near_limit(limits),
        )  # fmt: skip
        return ending.describe(evidence, self.outputs.kept())

    def close(self) -> None:
        """End it with everything it started, and free its descriptors."""
        self.end(own=True)
        self.outputs.wipe()
        self.outputs.close()
        self.input.close()

    def cpu_s(self) -> float:
        """CPU time of everything that ended here."""
        return usage.reaped_cpu_s()

    def answered(self) -> int | None:
        """The exit code of a call that came back, for those that have calls."""
        return None

    def reap(self) -> None:
        """Collect everything that has ended."""
        while True:
            try:
                pid, status, spent = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._note(pid, status, spent.ru_maxrss)

    def end(self, own: bool) -> int:
        """Kill whatever is left of it; how many processes that were (`own`: the program itself counts too).

        The first process of a pid namespace does that with one call. Another one, which has to be a subreaper, looks
        for its descendants again and again, and says in `escaped` when something forks faster than it looks.
        """
        self.reap()
        alone = os.getpid() == 1
        if alone:
            kill(-1)
        killed = 0
        for passed in range(1 if alone else _PASSES):
            if not alone and not self._kill_descendants(passed):
                return killed
            while True:
                try:
                    pid, status, spent = os.wait4(-1, 0 if alone else os.WNOHANG)
                except ChildProcessError:
                    return killed
                if pid == 0:
                    break
                counts = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
                killed += counts and (own or pid != self.pid)
                self._note(pid, status, spent.ru_maxrss)
        self.escaped = True
        return killed

    def poller(self) -> select.poll:
        """What there is to wait for."""
        poller = select.poll()
        for fd in (self.handles.wake, *self.outputs.fds):
            poller.register(fd, select.POLLIN)
        self.input.register(poller)
        return poller

    def serve(self, fd: int, event: int, poller: select.poll) -> None:
        """Handle one ready descriptor."""
        if fd in self.outputs.fds:
            if not self.outputs.read(fd):
                poller.unregister(fd)
        elif fd == self.handles.wake:
            os.read(fd, 4096)
            self.reap()
        elif not self.input.ready(fd, event, poller):
            os._exit(0)  # nobody is left to hear of it; the end of this process ends its pid namespace

    def _wait(self, limits: Limits, began: float, cpu_before: float) -> str:
        poller = self.poller()
        deadline, next_look = began + limits["wall_s"], began + _TICK_S
        while True:
            left_s = max(0.0, min(deadline, next_look) - time.monotonic())
            for fd, event in poller.poll(left_s * 1000):
                self.serve(fd, event, poller)
            if self.answered() is not None:
                return "answered"
            if self.status is not None:
                return "exited"
            now = time.monotonic()
            if now >= deadline:
                return "timeout"
            if self.outputs.total() > limits["flood_bytes"]:
                return "output_cut"
            if now >= next_look:
                next_look = now + _TICK_S
                limit = self._look(limits, cpu_before)
                if limit:
                    return limit

    def _look(self, limits: Limits, cpu_before: float) -> str:
        now = usage.now()
        self.peak_kib = max(self.peak_kib, now.memory_bytes // 1024)
        if now.cpu_s - cpu_before > limits["cpu_s"]:
            return "cpu"
        if not self.handles.memory_cgroup and limits["memory_bytes"] < min(now.memory_bytes, usage.memory_bytes()):
            return "out_of_memory"
        if self.handles.pids_fd < 0 and now.processes >= limits["pids"]:
            return "too_many_processes"
        return ""

    def _finish(self, reason: str) -> int:
        """End what is to end; how many processes had to be killed."""
        return self.end(own=self.status is None)

    def _near_limit(self, limits: Limits) -> bool:
        """Without a control group nobody counts refused allocations; a failure near the limit is taken for one."""
        return not self.handles.memory_cgroup and self.peak_kib * 1024 > 0.9 * limits["memory_bytes"]

    def _kill_descendants(self, passed: int) -> bool:
        """One pass; whether there may be any."""
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        for pid in usage.processes():
            kill(pid)
        time.sleep(min(0.0002 * 2**passed, 0.01))
        return True

    def limit_hits(self) -> usage.LimitHits:
        """How often limits were hit so far."""
        return usage.limit_hits(self.handles.memory_fd, self.handles.pids_fd)

    def _note(self, pid: int, status: int, peak_kib: int) -> None:
        self.peak_kib = max(self.peak_kib, peak_kib)
        if pid == self.pid:
            self.status = status


def fork_ahead(handles: Handles) -> Run:
    """Fork a child that waits for a job on the socket, and will become that program."""
    in_r, in_w = os.pipe()
    out_r, out_w = os.pipe()
    err_r, err_w = os.pipe()
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        program.start(handles, theirs, (in_r, out_w, err_w))
    for fd in (in_r, out_w, err_w):
        os.close(fd)
    theirs.close()
    return Run(handles, pid, Outputs(out_r, err_r, handles.sock), in_w, ours)


def kill(pid: int) -> None:
    """SIGKILL; a process that is gone is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
