"""Case 29: in a locale that is not UTF-8, commands ended with a traceback at the first sign beyond it.

`eval` had played everything by then, and its result was lost. Every command of the command line runs in such a locale.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from agentrl.cli import main

RUN = """name = "lamps"
environment = "corridor"
model = "table"
policy = "tabular"
trainer = "tabular"
credit = "grpo"
evaluation = { split = "valid", tasks = 3 }
sampler = { name = "uniform", tasks = 2 }
# ω … ü

[[stages]]
name = "learn"
updates = 1
"""
COMMANDS: list[tuple[list[str], int]] = [
    (["--help"], 0),
    (["list"], 0),
    (["show", "credit", "gigpo"], 0),
    (["new", "environment", "my_rooms"], 0),
    (["check", "dialect", "plain", "--actions", "go …"], 2),
    (["check", "dialect", "plain"], 0),
    (["play", "corridor", "--policy", "expert"], 0),
    (["train", "run.toml", "--dry-run"], 0),
    (["train", "run.toml"], 0),
    (["train", "--resume", "run.toml"], 0),
    (["eval", "runs/lamps"], 0),
    (["train", "run.toml", "credit=gigpö"], 2),
    (["train", "r…n.toml"], 2),
    (["examples"], 0),
    (["examples", "show", "corridör"], 2),
    (["examples", "copy", "corridör", "to"], 2),
    (["sandbox", "reap"], 0),
    (["sandbox", "check", "nö"], 2),
    (["sandbox", "run", "--in", "nö", "--", "true"], 2),
    (["sandbox", "serve", "--help"], 0),
]
SCRIPT = """
import json, sys
from agentrl.cli import main
for arguments, expected in json.loads(sys.argv[1]):
    print("$", *map(ascii, arguments), flush=True)
    try:
        main.main(arguments, prog_name="agentrl")
    except SystemExit as end:
        assert (end.code or 0) == expected, (arguments, end.code)
print("encoding", sys.stdout.encoding, sys.getfilesystemencoding())
"""
LOCALES = {
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "C, latin-1": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"},
    "POSIX, ascii": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict"},
    "Latin-1": {"LC_ALL": "en_US.ISO-8859-1", "PYTHONUTF8": "0"},  # C where this machine does not have it
}


def ran(folder: Path, commands: list[tuple[list[str], int]], locale: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)],
        cwd=folder, env={**os.environ, **LOCALES[locale]}, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    output = (done.stdout + done.stderr).decode("latin-1")
    assert done.returncode == 0, output
    assert "Traceback" not in output
    return output


@pytest.mark.parametrize("locale", ["C", "C, latin-1"])
def test_every_command_runs_in_a_locale_that_is_not_utf_8(tmp_path: Path, locale: str) -> None:
    (tmp_path / "run.toml").write_text(RUN, encoding="utf-8")
    output = ran(tmp_path, COMMANDS, locale)
    assert "utf" not in output.rpartition("encoding")[2].split()[0]
    summary = json.loads((tmp_path / "runs/lamps/summary.json").read_text(encoding="utf-8"))
    assert summary["updates"] == {"learn": 1}


@pytest.mark.parametrize("locale", ["POSIX, ascii", "Latin-1"])
def test_so_do_the_ones_that_write_most_in_others(tmp_path: Path, locale: str) -> None:
    (tmp_path / "run.toml").write_text(RUN, encoding="utf-8")
    ran(tmp_path, [(["show", "credit", "gigpo"], 0), (["train", "run.toml"], 0), (["eval", "runs/lamps"], 0)], locale)


def test_a_run_whose_name_the_locale_cannot_write_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(RUN, encoding="utf-8")
    output = ran(tmp_path, [(["train", "run.toml", "name=lampe"], 0)], "C")
    assert "cannot name" not in output
    (tmp_path / "run.toml").write_text(RUN.replace('"lamps"', '"lämps"'), encoding="utf-8")
    assert "Set PYTHONUTF8=1" in ran(tmp_path, [(["train", "run.toml"], 2)], "C")


def test_no_command_is_left_out() -> None:
    def names(group: click.Group, before: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
        found: set[tuple[str, ...]] = set()
        for name in group.list_commands(click.Context(group)):
            command = group.get_command(click.Context(group), name)
            here = (*before, name)
            found |= names(command, here) if isinstance(command, click.Group) else {here}
        return found

    tried = {tuple(arguments[: 2 if arguments[0] in ("sandbox", "examples") else 1]) for arguments, _ in COMMANDS}
    assert names(main) <= tried
