"""MCP: a real server process over stdio, played as a world."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp_support import SERVER, listening

pytest.importorskip("mcp", reason="pip install mcp")

from agentrl import ConfigError, EnvironmentFault, Spec, ToolAction, default_host
from agentrl.testing import check_environment
from agentrl_envs.mcp_world import MCPWorld

TASKS = [
    {
        "prompt": "Write 3 and then 4 under tea. What is the total?",
        "answers": ["7"],
        "checks": [{"name": "total", "arguments": {}, "equals": "7"}],
        "expert": [
            '{"name": "add", "arguments": {"name": "tea", "amount": 3}}',
            '{"name": "add", "arguments": {"name": "tea", "amount": 4}}',
            "The total is 7.",
        ],
    },
    {"split": "valid", "prompt": "Say hello.", "answers": ["hello"], "expert": ["Hello!"]},
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("mcp")
    (folder / "tasks.jsonl").write_text("\n".join(json.dumps(task) for task in TASKS), encoding="utf-8")
    return SERVER, folder / "tasks.jsonl"


def settings(files: tuple[Path, Path], **more: Any) -> dict[str, Any]:
    return {"command": (sys.executable, str(files[0])), "tasks": files[1], "max_turns": 6, **more}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The same server, listening on loopback."""
    with listening() as address:
        yield address


@pytest.fixture(scope="module")
def world(files: tuple[Path, Path]) -> Iterator[MCPWorld]:
    """One server for all tests that leave it alive."""
    env = MCPWorld(**settings(files, reset_tool="clear"))
    yield env
    env.close()


def call(tool: str, /, **arguments: Any) -> str:
    return json.dumps({"name": tool, "arguments": arguments})


def test_a_task_is_solved_with_the_servers_tools(world: MCPWorld) -> None:
    observation, _ = world.reset(seed=0, options={"split": "train", "index": 0})
    assert "tea" in observation
    assert world.step(call("add", name="tea", amount=3))[0] == "tea: 3"
    assert world.step(f"[{call('add', name='tea', amount=4)}, {call('total')}]")[0] == "tea: 7\n7"
    _, reward, terminated, _, info = world.step("It is 7 now.")
    assert (reward, terminated, info["success"]) == (1.0, True, True)


def test_a_right_answer_with_a_wrong_state_earns_nothing(world: MCPWorld) -> None:
    world.reset(seed=0, options={"split": "train", "index": 0})
    world.step(call("add", name="tea", amount=3))
    assert world.step("The total is 7.")[1] == 0.0


def test_every_episode_begins_with_an_empty_server(world: MCPWorld, files: tuple[Path, Path]) -> None:
    for env in (world, MCPWorld(**settings(files))):
        for _ in range(2):
            env.reset(seed=0, options={"split": "train", "index": 0})
            assert env.step(call("total"))[0] == "0"
            env.step(call("add", name="tea", amount=3))
        if env is not world:
            env.close()


def test_the_tools_come_from_the_server_without_the_one_that_resets_it(world: MCPWorld) -> None:
    world.reset(seed=0)
    offered = {schema["function"]["name"]: schema["function"]["parameters"] for schema in world.tool_schemas}
    assert set(offered) == {"add", "total", "picture", "die", "sleep", "learn"}
    assert offered["add"]["properties"]["amount"]["minimum"] == 1


@pytest.mark.parametrize(
    ("action", "word"),
    [
        (call("ad", name="tea"), "Did you mean 'add'"),
        (call("clear"), "there is no tool 'clear'"),
        (call("add", name="tea", amount="many"), "amount"),
        (call("add", name="tea", amount=0), "greater than or equal to 1"),
        ('{"name": "add"', "not valid JSON"),
    ],
)
def test_mistakes_are_errors_the_agent_can_read(world: MCPWorld, action: str, word: str) -> None:
    world.reset(seed=0, options={"split": "train", "index": 0})
    observation, reward, terminated, _, info = world.step(action)
    assert word in json.loads(observation)["error"]
    assert info["invalid"]
    assert (reward, terminated) == (0.0, False)


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_tools_that_a_server_adds_and_takes_away_are_followed(
    files: tuple[Path, Path], transport: str, request: pytest.FixtureRequest
) -> None:
    where = {"command": settings(files)["command"]} if transport == "stdio" else {"url": request.getfixturevalue("url")}
    env = MCPWorld(**where, reset_tool="clear")

    def offered() -> set[str]:
        return {schema["function"]["name"] for schema in env.tool_schemas}

    env.reset(seed=0)
    assert "dance" not in offered()
    env.step(call("learn", name="dance"))
    assert "dance" in offered()
    assert env.step(call("dance"))[0] == "dance was called"
    env.step(call("learn", name="unlearn"))
    assert "sleep" not in offered()
    assert env.step(call("sleep"))[4]["invalid"].startswith("there is no tool 'sleep'")
    env.close()


def test_pictures_become_a_line_of_text(world: MCPWorld) -> None:
    world.reset(seed=0)
    assert json.loads(world.step(call("picture"))[0])["data"] == "400 characters of base64"


def test_a_server_that_dies_or_is_silent_is_a_fault_and_the_next_episode_works(files: tuple[Path, Path]) -> None:
    env = MCPWorld(**settings(files, reset_tool="clear", timeout_s=1.5))
    for killer in ("die", "sleep"):
        env.reset(seed=0)
        with pytest.raises(EnvironmentFault, match="server"):
            env.step(call(killer))
    env.reset(seed=0)
    assert env.step(call("total"))[0] == "0"
    env.close()


def test_a_command_that_is_no_server_is_a_fault_with_what_it_wrote() -> None:
    env = MCPWorld(command=(sys.executable, "-c", "raise SystemExit('no licence')"), timeout_s=10)
    with pytest.raises(EnvironmentFault, match="no licence"):
        env.reset(seed=0)
    env.close()


def test_wrong_settings_and_task_files_are_named(tmp_path: Path) -> None:
    host = default_host()
    with pytest.raises(ConfigError, match="either command"):
        host.build(Spec("environment", "mcp"))
    bad = tmp_path / "tasks.jsonl"
    bad.write_text('{"prompt": "x", "answer": ["y"]}', encoding="utf-8")
    with pytest.raises(ConfigError, match="line 1.*Did you mean 'answers'"):
        host.build(Spec("environment", "mcp", {"command": ["x"], "tasks": str(bad)}))


def test_a_snapshot_is_restored_by_playing_again(world: MCPWorld) -> None:
    world.reset(seed=0, options={"split": "train", "index": 0})
    world.step(call("add", name="tea", amount=3))
    taken = world.snapshot()
    world.step(call("add", name="tea", amount=9))
    world.restore(taken)
    assert world.step(call("total"))[0] == "3"


def test_the_world_passes_the_kit_over_http(files: tuple[Path, Path], url: str) -> None:
    plain = {"url": url, "tasks": str(files[1]), "reset_tool": "clear", "max_turns": 6}
    report = check_environment(Spec("environment", "mcp", plain), actions=100)
    assert report.passed, report.failures


@pytest.mark.heavy
def test_the_world_passes_the_kit_over_stdio(files: tuple[Path, Path]) -> None:
    plain = settings(files, reset_tool="clear") | {"tasks": str(files[1])}
    report = check_environment(Spec("environment", "mcp", plain), actions=300, step_limit_s=30)
    assert report.passed, report.failures


def test_the_expert_never_says_anything_but_the_listed_actions(world: MCPWorld) -> None:
    world.reset(seed=0, options={"split": "train", "index": 0})
    for action in TASKS[0]["expert"]:
        assert world.expert_action() == ToolAction.read(action).write()
        world.step(action)
