"""Formats: one record of HumanEval, MBPP or LiveCodeBench becomes a problem."""

from __future__ import annotations

import ast
import base64
import doctest
import io
import json
import pickle
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from agentrl_envs.code.problems import Call, Problem, Program, Script, Test


def humaneval(record: Mapping[str, Any]) -> Problem:
    """Chen et al. 2021. What stands before the function is put before every solution; doctests are the public tests."""
    prompt, entry = record["prompt"], record["entry_point"]
    checks = _function(ast.parse(record["test"]), "check")
    calls = [_call(node, {"candidate", entry}) for node in checks.body if not _is_note(node)]
    hidden: tuple[Test, ...] = tuple(call for call in calls if call is not None)
    before = _before(prompt, entry)
    if len(hidden) < len(calls) or not hidden:  # loops, tolerances …: the whole check, which may need the helpers too
        name = str(record.get("task_id", entry))
        hidden = (Script(f"{before}\n{record['test']}\ncheck({entry})\n", name),)
    return Problem(
        name=str(record.get("task_id", entry)),
        statement=f"Write the whole function `{entry}`:\n\n{prompt.strip()}",
        entry=entry,
        public=tuple(_doctests(prompt, entry)),
        hidden=hidden,
        gold=f"{prompt}{record.get('canonical_solution', '')}" if record.get("canonical_solution") else "",
        preamble=before,
    )


def mbpp(record: Mapping[str, Any], shown: int) -> Problem:
    """Austin et al. 2021, the full and the sanitised form. The first `shown` tests are public; all of them count."""
    code, lines = record.get("code", "").replace("\r\n", "\n"), list(record["test_list"])
    own = record.get("test_setup_code") or "\n".join(record.get("test_imports") or ())
    every = [*lines, *(record.get("challenge_test_list") or ())]
    used = _names("\n".join(map(str.strip, every)))
    setup = f"{_imports(code, used)}\n{own}"  # tests may count on what the solution imports
    entry = _called(lines, code)
    tests = [_assertion(line, entry, setup, number) for number, line in enumerate(every, 1)]
    statement = record.get("text") or record["prompt"]
    return Problem(
        name=f"mbpp/{record.get('task_id', entry)}",
        statement=f"{statement.strip()}\nThe function is `{entry}`.",
        entry=entry,
        public=tuple(tests[:shown]),
        hidden=tuple(tests),
        gold=code,
        preamble=_imports(own, None),
    )


def livecodebench(record: Mapping[str, Any]) -> Problem:
    """Jain et al. 2024. Programs read standard input; functions are methods of a class `Solution`."""
    metadata = record.get("metadata") or "{}"
    name = (json.loads(metadata) if isinstance(metadata, str) else metadata).get("func_name")
    starter = record.get("starter_code") or ""
    statement = f"{record.get('question_title', '')}\n{record['question_content']}".strip()
    entry = ""
    if name:
        entry = f"Solution.{name}" if "class Solution" in starter or not starter else name
        statement += (
            f"\n\nComplete this:\n{starter}" if starter else f"\n\nWrite a class Solution with a method {name}."
        )
    else:
        statement += "\n\nWrite a program that reads standard input and writes standard output."
    public = tuple(_case(case, bool(name)) for case in _cases(record["public_test_cases"]))
    private = tuple(_case(case, bool(name)) for case in _cases(record.get("private_test_cases") or "[]"))
    key = record.get("question_id", record.get("question_title", "?"))
    gold = record.get("gold") or ""  # the original files hold no solutions; files of one's own may
    return Problem(f"livecodebench/{key}", statement, entry, public, (*public, *private), gold, preamble=_IMPORTS)


_IMPORTS = "from typing import *\nimport collections, functools, heapq, itertools, math, bisect, string, sys, re\n"


def _cases(data: str | Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """JSON, or JSON in a pickled text in zlib in base64, as the originals keep private tests."""
    if not isinstance(data, str):
        return list(data)
    try:
        return list(json.loads(data))
    except ValueError:
        packed = zlib.decompress(base64.b64decode(data))
        return list(json.loads(_TextOnly(io.BytesIO(packed)).load()))


class _TextOnly(pickle.Unpickler):
    """Reads a pickled text; a file that wants anything imported is refused."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise ValueError(f"the private tests want {module}.{name}, and are not read: only plain text is")


def _case(case: Mapping[str, str], is_function: bool) -> Test:
    if not is_function:
        return Program(case["input"], case["output"])
    arguments = tuple(json.loads(line) for line in case["input"].split("\n") if line.strip())
    return Call(arguments, json.loads(case["output"]), loose=True)


def _function(tree: ast.Module, name: str) -> ast.FunctionDef:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise ValueError(f"there is no function {name!r}")


def _is_note(node: ast.stmt) -> bool:
    """A docstring, `pass`, or an assertion of a constant: nothing that tests."""
    if isinstance(node, ast.Assert):
        return isinstance(node.test, ast.Constant) and bool(node.test.value)
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _call(node: ast.stmt, names: set[str]) -> Call | None:
    """`assert f(1, 2) == 3` as a call with its answer; None for anything that is less plain."""
    match node:
        case ast.Assert(test=ast.Compare(left=ast.Call(func=ast.Name(id=name), keywords=[]) as call, ops=[operator])):
            right: ast.expr = node.test.comparators[0]  # type: ignore[attr-defined]
            if name not in names or not isinstance(operator, (ast.Eq, ast.Is)):
                return None
            try:
                return Call(tuple(ast.literal_eval(one) for one in call.args), ast.literal_eval(right))
            except (ValueError, TypeError, SyntaxError):
                return None
        case ast.Assert(test=ast.Call(func=ast.Name(id="bool"))):
            return None
    return None


def _assertion(line: str, entry: str, setup: str, number: int) -> Test:
    tree = ast.parse(line.strip())
    call = _call(tree.body[0], {entry}) if len(tree.body) == 1 else None
    return call or Script(f"{setup}\n{line.strip()}\n", f"test {number}")


def _imports(code: str, used: set[str] | None) -> str:
    """The imports of some code; with `used`, those that bind one of these names."""
    imports = [node for node in ast.parse(code).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    bound = [{(alias.asname or alias.name).partition(".")[0] for alias in node.names} for node in imports]
    return "\n".join(
        ast.unparse(node) for node, names in zip(imports, bound, strict=True) if used is None or names & used
    )


def _names(code: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}


def _called(lines: Sequence[str], code: str) -> str:
    """The function that the tests call: of those that the solution defines, or else the first that is no builtin."""
    defined = {node.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)}
    called = [
        node.func.id
        for node in ast.walk(ast.parse("\n".join(line.strip() for line in lines)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    usual = {"set", "sorted", "abs", "list", "tuple", "round", "len", "str", "int", "float", "isclose", "dict", "type"}
    for name in called:
        if name in defined or (not defined and name not in usual):
            return name
    raise ValueError(f"no function can be found in the tests {list(lines)}")


def _doctests(prompt: str, entry: str) -> Iterator[Test]:
    """Those that are plain comparisons."""
    try:
        words = ast.get_docstring(_function(ast.parse(prompt), entry)) or ""
        examples = doctest.DocTestParser().get_examples(words)
    except ValueError:
        return
    for example in examples:
        try:
            wanted = repr(ast.literal_eval(example.want.strip()))
            call = _call(ast.parse(f"assert {example.source.strip()} == {wanted}").body[0], {entry})
        except (ValueError, SyntaxError, MemoryError):
            continue
        if call is not None:
            yield call


def _before(prompt: str, entry: str) -> str:
    """Imports and helpers that stand before the function in the prompt."""
    body = ast.parse(prompt).body
    return "\n".join(
        ast.unparse(node) for node in body if not (isinstance(node, ast.FunctionDef) and node.name == entry)
    )
