"""`agentrl new environment` writes plugins that install, pass their own test, the kit and the house's linter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from plugin_install import environ, install

from agentrl import ConfigError
from agentrl.cli.scaffold import new, new_environment

LIMITS = {"text": 41, "tools": 50}


def run(*command: str, cwd: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environ(target),
        timeout=120,
    )


@pytest.mark.parametrize("form", ["text", "tools"])
def test_a_new_world_installs_passes_its_test_and_the_kit(form: str, tmp_path: Path) -> None:
    folder, target = tmp_path / "plugin", tmp_path / "site"
    result = CliRunner().invoke(
        new, ["environment", f"my_{form}", "--folder", str(folder), *(["--tools"] if form == "tools" else [])]
    )
    assert result.exit_code == 0, result.output
    assert f"agentrl check environment my_{form}" in result.output
    assert sorted(path.name for path in folder.iterdir()) == [
        f"my_{form}_world.py",
        "pyproject.toml",
        f"test_my_{form}_world.py",
    ]
    install(folder, target)

    tested = run("pytest", "-q", "-p", "no:cacheprovider", str(folder), cwd=tmp_path, target=target)
    assert tested.returncode == 0, tested.stdout
    assert "1 passed" in tested.stdout
    checked = run("agentrl.cli", "check", "environment", f"my_{form}", "--json", cwd=tmp_path, target=target)
    report = json.loads(checked.stdout)
    assert checked.returncode == 0, report
    verdicts = {row["check"]: row["verdict"] for row in report["results"]}
    skipped = {check for check, verdict in verdicts.items() if verdict == "skipped"}
    assert skipped <= ({"admissible_actions_are_sound"} if form == "tools" else set())
    played = run("agentrl.cli", "play", f"my_{form}", "--policy", "expert", cwd=tmp_path, target=target)
    assert "solved after" in played.stdout, played.stderr


@pytest.mark.parametrize("form", ["text", "tools"])
def test_a_new_world_is_short_and_clean(form: str, tmp_path: Path) -> None:
    _, module, _ = new_environment("my_world", tools=form == "tools", folder=tmp_path / "plugin")
    assert len(module.read_text(encoding="utf-8").splitlines()) <= LIMITS[form]
    for command in (["format", "--check"], ["check", "--select", "A,B,E,F,I,PL,SIM,UP,W", "--ignore", "PLR2004"]):
        options = ["--isolated", "--line-length", "120", "--target-version", "py311"]
        ruff = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *options, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ruff.returncode == 0, ruff.stdout + ruff.stderr


def test_a_planted_fault_fails_the_test_that_was_written(tmp_path: Path) -> None:
    folder, target = tmp_path / "plugin", tmp_path / "site"
    _, module, _ = new_environment("my_world", folder=folder)
    source = module.read_text(encoding="utf-8")
    module.write_text(source.replace('* (task.split == "valid")', "* 0"), encoding="utf-8")
    install(folder, target)
    tested = run("pytest", "-q", "-p", "no:cacheprovider", str(folder), cwd=tmp_path, target=target)
    assert tested.returncode == 1
    assert "splits_are_disjoint_by_content" in tested.stdout


@pytest.mark.parametrize(
    "name", ["", "My_world", "my-world", "7up", "class", "my world", "../up", "_x", "x_", "ü", "a" * 41, "a\n"]
)
def test_a_bad_name_is_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="such as my_world"):
        new_environment(name, folder=tmp_path / "plugin")
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'corridor' is installed already, by plugin 'environment.corridor'"):
        new_environment("corridor", folder=tmp_path / "plugin")


def test_a_folder_that_exists_is_never_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_world").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="my_world is there already"):
        new_environment("my_world")
    assert not list((tmp_path / "my_world").iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written: Not a directory"):
        new_environment("my_world", folder=tmp_path / "file" / "below")


def test_another_kind_is_refused() -> None:
    result = CliRunner().invoke(new, ["credit", "mine"])
    assert isinstance(result.exception, ConfigError)
    assert "'credit'" in str(result.exception)
