"""What the README shows is taken out of it and run: its world, its credit, its run file and its commands."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from differences import first_difference
from plugin_install import environ, install
from test_architecture import RANKS

import agentrl
from agentrl import Host, Spec, read_trajectories
from agentrl.parts.run_file import parse
from agentrl.parts.tables import read_tables
from agentrl.testing import check_credit, check_environment

README = Path(__file__).parents[1] / "README.md"
FILES = dict(re.findall(r"^```\w+ file=(\S+)\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL))
CONSOLE = "\n".join(re.findall(r"^```console\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL))
PROJECT = '[project]\nname = "lamps"\nversion = "0.1.0"\n\n'
BUILD = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n'
WHEEL = '\n[tool.hatch.build.targets.wheel]\ninclude = ["*.py"]\n'


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """A folder with every file that the README shows."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def host(shown: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Its plugins given live, without installing anything."""
    for name in ("lamps", "soon"):
        spec = importlib.util.spec_from_file_location(name, shown / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)  # worlds are pickled by the name of their module
        spec.loader.exec_module(module)
    host = Host({name: sys.modules[name] for name in ("lamps", "soon")})
    assert host.broken == {}
    return host


def test_a_world_takes_35_lines_and_a_credit_22() -> None:
    assert len(FILES["lamps.py"].splitlines()) <= 35
    assert len(FILES["soon.py"].splitlines()) <= 22


def test_the_world_and_the_credit_pass_the_kit(host: Host) -> None:
    report = check_environment(lambda: host.build(Spec("environment", "lamps")), name="lamps", actions=500)
    assert report.passed, report.failures
    report = check_credit(lambda: host.build(Spec("credit", "soon")), name="soon")
    assert report.passed, report.failures


def test_the_credit_tells_turns_apart(host: Host) -> None:
    def turn(reward: float) -> agentrl.Turn:
        return agentrl.Turn("", agentrl.Completion("go"), "go", reward, "")

    rewards = ((0.0, 1.0, 0.0), (0.0,))
    played = [
        agentrl.Trajectory(tuple(map(turn, parts)), agentrl.Task("train", 0), "g", agentrl.Outcome.TERMINATED)
        for parts in rewards
    ]
    advantages = host.build(Spec("credit", "soon", {"gamma": 0.5}))(played)
    assert [a.tolist() for a in advantages] == [[0.125, 0.625, -0.375], [-0.375]]  # the mean is 1.5 / 4


def test_a_turn_s_own_number_learns_faster_than_one_number_for_all(shown: Path, host: Host) -> None:
    world, credit = sys.modules["lamps"].Lamps, sys.modules["soon"].soon
    for seed in (1, 2, 3):
        base = [f"runs={shown / 'runs'}", f"seed={seed}", "stages.learn.updates=6"]
        ours = agentrl.train(shown / "lamps.toml", base, parts={"environment": world, "credit": credit})
        others = agentrl.train(shown / "lamps.toml", [*base, "stages.learn.credit=grpo"], parts={"environment": world})
        fourth = [successes(run.folder)[3] for run in (ours, others)]
        assert fourth[0] > fourth[1] + 0.05, fourth
        assert fourth[0] == pytest.approx(0.82, abs=0.05), "README.md names this figure"


def successes(run: Path) -> list[float]:
    """Success of each update's trajectories."""
    return [json.loads(line)["success"] for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]


def test_a_stopped_run_goes_on_as_if_it_had_not_been(host: Host, shown: Path) -> None:
    few = [f"runs={shown / 'runs'}", "stages.learn.updates=3"]
    whole = agentrl.train(shown / "lamps.toml", few, host=host)
    host.manager.register(Stop(), name="stop")
    with pytest.raises(KeyboardInterrupt):
        agentrl.train(shown / "lamps.toml", few, host=host)
    host.manager.unregister(name="stop")
    resumed = agentrl.resume(shown / "runs/lamps-2", host=host)
    for one, two in zip(*(sorted(r.folder.glob("updates/*")) for r in (whole, resumed)), strict=True):
        played = [read_trajectories(folder / "trajectories.parquet") for folder in (one, two)]
        assert first_difference(*played) == ""
    assert (whole.folder / "model/table.json").read_bytes() == (resumed.folder / "model/table.json").read_bytes()


class Stop:
    """A plugin that stops a run after its second update, as Ctrl-C would."""

    @agentrl.hookimpl
    def on_update(self, update: int, metrics: dict[str, float]) -> None:
        if update == 1:
            raise KeyboardInterrupt


def test_installed_as_the_readme_says_the_table_learns_the_world_with_the_credit(shown: Path) -> None:
    project = shown / "pyproject.toml"
    project.write_text(BUILD + PROJECT + FILES["pyproject.toml"] + WHEEL, encoding="utf-8")
    install(shown, shown / "site")
    (shown / "examples").symlink_to(README.parent / "examples")
    for command, *expected in (block.splitlines() for block in CONSOLE.split("$ ")[1:]):
        words = shlex.split(command)
        assert words[0] == "agentrl", command
        done = subprocess.run(
            [sys.executable, "-m", "agentrl.cli", *words[1:]],
            capture_output=True,
            text=True,
            check=False,
            cwd=shown,
            env=environ(shown / "site"),
            timeout=300,
        )
        missing = [line for line in expected if without_numbers(line) not in without_numbers(done.stdout)]
        assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
        assert not missing, f"$ {command}\n{done.stdout}\nlacks {missing}"
        assert "FAIL" not in done.stdout
    updates = sorted((shown / "runs/lamps/updates").iterdir())
    first, last = (read_trajectories(folder / "trajectories.parquet") for folder in (updates[0], updates[-1]))
    assert sum(t.success for t in first) < 0.5 * len(first)
    assert sum(t.success for t in last) > 0.9 * len(last)


def without_numbers(text: str) -> str:
    """A text whose figures may differ from machine to machine: shares and intervals as `#`, one blank for several."""
    return re.sub(r" +", " ", re.sub(r"\b\d+\.\d%", "#%", text))


def test_every_part_the_readme_names_is_installed_and_none_is_forgotten() -> None:
    rows = re.findall(
        r"^\| [a-z, ]+ \| (.*) \|$", README.read_text("utf-8").split("## What is in the box")[1], re.MULTILINE
    )
    named = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
    kinds: tuple[str, ...] = (
        "environment",
        "credit",
        "loss",
        "model",
        "policy",
        "trainer",
        "context",
        "dialect",
        "collector",
    )
    kinds += ("sampler", "sandbox")
    installed = {entry.name for kind in kinds for entry in Host().registry(kind) if entry.plugin.split(".")[0] in kinds}
    assert installed == named


def test_every_command_with_a_run_file_fits() -> None:
    text = re.sub(r"\s+", " ", README.read_text("utf-8"))
    found = re.findall(
        r"`agentrl (?:train|eval)(?: --resume)? (?:examples|runs)/(\w+)(?:\.toml)?((?: [\w.]+=[^ `]+)*)`", text
    )
    assert len(found) >= 5
    for name, overrides in found:
        parse(read_tables(README.parent / "examples" / f"{name}.toml", overrides.split()), Host())


def test_the_page_of_layers_shows_the_ranks_that_are_enforced() -> None:
    page = (README.parent / "docs/architecture.md").read_text("utf-8")
    block = re.search(r"^```layers\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert block is not None
    assert [line.split()[1:] for line in block[1].splitlines()] == RANKS[::-1], "docs/architecture.md: the layers moved"


def test_every_benchmark_has_a_section() -> None:
    titles = set(
        re.findall(r"^## .*`(benchmarks/\w+\.py)`", (README.parent / "docs/benchmarks.md").read_text("utf-8"), re.M)
    )
    tools = {"digests.py", "paired.py", "trees.py"}  # they compare two commits, and measure nothing by themselves
    scripts = {path.name for path in (README.parent / "benchmarks").glob("*.py")} - tools
    assert titles - {f"benchmarks/{name}" for name in tools} == {f"benchmarks/{name}" for name in scripts}
