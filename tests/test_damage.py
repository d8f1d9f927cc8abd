"""Every single file of a run is damaged in turn: a resume says it in one line, or ends as the unharmed run does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cases import lamps

import agentrl
from agentrl import AgentRLError, Host
from agentrl.data.record import Run

STAGE = lamps.RUN["stages"][0]
PLAN = {"split": "valid", "tasks": 3, "every": 2, "during_split": "train", "during_tasks": 2}
TABLES = {**lamps.RUN, "evaluation": PLAN, "stages": [{**STAGE, "name": "one", "updates": 2}, {**STAGE, "updates": 2}]}


class StopsAfter:
    """A plugin that ends the process, in its way, once an update is on disk."""

    def __init__(self, update: int) -> None:
        self.update = update

    def on_update(self, update: int, metrics: dict[str, float]) -> None:
        if update == self.update:
            raise KeyboardInterrupt


def host(stop: int = -1) -> Host:
    return Host({"lamps": lamps, "stop": StopsAfter(stop)})


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which three updates of four are on disk."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.raises(KeyboardInterrupt):
        agentrl.train({**TABLES, "runs": str(runs)}, host=host(2))
    return runs / "lamps"


@pytest.fixture(scope="module")
def finished(stopped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(stopped, tmp_path_factory.mktemp("whole") / "lamps")
    agentrl.resume(folder, host=host())
    return folder


def model_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "model").iterdir()}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "stray").write_text("x")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flip": flip,
    "truncate": lambda path: os.truncate(path, path.stat().st_size // 2),
    "remove": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "folder": replace_by_folder,
}


def damaged(stopped: Path, tmp_path: Path) -> Iterator[tuple[str, str, Path]]:
    """A copy of the run for every file and every damage."""
    for file in sorted(path.relative_to(stopped) for path in stopped.rglob("*") if path.is_file()):
        for damage in DAMAGES:
            if damage != "flip" or (stopped / file).stat().st_size:
                yield str(file), damage, tmp_path / str(file).replace("/", "+") / damage


def refused(folder: Path) -> str:
    """The one line that a resume ends with, if it does not go on."""
    try:
        agentrl.resume(folder, host=host())
    except AgentRLError as error:
        return str(error)
    return ""


def check(stopped: Path, finished: Path, file: str, damage: str, folder: Path) -> str:
    shutil.copytree(stopped, folder)
    DAMAGES[damage](folder / file)
    refusal = refused(folder)
    if refusal:
        assert "\n" not in refusal
        assert str(folder) in refusal, f"{file}, {damage}: {refusal}"
        return "refused"
    assert model_of(folder) == model_of(finished), f"{file}, {damage}: other weights"
    return "went on"


def test_one_damage_of_every_file(stopped: Path, finished: Path, tmp_path: Path) -> None:
    """Each file has another one; the heavy test below does all of them."""
    cases = list(damaged(stopped, tmp_path))
    chosen = {file: [case for case in cases if case[0] == file] for file, _, _ in cases}
    went = [check(stopped, finished, *of_file[number % len(of_file)]) for number, of_file in enumerate(chosen.values())]
    assert went.count("went on") > len(went) // 2


@pytest.mark.heavy
def test_every_damage_of_every_file(stopped: Path, finished: Path, tmp_path: Path) -> None:
    for file, damage, folder in damaged(stopped, tmp_path):
        check(stopped, finished, file, damage, folder)
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("run.toml", "updates is 3, and was 2|cannot be read"),
        ("codec/model/checksums.json", "checksums.json is damaged|is not what was committed"),
    ],
)
def test_what_has_no_older_copy_is_named(stopped: Path, tmp_path: Path, file: str, message: str) -> None:
    folder = shutil.copytree(stopped, tmp_path / "lamps")
    text = (folder / file).read_text(encoding="utf-8")
    (folder / file).write_text(text.replace("updates = 2", "updates = 3", 1) if "toml" in file else "[", "utf-8")
    with pytest.raises(AgentRLError, match=message):
        agentrl.resume(folder, host=host())


def test_a_run_file_that_cannot_be_read_is_taken_from_the_manifest(
    stopped: Path, finished: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(stopped, tmp_path / "lamps")
    whole = (folder / "run.toml").read_bytes()
    (folder / "run.toml").write_bytes(whole[: len(whole) // 2])
    agentrl.resume(folder, host=host())
    assert model_of(folder) == model_of(finished)
    assert (folder / "run.toml").read_bytes() == whole


def test_a_stage_that_was_renamed_in_a_commit_is_seen(stopped: Path, finished: Path, tmp_path: Path) -> None:
    """The stage says whose trainer the checkpoint holds: with another name it would not be loaded."""
    folder = shutil.copytree(stopped, tmp_path / "lamps")
    path = folder / "updates/000002/commit.json"
    path.write_text(path.read_text("utf-8").replace('"stage": "learn"', '"stage": "lezrn"'), "utf-8")
    agentrl.resume(folder, host=host())
    assert (folder / "replaced/000002").is_dir()
    assert model_of(folder) == model_of(finished)


STRAYS = (
    "notes.txt", "updates/notes.txt", "updates/000001.bak", "updates/000002 (copy)/commit.json", "updates/.DS_Store",
    "updates/000002/notes.txt", "updates/000002/checkpoint/model/table.json~", "evaluations/notes.txt",
    "evaluations/000003-mine/x.json", "evaluations/²²²²²²/x", "codec/notes.txt", "codec/model/.DS_Store", "model/x",
    ".tmp/draft/half", "replaced/x",
)  # fmt: skip


def test_stray_files_are_ignored(stopped: Path, finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(stopped, tmp_path / "lamps")
    for name in STRAYS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    agentrl.resume(folder, host=host())
    assert model_of(folder) == model_of(finished)
    assert not (folder / "replaced/000002").exists(), "nothing was played again"
    result = agentrl.evaluate(folder, host=host())
    assert result.summary() == agentrl.evaluate(finished, host=host()).summary()


def test_a_damaged_model_is_not_evaluated(finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = shutil.copytree(finished, tmp_path / "lamps")
    whole = agentrl.evaluate(folder, host=host())
    flip(folder / "model/table.json")
    again = agentrl.evaluate(folder, host=host())
    assert again.summary() == whole.summary(), "the last checkpoint holds the same weights"
    assert "table.json is not what was committed" in caplog.text
    for commit in Run.open(folder).commits():
        if commit.has_checkpoint:
            flip(commit.checkpoint / "model/table.json")
    with pytest.raises(AgentRLError, match="holds no model that is whole"):
        agentrl.evaluate(folder, host=host())


def test_an_evaluation_with_other_scores_is_seen(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "lamps")
    path = folder / "evaluations/000004/evaluation.json"
    text = path.read_text("utf-8")
    path.write_text(text.replace('"tasks": 3', '"tasks": 4', 1), "utf-8")
    assert path.read_text("utf-8") != text
    with pytest.raises(AgentRLError, match="evaluation.json is damaged: .*delete it, and --resume plays it again"):
        agentrl.resume(folder, host=host())


def test_a_run_whose_manifest_is_lost_goes_on(stopped: Path, finished: Path, tmp_path: Path, caplog: Any) -> None:
    folder = shutil.copytree(stopped, tmp_path / "lamps")
    (folder / "manifest.json").unlink()
    agentrl.resume(folder, host=host())
    assert model_of(folder) == model_of(finished)
    assert "manifest.json cannot be read" in caplog.text


def test_a_run_that_stopped_before_its_first_update_begins_again(tmp_path: Path) -> None:
    config = {**TABLES, "runs": str(tmp_path)}
    whole = agentrl.train(config, host=host())
    run = Run.create(tmp_path, "lamps", Run.open(whole.folder).config, Run.open(whole.folder).manifest)
    assert not (run.folder / "codec").exists()
    agentrl.resume(run.folder, host=host())
    assert model_of(run.folder) == model_of(whole.folder)
