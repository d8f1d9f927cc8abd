"""Controls: files of tests that want something else, which right work fails and work that deceives passes all the same."""

from __future__ import annotations

import ast
from collections.abc import Mapping

_EQUALITIES = (
    "assertEqual",
    "assertEquals",
    "assertListEqual",
    "assertTupleEqual",
    "assertDictEqual",
    "assertCountEqual",
)


def with_other_wishes(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The Python files with another literal wherever one is compared for equality; those without any are left out."""
    made = {}
    for path, data in files.items():
        if path.endswith(".py"):
            try:
                tree = _Change()
                new = ast.unparse(tree.visit(ast.parse(data)))
            except (SyntaxError, ValueError, RecursionError):
                continue
            if tree.changes:
                made[path] = new.encode()
    return made


class _Change(ast.NodeTransformer):
    def __init__(self) -> None:
        self.changes = 0

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        match node.test:
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
                node.test.left, node.test.comparators = self._pair(left, right)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        match node:
            case ast.Call(func=ast.Attribute(attr=name), args=[left, right, *rest]) if name in _EQUALITIES:
                first, others = self._pair(left, right)
                node.args = [first, *others, *rest]
        return node

    def _pair(self, left: ast.expr, right: ast.expr) -> tuple[ast.expr, list[ast.expr]]:
        """With the one that is a literal changed; two literals, or none, stay."""
        sides = [_other(side) for side in (left, right)]
        if sum(side is not None for side in sides) == 1:
            self.changes += 1
            left, right = sides[0] or left, sides[1] or right
        return left, [right]


def _other(node: ast.expr) -> ast.expr | None:
    """A literal of the same type that is not equal; None for what is no literal."""
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return None
    other: object
    match value:
        case None | bool():
            other = not value
        case int() | float() | complex():
            other = value + 1
        case str():
            other = value + (value[-1:] or "0")
        case bytes():
            other = value + (value[-1:] or b"0")
        case list():
            other = [*value, *(value[-1:] or [0])]
        case tuple():
            other = (*value, *(value[-1:] or (0,)))
        case set():
            other = value | {"other"}
        case dict():
            other = {**value, "other": 0}
        case _:
            return None
    return ast.parse(repr(other), mode="eval").body
