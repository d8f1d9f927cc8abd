"""Files that are scored: the agent's, but whatever decides a test as it was before the agent came."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping

_RUNNERS = {"pytest", "_pytest", "pluggy", "nose", "nose2", "tox", "coverage", "hypothesis", "py"}
_FIRST = sys.stdlib_module_names | _RUNNERS | {"sitecustomize", "usercustomize"}
"""Modules that nobody may bring."""
_SETTINGS = re.compile(
    r"(^|/)(conftest\.py|pytest\.(ini|toml)|tox\.ini|setup\.(cfg|py)|pyproject\.toml|noxfile\.py|package\.json|Cargo\.toml"
    r"|build\.rs|CMakeLists\.txt|(GNU)?[Mm]akefile|Rakefile|[^/]*\.conf(ig)?\.[^/.]*)$"
    r"|(^|/)\."  # hidden: settings, `.git`, the `.local` of a home
    r"|\.(pyc|pth|egg-link)$|\.(dist|egg)-info/"  # stand in for sources, run when Python starts, name plugins
)
"""Paths from which runners of tests, or what starts them, take orders."""
_TESTS = re.compile(r"(^|/)(tests?|__tests__|specs?)/|(^|/)tests?(_[^/]*|\.py)$|[._](tests?|spec)\.[^/]*$")
"""Tests and folders of tests, by their usual names."""


def files_to_score(
    theirs: Mapping[str, bytes],
    beside: Mapping[str, bytes],
    base: Mapping[str, bytes],
    allowed: Collection[str],
) -> dict[str, bytes]:
    """The agent's files with `beside`, the files of the tests, on top.

    Files that decide how a test goes are as in `base`, what there was before the agent came: new ones are left out,
    changed and removed ones are put back. They are: what stands in the way of `beside` or in its folders (those that
    hold sources in `base` excepted), tests and settings of runners by their usual names, hidden and compiled files,
    and modules that would be found before those of the standard library or of a runner. `allowed`: these may differ all
    the same, unless they stand in the way.
    """
    decision = _Decision(beside, base)
    ours = {path for path in {*theirs, *base} if decision.is_in_the_way(path)}
    ours |= {path for path in {*theirs, *base} if path not in allowed and decision.is_about(path)}
    kept = {path: data for path, data in theirs.items() if path not in ours}
    return {**kept, **{path: data for path, data in base.items() if path in ours}, **beside}


class _Decision:
    """Whether a path decides how a test goes."""

    def __init__(self, beside: Collection[str], base: Collection[str]) -> None:
        self._files = {name for path in beside for name in (path, _module(path))}
        self._above = {place for path in beside for place in _places(_folder(path))}
        sources = {_folder(path) for path in base if not _TESTS.search(path)}
        self._folders = {_folder(path) for path in beside} - sources - {""}
        packages = {_folder(path) for path in base if path.endswith("/__init__.py")}
        self._no_packages = {"", *map(_folder, base)} - packages

    def is_in_the_way(self, path: str) -> bool:
        """Whether it is where a file of the tests is to be, or would be imported instead of it."""
        names = {path, _module(path)} if path.endswith((".py", ".so")) else {path}
        return not names.isdisjoint(self._above) or not self._files.isdisjoint({*names, *_places(path)})

    def is_about(self, path: str) -> bool:
        """Whether it is a test, stands beside one, gives orders to a runner, or would be found before known modules."""
        places = list(_places(path))
        if _TESTS.search(path) or _SETTINGS.search(path) or not self._folders.isdisjoint(places):
            return True
        modules = places if path.endswith((".py", ".so")) else ()
        return any(
            _module(place).rpartition("/")[2] in _FIRST and _folder(place) in self._no_packages for place in modules
        )


def _places(path: str) -> Iterator[str]:
    """A path and the folders above it."""
    while path:
        yield path
        path = _folder(path)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _module(path: str) -> str:
    """A path without its endings: `a/b` for `a/b.cpython-311-x86_64-linux-gnu.so`, too."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"
