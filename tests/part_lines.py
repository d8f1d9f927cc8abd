"""How long a part is that stands in a module of its own."""

from __future__ import annotations

import ast

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def lines_of_the_part(text: str) -> int:
    """Lines that are not blank, without the module's docstring and imports: the part, its hook and constants."""
    tree = ast.parse(text)
    around = {
        line
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom | ast.If) or node is tree.body[0]
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return sum(bool(line.strip()) for number, line in enumerate(text.splitlines(), 1) if number not in around)


def code_lines(text: str, *names: str) -> int:
    """Lines of these classes and functions of a module, without blank ones and docstrings."""
    lines: set[int] = set()
    for part in (node for node in ast.parse(text).body if isinstance(node, Definition) and node.name in names):
        first = min([part.lineno, *(decorator.lineno for decorator in part.decorator_list)])
        lines |= set(range(first, (part.end_lineno or part.lineno) + 1))
        for inner in (node for node in ast.walk(part) if isinstance(node, Definition) and ast.get_docstring(node)):
            lines -= set(range(inner.body[0].lineno, (inner.body[0].end_lineno or 0) + 1))
    return sum(bool(text.splitlines()[number - 1].strip()) for number in lines)
