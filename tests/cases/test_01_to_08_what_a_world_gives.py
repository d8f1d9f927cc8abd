"""Cases 01 to 08 and 47: a world gives a reward that is no number, old shapes, odd flags, or raises where nobody thought.

Complained of in many projects: one such value ended the training of a whole batch, far from its cause, and a resumed
run met it again and ended again. It must end its own trajectory with an outcome that names world and value; the run
goes on, and so does one that was stopped behind it. NumPy's numbers and truths are as good as Python's, and an `invalid`
that is falsy means that an action was fine.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cases import flawed, lamps
from playing import part, play, player

import agentrl
from agentrl import Outcome, Task, Trajectory
from agentrl.data.record import Run
from agentrl.runs import run as runs
from agentrl.worlds import texts
from agentrl_plugins.dialects.plain import Plain

HOST = agentrl.Host({"flawed": flawed})


def tables(folder: Path, flaw: str, updates: int = 2, **world: Any) -> dict[str, Any]:
    stage = {**lamps.RUN["stages"][0], "updates": updates, "sampler": {"name": "uniform", "tasks": 24}}
    environment = {"name": "flawed", "flaw": flaw, **world}
    return {**lamps.RUN, "runs": str(folder), "environment": environment, "stages": [stage]}


def trajectories(folder: Path) -> list[Trajectory]:
    return [t for commit in Run.open(folder).commits() for t in commit.trajectories()]


def all_tasks(flaw: str) -> tuple[list[Trajectory], list[Trajectory]]:
    """Those of the flawed task, and those of the others, as the expert plays them."""
    found = play(player(lambda: flawed.Flawed(flaw=flaw), retries=0, concurrency=3), part("policy", "expert"), 24)
    return [t for t in found if t.task.index == flawed.FLAWED], [t for t in found if t.task.index != flawed.FLAWED]


@pytest.mark.parametrize("flaw", [*flawed.STEPS, *flawed.RESETS, *flawed.WORDS])
def test_one_bad_value_ends_one_trajectory_and_is_named(flaw: str) -> None:
    (found,), others = all_tasks(flaw)
    assert {t.outcome for t in others} == {Outcome.TERMINATED}
    assert found.outcome is Outcome.ENV_ERROR
    if flaw.startswith(
        ("raises", "close", "tools: raise", "tools: exit", "tools: an attribute", "instructions: raise")
    ):
        raised = ["RuntimeError", "SystemExit", "BaseException", "ConnectionError", "AttributeError"]
        assert found.error.split(":")[0] in raised
    else:
        assert found.error.startswith("the world Flawed: "), found.error
        assert VALUES[flaw.split(":")[0]] in found.error


VALUES: Mapping[str, str] = {
    "reward": "the reward of a step is",
    "rewards": "info['rewards']",
    "step": "step gave",
    "info": "step gave",
    "observation": "step gave",
    "terminated": "terminated is array",
    "truncated": "truncated is 'false'",
    "success": "info['success'] is",
    "admissible": "info['admissible']",
    "calls": "info['calls'] is 2",
    "cost": "info['cost'] is 'much'",
    "reset": "reset gave",
    "tools": "tool_schemas are",
    "instructions": "instructions are",
}
"""Place → what an error says of it."""


@pytest.mark.parametrize("flaw", flawed.SOUND)
def test_what_only_looks_odd_is_taken(flaw: str) -> None:
    (found,), _ = all_tasks(flaw)
    assert found.outcome is Outcome.TERMINATED, found.error
    if flaw.startswith("invalid"):
        assert {turn.invalid for turn in found.turns} == {""}
    if flaw == "nothing said":
        assert {turn.agent for turn in found.turns} == {"agent"}
        assert all(turn.anchor == turn.observation for turn in found.turns)


@pytest.mark.parametrize(
    ("flaw", "blocks"),
    [("reward: NaN", False), ("reset: no info", False), ("tools: exit", True), ("close", True), ("made", False)],
)
def test_a_run_that_met_it_ends_well_and_is_resumed(tmp_path: Path, flaw: str, blocks: bool) -> None:
    flawed.MADE.clear()
    folder = agentrl.train(tables(tmp_path, flaw, blocks=blocks), host=HOST).folder
    if flaw != "made":  # how often a world that cannot be made is met depends on how many are made
        failed = [t for t in trajectories(folder) if t.outcome.failed]
        assert {t.task.index for t in failed} == {flawed.FLAWED}
        assert {t.outcome for t in failed} == {Outcome.ENV_ERROR}
    for name in ("updates/000001", "model", "summary.json"):  # as if it had been killed after its first update
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    flawed.MADE.clear()
    agentrl.resume(folder, host=HOST)
    assert len(Run.open(folder).commits()) == 2
    assert (folder / "summary.json").is_file()


def test_a_world_that_cannot_be_made_once_is_made_again_wherever_a_run_asks_for_one(tmp_path: Path) -> None:
    for first in range(4):  # which of the worlds of a run is refused: for its splits, for the first play, in the middle
        flawed.MADE[:] = range(first)
        assert runs.check(tables(tmp_path, "made", updates=1), host=HOST)


def test_a_world_that_can_never_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    class Gone(lamps.Lamps):
        def __init__(self) -> None:
            raise ConnectionError("refused")

    with pytest.raises(agentrl.AgentRLError, match="ConnectionError: refused"):
        agentrl.train(lamps.RUN | {"runs": str(tmp_path)}, parts={"environment": Gone})
    assert not list(tmp_path.iterdir())


def test_a_task_without_a_key_has_one_of_its_own(tmp_path: Path) -> None:
    class Keyless(lamps.Lamps):
        def reset(self, **given: Any) -> Any:
            observation, info = super().reset(**given)
            return observation, info | {"task": None}

    result = agentrl.train(lamps.RUN | {"runs": str(tmp_path)}, parts={"environment": Keyless})
    assert {t.task.key for t in trajectories(result.folder)} >= {"train/0", "train/5"}
    assert result.summary["after"]["tasks"] == 7  # type: ignore[index]


@pytest.mark.parametrize("splits", [None, ["train"], {"train": "many"}, {"train": -1}, {}])
def test_splits_that_are_none_are_refused_before_a_run_begins(tmp_path: Path, splits: Any) -> None:
    world = type("Odd", (lamps.Lamps,), {"splits": splits})
    with pytest.raises(agentrl.PluginError, match="the splits of the world Odd are .*; they are a mapping"):
        agentrl.train(lamps.RUN | {"runs": str(tmp_path)}, parts={"environment": world})


def test_words_for_a_tokenizer_do_without_a_trajectory_in_which_the_world_breaks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = list(texts.WorldTexts(lambda: flawed.Flawed(flaw="reward: NaN"), Plain(), 0))
    assert set("01234") <= set(words)
    assert "trajectory 18 of 400 for the tokenizer is left out: the world Flawed broke" in caplog.text
    with pytest.raises(agentrl.EnvironmentFault, match="the world Broken broke: TypeError: step gave None"):
        list(texts.WorldTexts(type("Broken", (lamps.Lamps,), {"step": lambda *_: None}), Plain(), 0))


def test_a_reward_of_a_text_world_is_no_text() -> None:
    class Words(agentrl.TextWorld):
        def begin(self, task: Task) -> agentrl.Scene:
            return agentrl.Scene("go")

        def act(self, action: str) -> agentrl.Scene:
            return agentrl.Scene("gone", action)  # type: ignore[arg-type]

    world = Words()
    world.reset(options={"index": 0})
    with pytest.raises(TypeError, match=r"Words gave the reward '1.0'; it is one number"):
        world.step("1.0")
