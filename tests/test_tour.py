"""The tour is executed from its first block to its last."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from plugin_install import environ
from test_readme import without_numbers
from test_write_an_environment import BLOCK, commands, execute

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/tour.md"


def test_every_block_of_the_tour_does_what_the_page_says(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for language, file, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if language == "console":
            for command, expected in commands(text):
                show(command, expected, tmp_path, site)
        elif file:
            (tmp_path / file).write_text(text, encoding="utf-8")
        else:
            assert language == "python", f"a block in {language!r} that nobody executes"
            session = tmp_path / "session.txt"
            session.write_text(text, encoding="utf-8")
            run(["doctest", str(session)], tmp_path, site)
    summary = (tmp_path / "runs/corridor-lm/summary.json").read_text(encoding="utf-8")
    before, after = (float(success) for success in re.findall(r'"success": ([\d.]+)', summary)[:2])
    assert before < after > 0.8, summary


def show(command: str, expected: list[str], folder: Path, site: Path) -> None:
    """Execute a command of the page; figures may differ from machine to machine."""
    words = shlex.split(command)
    if words[0] == "ls":
        assert not set(expected) - set(os.listdir(folder / words[1])), command
    elif words[:2] == ["pip", "install"]:
        execute(command, expected, folder, site)
    else:
        assert words[0] == "agentrl", command
        output = without_numbers(run(["agentrl.cli", *words[1:]], folder, site))
        missing = [line for line in expected if without_numbers(line) not in output]
        assert not missing, f"$ {command}\n{output}\nlacks {missing}"


def run(module: list[str], folder: Path, site: Path) -> str:
    """What `python -m …` prints; it must end well."""
    done = subprocess.run(
        [sys.executable, "-m", *module],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environ(site),
        timeout=400,
    )
    assert done.returncode == 0, f"{module}\n{done.stdout}\n{done.stderr}"
    return done.stdout
