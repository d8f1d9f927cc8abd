"""The shape the code is meant to have: rooms of the core, order of imports, no cycles, no long file or function.

What does not fit yet is listed beside each rule. A list only gets shorter: an entry that no longer applies fails too.
"""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = [ROOT / path for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
CORE = ROOT / "agentrl"

FACE = ("__init__.py", "__init__.pyi", "py.typed")
ORDER = (
    ("errors",),
    ("data",),
    ("parts", "sandbox"),
    ("worlds",),
    ("evaluation",),
    ("loop",),
    ("runs",),
    ("testing",),
    ("cli",),
)
"""Rooms of the core; one imports from those before it, and from itself. The face may import all, and nobody the face."""
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
FILES = ("errors", "loop", "sandbox")
"""Rooms that are one file."""

UPWARD: set[tuple[str, str]] = set()
"""(file, module it imports) against the order."""
CYCLES: set[tuple[str, ...]] = set()
"""Modules that import one another in a circle, sorted."""
LONGEST_FUNCTION, LONGEST_FILE = 60, 400
LONG_FUNCTIONS: set[tuple[str, str]] = set()
LONG_FILES: set[str] = set()


def test_the_core_is_a_face_and_its_rooms() -> None:
    rooms = {f"{room}.py" if room in FILES else room for room in RANK}
    here = {path.name for path in CORE.iterdir() if path.name != "__pycache__"} - set(FACE)
    assert here - rooms == set(), "move it into a room"
    assert rooms - here == set(), "a room is missing"


def test_a_room_of_the_core_imports_only_from_its_left() -> None:
    upward = set()
    for path in CORE.rglob("*.py"):
        room = path.relative_to(CORE).parts[0].removesuffix(".py")
        if path.name in FACE and path.parent == CORE:
            continue
        for module in _imports(path):
            other = f"{module}.".split(".")[1]
            if module == "agentrl" or RANK.get(other, 0) > RANK[room]:
                upward.add((str(path.relative_to(ROOT)), module))
    _only(upward, UPWARD, f"against the order {' < '.join('+'.join(rooms) for rooms in ORDER)}")


@pytest.mark.parametrize("package", PACKAGES, ids=lambda folder: folder.name)
def test_no_module_imports_itself_in_a_circle(package: Path) -> None:
    files = {_name(path): path for path in package.rglob("*.py")}
    graph = {name: {other for other in _imports(path) if other in files} for name, path in files.items()}
    listed = {cycle for cycle in CYCLES if cycle[0].split(".")[0] == package.name}
    _only(_cycles(graph), listed, "is a circle of imports")


def test_no_function_is_too_long() -> None:
    lengths = {
        (str(path.relative_to(ROOT)), node.name): node.end_lineno - node.lineno + 1
        for path in _files()
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }
    _only({key for key, length in lengths.items() if length > LONGEST_FUNCTION}, LONG_FUNCTIONS, "is over 60 lines")


def test_no_file_is_too_long() -> None:
    long = {path for path in _files() if path.read_text(encoding="utf-8").count("\n") > LONGEST_FILE}
    _only({str(path.relative_to(ROOT)) for path in long}, LONG_FILES, "is over 400 lines")


def test_circles_are_found_and_chains_are_not() -> None:
    assert _cycles({"a": {"b"}, "b": {"c"}, "c": set()}) == set()
    assert _cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e"}}) == {("a", "b", "c"), ("e",)}


def _only(violations: Collection[object], exceptions: Collection[object], rule: str) -> None:
    """Every violation is a listed exception, and every listed exception is still one."""
    new = [violation for violation in violations if violation not in exceptions]
    gone = [exception for exception in exceptions if exception not in violations]
    assert not new, f"{', '.join(sorted(map(str, new)))}: {rule}"
    assert not gone, f"{', '.join(sorted(map(str, gone)))}: no longer an exception; remove it from the list"


def _files() -> Iterator[Path]:
    for package in PACKAGES:
        yield from package.rglob("*.py")


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _name(path: Path) -> str:
    """The dotted name of a module of ours."""
    package = next(package for package in PACKAGES if path.is_relative_to(package))
    parts = (package.name, *path.relative_to(package).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def _names() -> frozenset[str]:
    return frozenset(map(_name, _files()))


def _imports(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports, anywhere in it but for type checkers only."""
    skipped = {
        inner
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(_tree(path)):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in _names())
        elif isinstance(node, ast.ImportFrom):
            parts = _name(path).split(".") + (["__init__"] if path.name == "__init__.py" else [])
            above = parts[: len(parts) - node.level] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                module = f"{origin}.{alias.name}"
                yield from [module] if module in _names() else [origin] if origin in _names() else []


def _cycles(graph: dict[str, set[str]]) -> set[tuple[str, ...]]:
    """Groups of modules that all reach one another."""
    reached = {name: _reached(graph, name) for name in graph}
    return {
        tuple(sorted(other for other in ahead if name in reached[other]))
        for name, ahead in reached.items()
        if name in ahead
    }


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph[name]
    return seen
