"""The command line: every command works on real parts, and a user's mistake gets one clear line and no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agentrl.cli import main

ROOT = Path(__file__).parents[1]
RUN = """
name = "c"
runs = "{runs}"
environment = {{ name = "corridor" }}
model = "table"
policy = "tabular"
trainer = "tabular"
credit = "grpo"
evaluation = {{ split = "valid", tasks = 20 }}
[[stages]]
name = "explore"
updates = 1
[[stages]]
name = "rl"
updates = 3
"""


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "c.toml"
    path.write_text(RUN.format(runs=tmp_path / "runs"))
    return path


def agentrl(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian", "x"], ["no command 'trian'", "Did you mean 'train'"]),
        (["list", "environmnt"], ["no kind of part named 'environmnt'", "'environment'"]),
        (["show", "credit", "gipgo"], ["no credit named 'gipgo'", "'gigpo'"]),
        (["train", "nowhere.toml"], ["no run file 'nowhere.toml'"]),
        (["train", "RUN", "credit=gigop"], ["no credit named 'gigop'", "'gigpo'"]),
        (["train", "RUN", "credit.gama=1"], ["no setting 'gama'"]),
        (["train", "RUN", "stages.rl.updates=many"], ["updates = 'many'", "takes int"]),
        (["train", "RUN", "stages.lr.updates=1"], ["'lr' is neither a name nor a position", "'rl'"]),
        (["train", "RUN", "environment.length=abc"], ["length = 'abc'", "int"]),
        (["train", "RUN", "environment.length=2"], ["length = 2"]),
        (["train", "RUN", "seed=-1"], ["seed = -1", "greater than or equal to 0"]),
        (["train", "FOLDER"], ["is a folder", "train --resume"]),
        (["train", "RUN", "--resume", "--check"], ["it takes no overrides ('--check' given)"]),
        (["play", "corridor", "--seed", "-1"], ["--seed"]),
        (["train", "RUN", "nonsense"], ["'nonsense' is no override", "key.sub=value"]),
        (["train", "RUN", "model.name=pretrained", "model.path=/nowhere"], ["no folder '/nowhere'"]),
        (["train", "RUN", "policy.name=transformers"], ["needs a language model"]),
        (["train", "RUN", "evaluation.split=valdi"], ["names the split 'valdi'", "'valid'"]),
        (["train", "--resume", "RUN"], ["no run of 'c'"]),
        (["train", "--resume", "FOLDER"], ["is not a run folder"]),
        (["eval", "nowhere"], ["no run file 'nowhere'"]),
        (["eval", "FOLDER"], ["is not a run folder"]),
        (["check", "environment", "corridr"], ["no environment named 'corridr'", "'corridor'"]),
        (["play", "corridor", "lenght=5"], ["no setting 'lenght'", "'length'"]),
        (["play", "corridor", "--web"], ["no page for a browser"]),
        (["play", "corridor", "--split", "tset", "--policy", "expert"], ["unknown split 'tset'"]),
        (["new", "environment", "corridor"], ["corridor"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_clear_line(arguments: list[str], words: list[str], run_file: Path, tmp_path: Path) -> None:
    result = agentrl(*(str(run_file) if a == "RUN" else str(tmp_path) if a == "FOLDER" else a for a in arguments))
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("*/summary.json"))


def test_broken_toml_names_the_place(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("name = \n")
    assert "not valid TOML" in agentrl("train", path).output


def test_train_eval_resume_and_dry_run(run_file: Path, tmp_path: Path) -> None:
    plan = json.loads(agentrl("train", run_file, "--dry-run", "--json").stdout)
    assert [stage["name"] for stage in plan["stages"]] == ["explore", "rl"]
    assert not (tmp_path / "runs").exists()
    said = agentrl("train", run_file).output
    for word in ("before", "after", "difference", "95 %", "peak memory", "next: agentrl eval"):
        assert word in said
    summary = json.loads(agentrl("train", run_file, "seed=2", "--json").stdout)
    assert summary["folder"].endswith("c-2")
    assert (
        json.loads(agentrl("eval", tmp_path / "runs/c", "--json").stdout)["summary"]["tasks"] == 13
    )  # of the 20, as many differ
    assert "success" in agentrl("eval", tmp_path / "runs/c", "evaluation.tasks=5").output
    resumed = agentrl("train", "--resume", run_file)
    assert resumed.exit_code == 0
    assert "goes on by its own run.toml, which differs" in resumed.output, "that run was begun with seed=2"
    refused = agentrl("train", "--resume", tmp_path / "runs/c", "seed=1")
    assert "takes no overrides" in refused.output


def test_a_check_builds_everything_and_writes_nothing(run_file: Path, tmp_path: Path) -> None:
    checked = agentrl("train", run_file, "--check")
    assert checked.exit_code == 0, checked.output
    assert not (tmp_path / "runs").exists()
    refused = agentrl("train", run_file, "--check", "model.name=pretrained", "model.path=/nowhere")
    assert refused.exit_code == 2
    assert "no folder '/nowhere'" in refused.output
    assert agentrl("train", run_file, "--dry-run", "model.name=pretrained", "model.path=/nowhere").exit_code == 0


def test_list_and_show_speak_of_every_kind() -> None:
    listed = json.loads(agentrl("list", "--json").stdout)
    assert {"household", "corridor"} <= set(listed["parts"]["environment"])
    assert listed["broken"] == {}
    for kind, parts in listed["parts"].items():
        for name in parts:
            shown = agentrl("show", kind, name)
            assert shown.exit_code == 0, shown.output
            assert "Initialize self" not in shown.output
            assert json.loads(agentrl("show", kind, name, "--json").stdout)["doc"], f"{kind} {name} is not described"


def test_a_person_plays_a_world() -> None:
    said = agentrl("play", "corridor", "--split", "valid", "--index", "0", stdin="?\n" + "left\n" * 20).output
    assert "Commands: left, right" in said
    assert "open door" in said, "? lists what can be done"
    assert "return" in said
    assert "solved" in agentrl("play", "corridor", "--policy", "expert").output


@pytest.mark.parametrize(
    "part",
    [
        ("credit", "gigpo", "gamma=0.9"),
        ("context", "window", "last=1"),
        ("dialect", "tags"),
        ("sampler", "uniform", "tasks=3"),
        ("collector", "asynchronous", "group_size=2"),
        ("model", "table"),
        ("policy", "expert"),
        ("policy", "tabular", "model=table"),
        ("trainer", "tabular", "model=table", "optimizer=gradient"),
        ("loss", "ppo", "clip_high=0.3"),
    ],
    ids=" ".join,
)
def test_parts_of_every_kind_are_checked_with_their_settings(part: tuple[str, ...]) -> None:
    result = agentrl("check", *part)
    assert result.exit_code == 0, result.output
    assert "FAIL" not in result.output


def test_a_part_is_checked() -> None:
    result = agentrl("check", "environment", "corridor", "--json")
    assert result.exit_code == 0, result.output
    assert {entry["verdict"] for entry in json.loads(result.stdout)["results"]} <= {"passed", "skipped"}


def test_listing_is_light() -> None:
    """Half a second, beside the time that this machine needs now to start Python at all."""
    code = (
        "import sys, time; t = time.process_time(); from agentrl.cli import main\n"
        "try: main(['list'])\nexcept SystemExit: pass\n"
        "print(time.process_time() - t, [m for m in ('torch', 'transformers', 'pyarrow', 'scipy') if m in sys.modules])"
    )
    last = ""
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        last = ended.stdout.splitlines()[-1]
        seconds, _, heavy = last.partition(" ")
        assert heavy == "[]"
        if float(seconds) < 0.5:
            return
        time.sleep(0.2)
    pytest.fail(f"agentrl list took {last}")
