"""What `agentrl list` shows, remembered between calls: importing every plugin to read its names takes half a second."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict


class Listing(TypedDict):
    """Kind → name → plugin that offers it, and plugin → why it is switched off."""

    parts: dict[str, dict[str, str]]
    broken: dict[str, str]


def listing() -> Listing:
    """Every installed part. Read anew whenever a plugin's package, or anything that is installed, has changed.

    A listing with broken plugins is never remembered: what they lack may come without a trace.
    """
    users = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser(
        "~/.cache"
    )  # stays as it is for a user without a home
    cache = Path(users) / "agentrl" / "listing.json"
    key = _fingerprint()
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        if kept["key"] == key and cache.is_absolute():
            return kept["listing"]  # type: ignore[no-any-return]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or not ours
    fresh = _asked()
    if not fresh["broken"] and cache.is_absolute():
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            draft = cache.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps({"key": key, "listing": fresh}), encoding="utf-8")
            draft.replace(cache)
        except OSError:
            pass  # nowhere to keep it: it is only slower
    return fresh


def _asked() -> Listing:
    from agentrl.parts.host import default_host
    from agentrl.parts.kinds import KINDS

    host = default_host()
    parts = {kind: {entry.name: entry.plugin for entry in host.registry(kind)} for kind in KINDS}
    return {"parts": parts, "broken": host.broken}


def _fingerprint() -> str:
    """Changes with every installation, and with every file of a package that holds plugins."""
    points = sorted((point.name, point.value) for point in entry_points(group="agentrl"))
    facts = [sys.version, repr(points)]
    for folder in filter(os.path.isdir, sys.path):
        facts.append(f"{folder} {os.stat(folder).st_mtime_ns}")
    for package in sorted({"agentrl", *(value.partition(":")[0].partition(".")[0] for _, value in points)}):
        spec = find_spec(package)
        places = list(spec.submodule_search_locations or [spec.origin or ""]) if spec is not None else [""]
        facts += [f"{package} {place} {_newest(Path(place))}" for place in places]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _newest(place: Path) -> tuple[int, int]:
    """Number and latest change of the Python files below a folder, or of one file."""
    if not place.is_dir():
        return (1, place.stat().st_mtime_ns) if place.is_file() else (0, 0)
    count, newest = 0, 0
    for folder, _, names in os.walk(place):
        for name in names:
            if name.endswith(".py"):
                count, newest = count + 1, max(newest, os.stat(os.path.join(folder, name)).st_mtime_ns)
    return count, newest
