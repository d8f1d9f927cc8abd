"""Ways in which sandboxes can still meet: where one is not closed, the grade names it in `channels`."""

from __future__ import annotations

DEVICES = "locks and watches on device files"
NAMESPACES = "locks on files of namespaces that sandboxes share"
NAMELESS = "locks on files of the kernel that have no name"
TERMINALS = "terminals, of which the kernel has so many for all"
PAGES = "futexes on pages of the system's files"
LATER_RUNS = "programs of one sandbox that run at the same time"


def open_channels(profile: str, *, own_devices: bool, runs_apart: bool) -> list[str]:
    """Those that are open; the profile "strict" has no locks and no watches. Futexes on shared pages cannot be forbidden."""
    locks = profile != "strict"
    channels = {
        DEVICES: locks and not own_devices,
        NAMESPACES: locks,
        NAMELESS: locks,
        TERMINALS: not own_devices,
        PAGES: True,
        LATER_RUNS: not runs_apart,
    }
    return [name for name, is_open in channels.items() if is_open]
