"""The Docker daemon as this process sees it: so many calls at once, and none for a while after it failed repeatedly."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from agentrl import ConfigError, SandboxFault, how_to_install

if TYPE_CHECKING:
    import docker  # optional: without it there is no daemon to talk to
    from docker.errors import APIError

_Result = TypeVar("_Result")
_BREAKS_AFTER, _PAUSE_S = 5, 10.0


class CircuitBreaker:
    """After several failures in a row nobody asks again for a while; then one may try."""

    def __init__(self, breaks_after: int = _BREAKS_AFTER, pause_s: float = _PAUSE_S) -> None:
        self._breaks_after, self._pause_s = breaks_after, pause_s
        self._failures, self._paused_until = 0, 0.0
        self._lock = threading.Lock()

    def admit(self) -> None:
        """Raises SandboxFault during a pause."""
        with self._lock:
            left = self._paused_until - time.monotonic()
            if self._failures >= self._breaks_after and left > 0:
                raise SandboxFault(
                    f"the Docker daemon failed {self._failures} times in a row; it is asked again in {left:.1f} s"
                )
            self._paused_until = time.monotonic() + self._pause_s  # whoever passes now is the one who tries

    def succeeded(self) -> None:
        """A call was answered."""
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        """A call got no answer, or an error of the server."""
        with self._lock:
            self._failures += 1
            self._paused_until = time.monotonic() + self._pause_s


class Daemon:
    """docker-py's client behind a breaker and a bounded number of calls at once. Connects on the first call."""

    def __init__(self, host: str, timeout_s: float, at_once: int) -> None:
        self._host, self._timeout_s = host, timeout_s
        self._slots = threading.BoundedSemaphore(at_once or 2 * (os.cpu_count() or 1))
        self._lock = threading.Lock()
        self._client: docker.APIClient | None = None
        self._connections = at_once or 2 * (os.cpu_count() or 1)
        self.breaker = CircuitBreaker()

    def call(self, what: str, action: Callable[[docker.APIClient], _Result]) -> _Result:
        """`action` gets docker-py's low-level client.

        An answer of the daemon that says no comes through as docker-py's APIError; no answer is a SandboxFault.
        """
        from docker.errors import APIError, DockerException
        from requests.exceptions import RequestException

        self.breaker.admit()
        with self._slots:
            try:
                result = action(self._connect())
            except APIError as error:
                self._judge(error)
                raise
            except (RequestException, DockerException, OSError) as error:
                self.breaker.failed()
                raise SandboxFault(f"the Docker daemon does not answer ({what}): {error}") from error
        self.breaker.succeeded()
        return result

    def obstacle(self) -> str:
        """Why the daemon cannot be used, and what to do about it; "" when it answers."""
        try:
            import docker  # noqa: F401 only whether it is there
        except ImportError:
            return f"the package docker-py is missing. {how_to_install('docker')}"
        from docker.errors import APIError

        try:
            self.call("ping", lambda api: api.ping())
        except (SandboxFault, APIError) as error:
            return (
                f"no Docker daemon answers at {self._host or os.environ.get('DOCKER_HOST') or 'its usual socket'} "
                f"({error}). Start one (`sudo systemctl start docker`; `make test-docker` starts one of its own), or "
                "name another with the setting `host` or the variable DOCKER_HOST."
            )
        return ""

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connect(self) -> docker.APIClient:
        with self._lock:
            if self._client is None:
                import docker

                settings = {"timeout": self._timeout_s, "max_pool_size": self._connections}
                self._client = (
                    docker.DockerClient(base_url=self._host, **settings) if self._host else docker.from_env(**settings)
                ).api
            return self._client

    def _judge(self, error: APIError) -> None:
        """An error of the server is a failure; a refusal shows that it works."""
        if error.is_server_error():
            self.breaker.failed()
        else:
            self.breaker.succeeded()


def explain(error: APIError) -> str:
    """What the daemon itself says of an error."""
    return str(error.explanation or error)


def need_library() -> None:
    """Raises ConfigError where docker-py is missing."""
    try:
        import docker  # noqa: F401 only whether it is there
    except ImportError:
        raise ConfigError(f"the sandbox 'docker' needs docker-py. {how_to_install('docker')}") from None
