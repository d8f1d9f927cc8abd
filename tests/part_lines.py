"""How long a part is that stands in a module of its own."""

from __future__ import annotations

import ast


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
