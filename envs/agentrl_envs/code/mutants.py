"""Mutants: a right solution with one thing wrong, for demonstrations of how to repair."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

import numpy as np

_PAIRS = ((ast.Add, ast.Sub), (ast.FloorDiv, ast.Mod), (ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq))
_OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    **{one: other for pair in (*_PAIRS, (ast.And, ast.Or)) for one, other in (pair, pair[::-1])},
    ast.Mult: ast.Add,
    ast.In: ast.NotIn,
}


def mutant(code: str, random: np.random.Generator) -> str:
    """The code with one operator, number or condition changed; only a note is added where there is nothing to change.

    Raises SyntaxError for what is no Python.
    """
    tree = ast.parse(code)
    changes = list(_changes(tree))
    if not changes:
        return f"{code}\n# perhaps\n"
    changes[int(random.integers(len(changes)))]()
    return ast.unparse(tree) + "\n"


def _changes(tree: ast.AST) -> Iterator[Callable[[], None]]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in _OPERATORS:
            yield lambda node=node: setattr(node, "op", _OPERATORS[type(node.op)]())  # type: ignore[misc]
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in _OPERATORS:
            yield lambda node=node: node.ops.__setitem__(0, _OPERATORS[type(node.ops[0])]())  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            yield lambda node=node: setattr(node, "value", node.value + 1)  # type: ignore[misc]
