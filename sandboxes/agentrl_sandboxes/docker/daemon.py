"""The Docker daemon as this process sees it: so many calls at once, and none for a while after it failed repeatedly."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from agentrl import ConfigError, SandboxFault

_Result = TypeVar("_Result")
_BREAKS_AFTER, _REST_S = 5, 10.0


class Breaker:
    """After several failures in a row nobody asks again for a while; then one may try."""

    def __init__(self, breaks_after: int = _BREAKS_AFTER, rest_s: float = _REST_S) -> None:
        self._breaks_after, self._rest_s = breaks_after, rest_s
        self._failures, self._rests_until = 0, 0.0
        self._lock = threading.Lock()

    def admit(self) -> None:
        """Raises SandboxFault while it rests."""
        with self._lock:
            left = self._rests_until - time.monotonic()
            if self._failures >= self._breaks_after and left > 0:
                raise SandboxFault(
                    f"the Docker daemon failed {self._failures} times in a row; it is asked again in {left:.1f} s"
                )
            self._rests_until = time.monotonic() + self._rest_s  # whoever passes now is the one who tries

    def succeeded(self) -> None:
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            self._rests_until = time.monotonic() + self._rest_s


class Daemon:
    """docker-py's client behind a breaker and a bounded number of calls at once. Connects on the first call."""

    def __init__(self, host: str, timeout_s: float, at_once: int) -> None:
        self._host, self._timeout_s = host, timeout_s
        self._places = threading.BoundedSemaphore(at_once or 2 * (os.cpu_count() or 1))
        self._lock = threading.Lock()
        self._client: Any = None
        self._pool = at_once or 2 * (os.cpu_count() or 1)
        self.breaker = Breaker()

    def call(self, what: str, action: Callable[[Any], _Result]) -> _Result:
        """`action` gets docker-py's low-level client.

        An answer of the daemon that says no comes through as docker-py's APIError; no answer is a SandboxFault.
        """
        from docker.errors import APIError, DockerException
        from requests.exceptions import RequestException

        self.breaker.admit()
        with self._places:
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
            return "the package docker-py is missing. Install it: `pip install 'agentrl[docker]'`."
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
        """Let the connections go."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connect(self) -> Any:
        with self._lock:
            if self._client is None:
                import docker

                settings = {"timeout": self._timeout_s, "max_pool_size": self._pool}
                self._client = (
                    docker.DockerClient(base_url=self._host, **settings) if self._host else docker.from_env(**settings)
                ).api
            return self._client

    def _judge(self, error: Any) -> None:
        """An error of the server is a failure; a refusal shows that it is well."""
        if error.is_server_error():
            self.breaker.failed()
        else:
            self.breaker.succeeded()


def explain(error: Any) -> str:
    """The daemon's own words."""
    return str(error.explanation or error)


def need_library() -> None:
    """Raises ConfigError where docker-py is missing."""
    try:
        import docker  # noqa: F401 only whether it is there
    except ImportError:
        raise ConfigError("the sandbox 'docker' needs docker-py: `pip install 'agentrl[docker]'`") from None
