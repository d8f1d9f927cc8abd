"""How much of the code the type checker cannot see: `Any`, `cast` and `type: ignore` per package, which only fall.

`make lint` runs `mypy --strict` over all four packages and allows no error. What is typed as `Any` passes it without
being checked, so that is counted here. The numbers stand in pyproject.toml, under `tool.agentrl.ratchet`.
"""

from __future__ import annotations

import ast
import functools
import io
import tokenize
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = {Path(path).name: ROOT / path for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
RATCHET: dict[str, dict[str, float]] = PROJECT["tool"]["agentrl"]["ratchet"]
SLACK = 2.0  # so much below the allowed number, the number must be lowered
TYPING = ("typing", "typing_extensions")


@dataclass
class Module:
    """What one file says about `Any`: names that stand for it, where other names come from, and the tree itself."""

    name: str
    tree: ast.Module
    text: str
    named_any: set[str] = field(default_factory=set)
    aliases: set[str] = field(default_factory=set)  # names of types that contain Any
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)  # name here: module, name there
    faces: set[str] = field(default_factory=set)  # names of whole packages of ours: `import agentrl`


def modules() -> dict[str, Module]:
    """All modules of the four packages by dotted name; a stub comes before its module."""
    read: dict[str, Module] = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py*")):
            if path.suffix in (".py", ".pyi"):
                parts = (package, *path.relative_to(folder).with_suffix("").parts)
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                read[name] = module(name, path.read_text(encoding="utf-8"), is_package=parts[-1] == "__init__")
    return resolved(read)


def module(name: str, text: str, *, is_package: bool = False) -> Module:
    """One file with its imports read."""
    made = Module(name, ast.parse(text), text)
    for node in ast.walk(made.tree):
        if isinstance(node, ast.Import):
            made.faces |= {alias.name for alias in node.names if alias.name in PACKAGES and not alias.asname}
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".") if is_package else name.split(".")[:-1]
            above = parts[: len(parts) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                if origin in TYPING and alias.name == "Any":
                    made.named_any.add(alias.asname or "Any")
                made.imported[alias.asname or alias.name] = origin, alias.name
    return made


def resolved(read: dict[str, Module]) -> dict[str, Module]:
    """The same modules, with every alias of `Any` found, however many modules it came through."""
    changed = True
    while changed:
        changed = False
        for one in read.values():
            found = {
                name
                for name, (origin, there) in one.imported.items()
                if origin in read and there in read[origin].aliases
            }
            found |= {name for name, value in _assigned_types(one.tree) if any(_anys(value, one, read))}
            changed |= not found <= one.aliases
            one.aliases |= found
    return read


def _assigned_types(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Names that the module gives to types: `A: TypeAlias = …`, and `A = X[…]` with a capital letter."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            if ast.unparse(node.annotation).endswith("TypeAlias"):
                yield node.target.id, node.value
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript | ast.BinOp | ast.Name):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id.lstrip("_")[:1].isupper() and not target.id.isupper():
                    yield target.id, node.value


def _anys(tree: ast.AST, one: Module, read: Mapping[str, Module]) -> Iterator[ast.AST]:
    """Every place that says `Any`, or the name of a type that contains it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if node.id in one.named_any | one.aliases:
                yield node
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = node.value.id
            if (owner in TYPING and node.attr == "Any") or (owner in one.faces and node.attr in read[owner].aliases):
                yield node


def _casts(one: Module) -> Iterator[ast.AST]:
    names = {name for name, (origin, there) in one.imported.items() if origin in TYPING and there == "cast"}
    for node in ast.walk(one.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names | {f"{module}.cast" for module in TYPING}:
            yield node


def _ignores(text: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type == tokenize.COMMENT and "type: ignore" in token.string for token in tokens)


@functools.cache
def counts() -> dict[str, dict[str, float]]:
    """Per package: `Any` and `cast` per 1,000 lines, to one decimal, and comments `type: ignore`."""
    read = modules()
    totals: dict[str, dict[str, float]] = {}
    for package in PACKAGES:
        mine = [one for name, one in read.items() if name.split(".")[0] == package]
        lines = sum(one.text.count("\n") for one in mine)
        unchecked = sum(len(list(_anys(one.tree, one, read))) + len(list(_casts(one))) for one in mine)
        ignores = sum(_ignores(one.text) for one in mine)
        totals[package] = {"any_per_1000_lines": round(1000 * unchecked / lines, 1), "type_ignores": ignores}
    return totals


@pytest.mark.parametrize("package", PACKAGES)
def test_what_the_type_checker_cannot_see_only_falls(package: str) -> None:
    assert set(RATCHET) == set(PACKAGES), "tool.agentrl.ratchet in pyproject.toml needs one line for each package"
    now, allowed = counts()[package], RATCHET[package]
    assert set(allowed) == set(now), f"tool.agentrl.ratchet.{package} must give {', '.join(now)}"
    for what, number in now.items():
        assert number <= allowed[what], (
            f"{package} has {what} = {number}, and {allowed[what]} are allowed. Give the new code types; where code "
            "only moved from one package to another, write the new numbers into tool.agentrl.ratchet in pyproject.toml"
        )
        assert number > allowed[what] - SLACK, (
            f"{package} has {what} = {number}, which is better than the {allowed[what]} allowed: "
            f"write {number} into tool.agentrl.ratchet in pyproject.toml"
        )


def test_any_is_counted_under_every_name_it_goes_by() -> None:
    definitions = module(
        "agentrl.names",
        "from typing import Any as Whatever, TypeAlias\nimport typing\n"
        "Info: TypeAlias = dict[str, Whatever]\nInfos = list[Info]\nplain: typing.Any = 0\nLIMITS = [Whatever]\n",
    )
    face = module("agentrl", "from .names import Infos as Infos\n", is_package=True)
    user = module("agentrl_envs.world", "import agentrl\ndef f(x: agentrl.Infos, y: int) -> agentrl.Task: ...\n")
    read = resolved({one.name: one for one in (face, definitions, user)})
    assert {name: len(list(_anys(one.tree, one, read))) for name, one in read.items()} == {
        "agentrl": 0,
        "agentrl.names": 4,
        "agentrl_envs.world": 1,
    }
