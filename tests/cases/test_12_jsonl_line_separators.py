"""Case 12: lines of JSON were cut at U+2028, U+2029 and U+0085, which JSON leaves as they are inside a text.

Files of lines are split at line feeds only. So is every other text: `splitlines` also cuts at form feeds and the like.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from agentrl_envs.mcp_world import _read
from agentrl_envs.records import read_records

ROOT = Path(__file__).parents[2]
SEPARATORS = "\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e"
PACKAGES = ("agentrl", "envs/agentrl_envs", "plugins/agentrl_plugins", "sandboxes/agentrl_sandboxes")


@pytest.mark.parametrize("mark", SEPARATORS, ids=ascii)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_a_task_with_a_separator_is_one_task(tmp_path: Path, mark: str, line_end: str) -> None:
    file = tmp_path / "tasks.jsonl"
    tasks = [{"prompt": f"Find{mark}the drawer."}, {"prompt": "Go."}]
    lines = line_end.join(json.dumps(task, ensure_ascii=False) for task in tasks)
    if mark < " ":  # which JSON escapes itself
        assert mark not in lines
    file.write_bytes((lines + line_end).encode("utf-8-sig"))
    assert _read(file) == {"train": tasks}
    assert read_records(file) == tasks


def test_a_list_of_records_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "tasks.json"
    file.write_text('[{"prompt": "Go."}]', encoding="utf-8-sig")
    assert read_records(file) == [{"prompt": "Go."}]


def test_nothing_is_split_by_splitlines() -> None:
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "splitlines"
    ]
    assert calls == [], 'split("\\n"): splitlines also cuts at U+2028, U+0085, form feeds and others'
