"""The provider of sandboxes that a pool on another machine holds."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

from agentrl import ConfigError, SandboxFault, SandboxProvider, SandboxSpec, how_to_install
from agentrl_sandboxes.pool.connection import Connection, PoolBusy
from agentrl_sandboxes.pool.messages import TOKEN_VARIABLE, Handshake
from agentrl_sandboxes.pool.sandbox import Maker, PoolSandbox

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 10.0


class Pool(SandboxProvider):
    """Sandboxes of a pool. What they can do is what the pool's own sandboxes can, save a `root`."""

    name = "pool"

    def __init__(
        self,
        *,
        url: str = "ws://127.0.0.1:8477",
        token: str = "",
        ca: str = "",
        patience_s: float = 120.0,
        timeout_s: float = 20.0,
    ) -> None:
        """`token`: by default the variable AGENTRL_POOL_TOKEN. `ca`: a file with certificates to trust beside the system's.

        `patience_s`: for how many seconds a creation is tried again while the pool is busy; `timeout_s`: how long
        connecting may take.
        """
        if not url.startswith(("ws://", "wss://")):
            raise ConfigError(f"the url of a pool begins with ws:// or wss://, not {url!r}")
        self._url, self._token, self._ca = url, token, ca
        self._patience_s, self._timeout_s = patience_s, timeout_s
        self._maker = Maker(url, self._fork)
        self._open: weakref.WeakSet[PoolSandbox] = weakref.WeakSet()
        self._handshake: Handshake | None = None
        self._closed = False

    @property
    def abilities(self) -> frozenset[str]:  # type: ignore[override]
        """What the pool says of its sandboxes. Raises SandboxFault when it does not answer."""
        return frozenset(self._ask_for_handshake()["abilities"])

    @property
    def profiles(self) -> tuple[str, ...]:  # type: ignore[override]
        """Likewise."""
        return tuple(self._ask_for_handshake()["profiles"])

    def create(self, spec: SandboxSpec | None = None) -> PoolSandbox:
        spec = spec or SandboxSpec()
        if spec.root:
            raise ConfigError("the sandbox 'pool' has no 'root': that would be a directory of the pool's machine")
        return self._until_free(lambda: self._create(spec))

    def obstacle(self) -> str:
        try:
            self._ask_for_handshake()
        except (SandboxFault, ConfigError) as error:
            return f"{error} Start one there with `agentrl sandbox serve`, and name it with the settings `url` and `token`."
        return ""

    def close(self) -> None:
        self._closed = True
        for sandbox in list(self._open):
            sandbox.close()

    def _until_free(self, attempt: Callable[[], PoolSandbox]) -> PoolSandbox:
        """Try again, with growing pauses, while the pool is busy."""
        import stamina

        attempts = stamina.retry_context(
            on=PoolBusy, attempts=None, timeout=self._patience_s, wait_initial=_FIRST_PAUSE_S,
            wait_jitter=_FIRST_PAUSE_S, wait_max=_LONGEST_PAUSE_S,
        )  # fmt: skip
        try:
            for each in attempts:
                with each:
                    return attempt()
        except PoolBusy as busy:
            raise SandboxFault(
                f"the pool at {self._url} was busy for {self._patience_s:g} s: {busy}. Start it with more "
                "--sandboxes, or ask for fewer at once."
            ) from None
        raise AssertionError("retry_context yields until an attempt succeeds or raises")

    def _create(self, spec: SandboxSpec) -> PoolSandbox:
        connection = self._connect()
        try:
            answer, _ = connection.ask({"do": "create", "spec": spec.to_data()})
        except BaseException:
            connection.close()
            raise
        return self._made(connection, answer["sandbox"], spec)

    def _fork(self, parent: PoolSandbox) -> PoolSandbox:
        def attempt() -> PoolSandbox:
            number = parent.ask({"do": "fork"})[0]["sandbox"]
            return self._made(parent.connection.share(), number, parent.spec)

        return self._until_free(attempt)

    def _made(self, connection: Connection, number: int, spec: SandboxSpec) -> PoolSandbox:
        sandbox = PoolSandbox(self._maker, connection, number, spec)
        self._open.add(sandbox)
        return sandbox

    def _connect(self) -> Connection:
        if self._closed:
            raise SandboxFault("this provider of sandboxes is closed")
        need_libraries("the sandbox 'pool'")
        token = self._token or os.environ.get(TOKEN_VARIABLE, "")
        connection = Connection(self._url, token, self._ca, self._timeout_s)
        self._handshake = connection.handshake
        return connection

    def _ask_for_handshake(self) -> Handshake:
        if self._handshake is None:
            connection = self._connect()
            connection.close()
            return connection.handshake
        return self._handshake


def need_libraries(whom: str) -> None:
    """Raises ConfigError where the libraries of a pool are missing."""
    try:
        import filelock  # noqa: F401 only whether it is there
        import stamina  # noqa: F401
        import websockets.sync.client  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"{whom} needs the package {error.name}. {how_to_install('pool')}") from None
