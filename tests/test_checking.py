"""`agentrl check` on worlds that are slow, list no actions, or hold what cannot be copied."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cases import lamps
from click.testing import CliRunner, Result

import agentrl
from agentrl import ConfigError, Host, Scene, testing
from agentrl.cli import app, checking
from agentrl.cli import main as cli
from agentrl.testing import environment, plays, report


class Shy(agentrl.TextWorld):
    """A world that lists no actions; the word `xyzzy` opens it."""

    splits = {"train": 5}
    max_turns = 4
    heard: list[str] = []

    def begin(self, task: agentrl.Task) -> Scene:
        return Scene(f"Door {task.index}.")

    def act(self, action: str) -> Scene:
        self.heard.append(action)
        return Scene("It opens.", 1.0, done=True) if action == "xyzzy" else Scene("No.", invalid="no")


class Slow(Shy):
    """Each step takes some milliseconds."""

    def act(self, action: str) -> Scene:
        time.sleep(0.002)
        return super().act(action)


class Shop:
    """Something that a world holds, deep inside of which is a lock."""

    def __init__(self) -> None:
        self.shelves = {"left": [1, threading.Lock()]}


class Locked(Shy):
    """A world that cannot be copied."""

    def begin(self, task: agentrl.Task) -> Scene:
        self.shop = Shop()
        return super().begin(task)


class Plain(lamps.Lamps):
    """A plain environment that can be copied and not pickled."""

    def reset(self, **settings: Any) -> Any:
        self.rule = lambda number: number
        return super().reset(**settings)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    class Worlds:
        def register_environments(self, register: agentrl.Register) -> None:
            for world in (Shy, Slow, Locked, Plain):
                register(world.__name__.lower(), world)

    host = Host({"worlds": Worlds()})
    monkeypatch.setattr(app, "_host", lambda: host)
    for module in (plays, testing.parts):
        monkeypatch.setattr(module, "default_host", lambda: host)
    monkeypatch.setattr(environment._Kit, "another_process_gives_the_same_bytes", lambda kit: None)  # has no such world
    return host


def check(*words: str) -> Result:
    return CliRunner().invoke(cli, ["check", *words])


def test_each_result_is_shown_as_it_comes_and_a_long_check_says_how_far_it_is(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_SILENT_S", 0.02)
    monkeypatch.setattr(plays, "LONGEST_PLAY_S", 0.3)
    done = check("environment", "slow")
    assert done.exit_code == 0, done.output
    assert "random and malformed actions are survived: 0 s so far, " in done.stderr
    assert " of 10000 actions" in done.stderr
    lines = done.stdout.split("\n")
    assert lines[0] == "ok   it can be made and reset"
    (played,) = (line for line in lines if line.startswith("ok   random and malformed actions"))
    assert 0 < int(played.split(": ")[1].split()[0]) < 10_000, "a slow world is played for a minute, not for hours"


def test_actions_are_tried_in_a_world_that_lists_none(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plays, "LONGEST_PLAY_S", 0.5)
    Shy.heard = []
    check("environment", "shy")
    assert "xyzzy" not in Shy.heard
    (tmp_path / "actions.txt").write_bytes(b"\xef\xbb\xbfknock\r\nxyzzy\r\n\r\n")
    (tmp_path / "actions.json").write_text(json.dumps(["two\nlines"]), encoding="utf-8")
    done = check("environment", "shy", "--actions", str(tmp_path / "actions.txt"), "--actions", "go",
                 "--actions", str(tmp_path / "actions.json"))  # fmt: skip
    assert done.exit_code == 0, done.output
    assert {"knock", "xyzzy", "go", "two\nlines"} <= set(Shy.heard)
    assert not {"knock\r", ""} & {action for action in Shy.heard if action in ("knock\r",)}


@pytest.mark.parametrize(
    ("text", "message"), [("[1]", "holds something that is no text"), ("[", "give one action a line")]
)
def test_a_file_of_no_actions_is_refused(host: Host, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "actions").write_text(text, encoding="utf-8")
    done = check("environment", "shy", "--actions", str(tmp_path / "actions"))
    assert (done.exit_code, message in done.output) == (2, True), done.output


def test_actions_are_for_worlds(host: Host) -> None:
    with pytest.raises(ConfigError, match="actions are tried in worlds; a credit takes none"):
        testing.check_part(agentrl.Spec("credit", "grpo"), host, tries=["go"])


@pytest.mark.parametrize(
    ("world", "messages"),
    [
        (Locked, [
            "a snapshot cannot hold self.shop.shelves['left'][1], a lock (raised TypeError: cannot pickle",
            "Name 'shop' in `resources` and make it in `open()` if no action changes it; else write `state()`",
        ]),
        (Plain, ["a pickle cannot hold snapshot['rule'], a function", "Write `snapshot()` and `restore(snapshot)`"]),
    ],
)  # fmt: skip
def test_what_cannot_be_copied_is_named_with_the_method_to_write(world: type, messages: list[str]) -> None:
    found = testing.check_environment(world, actions=20)
    details = "\n".join(result.detail for result in found.failures)
    for message in messages:
        assert message in details


def test_a_kit_inside_a_kit_is_not_shown() -> None:
    told: list[str] = []

    def inner() -> None:
        report.run_checks("credit", "inner", {"inside": lambda: None})

    with report.watched(lambda check, result: told.append(check), told.append):
        report.run_checks("credit", "outer", {"outside": inner})
    assert told == ["outside", "outside"]
