"""Case 27: a mistake in the settings of the evaluation is found before anything is trained.

Complained of elsewhere: training ran to its end, or to its first evaluation, and stopped there; resuming stopped there
again. It was so here with a split that the world does not have, and with more tasks than a split has.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cases import lamps
from click.testing import CliRunner

import agentrl
from agentrl.cli.app import main

HOST = agentrl.Host({"lamps": lamps})
DURING = {"split": "valid", "tasks": 7, "every": 1, "during_split": "train", "during_tasks": 24}


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        (
            {"split": "vaild", "tasks": 7},
            r"\[evaluation\] split names the split 'vaild'; the world has 'train', 'valid'",
        ),
        ({**DURING, "during_split": "tarin"}, r"\[evaluation\] during_split names the split 'tarin'"),
        ({"split": "valid", "tasks": 8}, r"\[evaluation\] tasks = 8, and the split 'valid' has 7 tasks; give at most"),
        ({"split": "valid"}, r"\[evaluation\] tasks = 200, and the split 'valid' has 7 tasks"),
        ({**DURING, "during_tasks": 25}, r"\[evaluation\] during_tasks = 25, and the split 'train' has 24 tasks"),
    ],
)
def test_it_is_found_before_a_folder_exists(tmp_path: Path, plan: dict[str, Any], complaint: str) -> None:
    tables = lamps.RUN | {"runs": str(tmp_path), "evaluation": plan}
    with pytest.raises(agentrl.ConfigError, match=complaint):
        agentrl.train(tables, host=HOST)
    assert not list(tmp_path.iterdir())


def test_every_stage_that_evaluates_needs_the_tasks_in_its_own_world(tmp_path: Path) -> None:
    class Small(lamps.Lamps):
        splits = {"train": 24, "valid": 5}

    first = {**lamps.RUN["stages"][0], "environment": "small"}
    tables = lamps.RUN | {"runs": str(tmp_path), "stages": [first, {**lamps.RUN["stages"][0], "name": "then"}]}
    host = HOST.with_plugins({"small": _Offers(Small)})
    with pytest.raises(agentrl.ConfigError, match="the split 'valid' has 5 tasks"):
        agentrl.train(tables, host=host)
    first["evaluate"] = False
    assert agentrl.train(tables, host=host).summary["after"]


class _Offers:
    def __init__(self, world: type) -> None:
        self.world = world

    def register_environments(self, register: agentrl.Register) -> None:
        register("small", self.world)


def test_all_that_there_is_may_be_played(tmp_path: Path) -> None:
    result = agentrl.train(lamps.RUN | {"runs": str(tmp_path), "evaluation": DURING}, host=HOST)
    assert result.summary["after"]["tasks"] == 7  # type: ignore[index]


def test_an_evaluation_by_itself_says_it_too(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        'name = "t"\nenvironment = "corridor"\nmodel = "table"\npolicy = "tabular"\n'
        '[evaluation]\nsplit = "valid"\ntasks = 201\n'
    )
    result = CliRunner().invoke(main, ["eval", str(file)])
    assert result.exit_code == 2
    assert "[evaluation] tasks = 201, and the split 'valid' has 200 tasks; give at most that" in result.output
