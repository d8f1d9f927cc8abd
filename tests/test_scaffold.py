"""`agentrl new` writes plugins of every kind that install, pass the kit and their own tests, and are short and clean."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from part_lines import lines_of_the_part
from plugin_install import environ, install

from agentrl import ConfigError
from agentrl.cli.scaffold import new, new_plugin
from agentrl.parts.kinds import KINDS
from agentrl.testing import kit

ROOT = Path(__file__).parents[1]
FORMS = {**{kind: kind for kind in KINDS}, "tools": "environment"}
"""What can be written → its kind; the plugin is named my_FORM."""
SETTINGS = {("check", "trainer"): ["model=table"]}
LIMITS = {"environment": 25, "tools": 40, "credit": 12, "judge": 20, "context": 30, "collector": 40}
"""Most lines of a part with its hook, blank ones and imports left out."""
RUFF = ["--isolated", "--line-length", "120", "--target-version", "py311"]
COMMANDS = """
import json, sys
from click.testing import CliRunner
from agentrl.cli import main

print(json.dumps([json.loads(CliRunner().invoke(main, words).stdout) for words in json.loads(sys.argv[1])]))
"""
"""Runs many commands of agentrl in one process, since each process imports everything anew."""
SLOW = [pytest.param(form, marks=pytest.mark.heavy) if form == "sandbox" else form for form in FORMS]


def has_kit(form: str) -> bool:
    try:
        kit(FORMS[form])
    except ConfigError:
        return False
    return True


def run(*command: str, cwd: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environ(target),
        timeout=300,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin of every form in `my_FORM`, all of them installed in `site`."""
    base = tmp_path_factory.mktemp("plugins")
    for form, kind in FORMS.items():
        new_plugin(kind, f"my_{form}", tools=form == "tools", folder=base / f"my_{form}")
        install(base / f"my_{form}", base / "site")
    return base


def documents(folder: Path, command: str, forms: list[str]) -> dict[str, Any]:
    """form → what `agentrl COMMAND KIND NAME --json` prints for its plugin."""
    words = [[command, FORMS[form], f"my_{form}", *SETTINGS.get((command, form), []), "--json"] for form in forms]
    done = run("-c", COMMANDS, json.dumps(words), cwd=folder, target=folder / "site")
    assert done.returncode == 0, done.stderr
    return dict(zip(forms, json.loads(done.stdout), strict=True))


@pytest.fixture(scope="module")
def reports(folder: Path) -> dict[str, Any]:
    return documents(folder, "check", [form for form in FORMS if has_kit(form) and form != "sandbox"])


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[str, Any]:
    return documents(folder, "show", list(FORMS))


@pytest.fixture(scope="module")
def tested(folder: Path) -> dict[tuple[str, str], str]:
    """(form, test) → why it failed or was skipped, "" where it passed; tests of kits that are not there are left out."""
    idle = [
        f"--deselect=my_{form}/{path.name}::test_it_passes_the_kit"
        for form in FORMS
        if form == "sandbox" or not has_kit(form)
        for path in (folder / f"my_{form}").glob("test_*.py")
    ]
    names = [f"my_{form}" for form in FORMS]
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "--junitxml=r.xml", *idle, *names, cwd=folder,
               target=folder / "site")  # fmt: skip
    assert (folder / "r.xml").exists(), done.stdout + done.stderr
    return dict(_results(folder / "r.xml"))


def _results(path: Path) -> Iterator[tuple[tuple[str, str], str]]:
    for case in ET.parse(path).iter("testcase"):
        form = next(form for form in FORMS if case.attrib["classname"].split(".")[-1].startswith(f"test_my_{form}_"))
        yield (form, case.attrib["name"]), "".join(f"{child.tag}: {child.text}" for child in case)


@pytest.mark.parametrize("form", FORMS)
def test_the_command_writes_three_files_and_says_what_to_do_next(form: str, tmp_path: Path) -> None:
    kind, place = FORMS[form], tmp_path / "plugin"
    tools = ["--tools"] if form == "tools" else []
    result = CliRunner().invoke(new, [kind, f"my_{form}", "--folder", str(place), *tools])
    assert result.exit_code == 0, result.output
    assert f"agentrl check {kind} my_{form}" in result.output
    module = f"my_{form}_{'world' if kind == 'environment' else kind}"
    assert sorted(path.name for path in place.iterdir()) == [f"{module}.py", "pyproject.toml", f"test_{module}.py"]
    assert "$" not in "".join(path.read_text(encoding="utf-8") for path in place.iterdir())


def test_every_plugin_is_listed(folder: Path) -> None:
    listed = json.loads(run("-m", "agentrl.cli", "list", "--json", cwd=folder, target=folder / "site").stdout)
    assert not [plugin for plugin in listed["broken"] if ".my_" in plugin]
    for form, kind in FORMS.items():
        assert listed["parts"][kind][f"my_{form}"] == f"{kind}.my_{form}"


@pytest.mark.parametrize("form", SLOW)
def test_a_new_plugin_passes_the_kit_of_its_kind(form: str, folder: Path, reports: dict[str, Any]) -> None:
    if not has_kit(form):
        pytest.skip(f"there is no kit for a {FORMS[form]} yet")
    report = reports.get(form) or documents(folder, "check", [form])[form]
    assert report["passed"], [row for row in report["results"] if row["verdict"] == "failed"]
    if FORMS[form] == "environment":
        skipped = {row["check"] for row in report["results"] if row["verdict"] == "skipped"}
        assert skipped <= ({"admissible_actions_are_sound"} if form == "tools" else set())


@pytest.mark.parametrize("form", FORMS)
def test_its_own_tests_pass(form: str, tested: dict[tuple[str, str], str]) -> None:
    results = {name: result for (owner, name), result in tested.items() if owner == form}
    kits = {"test_it_passes_the_kit"} if has_kit(form) and form != "sandbox" else set()
    assert results.keys() - kits, "a test of what it does, beside that of the kit"
    assert kits <= results.keys()
    assert not any(results.values()), results


@pytest.mark.parametrize("form", ["environment", "tools"])
def test_the_expert_of_a_new_world_solves_it(form: str, folder: Path) -> None:
    played = run("-m", "agentrl.cli", "play", f"my_{form}", "--policy", "expert", cwd=folder, target=folder / "site")
    assert "solved after" in played.stdout, played.stderr


@pytest.mark.parametrize("form", FORMS)
def test_a_new_plugin_is_short_and_documented(form: str, folder: Path, pages: dict[str, Any]) -> None:
    (module,) = (folder / f"my_{form}").glob("my_*.py")
    lines = lines_of_the_part(module.read_text(encoding="utf-8"))
    assert lines <= LIMITS.get(form, 70), lines
    assert pages[form]["doc"]
    assert pages[form]["settings"], "every scaffold shows how a setting is written"
    assert all(setting["meaning"] for setting in pages[form]["settings"].values())


@pytest.mark.parametrize(
    "command",
    [
        ["format", "--check"],
        ["check", "--select", "A,B,E,F,I,PL,SIM,UP,W", "--ignore", "PLR2004"],
        ["check", "--select", "ANN001,ANN201,ANN204", "--exclude", "test_*"],
    ],
    ids=["format", "lint", "types"],
)
def test_new_plugins_are_clean(command: list[str], folder: Path) -> None:
    names = [f"my_{form}" for form in FORMS]
    ruff = subprocess.run(
        [sys.executable, "-m", "ruff", *command, *RUFF, *names], capture_output=True, text=True, check=False, cwd=folder
    )
    assert ruff.returncode == 0, ruff.stdout + ruff.stderr


def test_new_plugins_are_typed(folder: Path) -> None:
    """With the settings and the cache of this repository, whose packages they import."""
    modules = [str(path) for form in FORMS for path in (folder / f"my_{form}").glob("my_*.py")]
    assert len(modules) == len(FORMS)
    typed = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *modules], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert typed.returncode == 0, typed.stdout + typed.stderr


def test_a_planted_fault_fails_the_test_that_was_written(tmp_path: Path) -> None:
    folder, target = tmp_path / "plugin", tmp_path / "site"
    _, module, _ = new_plugin("environment", "my_world", folder=folder)
    source = module.read_text(encoding="utf-8")
    module.write_text(source.replace('* (task.split == "valid")', "* 0"), encoding="utf-8")
    install(folder, target)
    tested = run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder), cwd=tmp_path, target=target)
    assert tested.returncode == 1
    assert "splits_are_disjoint_by_content" in tested.stdout


@pytest.mark.parametrize(
    "name", ["", "My_world", "my-world", "7up", "class", "my world", "../up", "_x", "x_", "ü", "a" * 41, "a\n"]
)
def test_a_bad_name_is_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="such as my_credit"):
        new_plugin("credit", name, folder=tmp_path / "plugin")
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'corridor' is installed already, by plugin 'environment.corridor'"):
        new_plugin("environment", "corridor", folder=tmp_path / "plugin")
    assert new_plugin("credit", "corridor", folder=tmp_path / "plugin"), "another kind may have the name"


def test_a_folder_that_exists_is_never_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_world").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="my_world is there already"):
        new_plugin("environment", "my_world")
    assert not list((tmp_path / "my_world").iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written: Not a directory"):
        new_plugin("environment", "my_world", folder=tmp_path / "file" / "below")


def test_a_kind_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'credit'"):
        new_plugin("credits", "mine")
    with pytest.raises(ConfigError, match="--tools is for an environment"):
        new_plugin("credit", "mine", tools=True)
