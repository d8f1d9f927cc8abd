"""What a run is begun with: its run file, and a manifest with a copy of it, so that damage to either is seen."""

from __future__ import annotations

import datetime
import hashlib
import logging
import os
import platform
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from agentrl.data.commit import read_json
from agentrl.data.installation import DISTRIBUTION
from agentrl.errors import RecordError

log = logging.getLogger(__name__)

RUN_FILE, MANIFEST = "run.toml", "manifest.json"
_PACKAGES = (DISTRIBUTION, "gymnasium", "numpy", "peft", "pyarrow", "scipy", "tokenizers", "torch", "transformers")


def manifest_of(seed: int) -> dict[str, object]:
    """What a run must say about where it was made: time, seed, platform, versions of Python and of what it stands on."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    place = {"platform": platform.platform(), "cpus": os.cpu_count()}
    return {"created": now(), "seed": seed, **place, "versions": versions}


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def with_copy(manifest: Mapping[str, object], toml: str) -> dict[str, object]:
    """The manifest with a copy of the run file."""
    return {**manifest, "run": {"toml": toml, "sha256": _sha256(toml)}}


def read_begun(folder: Path) -> tuple[dict[str, object], dict[str, object] | None, dict[str, object]]:
    """The run file as it is now, as it was when the run began (None: not known), and the manifest.

    What is damaged is logged, where the other file stands for it. Raises RecordError where neither can be read.
    """
    try:
        manifest = read_json(folder / MANIFEST)
    except RecordError as error:
        log.warning("%s. It is done without", error)
        manifest = {}
    copy = manifest.get("run")
    toml, sha256 = (copy.get("toml"), copy.get("sha256")) if isinstance(copy, dict) else (None, None)
    begun = tomllib.loads(toml) if isinstance(toml, str) and sha256 == _sha256(toml) else None
    try:
        return tomllib.loads((folder / RUN_FILE).read_text(encoding="utf-8-sig")), begun, manifest
    except (OSError, ValueError) as error:
        if begun is None:
            raise RecordError(f"{folder / RUN_FILE} cannot be read: {error}; put it back from a copy") from error
        log.warning("%s cannot be read (%s). Its copy in %s is taken", folder / RUN_FILE, error, MANIFEST)
        return begun, begun, manifest


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
