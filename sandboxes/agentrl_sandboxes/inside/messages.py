"""What the processes of a sandbox tell each other: JSON objects."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypedDict

Status = Literal["exited", "signalled", "timeout", "out_of_memory", "too_many_processes", "output_cut"]
"""How a run ended, in the words of the contract."""

FileEntry = tuple[str, int, int]
"""Path, size in bytes, mode."""

WRITABLE = {"workspace": "/workspace", "tmp": "/tmp", "home": "/home/agent", "shm": "/dev/shm"}
"""Where a program may write, by the names that these directories have in a layer. All are part of a snapshot."""


class Limits(TypedDict):
    """What a supervisor enforces for one run."""

    wall_s: float
    cpu_s: float
    memory_bytes: int
    pids: int
    pids_slack: int  # processes of ours that have the program's uid
    file_bytes: int
    head: int  # bytes kept of the beginning of each output stream
    tail: int  # and of its end
    flood_bytes: int  # written to both streams; more than that ends the run


class Job(TypedDict, total=False):
    """What a supervisor has to know of a run."""

    kind: str
    cwd: str
    limits: Limits
    stream: bool  # hand output on as it comes
    stdin: int  # bytes of standard input that follow
    env: dict[str, str]  # of a session


class Task(TypedDict, total=False):
    """What only the program's own process may see."""

    env: dict[str, str]
    argv: list[str]
    code: str
    args: list[str]
    files: list[FileEntry]
    paths: list[str]
    max_bytes: int
    max_files: int


class FileAnswer(TypedDict, total=False):
    """To a task of files, in several parts; the contents of `files` come with each."""

    files: list[tuple[str, int]]  # path, size in bytes
    refused: dict[str, str]  # path → why
    end: bool  # whether this is the last part


class Ending(TypedDict):
    """How a run ended; the kept output follows as payload."""

    status: Status
    reason: str
    exit_code: int | None
    signal: int | None
    killed: int
    wall_s: float
    cpu_s: float
    memory_kib: int
    alive: bool  # whether the interpreter of a session still is
    streams: list[tuple[int, int, int]]  # of standard output and error: bytes of the head, of the tail, in all


class FinalEnding(Ending, total=False):
    """As it crosses to whoever asked."""

    fresh: bool  # a session whose interpreter was started for this call
    last: bool  # this supervisor takes no further job


class Settings(NamedTuple):
    """How a manager of bubblewrap sandboxes is made."""

    bwrap: str  # path of the program
    python: str  # interpreter in sandboxes, and of all our own processes
    python_folders: list[str]  # folders outside of the system's that it needs
    preload: list[str]  # modules it has imported already
    overlay: bool  # whether to use overlay file systems where they work
    cgroups: bool  # whether to use control groups where they can be written
    folder: str  # where the manager's own folder goes


class Facts(TypedDict):
    """What a manager found out about this machine; the grade is made of it."""

    overlay: bool
    devices: bool  # whether every sandbox has device files of its own
    first_id: int
    ids: int  # uids from there on
    cgroup: dict[str, str]  # controller → version
    family: str
    seccomp: dict[str, str]  # profile → fingerprint
    python: str


class ContainerFacts(TypedDict):
    """What the first process of a container found out there."""

    uid: int
    python: str
    path: str  # PATH of the image
    memory_events: bool  # whether a control group counts
    pids_events: bool
    apart: bool  # whether a program can be kept from others


class Request(TypedDict, total=False):
    """To a worker, or to the first process of a container. `do` names the operation, whose keys the others are."""

    do: str
    id: int
    root: str
    profile: str
    limits: Limits
    disk_bytes: int
    base: list[str]
    ttl_s: float
    env: dict[str, str]
    pid: int
    stack: list[str] | None
    drop: list[str]
    next_id: int | None
    channel: int


class Answer(TypedDict, total=False):
    """From there."""

    fault: str  # why the operation failed
    name: str
    pid: int
    uid: int
    groups: list[str]
    stack: list[str]
    lowers: list[str]
    ended: bool
    layer: str
    out_of_memory: bool  # whether the kernel ended something of this sandbox for want of memory
    expired: bool  # whether its time to live is over
    refused: str  # why it could not be done, where a program is to blame
    crowded: bool  # whether there was no room for a supervisor
    signal: int  # that ended the supervisor
