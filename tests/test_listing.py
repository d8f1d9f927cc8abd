"""`agentrl list` remembers what plugins offer, and never what is broken or has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PLUGIN = """
def register_credits(register):
    register("{name}", lambda trajectories: [])
"""


def listed(cache: Path, target: Path) -> dict[str, dict[str, str]]:
    env = {
        **os.environ,
        "XDG_CACHE_HOME": str(cache),
        "PYTHONPATH": f"{target}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    line = [sys.executable, "-m", "agentrl.cli", "list", "--json"]
    return json.loads(subprocess.run(line, env=env, capture_output=True, text=True, check=True).stdout)  # type: ignore[no-any-return]


def installed(target: Path, module: str, text: str) -> None:
    """A stranger's plugin, as pip would lay it."""
    info = target / f"{module}-1.0.dist-info"
    info.mkdir(exist_ok=True, parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[agentrl]\ncredit.{module} = {module}\n")
    (target / f"{module}.py").write_text(text)


def test_a_listing_follows_every_change_of_a_plugin(tmp_path: Path) -> None:
    cache, target = tmp_path / "cache", tmp_path / "site"
    assert "stranger" not in listed(cache, target)["parts"]["credit"]
    installed(target, "strange_plugin", PLUGIN.format(name="stranger"))
    assert "stranger" in listed(cache, target)["parts"]["credit"]
    assert (cache / "agentrl/listing.json").exists()
    installed(target, "strange_plugin", PLUGIN.format(name="renamed"))
    assert "renamed" in listed(cache, target)["parts"]["credit"]
    assert "stranger" not in listed(cache, target)["parts"]["credit"]


def test_a_broken_plugin_is_named_every_time_and_noticed_when_it_is_mended(tmp_path: Path) -> None:
    cache, target = tmp_path / "cache", tmp_path / "site"
    installed(target, "needy_plugin", "import a_library_that_is_not_there\n" + PLUGIN.format(name="needy"))
    for _ in range(2):
        assert "a_library_that_is_not_there" in listed(cache, target)["broken"]["credit.needy_plugin"]
    (target / "a_library_that_is_not_there.py").write_text("")
    known = listed(cache, target)
    assert known["broken"] == {}
    assert "needy" in known["parts"]["credit"]


def test_a_damaged_memory_is_read_anew(tmp_path: Path) -> None:
    first = listed(tmp_path, tmp_path / "none")
    (tmp_path / "agentrl/listing.json").write_text('{"key": ')
    assert listed(tmp_path, tmp_path / "none") == first


def test_importing_agentrl_imports_no_gymnasium_and_its_ids_are_there_all_the_same() -> None:
    code = (
        "import agentrl, sys; assert 'gymnasium' not in sys.modules and 'numpy' not in sys.modules\n"
        "import gymnasium; gymnasium.make('agentrl/corridor-v0').reset(seed=1)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
