"""Sandbox: a place where untrusted code runs, and ExecResult: how a program ended, told by its supervisor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import msgspec

from agentrl.errors import ConfigError, DataError, SandboxFault, did_you_mean

Status = Literal[
    "exited",
    "signalled",
    "timeout",
    "out_of_memory",
    "too_many_processes",
    "output_cut",
    "killed",
    "infrastructure",
]
"""How a program ended. `infrastructure` is never returned by `run`: a fault of machinery raises SandboxFault."""


class Output(Protocol):
    """What `run` calls with each piece of output as it comes."""

    def __call__(self, stream: Literal["stdout", "stderr"], data: bytes, /) -> None: ...


ABILITIES: Mapping[str, str] = {
    "python_session": "`session('python')`: an interpreter whose variables survive between calls",
    "shell_session": "`session('shell')`: a shell whose directory, variables and jobs survive between calls",
    "warm_python": "`python` forks a warmed interpreter instead of starting one",
    "snapshot": "`snapshot` and `restore` of files",
    "fork": "`fork`: another sandbox with the same files",
    "root": "`spec.root`: a directory of one's own as root file system",
    "image": "`spec.image`: a named image as root file system",
    "network": "`spec.network = 'open'`",
}
"""What a sandbox may be able to do on top of the contract; each declares its own, and nothing else is promised."""


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one sandbox may use. Reaching a limit is data about the program, never a fault."""

    wall_s: float = 60.0  # of one run; `timeout_s` can shorten it
    cpu_s: float = 60.0  # of one run, all its processes together
    memory_mib: int = 512  # of the sandbox, its files included where they are kept in memory
    pids: int = 64  # processes and threads of the sandbox
    file_mib: int = 64  # of one file
    disk_mib: int = 256  # of all files
    output_kib: int = 256  # kept of each stream: half from its head, half from its tail
    flood_mib: int = 64  # written by one run to both streams, before it is ended with `output_cut`

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 2**31:
                raise ConfigError(f"limit {setting.name} = {value!r}: give a number above 0 (and below 2^31)")


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """Which sandbox to make. At most one of `root` (a directory) and `image` (a name) is set; by default neither is."""

    limits: SandboxLimits = SandboxLimits()
    profile: str = "default"
    network: Literal["closed", "open"] = "closed"
    root: str = ""
    image: str = ""
    ttl_s: float = 3600.0  # after that it is closed, whoever still holds it
    labels: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)  # environment variables of everything that runs here

    def to_data(self) -> dict[str, Any]:
        """JSON-able; `from_data` reads it back."""
        return _plain(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> SandboxSpec:
        """Raises ConfigError for a key that no spec has, and for a value that does not fit."""
        known, limits = [f.name for f in fields(cls)], [f.name for f in fields(SandboxLimits)]
        for given, allowed in ((data, known), (data.get("limits", {}), limits)):
            for name in given:
                if name not in allowed:
                    raise ConfigError(f"a sandbox spec has no {name!r}. {did_you_mean(name, allowed)}")
        try:
            return msgspec.convert(data, cls)
        except msgspec.ValidationError as error:
            raise ConfigError(f"this is no sandbox spec: {error}") from error


@dataclass(frozen=True, slots=True)
class Command:
    """One program to run, and what it is given. Raises ConfigError without a program.

    >>> Command.of("ls | wc", cwd="src").argv, Command.of(["ls", "-l"]).argv
    (('sh', '-c', 'ls | wc'), ('ls', '-l'))
    """

    argv: tuple[str, ...]
    stdin: bytes = b""
    cwd: str = ""  # relative to the workspace
    env: Mapping[str, str] = field(default_factory=dict)  # environment variables, added to the spec's
    timeout_s: float | None = None  # seconds; the limit `wall_s` of the spec holds all the same
    snippet: bool = False  # argv is `python3 -c CODE ARGUMENT…`, which a warm interpreter may run as well

    def __post_init__(self) -> None:
        if not self.argv:
            raise ConfigError("an empty command; give a program and its arguments, or a line for the shell")

    @classmethod
    def of(
        cls,
        program: Sequence[str] | str,
        *,
        stdin: bytes = b"",
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Command:
        """From a program with its arguments, or a line for `sh -c`."""
        argv = ("sh", "-c", program) if isinstance(program, str) else tuple(str(part) for part in program)
        return cls(argv, stdin, cwd, dict(env or {}), timeout_s)


@dataclass(frozen=True, slots=True, repr=False)
class OutputStream:
    """One output stream: its head, its tail and how many bytes there were in all."""

    head: bytes = b""
    tail: bytes = b""
    total: int = 0

    @property
    def missing(self) -> int:
        """Bytes left out between head and tail."""
        return self.total - len(self.head) - len(self.tail)

    @property
    def text(self) -> str:
        """As text, with a note where bytes are missing.

        >>> OutputStream(b"begin", b"end", 108).text
        'begin\\n[100 bytes left out]\\nend'
        """
        note = f"\n[{self.missing} bytes left out]\n".encode() if self.missing else b""
        return (self.head + note + self.tail).decode("utf-8", "replace")

    def __repr__(self) -> str:
        shown = self.text if self.total <= 200 else f"{self.text[:100]}…{self.text[-100:]}"
        return f"OutputStream({shown!r}, total={self.total})"


@dataclass(frozen=True, slots=True)
class ExecUsage:
    """What a run used."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    memory_mib: float = 0.0  # peak; of the largest process, or of all together where the sandbox can tell


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a run ended. Everything here but the text of the streams is told by the supervisor, not by the program.

    In a session the exit code of a call is told by the interpreter, which shares its process with the program.
    """

    status: Status
    exit_code: int | None = None  # None where a signal or a fault ended it
    signal: int | None = None
    stdout: OutputStream = OutputStream()
    stderr: OutputStream = OutputStream()
    usage: ExecUsage = ExecUsage()
    processes_killed: int = 0  # processes that were still alive at the end and had to be killed
    reason: str = ""  # what else there is to say, in words

    @property
    def ok(self) -> bool:
        """Whether the program ended by itself with exit code 0."""
        return self.status == "exited" and self.exit_code == 0

    @classmethod
    def fault(cls, error: SandboxFault) -> ExecResult:
        """The record of a run that our machinery failed; never a reason for a reward."""
        return cls("infrastructure", reason=str(error))

    def to_data(self) -> dict[str, Any]:
        """JSON-able and exact; `from_data` reads it back."""
        return _plain(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> ExecResult:
        """Raises DataError for anything that `to_data` did not write."""
        missing = ", ".join(setting.name for setting in fields(cls) if setting.name not in data)
        try:
            if not missing:
                return msgspec.convert(data, cls)
        except msgspec.ValidationError as error:
            raise DataError(f"this is not the record of a run: {error}") from error
        raise DataError(f"this is not the record of a run: it lacks {missing}")


@dataclass(frozen=True, slots=True)
class FileTree:
    """Files taken out of a sandbox, and why others were not: a link, missing, too large …"""

    files: Mapping[str, bytes]
    refused: Mapping[str, str]


class SandboxSnapshot:
    """The files of a sandbox at one moment; for `restore` of that sandbox and of its forks while one is open."""


class _Closing(ABC):
    """May be used in a `with`, which closes it."""

    @abstractmethod
    def close(self) -> None:
        """End it and everything it started; safe twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class SandboxSession(_Closing):
    """An interpreter that keeps its state between calls. Calls of one session wait for each other."""

    kind: str

    @abstractmethod
    def run(self, code: str, *, timeout_s: float | None = None) -> ExecResult:
        """Run code. Where the interpreter is lost (time-out, `exit`), `reason` says so and the next call gets a fresh one."""


class Sandbox(_Closing):
    """One live place for untrusted code. Safe to use from several threads.

    What a program does is data. Faults of machinery (a lost daemon, a full disk of the host, a sandbox that vanished)
    raise SandboxFault; asking for an ability that `abilities` lacks raises ConfigError.
    """

    spec: SandboxSpec
    abilities: frozenset[str]

    @abstractmethod
    def run(self, command: Command, *, on_output: Output | None = None) -> ExecResult:
        """Run a program. When it ends, everything it started is killed. `on_output` gets the output as it comes."""

    def exec(
        self,
        program: Sequence[str] | str,
        *,
        stdin: bytes = b"",
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        on_output: Output | None = None,
    ) -> ExecResult:
        """`run` for a program with its arguments, or a line for `sh -c`; see `Command`."""
        return self.run(Command.of(program, stdin=stdin, cwd=cwd, env=env, timeout_s=timeout_s), on_output=on_output)

    def python(
        self,
        code: str,
        *,
        args: Sequence[str] = (),
        stdin: bytes = b"",
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        on_output: Output | None = None,
    ) -> ExecResult:
        """`run` for Python code, as `python3 -c` would; nothing of it is seen by the next run, save files."""
        argv = ("python3", "-c", code, *args)
        return self.run(Command(argv, stdin, cwd, dict(env or {}), timeout_s, snippet=True), on_output=on_output)

    def session(
        self, kind: Literal["python", "shell"], *, cwd: str = "", env: Mapping[str, str] | None = None
    ) -> SandboxSession:
        """A new session; needs the ability `python_session` or `shell_session`."""
        raise self.lacks(f"{kind}_session")

    @abstractmethod
    def put_tree(self, files: Mapping[str, bytes], *, executable: Collection[str] = ()) -> None:
        """Write files, replacing what has their names; directories on the way are made, links are never followed.

        Paths are relative to the workspace. Raises DataError naming the files that could not be written.
        """

    @abstractmethod
    def get_tree(self, *paths: str, max_mib: float = 64.0, max_files: int = 10_000) -> FileTree:
        """Regular files, those in directories included, without following any link. Missing files are data."""

    def put(self, path: str, data: bytes) -> None:
        """Write one file, as `put_tree`."""
        self.put_tree({path: data})

    def get(self, path: str, *, max_mib: float = 64.0) -> bytes:
        """Read one regular file. Raises DataError saying why where there is no such file, a link, or too much."""
        tree = self.get_tree(path, max_mib=max_mib)
        if path not in tree.files:
            raise DataError(f"{path!r} in the sandbox is {tree.refused.get(path, 'not a regular file')}")
        return tree.files[path]

    def snapshot(self) -> SandboxSnapshot:
        """Keep the files as they are now (not the processes); needs the ability `snapshot`."""
        raise self.lacks("snapshot")

    def restore(self, snapshot: SandboxSnapshot) -> None:
        """Go back to the files of a snapshot, any number of times; ends all processes and sessions."""
        raise self.lacks("snapshot")

    def fork(self) -> Sandbox:
        """Another sandbox, with the same spec and the files as they are now; needs the ability `fork`."""
        raise self.lacks("fork")

    @abstractmethod
    def reset(self) -> None:
        """As freshly created: files as in the beginning, no processes, no sessions."""

    @abstractmethod
    def grade(self) -> dict[str, Any]:
        """What is truly enforced here, measured from inside where it can be; JSON-able, kept with every trajectory.

        Keys: `sandbox` (name), `level` ("none", "namespaces", "container", "machine"), `namespaces`, `uid`, `seccomp`
        (hash of the filter or None), `limits` (limit → how it is enforced), `network`, and what else there is to say.
        """

    @abstractmethod
    def close(self) -> None:
        """End all processes and remove all files; safe twice, and safe while another thread runs something."""

    def lacks(self, ability: str) -> ConfigError:
        """The error for an ability that is not there."""
        return _lacks(type(self).__name__, ability, self.abilities)


class SandboxProvider(_Closing):
    """Makes sandboxes: what a plugin registers. Its keyword-only parameters are its settings. Thread-safe."""

    name: str
    abilities: frozenset[str] = frozenset()
    profiles: tuple[str, ...] = ("default",)

    @abstractmethod
    def create(self, spec: SandboxSpec | None = None) -> Sandbox:
        """Raises ConfigError for a spec that asks for more than this provider can do, SandboxFault when it fails."""

    @abstractmethod
    def obstacle(self) -> str:
        """Why no sandbox can be made on this machine and what to do about it, or "" when all is well. Cheap."""

    @abstractmethod
    def close(self) -> None:
        """Close every sandbox that is still open; safe twice."""

    def reap(self) -> list[str]:
        """Remove what processes that were killed left behind on this machine; a line for each thing removed."""
        return []

    def check_spec(self, spec: SandboxSpec) -> None:
        """Raises ConfigError for a spec that needs an ability or a profile that is not there."""
        if spec.profile not in self.profiles:
            raise ConfigError(
                f"{self.name} has no profile {spec.profile!r}. {did_you_mean(spec.profile, self.profiles)}"
            )
        if spec.root and spec.image:
            raise ConfigError(
                f"a sandbox has a root or an image, not both: {spec.root!r} and {spec.image!r} were given"
            )
        wanted = {"root": bool(spec.root), "image": bool(spec.image), "network": spec.network == "open"}
        for ability in (name for name, needed in wanted.items() if needed and name not in self.abilities):
            raise _lacks(f"the sandbox {self.name!r}", ability, self.abilities)


def _lacks(who: str, ability: str, abilities: frozenset[str]) -> ConfigError:
    has = ", ".join(sorted(abilities)) or "none"
    return ConfigError(f"{who} has no {ability!r} ({ABILITIES.get(ability, '')}). It has: {has}.")


def _plain(record: SandboxSpec | ExecResult) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain
