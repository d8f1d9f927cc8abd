"""Which run goes on, from where, and for how long."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from cases import lamps
from click.testing import CliRunner

import agentrl
from agentrl import AgentRLError, ConfigError, Host
from agentrl.cli import app
from agentrl.cli import main as cli
from agentrl.data.record import Run
from agentrl.parts.run_file import parse
from agentrl.parts.tables import read_tables
from agentrl.runs.resuming import chosen_run

HOST = Host({"lamps": lamps})


def tables(runs: Path, *updates: int, **changes: Any) -> dict[str, Any]:
    stages = [{**lamps.RUN["stages"][0], "name": f"s{n}", "updates": count} for n, count in enumerate(updates)]
    return {**lamps.RUN, "runs": str(runs), "evaluation": {"split": "valid", "tasks": 3}, "stages": stages, **changes}


def trained(runs: Path, *updates: int, **changes: Any) -> Path:
    return agentrl.train(tables(runs, *updates, **changes), host=HOST).folder


def model_of(folder: Path) -> bytes:
    return (folder / "model/table.json").read_bytes()


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one stage with two updates."""
    return trained(tmp_path_factory.mktemp("short"), 2)


@pytest.mark.parametrize("updates", [(4,), (2, 2)], ids=["more updates", "a further stage"])
def test_a_lengthened_run_is_that_of_the_longer_file(short: Path, updates: tuple[int, ...], tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", *updates)
    folder = shutil.copytree(short, tmp_path / "lamps")
    result = agentrl.resume(folder, longer=tables(tmp_path, *updates), host=HOST)
    assert model_of(folder) == model_of(whole)
    lengthened: Any = result.summary["lengthened"]
    assert [entry["after_updates"] for entry in lengthened] == [2]
    assert lengthened == json.loads((folder / "summary.json").read_text())["lengthened"]
    assert Run.open(folder).config["stages"] == tables(tmp_path, *updates)["stages"]
    agentrl.resume(folder, host=HOST)  # by its own run file, which is the longer one now
    assert "lengthened" not in Run.open(whole).manifest


def test_a_run_file_in_the_folder_may_be_lengthened_by_hand(short: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(short, tmp_path / "lamps")
    path = folder / "run.toml"
    path.write_text("# longer\n" + path.read_text("utf-8").replace("updates = 2", "updates = 3"), "utf-8")
    agentrl.resume(folder, host=HOST)
    assert len(Run.open(folder).commits()) == 3


def test_a_part_that_is_told_the_number_of_updates_is_named_in_the_summary(tmp_path: Path) -> None:
    class Declines:
        """A trainer whose learning rate falls over the updates of its stage."""

        def __init__(self, model: agentrl.Model, updates: agentrl.Updates, *, learning_rate: float = 0.1) -> None:
            self.model, self.updates = model, updates

        async def update(self, batch: Any, advantages: Any) -> dict[str, float]:
            return {}

        def save(self, folder: Path) -> None:
            folder.mkdir(parents=True)

        def load(self, folder: Path) -> None: ...

        def close(self) -> None: ...

    config = tables(tmp_path, 1)
    folder = agentrl.train(config, parts={"trainer": Declines}, host=HOST).folder
    longer = {**Run.open(folder).config, "stages": [{**Run.open(folder).config["stages"][0], "updates": 2}]}
    result = agentrl.resume(folder, longer=longer, parts={"trainer": Declines}, host=HOST)
    notes = json.dumps(result.summary["lengthened"])
    assert "trainer 'given/trainer' was told of 1 updates until then: a schedule over the updates" in notes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, "seed is 2, and was 1 when the run began"),
        ({"player": {"retries": 3}}, "player is .*and was not given"),
        ({"updates": (1,)}, "stages.0.updates is 1, and was 2"),
        ({"credit": {"name": "rloo"}}, "stages.0.credit.name is 'rloo'"),
    ],
    ids=str,
)
def test_nothing_else_may_change(short: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = shutil.copytree(short, tmp_path / "lamps")
    config = tables(tmp_path, *change.pop("updates", (2,)))
    if "credit" in change:
        config["stages"][0] |= change
    else:
        config |= change
    with pytest.raises(ConfigError, match=message):
        agentrl.resume(folder, longer=config, host=HOST)
    (folder / "run.toml").write_text(tomli_w.dumps(config), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        agentrl.resume(folder, host=HOST)


def test_a_given_part_of_which_there_are_several_is_there_once_in_a_resumed_run(tmp_path: Path) -> None:
    class Counts:
        def log(self, update: int, metrics: Any) -> None: ...

    folder = agentrl.train(tables(tmp_path, 1), parts={"logger": Counts}, host=HOST).folder
    before = Run.open(folder).config
    agentrl.resume(folder, parts={"logger": Counts}, host=HOST)
    assert Run.open(folder).config == before


# ------------------------------------------------------------------------------------------------- which run goes on


def test_the_newest_run_of_exactly_this_name_goes_on(short: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for folder, name in (("lamps", "lamps"), ("lamps-2", "lamps"), ("lamps-10", "lamps"), ("lamps-11", "lamps-11"),
                         ("lamps-grpo", "lamps-grpo"), ("lamps3", "lamps3"), ("lamps-x", "lamps")):  # fmt: skip
        made = Run.create(runs, folder, {**tables(runs, 2), "name": name}, {"created": "2026", "seed": 1})
        assert made.folder.name == folder
    (runs / "lamps-12").mkdir()  # one whose creation was cut short
    (runs / "lamps-13").write_text("no folder")
    file = tmp_path / "lamps.toml"
    file.write_text(tomli_w.dumps(tables(runs, 2)), encoding="utf-8")
    assert chosen_run(file, HOST)[0] == runs / "lamps-10"
    assert chosen_run(runs / "lamps-2/run.toml", HOST)[0] == runs / "lamps-2", "the file of a run means that run"
    (runs / "lamps-10/run.toml").unlink()
    (runs / "lamps-10/manifest.json").write_text("{}")
    with pytest.raises(AgentRLError, match="lamps-10"):
        chosen_run(file, HOST)  # and not lamps-2 in its place


@pytest.mark.parametrize(
    "name", ["lamps*", "[l]amps", "?", "a/b", "../a", ".a", "", " a", "a ", "a\nb", "a" * 201, "~"]
)
def test_a_name_is_no_path_and_no_pattern(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot name a run: use letters"):
        parse(tables(tmp_path, 1, name=name), HOST)


@pytest.mark.parametrize("name", ["lämps", "a b", "v1.2", "-x", "ランプ"])
def test_other_names_are_names(name: str, tmp_path: Path) -> None:
    assert parse(tables(tmp_path, 1, name=name), HOST).name == name


# --------------------------------------------------------------------------------------------- files, paths, folders


def test_a_byte_order_mark_is_no_part_of_a_run_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(tomli_w.dumps(tables(tmp_path, 1)), encoding="utf-8-sig")
    assert read_tables(file)["name"] == "lamps"


class Reads(lamps.Lamps):
    """Lamps with a file."""

    def __init__(self, *, tasks: Path, more: tuple[Path, ...] = ()) -> None:
        self.text = tasks.read_text(encoding="utf-8")


def test_paths_begin_at_the_working_folder_and_at_home_and_are_kept_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = HOST.with_plugins({"reads": Offers("reads", Reads)})
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("tasks.txt").write_text("x", encoding="utf-8")
    made = [
        agentrl.train(
            {**tables(Path("runs"), 1), "runs": runs, "environment": {"name": "reads", "tasks": path}}, host=host
        )
        for runs, path in (("runs", "tasks.txt"), ("~/runs", "~/tasks.txt"))
    ]
    assert [result.folder.resolve() for result in made] == [tmp_path / "runs/lamps", tmp_path / "runs/lamps-2"]
    for result in made:
        assert Run.open(result.folder).config["environment"] == {"name": "reads", "tasks": str(tmp_path / "tasks.txt")}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    agentrl.resume(tmp_path / "runs/lamps", host=host)
    assert agentrl.evaluate(tmp_path / "runs/lamps", host=host).plays
    assert not (tmp_path / "~").exists()


class Offers:
    """A plugin with one world."""

    def __init__(self, name: str, world: object) -> None:
        self._name, self._world = name, world

    def register_environments(self, register: agentrl.Register) -> None:
        register(self._name, self._world)


def test_a_run_folder_may_be_moved(short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = trained(tmp_path / "a", 1, start_from=str(shutil.copytree(short, tmp_path / "source")))
    shutil.rmtree(tmp_path / "source")  # what a run began with is needed to begin, and never again
    moved = shutil.move(begun, tmp_path / "somewhere else")
    monkeypatch.chdir(tmp_path)
    agentrl.resume("somewhere else", host=HOST)
    assert agentrl.evaluate(moved, host=HOST).plays
    assert trained(tmp_path / "b", 1, start_from="somewhere else")


@pytest.mark.parametrize("option", ["--dry-run", "--check"])
def test_what_a_run_starts_from_is_looked_at_first(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_host", lambda: HOST)
    file = tmp_path / "run.toml"
    file.write_text(tomli_w.dumps(tables(tmp_path, 1) | {"environment": "corridor"}), encoding="utf-8")
    done = CliRunner().invoke(cli, ["train", str(file), option, "start_from=/nowhere"])
    assert done.exit_code == 2
    assert "start_from = '/nowhere': /nowhere does not exist" in done.output


def test_the_command_line_lengthens_and_says_what_it_does_not(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    corridor = tables(tmp_path / "runs", 1) | {"environment": "corridor", "name": "c"}
    file.write_text(tomli_w.dumps(corridor), encoding="utf-8")
    run = CliRunner().invoke
    assert run(cli, ["train", str(file)]).exit_code == 0
    file.write_text(tomli_w.dumps(corridor).replace("updates = 1", "updates = 2"), encoding="utf-8")
    longer = run(cli, ["train", "--resume", str(file)])
    assert "lengthened after update 1: stages.0.updates = 2, which was 1" in longer.output, longer.output
    assert len(Run.open(tmp_path / "runs/c").commits()) == 2
    file.write_text(tomli_w.dumps({**corridor, "seed": 9}), encoding="utf-8")
    other = run(cli, ["train", "--resume", str(file)])
    assert other.exit_code == 0
    assert "note: " in other.output
    assert "differs from" in other.output
    assert "seed is 9, and was 1" in other.output


# ------------------------------------------------------------------------------------------------------- checkpoints


def test_the_best_update_has_a_checkpoint_and_so_has_one_before_the_last(tmp_path: Path) -> None:
    plan = {"split": "valid", "tasks": 2, "every": 2, "during_split": "train", "during_tasks": 4}
    folder = trained(tmp_path, 11, evaluation=plan, checkpoint_every=5)
    best = max(
        (json.loads((path / "evaluation.json").read_text())["summary"]["success"], int(path.name[:6]) - 1)
        for path in folder.glob("evaluations/*-during")
    )[1]
    kept = [commit.update for commit in Run.open(folder).commits() if commit.has_checkpoint]
    assert kept == sorted({best, 9, 10})


def test_a_long_run_does_not_read_its_whole_record_after_every_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentrl.data import record

    read: list[Path] = []
    original = record.Commit.read

    def counted(folder: Path) -> record.Commit:
        read.append(folder)
        return original(folder)

    monkeypatch.setattr(record.Commit, "read", counted)
    trained(tmp_path, 8)
    assert len(read) <= 2 * 8


def test_a_run_that_could_not_be_made_does_not_speak_of_resuming(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "runs").write_text("a file")
    else:
        (tmp_path / "runs").mkdir(mode=0o500)
    with pytest.raises(AgentRLError, match="then begin again; nothing was made") as raised:
        Run.create(tmp_path / "runs", "run", {}, {})
    assert "--resume" not in str(raised.value)


def test_a_state_without_what_a_resume_needs_is_one_line(tmp_path: Path) -> None:
    folder = trained(tmp_path, 2)
    run = Run.open(folder)
    with run.locked():
        last = run.commits()[-1]
        run.commit(
            2, "s0", trajectories=[], advantages=[], metrics={}, state={"seconds": 1.0},
            write_checkpoint=lambda place: shutil.copytree(last.checkpoint / "model", place / "model"),
        )  # fmt: skip
    with pytest.raises(AgentRLError, match="state.json holds no 'versions'"):
        agentrl.resume(folder, longer=tables(tmp_path, 4), host=HOST)


def test_a_setting_that_takes_a_folder_or_a_hub_id_is_kept_in_full_where_it_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "Qwen/Qwen3").mkdir(parents=True)
    kept = {
        path: parse(tables(tmp_path, 1, model={"name": "pretrained", "path": path}), HOST)
        .parts["model"]
        .settings["path"]
        for path in ("Qwen/Qwen3", "~/Qwen/Qwen3", "Qwen/Qwen4", "gpt2")
    }
    folder = str(tmp_path / "Qwen/Qwen3")
    assert kept == {"Qwen/Qwen3": folder, "~/Qwen/Qwen3": folder, "Qwen/Qwen4": "Qwen/Qwen4", "gpt2": "gpt2"}
