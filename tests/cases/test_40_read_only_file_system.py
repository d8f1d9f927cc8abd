"""Case 40: other projects fail where the home folder or the cache cannot be written, or there is no home.

A run needs its own folder, and nothing else. It never did, but for a user that has no home at all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, os, pwd, sys
from pathlib import Path
def nobody(*_): raise KeyError("no such user")
if sys.argv[1] == "nobody": pwd.getpwuid = nobody  # as for a number that no user has, in a container
from agentrl.cli import main
for arguments in (["list"], ["show", "credit", "grpo"], ["play", "corridor", "--policy", "expert"], ["train", "run.toml"],
                  ["eval", "runs/lamps"]):
    try:
        main.main(arguments, prog_name="agentrl")
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
from agentrl_envs.cache import cache_folder
assert cache_folder("search", "x").is_absolute()
"""
RUN = """name = "lamps"
environment = "corridor"
model = "table"
policy = "tabular"
trainer = "tabular"
credit = "grpo"
evaluation = { split = "valid", tasks = 3 }
stages = [{ updates = 1, sampler = { name = "uniform", tasks = 2 } }]
"""


@pytest.mark.parametrize("home", ["read-only", "missing", "unset", "nobody"])
def test_a_run_needs_no_home(tmp_path: Path, home: str) -> None:
    (tmp_path / "run.toml").write_text(RUN, encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    if home in ("read-only", "missing"):
        # A file stands where the folder would be: nobody can write below it, root neither.
        (tmp_path / "home").write_text("no folder")
        variables["HOME"] = str(tmp_path / ("home" if home == "read-only" else "nowhere"))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, home],
        cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "runs/lamps/summary.json").read_text())["updates"] == {"stage1": 1}


def test_a_path_below_no_home_is_refused_in_one_line(tmp_path: Path) -> None:
    code = "import pwd, sys; pwd.getpwuid = lambda *_: {}[0]; from agentrl.cli import main; main()"
    variables = {name: value for name, value in os.environ.items() if name != "HOME"}
    (tmp_path / "run.toml").write_text(RUN + 'runs = "~/runs"\n', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "run.toml", "runs=~/runs"],
        cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "write the path in full" in done.stderr
    assert "Traceback" not in done.stderr
