"""The provider of sandboxes in Docker containers."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Sequence

from agentrl import ConfigError, SandboxFault, SandboxProvider, SandboxSpec
from agentrl_sandboxes.docker import default_image, grade, reaper
from agentrl_sandboxes.docker.container import Build, Container
from agentrl_sandboxes.docker.daemon import Daemon, need_library
from agentrl_sandboxes.docker.sandbox import DockerSandbox, Maker
from agentrl_sandboxes.supervised.jobs import PRELOAD

_IDLE_S = 600.0  # a container that was made ahead is not used after that


class Docker(SandboxProvider):
    """Sandboxes by Docker. Needs a daemon, docker-py, and an image with Python 3.9 or newer."""

    name = "docker"
    profiles = ("default", "strict")
    abilities = frozenset({"python_session", "shell_session", "warm_python", "snapshot", "fork", "image"})

    def __init__(
        self,
        *,
        image: str = "",
        host: str = "",
        python: str = "python3",
        preload: Sequence[str] = PRELOAD,
        warm: int = 2,
        cpus: float = 1.0,
        runtime: str = "",
        timeout_s: float = 60.0,
        at_once: int = 0,
    ) -> None:
        """`image`: for specs that name none; by default one is made of this machine's programs, without a registry.

        `host`: the daemon (default: DOCKER_HOST or the usual socket). `warm`: containers made ahead, used once.
        `runtime`: another one than the daemon's default, `runsc` for example. `at_once`: calls of the daemon at the
        same time (0: two for each core); `timeout_s`: how long one may take.
        """
        self._image, self._warm = image, warm
        self._build = Build(python, tuple(preload), cpus, runtime)
        self.host = host
        self.daemon = Daemon(host, timeout_s, at_once)
        self._maker = Maker(self.abilities, self.adopt, self._container, self.measure)
        self._lock = threading.Lock()
        self._image_lock = threading.Lock()
        self._building = threading.BoundedSemaphore(at_once or 2 * (os.cpu_count() or 1))
        self._open: weakref.WeakSet[DockerSandbox] = weakref.WeakSet()
        self._ahead: deque[tuple[str, Container]] = deque()
        self._wanted: tuple[str, SandboxSpec] | None = None
        self._filler: threading.Thread | None = None
        self._measured: dict[str, dict[str, object]] = {}
        self._closed = self._reaped = False

    def create(self, spec: SandboxSpec | None = None) -> DockerSandbox:
        spec = spec or SandboxSpec()
        self.check_spec(spec)
        need_library()
        return self.adopt(spec, b"")

    def adopt(self, spec: SandboxSpec, base: bytes) -> DockerSandbox:
        """A sandbox that begins with the files of an archive."""
        if self._closed:
            raise SandboxFault("this provider of sandboxes is closed")
        if not self._reaped:
            self._reaped = True
            self.reap()  # what a crash has left would be in nobody's way but the machine's
        container = self._container(spec)
        try:
            sandbox = DockerSandbox(self._maker, container, spec, base)
        except BaseException:
            container.close()
            raise
        with self._lock:
            self._open.add(sandbox)
        return sandbox

    def obstacle(self) -> str:
        return self.daemon.obstacle()

    def reap(self) -> list[str]:
        return reaper.reap(self.daemon)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            filler = self._filler
        for sandbox in list(self._open):
            sandbox.close()
        if filler is not None:
            filler.join()
        while self._ahead:
            self._ahead.popleft()[1].close()
        self.daemon.close()

    def measure(self, sandbox: DockerSandbox) -> dict[str, object]:
        """The grade, measured once per profile and image: nothing else changes what is enforced."""
        key = f"{sandbox.spec.profile}:{sandbox.spec.image}"
        if key not in self._measured:
            try:
                self._measured[key] = grade.measure(sandbox, self.daemon)
            except SandboxFault:  # a program here may be in the way
                with self.create(sandbox.spec) as clean:
                    self._measured[key] = grade.measure(clean, self.daemon)
        return {**self._measured[key], "profile": sandbox.spec.profile}

    def _container(self, spec: SandboxSpec) -> Container:
        """One that is there already, or a new one; others are made for the next sandboxes like this."""
        image = spec.image or self._default_image()
        container = self._take_ahead(_key(image, spec)) or self._start(image, spec, 0.0)
        self._fill(image, spec)
        return container

    def _default_image(self) -> str:
        with self._image_lock:
            if not self._image:
                self._image = default_image.ensure(self.daemon)
            return self._image

    def _start(self, image: str, spec: SandboxSpec, idle_s: float) -> Container:
        with self._building:  # more at once would only make each of them slower, and late
            return Container(self.daemon, self._build, image, spec, idle_s)

    def _take_ahead(self, key: str) -> Container | None:
        while True:
            with self._lock:
                fitting = next((pair for pair in self._ahead if pair[0] == key), None)
                if fitting is None:
                    return None
                self._ahead.remove(fitting)
            if fitting[1].stream.alive():
                return fitting[1]
            fitting[1].close()

    def _fill(self, image: str, spec: SandboxSpec) -> None:
        """Have containers made for the next sandboxes like this one, beside whoever asked."""
        if not self._warm:
            return
        with self._lock:
            self._wanted = (image, spec)
            if self._filler is None and not self._closed:
                self._filler = threading.Thread(target=self._make_ahead, name="agentrl docker ahead", daemon=True)
                self._filler.start()

    def _make_ahead(self) -> None:
        while True:
            with self._lock:
                image, spec = self._wanted or ("", SandboxSpec())
                key = _key(image, spec)
                unfit = [pair for pair in self._ahead if pair[0] != key or not pair[1].stream.alive()]
                for pair in unfit:
                    self._ahead.remove(pair)
                enough = len(self._ahead) >= self._warm or self._closed
                if enough and not unfit:
                    self._filler = None
                    return
            for _, container in unfit:
                container.close()
            if enough:
                continue
            try:
                container = self._start(image, spec, _IDLE_S)
            except (SandboxFault, ConfigError):  # whoever asks next is told
                with self._lock:
                    self._filler = None
                return
            with self._lock:
                self._ahead.append((key, container))


def _key(image: str, spec: SandboxSpec) -> str:
    """What a container is made for; the environment comes with the first request."""
    return repr((image, spec.profile, spec.limits, sorted(spec.labels.items()), spec.ttl_s))
