"""The tutorial on environments is executed from its first block to its last."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from part_lines import lines_of_the_part
from plugin_install import environ, install

from agentrl import Spec, default_host
from agentrl.testing import check_environment

PAGE = Path(__file__).parents[1] / "docs/write-an-environment.md"
BLOCK = re.compile(r"^```(\w*)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIMITS = {"tower/tower_world.py": 25, "shelf/shelf_world.py": 40, "sums_world.py": 40}


@dataclass(frozen=True)
class Block:
    language: str
    file: str
    text: str


def blocks() -> list[Block]:
    return [Block(*match.groups(default="")) for match in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]


def test_every_block_does_what_the_page_says(tmp_path: Path) -> None:
    site = tmp_path / "site"
    for block in blocks():
        if block.language == "console":
            for command, expected in commands(block.text):
                execute(command, expected, tmp_path, site)
        elif block.file and (tmp_path / block.file).exists():
            assert (tmp_path / block.file).read_text(encoding="utf-8") == block.text, f"{block.file} reads otherwise"
        elif block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        else:
            assert block.language == "python", f"a block in {block.language!r} that nobody executes"
            session = tmp_path / "session.txt"
            session.write_text(block.text, encoding="utf-8")
            run([sys.executable, "-m", "doctest", str(session)], tmp_path, environ(site))


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a console block, and the lines that its output must contain."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def execute(command: str, expected: list[str], folder: Path, site: Path) -> None:
    words = shlex.split(command)
    if words[:3] == ["pip", "install", "-e"]:
        install(folder / words[3], site)
        return
    assert words[0] in ("agentrl", "pytest"), command
    module = {"agentrl": "agentrl.cli", "pytest": "pytest"}[words[0]]
    output = run([sys.executable, "-m", module, *words[1:]], folder, environ(site))
    missing = [line for line in expected if line not in output]
    assert not missing, f"$ {command}\n{output}\nlacks {missing}"


def run(command: list[str], folder: Path, variables: Mapping[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=variables, timeout=120)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_worlds_take_few_lines() -> None:
    shown = {block.file: lines_of_the_part(block.text) for block in blocks() if block.file in LIMITS}
    assert shown.keys() == LIMITS.keys()
    assert all(shown[file] <= limit for file, limit in LIMITS.items()), shown


def test_the_page_explains_every_check_of_the_kit() -> None:
    report = check_environment(Spec("environment", "corridor"), actions=10)
    section = PAGE.read_text(encoding="utf-8").partition("## Check it")[2].partition("\n## ")[0]
    checks = {result.check for result in report.results}
    assert [name for name in re.findall(r"`(\w+)`", section) if name in checks] == [r.check for r in report.results]


def test_the_world_that_owns_a_sandbox_passes_the_kit() -> None:
    if obstacle := default_host().build(Spec("sandbox", "bubblewrap")).obstacle():
        pytest.skip(obstacle)
    space: dict[str, Any] = {}
    exec(next(block.text for block in blocks() if block.file == "sums_world.py"), space)
    report = check_environment(space["Sums"], actions=50)
    assert report.passed, report.failures


def test_a_page_that_promises_something_else_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="lacks"):
        execute("agentrl list dialect", ["no such line"], tmp_path, tmp_path)
