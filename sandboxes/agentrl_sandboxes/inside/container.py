"""The first process of a container: carries many cells on the one stream that leads outside."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from agentrl_sandboxes.inside import cell, files, frames, kernel, mux, program, seccomp, supervise, watch

PLACES = ("/workspace", "/tmp", "/home/agent", "/dev/shm")
"""Where a program may write."""

_STDIN, _STDOUT, _STDERR = 10, 11, 12
_CHUNK, _ENOUGH = 2**16, 2**19
_PASSES = 40
_EVENTS = {
    "memory": ("/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory.events"),
    "pids": ("/sys/fs/cgroup/pids/pids.events", "/sys/fs/cgroup/pids.events"),
}


class Channel:
    """The near end of one cell's socket."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.sock, self.pid = sock, pid
        self.pending = bytearray()  # from outside, for the cell


class Init:
    """One loop over the stream, the cells and the children that end; it runs nothing foreign itself.

    It has the programs' own user, like everything here: no right of any kind is in this container. Cells are its
    children. What a cell leaves behind comes to this process when the cell ends, and is killed here.
    """

    def __init__(self) -> None:
        self._out = bytearray()
        self._splitter = mux.Splitter()
        self._channels: dict[int, Channel] = {}
        self._ended: dict[int, dict[str, Any]] = {}
        self._ends_at = float("inf")
        self._proc_fd = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._memory_fd, self._pids_fd = (_open_first(_EVENTS[name]) for name in ("memory", "pids"))
        self._before = watch.counters(self._memory_fd, self._pids_fd)
        self._wake = cell.listen_for_children()
        os.set_blocking(_STDOUT, False)

    def facts(self) -> dict[str, Any]:
        """What is said of this place on arrival."""
        return {
            "uid": os.getuid(),
            "python": sys.version.split()[0],
            "path": os.environ.get("PATH", ""),
            "memory_events": self._memory_fd >= 0,
            "pids_events": self._pids_fd >= 0,
        }

    def say(self, frame: bytes) -> None:
        """Send a frame as soon as the stream takes it."""
        self._out += frame

    def work(self) -> None:
        """Until the other side is gone or the time to live is over; the end of this process ends everything here."""
        while True:
            poller = self._poller()
            left_ms = min(max(0.0, self._ends_at - time.monotonic()) * 1000, 60_000)
            for fd, event in poller.poll(left_ms):
                if fd == _STDIN and not self._hear():
                    return
                if fd == _STDOUT:
                    self._send()
                elif fd == self._wake[0]:
                    os.read(fd, 4096)
                    self._collect()
                elif fd != _STDIN:
                    self._serve(fd, event)
            if self._out:
                self._send()
            if time.monotonic() >= self._ends_at:
                return

    def _poller(self) -> select.poll:
        poller = select.poll()
        poller.register(_STDIN, select.POLLIN)
        poller.register(self._wake[0], select.POLLIN)
        if self._out:
            poller.register(_STDOUT, select.POLLOUT)
        for channel in self._channels.values():
            wanted = select.POLLIN if len(self._out) < _ENOUGH else 0
            wanted |= select.POLLOUT if channel.pending else 0
            if wanted:
                poller.register(channel.sock, wanted)
        return poller

    def _hear(self) -> bool:
        data = os.read(_STDIN, _CHUNK)
        for kind, number, content in self._splitter.feed(data):
            if kind == mux.OPEN:
                self._open(number)
            elif kind == mux.DATA and number in self._channels:
                self._channels[number].pending += content
                self._feed(number)
            elif kind == mux.CLOSE and number in self._channels:
                self._end(number)
            elif kind == mux.ASK:
                self._answer(number, json.loads(content))
        return bool(data)

    def _send(self) -> None:
        with contextlib.suppress(BlockingIOError):
            sent = os.write(_STDOUT, memoryview(self._out)[:_CHUNK])
            del self._out[:sent]

    def _serve(self, fd: int, event: int) -> None:
        for number, channel in list(self._channels.items()):
            if channel.sock.fileno() != fd:
                continue
            if event & select.POLLOUT:
                self._feed(number)
            if event & (select.POLLIN | select.POLLHUP):
                self._fetch(number)
            return

    def _feed(self, number: int) -> None:
        channel = self._channels[number]
        try:
            sent = channel.sock.send(memoryview(channel.pending)[:_CHUNK])
        except BlockingIOError:
            return
        except OSError:  # the cell has ended, which is noticed by itself
            sent = len(channel.pending)
        del channel.pending[:sent]
        self.say(mux.pack_taken(number, sent))

    def _fetch(self, number: int) -> bool:
        try:
            data = self._channels[number].sock.recv(_CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self.say(mux.pack(mux.DATA, number, data))
        return bool(data)

    def _open(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            pid = os.fork()
        except OSError:  # programs that run here already leave no room
            self._ended[number] = {"crowded": True}
            self.say(mux.pack(mux.CLOSE, number))
            return
        if pid == 0:
            self._be_cell(theirs)
        self._channels[number] = Channel(ours, pid)

    def _be_cell(self, sock: socket.socket) -> NoReturn:
        """From here on another process, which adopts whatever its programs leave behind."""
        code = 1
        try:
            kernel.become_subreaper()
            kernel.die_with_parent(signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            wake = cell.listen_for_children()
            program.ignore_signals()  # programs have the same user, and may send any
            null = os.open("/dev/null", os.O_RDWR)
            for low in range(5):
                os.dup2(null, low)
            cell.close_all_but(sock.fileno(), self._proc_fd, self._memory_fd, self._pids_fd, *wake)
            frames.send(sock, {"ready": True})
            cell.serve(
                supervise.Cell(sock, self._proc_fd, wake[0], self._memory_fd, self._pids_fd, self._memory_fd >= 0)
            )
            code = 0
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError):  # nobody listens
                frames.send(sock, {"fault": f"{type(error).__name__}: {error}"})
        os._exit(code)

    def _answer(self, number: int, request: dict[str, Any]) -> None:
        operations = {"begin": self._begin, "end_cell": self._end_cell, "wipe": self._wipe}
        try:
            answer = operations[request["do"]](request)
        except OSError as error:
            answer = {"fault": f"{request['do']}: {error}"}
        self.say(mux.pack(mux.ANSWER, number, json.dumps(answer).encode()))

    def _begin(self, request: dict[str, Any]) -> dict[str, Any]:
        self._ends_at = time.monotonic() + request["ttl_s"]
        os.environ.clear()
        os.environ.update(request["env"])
        self._before = watch.counters(self._memory_fd, self._pids_fd)
        return {}

    def _end_cell(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["channel"] in self._channels:
            self._end(request["channel"])
        else:
            self._sweep()
        counted = watch.counters(self._memory_fd, self._pids_fd)
        hungry = counted.out_of_memory > self._before.out_of_memory
        return {"expired": False, "out_of_memory": hungry, **self._ended.pop(request["channel"], {})}

    def _wipe(self, _: dict[str, Any]) -> dict[str, Any]:
        self._kill_all()
        for place in PLACES:
            files.empty(place)
        return {}

    def _collect(self) -> None:
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
                supervise.kill(pid)
            elif numbers:
                self._forget(numbers[0], os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)

    def _end(self, number: int) -> None:
        """Kill a cell and what it leaves."""
        channel = self._channels[number]
        supervise.kill(channel.pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(channel.pid, 0)
        self._forget(number, 0)

    def _forget(self, number: int, by_signal: int) -> None:
        """A cell is gone: so is what it left, and what it said last is handed on."""
        channel = self._channels[number]
        gone = {channel.pid}
        self._sweep(gone)
        while self._fetch(number):
            pass
        channel.sock.close()
        del self._channels[number]
        self._ended[number] = {"signal": by_signal}
        self.say(mux.pack(mux.CLOSE, number))

    def _sweep(self, gone: set[int] | None = None) -> None:
        """Kill whatever belongs to no cell; what forks faster than this looks takes everything with it."""
        for passed in range(_PASSES):
            cells = {channel.pid for channel in self._channels.values()} - (gone or set())
            strays = watch.strays(cells)
            if not strays:
                return
            for pid in strays:
                supervise.kill(pid)
            time.sleep(min(0.0002 * 2**passed, 0.01))
            for pid in strays:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        supervise.kill(-1)

    def _kill_all(self) -> None:
        supervise.kill(-1)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        for number in list(self._channels):
            self._forget(number, 0)


def main() -> None:
    """Runs once this module has been sent in; standard input and output are the stream."""
    for low, high in ((0, _STDIN), (1, _STDOUT), (2, _STDERR)):
        os.dup2(low, high, inheritable=False)
    null = os.open("/dev/null", os.O_RDWR)
    for low in range(5):
        os.dup2(null, low)
    try:
        settings = json.loads(read_blob(_STDIN))
        for module in settings["preload"]:
            __import__(module)
        os.umask(0o022)
        os.chdir("/workspace")
        init = Init()
        facts = init.facts()
        kernel.forbid_new_privileges()
        kernel.set_dumpable(False)
        kernel.set_seccomp(seccomp.loadable(seccomp.compile_filter(settings["profile"])))
        gc.freeze()
        init.say(mux.pack(mux.ANSWER, 0, json.dumps(facts).encode()))
        init.work()
    except Exception as error:  # the last words of this container
        os.write(_STDERR, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)
    os._exit(0)


def read_blob(fd: int) -> bytes:
    """Eight bytes of length, then as many bytes."""
    return _exactly(fd, int.from_bytes(_exactly(fd, 8), "big"))


def _exactly(fd: int, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = os.read(fd, count - len(found))
        if not piece:
            raise OSError("the stream ended too early")
        found += piece
    return found


def _open_first(paths: tuple[str, ...]) -> int:
    for path in paths:
        with contextlib.suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return -1
