"""Whole runs: they learn, resume, end well when interrupted, and say clearly what went wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from differences import first_difference

import agentrl
from agentrl import AgentRLError, Batch, ConfigError, RecordError, read_trajectories
from agentrl.cli.display import Display
from agentrl.data.record import Run
from agentrl.parts.run_file import Stage
from agentrl.runs import report
from agentrl.runs.progress import Progress
from agentrl.runs.recorder import Committed
from agentrl.runs.run import check
from agentrl.runs.watchers import ShowsProgress
from agentrl_plugins.samplers.uniform import Uniform

ROOT = Path(__file__).parents[1]
OLD = Path(__file__).parent / "data/run_of_version_1"


def tables(runs: Path, **changes: Any) -> dict[str, Any]:
    """The corridor and a table of logits: a whole run in a second."""
    return {
        "name": "corridor",
        "seed": 3,
        "runs": str(runs),
        "environment": {"name": "corridor"},
        "model": {"name": "table"},
        "policy": {"name": "tabular"},
        "evaluation": {"split": "valid", "tasks": 100},
        "trainer": {"name": "tabular", "learning_rate": 0.3},
        "credit": {"name": "gigpo"},
        "sampler": {"name": "uniform", "tasks": 8},
        "collector": {"name": "asynchronous", "group_size": 8},
        "stages": [{"name": "explore", "updates": 1}, {"name": "rl", "updates": 25}],
        **changes,
    }


def language_tables(runs: Path, model: Path, **changes: Any) -> list[str]:
    """Overrides that make a run file for large models small enough for a test."""
    return [
        f"runs={runs}", f"model.path={model}", "model.device=cpu", "environment.max_turns=4", "policy.max_tokens=12",
        "policy.max_context=2000", "evaluation.tasks=4", "evaluation.every=0", "stages.0.updates=2",
        "stages.0.sampler.tasks=2", "stages.0.collector.group_size=2", *(f"{k}={v}" for k, v in changes.items()),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> agentrl.Result:
    return agentrl.train(tables(tmp_path_factory.mktemp("runs")))


@pytest.fixture
def copied(finished: agentrl.Result, tmp_path: Path) -> Path:
    shutil.copytree(finished.folder, tmp_path / "corridor")
    return tmp_path / "corridor"


def command(*arguments: object, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "agentrl.cli", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False, **kwargs)


def test_a_run_learns_and_says_so(finished: agentrl.Result) -> None:
    summary = json.loads((finished.folder / "summary.json").read_text())
    assert summary["difference"]["low"] > 0.2, summary
    for name in ("before", "after", "difference"):
        assert set(summary[name]) >= {"success", "low", "high", "tasks"}
    assert summary["before"]["tasks"] == summary["after"]["tasks"] > 20
    assert summary["peak_memory_mib"] > 10
    assert (finished.folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert sum(1 for _ in (finished.folder / "metrics.jsonl").open()) == 26


def test_the_same_file_gives_the_same_run_and_overwrites_nothing(finished: agentrl.Result) -> None:
    again = agentrl.train(tables(finished.folder.parent))
    assert again.folder.name == "corridor-2"
    for one, other in zip(Run.open(finished.folder).commits(), Run.open(again.folder).commits(), strict=True):
        played = [read_trajectories(commit.folder / "trajectories.parquet") for commit in (one, other)]
        assert first_difference(*played) == ""


def test_the_seed_changes_what_is_played_but_not_the_held_out_tasks(finished: agentrl.Result, tmp_path: Path) -> None:
    other = agentrl.train(tables(tmp_path, seed=4))
    table = "updates/000000/trajectories.parquet"
    assert first_difference(*(read_trajectories(folder / table) for folder in (finished.folder, other.folder)))
    plays = [
        [play["task"] for play in json.loads((folder / "evaluations/000026/evaluation.json").read_text())["plays"]]
        for folder in (finished.folder, other.folder)
    ]
    assert plays[0] == plays[1]


def test_a_damaged_checkpoint_is_left_for_the_one_before(tmp_path: Path) -> None:
    config = tables(tmp_path, stages=[{"name": "rl", "updates": 6}])
    config["evaluation"] |= {"every": 2, "during_split": "train"}
    whole = agentrl.train(config)
    table = Run.open(whole.folder).commits()
    kept = [commit for commit in table if commit.has_checkpoint]
    assert len(kept) > 1, "the best and the last checkpoint are kept"
    damaged = next((kept[-1].checkpoint / "model").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-7])
    model = {path.name: path.read_bytes() for path in (whole.folder / "model").iterdir()}
    again = agentrl.resume(whole.folder)
    assert {path.name: path.read_bytes() for path in (again.folder / "model").iterdir()} == model
    assert (again.folder / "replaced").is_dir()


def test_only_damaged_checkpoints_are_an_error_that_says_what_to_do(copied: Path) -> None:
    for commit in Run.open(copied).commits():
        if commit.has_checkpoint:
            shutil.rmtree(commit.checkpoint / "model")
    with pytest.raises(RecordError, match="cannot be resumed.*start again"):
        agentrl.resume(copied)


def test_a_run_that_is_over_is_not_played_again(copied: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.glob("updates/**/*")}
    agentrl.resume(copied)
    assert {path: path.stat().st_mtime_ns for path in copied.glob("updates/**/*")} == before


class Broken(agentrl.Environment):
    """Fails at its step number `at`."""

    def __init__(self, *, at: int = 0, forever: bool = True) -> None:
        self.at = at

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return "hello", {"admissible": ["go"]}

    def step(self, action: str) -> Any:
        self.steps += 1
        if self.steps > self.at:
            raise RuntimeError("the pipe burst")
        return "hello", 0.0, False, False, {"admissible": ["go"]}


def breaking(runs: Path, **settings: Any) -> dict[str, Any]:
    changes = {"environment": {"name": "given/environment", **settings}, "evaluation": {"split": "train", "tasks": 2}}
    return tables(runs, **changes, stages=[{"name": "rl", "updates": 2}])


def test_a_run_that_cannot_be_played_is_refused_before_it_has_a_folder(tmp_path: Path) -> None:
    for attempt in (agentrl.train, check_broken):
        with pytest.raises(
            AgentRLError, match="its first task cannot be played, so nothing was begun .*the pipe burst"
        ):
            attempt(breaking(tmp_path), parts={"environment": Broken})
    assert not list(tmp_path.iterdir())


def check_broken(given: Any, parts: Any) -> Any:
    from agentrl.parts.host import default_host
    from agentrl.runs.given import with_parts

    found, host = with_parts(given, parts, default_host())
    return check(found, host=host)


def test_a_world_that_always_fails_later_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(AgentRLError, match="nothing to learn from.*the pipe burst"):
        agentrl.train(breaking(tmp_path, at=3), parts={"environment": Broken})


def test_checking_builds_everything_plays_a_task_and_writes_nothing(tmp_path: Path) -> None:
    config = check(tables(tmp_path))
    assert [stage.name for stage in config.plan] == ["explore", "rl"]
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="names the split 'valdi'; the world has"):
        check(tables(tmp_path, evaluation={"split": "valdi"}))


def test_evaluation_of_a_finished_run_repeats_its_last_table(finished: agentrl.Result) -> None:
    result = agentrl.evaluate(finished.folder)
    assert (
        result.summary() == json.loads((finished.folder / "evaluations/000026/evaluation.json").read_text())["summary"]
    )


class Hears(Uniform):
    """A sampler that remembers what it was told of evaluations, and may be interrupted by one."""

    heard: list[float]
    evaluations = 0
    interrupted_by = 0

    def observe_evaluation(self, result: agentrl.Evaluation) -> None:
        self.heard = [*getattr(self, "heard", []), result.success.value]
        type(self).evaluations += 1
        if self.evaluations == self.interrupted_by:
            raise KeyboardInterrupt

    def state(self) -> Any:
        return {"heard": getattr(self, "heard", [])}

    def restore(self, state: Any) -> None:
        self.heard = state["heard"]


@pytest.mark.parametrize("stages", [[2, 2], [4]], ids=["at the end of each stage", "inside a stage"])
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("played", [True, False])
def test_an_evaluation_that_a_run_was_ended_in_is_played_and_its_parts_hear_of_it(
    stages: list[int], at: int, played: bool, tmp_path: Path
) -> None:
    class Interrupted(Hears):
        interrupted_by, evaluations = at, 0

    plan = {"split": "valid", "tasks": 3, "every": 2, "during_split": "train", "during_tasks": 5}
    updates = [{"name": f"s{number}", "updates": count} for number, count in enumerate(stages)]
    config = tables(tmp_path, stages=updates, evaluation=plan)
    whole = agentrl.train(config, parts={"sampler": Hears}).folder
    with pytest.raises(KeyboardInterrupt):
        agentrl.train(config, parts={"sampler": Interrupted})
    ended = tmp_path / "corridor-2"
    done = len(Run.open(ended).commits())
    assert done == 2 * at
    if not played:
        shutil.rmtree(ended / f"evaluations/{done:06d}-during")
    agentrl.resume(ended, parts={"sampler": Hears})
    names = [{path.name for path in (folder / "evaluations").iterdir()} for folder in (whole, ended)]
    assert names[0] == names[1]
    states = [Run.open(folder).commits()[-1].state["stages"] for folder in (whole, ended)]
    assert states[0] == states[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_one_line_and_the_run_goes_on_after_cleaning_up(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        waste = disk / "waste"
        run_file = tmp_path / "run.json"
        config = tables(disk, stages=[{"name": "rl", "updates": 40}])
        run_file.with_suffix(".toml").write_text(_toml(config))
        waste.write_bytes(b"0" * 1_200_000)
        ended = command("train", run_file.with_suffix(".toml"))
        assert ended.returncode == 2, ended.stderr
        assert "No space left" in ended.stderr
        assert "Traceback" not in ended.stderr
        done = len(Run.open(disk / "corridor").commits())
        assert done > 0
        shutil.copytree(disk / "corridor", tmp_path / "moved")
        waste.write_bytes(b"")
        with contextlib.suppress(OSError), waste.open("ab", 0) as file:
            while file.write(b"0" * 4096):
                pass
        again = command("train", "--resume", disk / "corridor")
        assert again.returncode == 2, again.stderr
        assert "No space left" in again.stderr
        assert "Traceback" not in again.stderr
        assert command("train", "--resume", tmp_path / "moved").returncode == 0
        assert len(Run.open(tmp_path / "moved").commits()) == 40
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def test_ctrl_c_finishes_the_write_and_says_how_to_go_on(tmp_path: Path) -> None:
    run_file = tmp_path / "run.toml"
    run_file.write_text(_toml(tables(tmp_path / "runs", stages=[{"name": "rl", "updates": 2000}])))
    line = [sys.executable, "-m", "agentrl.cli", "train", str(run_file)]
    running = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    folder = tmp_path / "runs/corridor"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(folder.glob("updates/*"))) < 3:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "go on with: agentrl train --resume" in said
    assert "Traceback" not in said
    done = len(Run.open(folder).commits())
    assert f"{done} of 2000 updates are safe" in said


def test_the_path_for_large_models_runs_on_a_folder_on_disk(tmp_path: Path) -> None:
    from agentrl_plugins.models.tiny import tiny

    words = ["You are in the middle of a room. Looking quickly around you, you see a cabinet 1.", "go to cabinet 1"]
    tiny(words, 1, agentrl.SavedCodec(), layers=2, width=32, max_context=4096).write(tmp_path / "model")
    result = agentrl.train(
        ROOT / "examples/household_qwen.toml", language_tables(tmp_path / "runs", tmp_path / "model")
    )
    adapter = result.folder / "model/adapter_model.safetensors"
    assert adapter.exists(), "LoRA saves the adapter alone"
    assert result.summary["updates"] == {"gigpo": 2}
    again = agentrl.evaluate(result.folder, ["evaluation.tasks=2"], model=result.folder / "model")
    assert len(again.plays) == 2
    for source in (result.folder, ROOT / "examples/household_qwen.toml"):
        with pytest.raises(ConfigError, match="dtype = 'bfloat17'"):  # settings are those of the model that is played
            agentrl.evaluate(source, ["model.dtype=bfloat17"], model=result.folder / "model")


REWRITES = (  # old answers are shortened, as templates that drop old thoughts do
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}"
    "{% if m['role'] == 'assistant' %}{{ 'old ' + m['content'][:1] + '<|end|>' }}{% else %}{{ m['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def rewriting_model(folder: Path) -> Path:
    from agentrl_plugins.models.tiny import tiny

    words = ["You stand at 1. You see a door to the left.", "left right forward back"]
    model = tiny(words, 1, agentrl.SavedCodec(), layers=1, width=16, heads=2, kv_heads=1, head_width=8, vocabulary=300)
    model.write(folder)  # type: ignore[attr-defined]
    (folder / "chat_template.jinja").write_text(REWRITES)
    return folder


def rewriting(runs: Path, **model: Any) -> dict[str, Any]:
    return {
        "name": "rewriting", "seed": 1, "runs": str(runs), "environment": {"name": "corridor", "max_turns": 6},
        "model": {"name": "pretrained", "path": str(rewriting_model(runs / "base")), "device": "cpu", **model},
        "policy": {"name": "transformers", "max_tokens": 4}, "loss": "ppo", "credit": "grpo",
        "sampler": {"name": "uniform", "tasks": 2}, "collector": {"name": "asynchronous", "group_size": 3},
        "trainer": {"name": "packed"}, "stages": [{"name": "rl", "updates": 2}],
    }  # fmt: skip


def test_every_sampled_token_is_trained_under_a_template_that_rewrites_old_answers(tmp_path: Path) -> None:
    commits = Run.open(agentrl.train(rewriting(tmp_path)).folder).commits()
    for commit in commits:
        turns = [turn for trajectory in commit.trajectories() for turn in trajectory.turns]
        assert commit.metrics["tokens_untrained"] == 0
        assert commit.metrics["train/tokens_scored"] == sum(len(turn.completion.ids) for turn in turns)
        assert {turn.relation for turn in turns} == {"start", "new"}
        assert commit.metrics["prompt/realign"] > 0
        assert "prompt/append" not in commit.metrics
        assert commit.metrics["train/rows"] == len(turns)
        assert commit.metrics["train/row_tokens_ratio"] > 1.5
        assert commit.metrics["train/logprob_gap_max"] < 1e-4


def test_with_history_as_sampled_the_same_run_has_a_row_for_each_trajectory(tmp_path: Path) -> None:
    commits = Run.open(agentrl.train(rewriting(tmp_path, history="as_sampled")).folder).commits()
    for commit in commits:
        turns = [turn for trajectory in commit.trajectories() for turn in trajectory.turns]
        assert {turn.relation for turn in turns} == {"start", "append"}
        assert commit.metrics["tokens_untrained"] == 0
        assert commit.metrics["train/rows"] == 6
        assert commit.metrics["train/row_tokens_ratio"] == 1


def told(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, events: Sequence[Committed]) -> str:
    """What a display without a terminal says of these updates; the log says it too."""
    progress = Progress()
    watcher = ShowsProgress(progress, 0)
    with caplog.at_level(logging.WARNING, "agentrl"), Display(progress):
        for event in events:
            asyncio.run(watcher.committed(event))
    assert all(text in caplog.text for text in progress.advice.values())
    return capsys.readouterr().err


def test_where_rows_hold_many_times_their_distinct_tokens_a_person_is_told_once(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    events = [
        Committed(update, Stage(name="rl"), Batch(update, ()), {"train/row_tokens_ratio": ratio})
        for update, ratio in enumerate((2.9, 3.5, 4.0))
    ]
    said = told(capsys, caplog, events)
    assert said.count("rows hold") == caplog.text.count("rows hold") == 1
    assert 'history = "as_sampled"' in said
    assert "turns = 4" in said


def ended(update: int, *outcomes: agentrl.Outcome, reward: float = 0.0) -> Committed:
    """An update of trajectories that ended so."""
    turns = (agentrl.Turn("", agentrl.Completion("go"), "go", reward, ""),)
    played = [
        agentrl.Trajectory(turns, agentrl.Task("train", 0), "0", outcome, number, error="a prompt of 70 tokens")
        for number, outcome in enumerate(outcomes)
    ]
    return Committed(update, Stage(name="rl"), Batch(update, (agentrl.Group("0", 0, tuple(played)),)), {})


def test_when_every_trajectory_of_an_update_ends_at_the_context_limit_a_person_is_told_once(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    full, over = agentrl.Outcome.CONTEXT_LIMIT, agentrl.Outcome.TERMINATED
    assert "limit" not in told(capsys, caplog, [ended(0, full, over)])
    said = told(capsys, caplog, [ended(0, full, over), ended(1, full, full), ended(2, full, full)])
    assert said.count("all 2 trajectories of update 1 ended at the context limit: a prompt of 70 tokens") == 1


def test_when_nothing_but_time_runs_out_for_three_updates_a_person_is_told_once(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    late = agentrl.Outcome.TURN_LIMIT
    for reward in (0.0, 0.5):  # twice two in a row, and what earned something
        events = [
            ended(0, late),
            ended(1, late),
            ended(2, late, reward=0.5),
            *(ended(u, late, reward=reward) for u in (3, 4)),
        ]
        assert "out of turns" not in told(capsys, caplog, events)
    said = told(capsys, caplog, [ended(update, late, late) for update in range(7)])
    assert said.count("in 3 updates on end every trajectory ran out of turns with return 0") == 1


def test_a_run_in_which_no_prompt_but_the_first_fits_says_what_to_set(tmp_path: Path) -> None:
    config = rewriting(tmp_path)
    config["policy"] |= {"max_context": 112, "max_tokens": 4}
    progress = Progress()
    folder = agentrl.train(config, progress=progress).folder
    (said,) = (words for words in progress.advice.values() if "chat template" not in words)
    assert "all 6 trajectories of update 0 ended at the context limit: a prompt of" in said
    assert "leaves no room in max_context = 112; raise max_context of the policy" in said
    assert said in (folder / "run.log").read_text()


def test_a_run_of_an_earlier_version_is_read_and_evaluated_but_not_resumed(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "old")
    commits = Run.open(tmp_path / "old").commits()
    assert [commit.update for commit in commits] == [0, 1]
    assert all(commit.trajectories() and commit.advantages() for commit in commits)
    before = json.loads((OLD / "evaluations/000002.json").read_text())
    after = agentrl.evaluate(tmp_path / "old")
    assert [play.task for play in after.plays] == [play["task"] for play in before["plays"]]
    assert {int(v) for t in after.trajectories for turn in t.turns for v in turn.completion.versions} == {2}
    with pytest.raises(
        RecordError, match="begun by an earlier version, .* not resumed; start again: agentrl train .*run.toml"
    ):
        agentrl.resume(tmp_path / "old")


def test_a_model_folder_that_is_missing_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder.*Hugging Face"):
        agentrl.train(
            ROOT / "examples/household_qwen.toml", language_tables(tmp_path, tmp_path / "nowhere"),
        )  # fmt: skip


def _toml(config: dict[str, Any]) -> str:
    import tomli_w

    return tomli_w.dumps(config)


@pytest.mark.parametrize("world", [1.0, 400.0])
def test_shares_of_the_time_add_up_to_one_also_where_worlds_wait_side_by_side(world: float) -> None:
    shares = report._shares([{"seconds": 10.0, "policy/seconds": 2.0, "train/seconds": 5.0, "world_seconds": world}])
    assert sum(shares.values()) == pytest.approx(1)
    assert shares == pytest.approx(
        {"model": 0.7, "world": min(0.3, world / 10), "framework": max(0.0, 0.3 - world / 10)}
    )
