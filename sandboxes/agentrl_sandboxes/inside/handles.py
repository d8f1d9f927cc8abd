"""The descriptors of a supervisor, which all its runs share."""

from __future__ import annotations

import socket
from typing import NamedTuple


class Handles(NamedTuple):
    """Open as long as the supervisor lives."""

    sock: socket.socket  # to whoever asks for runs
    proc_fd: int  # a writable view of /proc
    wake: int  # readable when a child has ended
    memory_fd: int  # counter of a control group, or -1
    pids_fd: int  # likewise
    memory_cgroup: bool  # whether a control group limits memory
    apart: bool = False  # whether a program has to be kept from other processes, which it can see
