"""MCP: any server of the Model Context Protocol as a world."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import agentrl
from agentrl import ConfigError, Task, ToolAction, ToolCall, ToolError
from agentrl_envs.mcp_connection import Connection
from agentrl_envs.records import read_records
from agentrl_envs.replayed import Replayed

_FREE_PLAY: Mapping[str, list[dict[str, Any]]] = {"train": [{"prompt": "You can use these tools."}]}
_KEYS = ("split", "prompt", "answers", "checks", "expert")


@agentrl.hookimpl
def register_environments(register: Callable[[str, object], None]) -> None:
    register("mcp", MCPWorld)


class MCPWorld(Replayed, agentrl.ToolEnvironment):
    """The tools of an MCP server, started by `command` (stdio) or reached at `url` (streamable HTTP).

    `tasks` is a JSONL file, one task a line: `prompt`; `answers`, texts that must all be in the agent's messages;
    `checks`, calls made at the end, `{"name", "arguments", "equals"}`, whose results must be equal to that text;
    `expert`, actions that solve it; `split`, default "train". Without a file there is one task that nothing solves.
    The agent's first message ends the episode; the reward is 1 if all answers and checks are right.

    Each episode has a new server process, or, where `reset_tool` is set, the old one after a call of that tool (which
    the agent is not offered). Snapshots replay the actions: `restore` is right for servers that are deterministic.
    A server that dies or is silent for `timeout_s` raises EnvironmentFault. Where calls change what tools there are,
    the next turn has the new ones.
    """

    blocks = True

    def __init__(
        self,
        *,
        command: tuple[str, ...] = (),
        url: str = "",
        tasks: Path | None = None,
        reset_tool: str = "",
        max_turns: int = 30,
        timeout_s: float = 30.0,
        start_timeout_s: float = 60.0,
    ) -> None:
        if bool(command) == bool(url):
            raise ConfigError(
                'environment \'mcp\': give either command = ["program", "argument", …] or url = "http://…"'
            )
        self._command, self._url, self._reset_tool = tuple(command), url, reset_tool
        self._timeouts = timeout_s, start_timeout_s
        self.max_turns = max_turns
        self._tasks = _read(tasks) if tasks is not None else dict(_FREE_PLAY)
        self.splits = {split: len(listed) for split, listed in self._tasks.items()}
        self._connection: Connection | None = None

    @property
    def tool_schemas(self) -> tuple[Mapping[str, object], ...]:
        """The server's tools, without the one that resets it."""
        return tuple(_schema(tool) for tool in self._server().tools if tool.name != self._reset_tool)

    def begin(self, task: Task) -> str:
        self._told = self._tasks[task.split][task.index]
        self._said: list[str] = []
        if self._connection is not None and not (self._reset_tool and self._connection.alive):
            self.close()
        server = self._server()
        if self._reset_tool:
            server.call(self._reset_tool, {})
        return str(self._told["prompt"])

    def call(self, call: ToolCall) -> object:
        offered = [tool.name for tool in self._server().tools if tool.name != self._reset_tool]
        if call.name not in offered:
            raise ToolError(f"there is no tool {call.name[:80]!r}. {agentrl.did_you_mean(call.name[:80], offered)}")
        return self._server().call(call.name, call.arguments)

    def hear(self, message: str) -> None:
        self._said.append(message)

    def score(self) -> Mapping[str, float]:
        said = "\n".join(self._said).casefold()
        answers: list[Any] = self._told.get("answers", [])
        checks: list[Any] = self._told.get("checks", [])
        right = all(str(answer).casefold() in said for answer in answers) and all(map(self._holds, checks))
        return {"goal": float(right and bool(answers or checks))}

    def content(self) -> str:
        return json.dumps(self._told, sort_keys=True)

    def expert_action(self) -> str:
        """The first action of the task's `expert` that was not taken yet."""
        if "expert" not in self._told:
            raise NotImplementedError(f"the task {self._told['prompt'][:40]!r} has no `expert` actions")
        played = {ToolAction.read(action).write() for action in self._actions}
        actions = [ToolAction.read(action).write() for action in self._told["expert"]]
        return next((action for action in actions if action not in played), actions[-1])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _server(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self._command, self._url, *self._timeouts)
        return self._connection

    def _holds(self, check: Mapping[str, Any]) -> bool:
        try:
            return self._server().call(check["name"], check.get("arguments", {})) == str(check["equals"])
        except ToolError:
            return False


def _schema(tool: Any) -> Mapping[str, object]:
    named = {"name": tool.name, "description": tool.description or "", "parameters": tool.input_schema}
    return {"type": "function", "function": named}


def _read(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Tasks by split. Raises ConfigError naming the line that is wrong."""
    found: dict[str, list[dict[str, Any]]] = {}
    for number, task in enumerate(read_records(path), 1):
        if not isinstance(task, dict) or not isinstance(task.get("prompt"), str):
            raise ConfigError(f'{path}, line {number}: a task is an object with a "prompt"')
        for key in task:
            if key not in _KEYS:
                raise ConfigError(f"{path}, line {number}: unknown key {key!r}. {agentrl.did_you_mean(key, _KEYS)}")
        found.setdefault(task.get("split", "train"), []).append(task)
    if not found:
        raise ConfigError(f"{path} holds no task")
    return found
