"""Installs a stranger's plugin into a folder of its own, without a network and beside the environment of the tests."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path


def install(project: Path, target: Path) -> None:
    """As `pip install` where its build backend is at hand; else the two files that an editable install comes down to."""
    target.mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("hatchling"):
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
        subprocess.run([*command, "--target", str(target), str(project)], check=True, capture_output=True, timeout=120)
        return
    about = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = target / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    points = about["entry-points"]["agentrl"]
    (info / "entry_points.txt").write_text("[agentrl]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()))
    for module in project.glob("*.py"):
        (target / module.name).symlink_to(module.resolve())


def environ(*targets: Path) -> Mapping[str, str]:
    """The environment of a process that sees what is installed in `targets`, and this Python's commands."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    python_path = os.pathsep.join([*map(str, targets), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {**os.environ, "PYTHONPATH": python_path, "PATH": path, "OMP_NUM_THREADS": "1"}
