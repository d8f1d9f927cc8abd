"""BFCL: the multi-turn tasks of the Berkeley function calling leaderboard, scored as it scores them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import agentrl
from agentrl import Task, ToolAction
from agentrl_envs.bfcl.backend import FAILED, Backend
from agentrl_envs.bfcl.data import CATEGORIES, Entry, entries, schema

_MORE_FUNCTIONS = "I have updated some more functions you can choose from. What about now?"  # the benchmark's words


class BFCL(agentrl.ToolEnvironment):
    """A user asks several things in turn; calls run against file systems, cars, tickets and the like.

    The splits are the benchmark's categories (Patil et al. 2025), `bfcl-eval` 2026.3.23: `base`, `miss_func` (a
    function is offered one turn late), `miss_param` (the user says something one turn late), `long_context`.
    A message, like anything that is no call, ends the user's turn. The reward is 1 if after every turn that wants
    calls some were made, all objects are in the wanted state, and every wanted result is among the results so far. As
    in the benchmark's own runner, calls in turns that want none do not count; `info["irrelevant_calls"]` says whether
    there were any. More than `max_steps` actions in one turn end the episode.

    Deviations: arguments go by name (JSON), text is never evaluated, and arithmetic with exponents or precisions over
    10,000 is refused instead of started.
    """

    instructions = (
        "Do what the user asks in this turn by calling functions. Go on until it is done, then answer without a call. "
        "If a function or a value you need is missing, say so instead of calling."
    )
    splits = dict.fromkeys(CATEGORIES, 200)
    max_turns = 10_000  # the benchmark limits the steps of each turn instead

    def __init__(self, *, max_steps: int = 20) -> None:
        self._max_steps = max_steps
        self._entry: Entry | None = None

    def begin(self, task: Task) -> str:
        entry = entries(task.split)[task.index]
        self._entry = entry
        self._agent, self._gold = Backend(entry), Backend(entry)
        self._results: Counter[str] = Counter()  # of all turns so far
        self._turn, self._steps, self._called = 0, 0, False
        self._valid: list[bool] = []
        self._irrelevant = False
        return entry.users[0]

    @property
    def tool_schemas(self) -> tuple[Mapping[str, Any], ...]:
        """The functions offered at this turn."""
        if self._entry is None:
            return ()
        late = {name for turn, names in self._entry.held_back.items() if turn > self._turn for name in names}
        return tuple(schema(document) for document in self._entry.documents if document["name"] not in late)

    def act(self, said: ToolAction) -> tuple[str, str]:
        if not said.calls:
            return self._end_turn(), said.error
        assert self._entry is not None
        results = self._agent.calls(said.calls)
        self._results.update(results)
        self._called = True
        self._irrelevant |= not self._entry.gold[self._turn]
        self._steps += 1
        if self._steps > self._max_steps:
            self._force_quit()
        return "\n".join(results), "; ".join(result for result in results if result.startswith(FAILED))

    def score(self) -> Mapping[str, float]:
        assert self._entry is not None
        return {"valid": float(len(self._valid) == len(self._entry.users) and all(self._valid))}

    def content(self) -> str:
        assert self._entry is not None
        return self._entry.id

    def expert_action(self) -> str:
        """The next calls of the benchmark's own answer; several at once where one at a time would be too many."""
        assert self._entry is not None
        gold = self._entry.gold[self._turn]
        size = -(-len(gold) // self._max_steps) or 1
        calls = gold[self._steps * size : (self._steps + 1) * size]
        return ToolAction(calls).write() if calls else "That is all I can do for now."

    def _end_turn(self) -> str:
        assert self._entry is not None
        self._check_turn()
        self._turn, self._steps, self._called = self._turn + 1, 0, False
        if self._turn == len(self._entry.users):
            self.finish()
            return ""
        late = self._entry.held_back.get(self._turn, ())
        if not late:
            return self._entry.users[self._turn]
        offered = [document for document in self._entry.documents if document["name"] in late]
        return f"{json.dumps([schema(document) for document in offered])}\n{_MORE_FUNCTIONS}"

    def _force_quit(self) -> None:
        """Too many steps; like the benchmark, a last turn is looked at nevertheless."""
        assert self._entry is not None
        if self._turn == len(self._entry.users) - 1:
            self._check_turn()
        self.finish()

    def _check_turn(self) -> None:
        assert self._entry is not None
        gold = self._entry.gold[self._turn]
        wanted = Counter(self._gold.calls(gold))
        called_well = self._called and wanted <= self._results and self._agent.same_state(self._gold)
        self._valid.append(called_well or not gold)

    def _info(self, rewards: Mapping[str, float], invalid: str) -> dict[str, Any]:
        info = super()._info(rewards, invalid)
        turns = tuple(f"turn {turn}" for turn, valid in enumerate(self._valid) if valid)
        return info | {"milestones": turns, "irrelevant_calls": self._irrelevant}
