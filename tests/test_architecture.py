"""House rules that are cheaper to check than to remember: import directions, no torch in the core, no prints."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RANKS = [
    ["errors"],
    ["data"],
    ["sandbox", "parts"],
    ["worlds"],
    ["evaluation"],
    ["loop"],
    ["runs"],
    ["testing"],
    ["cli"],
]
PLACE = {name: (row, column) for row, names in enumerate(RANKS) for column, name in enumerate(names)}
ROOMS = {
    "agentrl_envs": ROOT / "envs/agentrl_envs",
    "agentrl_plugins": ROOT / "plugins/agentrl_plugins",
    "agentrl_sandboxes": ROOT / "sandboxes/agentrl_sandboxes",
}
TORCH = ("torch", "transformers", "peft", "tokenizers", "safetensors")
TORCH_MAY = ("models", "policies", "losses", "trainers")


def core_modules() -> list[Path]:
    return [
        path for path in (ROOT / "agentrl").rglob("*.py") if path.name != "__init__.py" or path.parent.name != "agentrl"
    ]


def imports(path: Path, *, lazy: bool = True) -> Iterator[str]:
    """Modules that are imported when a file runs; what stands under TYPE_CHECKING is not.

    `lazy`: also those that its functions import when they are called.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        inner for node in ast.walk(tree)
        if (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        or (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not lazy)
        for inner in ast.walk(node)
    }  # fmt: skip
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rank_name(path: Path) -> str:
    return path.relative_to(ROOT / "agentrl").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", core_modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_core_module_imports_from_lower_rows_or_its_left(path: Path) -> None:
    name = rank_name(path)
    assert name in PLACE, f"agentrl/{name} has no rank; give it one in RANKS and in docs/architecture.md"
    for module in imports(path):
        assert not module.startswith(tuple(ROOMS)), f"the core may not import {module}"
    for module in imports(path, lazy=name != "testing"):  # the kit of losses has tensors to make, once it is asked
        assert not module.startswith(TORCH), f"the core may not import {module}"
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "agentrl" and len(parts) > 1 and parts[1] in PLACE and parts[1] != name:
            assert PLACE[parts[1]] < PLACE[name], f"agentrl.{name} imports agentrl.{parts[1]}, which stands above it"


def room_modules() -> list[tuple[str, Path]]:
    return [(room, path) for room, folder in ROOMS.items() for path in folder.rglob("*.py")]


@pytest.mark.parametrize(("room", "path"), room_modules(), ids=lambda value: str(value).rsplit("agentrl_", 1)[-1])
def test_a_room_imports_only_the_face_and_itself(room: str, path: Path) -> None:
    for module in imports(path):
        top = module.split(".")[0]
        if top == "agentrl":
            allowed = {"agentrl", *(f"agentrl.{name}" for name in _face())}
            assert module in allowed, f"{path.name} imports {module}; rooms see only the face `agentrl`"
        assert top not in ROOMS or top == room, f"{path.name} imports {module}: rooms never import each other"
        if top in TORCH:
            assert path.relative_to(ROOMS[room]).parts[0] in TORCH_MAY, f"{path.name} may not import {module}"


@pytest.mark.parametrize("path", [*core_modules(), *(path for _, path in room_modules())], ids=lambda path: path.name)
def test_only_the_command_line_prints(path: Path) -> None:
    if path.parent.name == "cli":
        return
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], f"{path} prints"


def _face() -> list[str]:
    import agentrl

    return list(agentrl.__all__)
