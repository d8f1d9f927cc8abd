"""Calls written as Python (`cd(folder="a")`, as the benchmark's answers are), read as data and never run."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from agentrl import DataError, ToolCall


def python_call(text: str, parameters: Mapping[str, Sequence[str]]) -> ToolCall:
    """One call of literals; `parameters` gives the names of positional arguments, by function.

    Raises DataError for anything that is not such a call.

    >>> python_call("cd('reports')", {"cd": ["folder"]})
    ToolCall(name='cd', arguments={'folder': 'reports'})
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise ValueError("not a call of a plain name")
        names = [*parameters.get(node.func.id, ())[: len(node.args)], *(keyword.arg or "" for keyword in node.keywords)]
        values = [ast.literal_eval(value) for value in (*node.args, *(keyword.value for keyword in node.keywords))]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{text[:80]!r} is not a call with literal arguments: {error}") from None
    if len(names) != len(values) or len(set(names)) != len(names) or "" in names:
        raise DataError(f"{text[:80]!r}: each argument needs one name of its own")
    return ToolCall(node.func.id, dict(zip(names, values, strict=True)))
