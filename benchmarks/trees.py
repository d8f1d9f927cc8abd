"""Runs Python in this checkout or in that of another commit, so that two of them can be compared on one machine.

Each tree is run in processes of its own, with its packages first on the path. A checkout has no installed metadata, so
the entry points that its pyproject.toml lists are written into a temporary distribution that stands before the
installed one: importlib.metadata takes the first distribution of a name. `check` proves it. A tree from before the
distribution was renamed gets both names, so that the installed one counts in neither.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_SHOW = """
import importlib, json
from importlib.metadata import entry_points
names = json.loads(input())
files = {name: importlib.import_module(name).__file__ for name in names}
print(json.dumps([files, {point.name: point.value for point in entry_points(group="agentrl")}]))
"""


@dataclass(frozen=True)
class Tree:
    """A checkout, and the folders that Python must search first to run it."""

    name: str
    folder: Path
    search: tuple[Path, ...]

    def run(
        self,
        arguments: Sequence[str],
        *,
        folder: Path | None = None,
        text: str = "",
        timeout_s: float = 600.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run `python ARGUMENTS` on one core with this tree's packages; `folder` is where, `text` what it reads."""
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, self.search)),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=folder or self.folder,
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def check(self) -> None:
        """Whether Python finds this tree's packages and entry points and no others. Ends the program where not."""
        project = _project(self.folder)
        names = [Path(package).name for package in _packages(project)]
        shown = self.run(["-P", "-c", _SHOW], text=json.dumps(names))
        if shown.returncode:
            raise SystemExit(f"the packages of {self.name} cannot be imported:\n{shown.stderr}")
        files, points = json.loads(shown.stdout)
        strange = [file for file in files.values() if not Path(file).is_relative_to(self.folder)]
        if strange:
            raise SystemExit(f"{self.name} lies in {self.folder}, but Python imports {', '.join(strange)}")
        expected = _entry_points(project).get("agentrl", {})
        wrong = sorted(set(points.items()) ^ set(expected.items()))
        if wrong:
            raise SystemExit(f"{self.name} has other entry points than its pyproject.toml: {wrong}")


@contextlib.contextmanager
def this_tree() -> Iterator[Tree]:
    """The checkout that this file is in, uncommitted changes included."""
    with _tree("this tree", ROOT) as tree:
        yield tree


@contextlib.contextmanager
def tree_of(commit: str) -> Iterator[Tree]:
    """A temporary checkout of a commit, gone afterwards. Ends the program where git does not know the commit."""
    with tempfile.TemporaryDirectory(prefix="agentrl-tree-") as temporary:
        folder = Path(temporary).resolve() / "tree"
        _git("worktree", "add", "--detach", str(folder), commit)
        try:
            with _tree(commit, folder) as tree:
                yield tree
        finally:
            _git("worktree", "remove", "--force", str(folder))


@contextlib.contextmanager
def _tree(name: str, folder: Path) -> Iterator[Tree]:
    project = _project(folder)
    with tempfile.TemporaryDirectory(prefix="agentrl-metadata-") as metadata:
        _write_metadata(Path(metadata), project)
        parents = dict.fromkeys((folder / package).parent for package in _packages(project))
        tree = Tree(name, folder, (Path(metadata), *parents))
        tree.check()
        yield tree


def _write_metadata(folder: Path, project: dict) -> None:
    version = project["project"]["version"]
    lines = []
    for group, points in _entry_points(project).items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    for name in {tree["project"]["name"] for tree in (project, _project(ROOT))}:
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def _project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def _packages(project: dict) -> list[str]:
    """Paths of the import packages, relative to the tree."""
    return project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def _entry_points(project: dict) -> dict[str, dict[str, str]]:
    return project["project"].get("entry-points", {})


def _git(*arguments: str) -> None:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
