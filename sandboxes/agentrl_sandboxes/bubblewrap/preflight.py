"""Why bubblewrap cannot make a sandbox on this machine, and what a person can do about it."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

_TRIAL = ["--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "/bin/true"]
_SYSCTLS = {
    "kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "AppArmor keeps ordinary programs from using user namespaces (Ubuntu 23.10 and later). An administrator can "
        "allow it until the next start with `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` (for good: "
        "put the setting into a file in /etc/sysctl.d), or run this program as root.",
    ),
    "kernel/unprivileged_userns_clone": (
        "0",
        "this kernel reserves user namespaces for root. An administrator can allow them with "
        "`sudo sysctl -w kernel.unprivileged_userns_clone=1`.",
    ),
    "user/max_user_namespaces": (
        "0",
        "user namespaces are switched off. An administrator can allow them with "
        "`sudo sysctl -w user.max_user_namespaces=15000`.",
    ),
}


def find_bwrap(named: str = "bwrap") -> str:
    """Path of the bubblewrap program, "" where there is none."""
    return shutil.which(named) or ""


@functools.lru_cache(maxsize=8)
def obstacle(named: str = "bwrap", proc_sys: str = "/proc/sys") -> str:
    """One or two sentences: what is in the way and what to do; "" when a trial run works."""
    if sys.platform != "linux":
        return f"bubblewrap needs Linux, and this is {sys.platform}. Use the sandbox `docker` instead."
    bwrap = find_bwrap(named)
    if not bwrap:
        return (
            f"there is no program {named!r}. Install bubblewrap: `sudo apt-get install bubblewrap` (Debian, Ubuntu), "
            "`sudo dnf install bubblewrap` (Fedora), `sudo pacman -S bubblewrap` (Arch), or use the sandbox `docker`."
        )
    failure = _try(bwrap)
    return f"{explain(proc_sys)} (bubblewrap says: {failure})" if failure else ""


def explain(proc_sys: str = "/proc/sys") -> str:
    """The likely reason why user namespaces fail here, from the kernel's own settings."""
    for name, (bad, advice) in _SYSCTLS.items():
        try:
            value = Path(proc_sys, name).read_text().strip()
        except OSError:
            continue
        if value == bad:
            return f"{advice[0].upper()}{advice[1:]}"
    return (
        "bubblewrap cannot make namespaces here. Inside a container, start it with `--security-opt seccomp=unconfined "
        "--security-opt apparmor=unconfined` and an unmasked /proc (`--security-opt systempaths=unconfined`), or use "
        "the sandbox `docker`."
    )


def _try(bwrap: str) -> str:
    """What bubblewrap complains of when it is run as sandboxes run it: by an ordinary user."""
    nobody = 65534 if os.geteuid() == 0 else None
    try:
        ended = subprocess.run(
            [bwrap, *_TRIAL], capture_output=True, text=True, timeout=20, check=False,
            user=nobody, group=nobody, extra_groups=[] if nobody else None,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if ended.returncode == 0 else ended.stderr.strip()[-300:] or f"exit code {ended.returncode}"
