"""`agentrl examples`: the run files that come along are listed, shown and copied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from agentrl.cli.examples import examples

FOLDER = Path(__file__).parents[1] / "examples"


def run(*words: str, status: int = 0) -> str:
    result = CliRunner().invoke(examples, words)
    assert (result.exit_code, isinstance(result.exception, Exception)) == (status, status != 0), result.output
    return str(result.exception) if status else result.output


def test_every_run_file_is_listed_with_what_it_does() -> None:
    listed = json.loads(run("--json"))
    files = {path.relative_to(FOLDER).as_posix() for kind in ("toml", "py") for path in FOLDER.rglob(f"*.{kind}")}
    assert set(listed["files"]) == files
    assert [name for name, words in listed["files"].items() if not words] == ["third_party/pyproject.toml"]
    assert "corridor.toml" in run()


@pytest.mark.parametrize("name", ["corridor", "corridor.toml", "third_party/guess_plugin.py"])
def test_a_file_is_shown_as_it_is(name: str) -> None:
    path = FOLDER / name
    assert run("show", name) == (path if path.exists() else path.with_suffix(".toml")).read_text(encoding="utf-8")


def test_what_is_copied_is_the_same_as_in_a_clone(tmp_path: Path) -> None:
    run("copy", "--folder", str(tmp_path / "all"))
    for name in json.loads(run("--json"))["files"]:
        assert (tmp_path / "all" / name).read_bytes() == (FOLDER / name).read_bytes()
    run("copy", "search", "third_party", "--folder", str(tmp_path / "some"))
    copied = {path.name for path in (tmp_path / "some").rglob("*.toml")}
    assert {"search.toml", "guess.toml", "pyproject.toml"} <= copied
    assert "corridor.toml" not in copied


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "tools.toml").write_text("mine")
    said = run("copy", "--folder", str(tmp_path), status=1)
    assert "tools.toml is there already" in said
    assert [path.name for path in tmp_path.iterdir()] == ["tools.toml"]
    assert (tmp_path / "tools.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["show", "coridor"], "no example named 'coridor'. Did you mean 'corridor.toml'?"),
        (["show", "third_party"], "third_party is a folder: name one of third_party/graph_credit.py"),
        (["copy", "../secrets"], "no example named '../secrets'"),
    ],
)
def test_a_name_that_is_none_is_refused_with_the_right_ones(words: list[str], says: str) -> None:
    assert says in run(*words, status=1)
