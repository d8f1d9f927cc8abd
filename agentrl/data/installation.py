"""The distribution that this package comes from: its name, its extras, and another project's that may lie in its way."""

from __future__ import annotations

import functools
import logging
import re
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "agentrl-platform"
NAMESAKE = "agentrl"
"""Another project's distribution on package indexes, with a package of our name; in 2026 this one was called so too."""

log = logging.getLogger(__name__)


def how_to_install(extra: str) -> str:
    """A sentence for whoever lacks the libraries of an extra. No index has the distribution yet.

    >>> how_to_install("plot")
    "Install agentrl-platform[plot]: in its clone `pip install -e '.[plot]'`, from a wheel `pip install 'WHEEL[plot]'`."
    """
    return (
        f"Install {DISTRIBUTION}[{extra}]: in its clone `pip install -e '.[{extra}]'`, from a wheel "
        f"`pip install 'WHEEL[{extra}]'`."
    )


def remedy(error: BaseException) -> str:
    """`how_to_install` what an import lacks, after a full stop; "" for another error and for a library of no extra."""
    extra = _extra_with(error.name or "") if isinstance(error, ModuleNotFoundError) else ""
    return f". {how_to_install(extra)}" if extra else ""


def _extra_with(module: str) -> str:
    """The extra with the distribution that is called like a module."""
    wanted = module.partition(".")[0].lower()
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return ""
    for requirement in requirements:
        parts = re.match(r"([\w.-]+).*\bextra == ['\"]([\w-]+)['\"]", requirement)
        if parts and re.sub(r"[-.]", "_", parts[1].lower()) == wanted:
            return parts[2]
    return ""


@functools.cache
def warn_of_namesake() -> None:
    """Log what `namesake` says, once in a process."""
    if line := namesake():
        log.warning(line)


def namesake() -> str:
    """What to do about an installed distribution `agentrl` that has files of the same names; "" where there is none."""
    try:
        other = metadata.distribution(NAMESAKE)
    except metadata.PackageNotFoundError:
        return ""
    former = bool(other.entry_points.select(group=NAMESAKE))
    if not former and other.files and not any(file.parts[0] == NAMESAKE for file in other.files):
        return ""
    what = (
        "is this project under its former name" if former else "is another project's, with a package of the same name"
    )
    place = Path(str(other.locate_file(""))).resolve()
    return (
        f"{NAMESAKE} {other.version} in {place} {what}, and one hides the other: run "
        f"`pip uninstall {NAMESAKE}`, then install {DISTRIBUTION} again from its clone or wheel"
    )
