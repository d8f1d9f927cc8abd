"""What an attempt to escape is after: files, processes and servers of the host that no sandbox may reach."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType

SECRET_VARIABLE = "AGENTRL_CANARY_VARIABLE"


class Canaries:
    """Canaries on the host. `env` tells an attempt where they are; the secret itself is only in them."""

    def __init__(self) -> None:
        self.secret = secrets.token_hex(16)
        self.token = f"canary{secrets.token_hex(4)}"
        self.folder = Path(tempfile.mkdtemp(prefix="agentrl-canaries-"))
        self.folder.chmod(0o777)
        self.file = self.folder / "secret.txt"
        self.heard: set[str] = set()
        self._stop = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Canaries:
        self.file.write_text(self.secret)
        self.file.chmod(0o666)
        os.environ[SECRET_VARIABLE] = self.secret
        self.descriptor = os.open(self.file, os.O_RDONLY)
        os.set_inheritable(self.descriptor, True)
        self.process = self._canary()
        self.tcp = self._listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0), "tcp")
        self.udp = self._listen(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0), "udp")
        self.anywhere = self._listen(socket.AF_INET, socket.SOCK_STREAM, ("0.0.0.0", 0), "address")
        self._listen(socket.AF_UNIX, socket.SOCK_STREAM, str(self.folder / "unix"), "unix")
        self._listen(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{self.token}", "abstract")
        (self.folder / "unix").chmod(0o777)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for listener in self._sockets:
            listener.close()
        self.process.kill()
        self.process.wait()
        os.close(self.descriptor)
        os.environ.pop(SECRET_VARIABLE, None)
        self.end_survivors()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def env(self) -> dict[str, str]:
        """Environment variables of an attempt: addresses, never the secret."""
        return {
            "CANARY_FILE": str(self.file),
            "CANARY_FOLDER": str(self.folder),
            "CANARY_TOKEN": self.token,
            "CANARY_PID": str(self.process.pid),
            "CANARY_TCP": str(self.tcp),
            "CANARY_UDP": str(self.udp),
            "CANARY_ANYWHERE": str(self.anywhere),
            "CANARY_ADDRESS": _own_address(),
            "CANARY_INTERFACES": " ".join(name for _, name in socket.if_nameindex() if name != "lo"),
        }

    @property
    def mark(self) -> str:
        """A name that attempts give to processes they hope will survive (at most 15 characters)."""
        return self.token[:15]

    def survivors(self) -> list[int]:
        """Processes on this host that carry the mark."""
        pids = []
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text(
                    encoding="utf-8", errors="replace"
                ).strip() == self.mark and not _is_zombie(pid):
                    pids.append(pid)
        return pids

    def end_survivors(self) -> None:
        """Kill them."""
        for pid in self.survivors():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def changed(self) -> bool:
        """Whether anything in the canary folder is not as it was."""
        names = {path.name for path in self.folder.iterdir()}
        return names != {"secret.txt", "unix"} or self.file.read_text() != self.secret

    def mend(self) -> None:
        """Put the folder back into order, for the next attempt."""
        for path in self.folder.iterdir():
            if path.name not in ("secret.txt", "unix"):
                path.unlink()
        self.file.unlink(missing_ok=True)
        self.file.write_text(self.secret)
        self.file.chmod(0o666)
        self.heard.clear()
        self.end_survivors()
        if self.process.poll() is not None:
            self.process = self._canary()

    def _canary(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-I", "-c", "import time; time.sleep(600)", self.token])

    def _listen(self, family: int, kind: int, address: tuple[str, int] | str, name: str) -> int:
        listener = socket.socket(family, kind)
        listener.bind(address)
        listener.settimeout(0.1)
        if kind == socket.SOCK_STREAM:
            listener.listen()
        thread = threading.Thread(target=self._serve, args=(listener, name, kind), daemon=True)
        thread.start()
        self._sockets.append(listener)
        self._threads.append(thread)
        bound = listener.getsockname()
        return int(bound[1]) if isinstance(bound, tuple) else 0

    def _serve(self, listener: socket.socket, name: str, kind: int) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                if kind == socket.SOCK_DGRAM:
                    listener.recvfrom(100)
                else:
                    listener.accept()[0].close()
                self.heard.add(name)


def _own_address() -> str:
    """An address of this machine that is not the loopback's, "" where it has none; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.connect(("192.0.2.1", 9))
        return str(sock.getsockname()[0])
    return ""


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] == "Z"
