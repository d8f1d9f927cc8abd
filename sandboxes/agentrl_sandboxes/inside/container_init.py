"""The first process of a container: connects supervisors with the one stream that leads outside."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from agentrl_sandboxes.inside import frames, kernel, mux, program, run, supervisor, trees, usage
from agentrl_sandboxes.inside.handles import Handles
from agentrl_sandboxes.inside.messages import WRITABLE, Answer, ContainerFacts, Request

STDIN, STDOUT, STDERR = 10, 11, 12
"""Where the streams of this process are: the usual numbers are for programs."""

_CHUNK, _ENOUGH = 2**16, 2**19
_PASSES = 40
_EVENTS = {
    "memory": ("/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory.events"),
    "pids": ("/sys/fs/cgroup/pids/pids.events", "/sys/fs/cgroup/pids.events"),
}


class _Channel:
    """This process's end of one supervisor's socket."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.sock, self.pid = sock, pid
        self.pending = bytearray()  # from outside, for the supervisor


class Init:
    """One loop over the stream, the supervisors and the children that end; it runs no program itself.

    It has the programs' own uid, like everything here: nothing in this container has a capability. Supervisors are its
    children. What a supervisor leaves behind is adopted by this process when the supervisor ends, and killed.
    """

    def __init__(self) -> None:
        self._out = bytearray()
        self._splitter = mux.Splitter()
        self._channels: dict[int, _Channel] = {}
        self._ended: dict[int, Answer] = {}
        self._ends_at = float("inf")
        self._proc_fd = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._memory_fd, self._pids_fd = (_open_first(_EVENTS[name]) for name in ("memory", "pids"))
        self._hits_before = usage.limit_hits(self._memory_fd, self._pids_fd)
        self._apart = kernel.can_keep_to_oneself()
        self._wake = supervisor.watch_children()
        self._score_fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)  # later it is not ours to open
        os.set_blocking(STDOUT, False)

    def facts(self) -> ContainerFacts:
        """What the other side wants to know first."""
        return {
            "uid": os.getuid(),
            "python": sys.version.split()[0],
            "path": os.environ.get("PATH", ""),
            "memory_events": self._memory_fd >= 0,
            "pids_events": self._pids_fd >= 0,
            "apart": self._apart,
        }

    def send(self, frame: bytes) -> None:
        """Send a frame as soon as the stream takes it."""
        self._out += frame

    def work(self) -> None:
        """Until the other side is gone or the time to live is over; the end of this process ends everything here."""
        while True:
            poller = self._poller()
            left_ms = min(max(0.0, self._ends_at - time.monotonic()) * 1000, 60_000)
            for fd, event in poller.poll(left_ms):
                if fd == STDIN and not self._read():
                    return
                if fd == STDOUT:
                    self._flush()
                elif fd == self._wake[0]:
                    os.read(fd, 4096)
                    self._reap_children()
                elif fd != STDIN:
                    self._serve(fd, event)
            if self._out:
                self._flush()
            if time.monotonic() >= self._ends_at:
                return

    def _poller(self) -> select.poll:
        poller = select.poll()
        poller.register(STDIN, select.POLLIN)
        poller.register(self._wake[0], select.POLLIN)
        if self._out:
            poller.register(STDOUT, select.POLLOUT)
        for channel in self._channels.values():
            events = select.POLLIN if len(self._out) < _ENOUGH else 0
            events |= select.POLLOUT if channel.pending else 0
            if events:
                poller.register(channel.sock, events)
        return poller

    def _read(self) -> bool:
        data = os.read(STDIN, _CHUNK)
        for kind, number, content in self._splitter.feed(data):
            if kind == mux.OPEN:
                self._open(number)
            elif kind == mux.DATA and number in self._channels:
                self._channels[number].pending += content
                self._write(number)
            elif kind == mux.CLOSE and number in self._channels:
                self._end(number)
            elif kind == mux.ASK:
                self._answer(number, json.loads(content))
        return bool(data)

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            sent = os.write(STDOUT, memoryview(self._out)[:_CHUNK])
            del self._out[:sent]

    def _serve(self, fd: int, event: int) -> None:
        for number, channel in list(self._channels.items()):
            if channel.sock.fileno() != fd:
                continue
            if event & select.POLLOUT:
                self._write(number)
            if event & (select.POLLIN | select.POLLHUP):
                self._forward(number)
            return

    def _write(self, number: int) -> None:
        channel = self._channels[number]
        try:
            sent = channel.sock.send(memoryview(channel.pending)[:_CHUNK])
        except BlockingIOError:
            return
        except OSError:  # the supervisor has ended, which is noticed by itself
            sent = len(channel.pending)
        del channel.pending[:sent]
        self.send(mux.pack_ack(number, sent))

    def _forward(self, number: int) -> bool:
        try:
            data = self._channels[number].sock.recv(_CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self.send(mux.pack(mux.DATA, number, data))
        return bool(data)

    def _open(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        os.write(self._score_fd, supervisor.SCORE)
        try:
            pid = os.fork()
        except OSError:  # programs that run here already leave no room
            self._ended[number] = {"crowded": True}
            self.send(mux.pack(mux.CLOSE, number))
            return
        finally:
            os.write(self._score_fd, b"0")
        if pid == 0:
            self._become_supervisor(theirs)
        self._channels[number] = _Channel(ours, pid)

    def _become_supervisor(self, sock: socket.socket) -> NoReturn:
        """From here on another process, which adopts whatever its programs leave behind."""
        code = 1
        try:
            kernel.become_subreaper()
            kernel.die_with_parent(signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            wake = supervisor.watch_children()
            program.ignore_signals()  # programs have the same user, and may send any
            null = os.open("/dev/null", os.O_RDWR)
            for low in range(5):
                os.dup2(null, low)
            supervisor.close_all_but(sock.fileno(), self._proc_fd, self._memory_fd, self._pids_fd, *wake)
            frames.send(sock, {"ready": True})
            handles = Handles(
                sock, self._proc_fd, wake[0], self._memory_fd, self._pids_fd, self._memory_fd >= 0, self._apart
            )
            supervisor.serve(handles)
            code = 0
        except Exception as error:  # whoever asked for this supervisor is told
            supervisor.report_end(sock, error)
        os._exit(code)

    def _answer(self, number: int, request: Request) -> None:
        operations: dict[str, Callable[[Request], Answer]] = {
            "begin": self._begin,
            "end_supervisor": self._end_supervisor,
            "wipe": self._wipe,
        }
        try:
            answer = operations[request["do"]](request)
        except OSError as error:
            answer = {"fault": f"{request['do']}: {error}"}
        self.send(mux.pack(mux.ANSWER, number, json.dumps(answer).encode()))

    def _begin(self, request: Request) -> Answer:
        self._ends_at = time.monotonic() + request["ttl_s"]
        os.environ.clear()
        os.environ.update(request["env"])
        self._hits_before = usage.limit_hits(self._memory_fd, self._pids_fd)
        return {}

    def _end_supervisor(self, request: Request) -> Answer:
        if request["channel"] in self._channels:
            self._end(request["channel"])
        else:
            self._kill_orphans()
        hits = usage.limit_hits(self._memory_fd, self._pids_fd)
        out_of_memory = hits.out_of_memory > self._hits_before.out_of_memory
        return {"expired": False, "out_of_memory": out_of_memory, **self._ended.pop(request["channel"], {})}

    def _wipe(self, _: Request) -> Answer:
        self._kill_all()
        for folder in WRITABLE.values():
            trees.empty(folder)
            os.chmod(folder, 0o755)  # as in the beginning
        return {}

    def _reap_children(self) -> None:
        """Children that have ended, or were stopped by a program that wanted nobody to look."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            numbers = [number for number, channel in self._channels.items() if channel.pid == pid]
            if os.WIFSTOPPED(status):
                run.kill(pid)
            elif numbers:
                self._remove(numbers[0], os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)

    def _end(self, number: int) -> None:
        """Kill a supervisor and what it leaves."""
        channel = self._channels[number]
        run.kill(channel.pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(channel.pid, 0)
        self._remove(number, 0)

    def _remove(self, number: int, by_signal: int) -> None:
        """A supervisor is gone: so is what it left, and its last output is handed on."""
        channel = self._channels[number]
        self._kill_orphans({channel.pid})
        while self._forward(number):
            pass
        channel.sock.close()
        del self._channels[number]
        self._ended[number] = {"signal": by_signal}
        self.send(mux.pack(mux.CLOSE, number))

    def _kill_orphans(self, ended: set[int] | None = None) -> None:
        """Kill whatever belongs to no supervisor; what forks faster than this looks takes everything with it."""
        for passed in range(_PASSES):
            supervisors = {channel.pid for channel in self._channels.values()} - (ended or set())
            orphans = usage.orphans(supervisors)
            if not orphans:
                return
            for pid in orphans:
                run.kill(pid)
            time.sleep(min(0.0002 * 2**passed, 0.01))
            for pid in orphans:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        run.kill(-1)

    def _kill_all(self) -> None:
        run.kill(-1)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        for number in list(self._channels):
            self._remove(number, 0)


def _open_first(paths: tuple[str, ...]) -> int:
    for path in paths:
        with contextlib.suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return -1
