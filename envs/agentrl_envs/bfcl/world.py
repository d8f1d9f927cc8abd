"""BFCL: the multi-turn tasks of the Berkeley function calling leaderboard, scored as it scores them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import agentrl
from agentrl import Scene, Task, ToolAction, ToolCall
from agentrl_envs.bfcl.backend import FAILED, Backend
from agentrl_envs.bfcl.data import CATEGORIES, entries, schema

_MORE_FUNCTIONS = "I have updated some more functions you can choose from. What about now?"  # the benchmark's words


class BFCL(agentrl.ToolEnvironment):
    """A user asks several things in turn; calls run against file systems, cars, tickets and the like.

    The splits are the benchmark's categories (Patil et al. 2025), `bfcl-eval` 2026.3.23: `base`, `miss_func` (a
    function is offered one turn late), `miss_param` (the user says something one turn late), `long_context`.
    A message, like anything that is no call, ends the user's turn. The reward is 1 if after every turn that wants
    calls some were made, all objects are in the wanted state, and every wanted result is among the results so far. As
    in the benchmark's own runner, calls in turns that want none do not count; `info["irrelevant_calls"]` says whether
    there were any. More than `max_steps` actions in one turn end the episode. `info["milestones"]`: `call T.N` for the
    N-th gold call of turn T once it is made, `turn T` for a turn that ended well; `info["hidden"]` of the reset has the
    `gold_calls` of each turn. The categories are variants of the same 200 tasks: whoever trains on some evaluates on
    other numbers, not on another category.

    Deviations: arguments go by name (JSON), text is never evaluated, and arithmetic with exponents or precisions over
    10,000, or with numbers given as text, is refused instead of started.
    """

    instructions = (
        "Do what the user asks in this turn by calling functions. Go on until it is done, then answer without a call. "
        "If a function or a value you need is missing, say so instead of calling."
    )
    splits = dict.fromkeys(CATEGORIES, 200)
    max_turns = 10_000  # the benchmark limits the steps of each turn instead

    def __init__(self, *, max_steps: int = 20) -> None:
        self._max_steps = max_steps

    def begin(self, task: Task) -> Scene:
        self._entry = entry = entries(task.split)[task.index]
        self._agent, self._gold = Backend(entry), Backend(entry)
        self._results: Counter[str] = Counter()  # of all turns so far
        self._turn, self._steps, self._called = 0, 0, False
        self._valid: list[bool] = []
        self._reached: tuple[str, ...] = ()
        self._irrelevant = False
        gold = [[{"name": call.name, "arguments": dict(call.arguments)} for call in turn] for turn in entry.gold]
        return self._shown(Scene(entry.users[0], hidden={"gold_calls": gold}))

    @property
    def tool_schemas(self) -> tuple[Mapping[str, object], ...]:
        """The functions offered at this turn."""
        if not hasattr(self, "_entry"):
            return ()
        late = {name for turn, names in self._entry.held_back.items() if turn > self._turn for name in names}
        return tuple(schema(document) for document in self._entry.documents if document["name"] not in late)

    def act(self, action: str) -> Scene:
        said = ToolAction.read(action)
        if not said.calls:
            return self._shown(self.scored(Scene(self._end_turn(), invalid=said.error, calls=[])))
        results = self._agent.calls(said.calls)
        self._results.update(results)
        self._called = True
        self._irrelevant |= not self._entry.gold[self._turn]
        self._note([call for call, result in zip(said.calls, results, strict=True) if not result.startswith(FAILED)])
        self._steps += 1
        if self._steps > self._max_steps:
            self._force_quit()
        errors = [result if result.startswith(FAILED) else "" for result in results]
        calls = [
            {"name": call.name, "arguments": dict(call.arguments), "error": error}
            for call, error in zip(said.calls, errors, strict=True)
        ]
        scene = Scene("\n".join(results), invalid="; ".join(filter(None, errors)), calls=calls)
        return self._shown(self.scored(scene))

    def score(self) -> Mapping[str, float]:
        return {"valid": float(len(self._valid) == len(self._entry.users) and all(self._valid))}

    def content(self) -> str:
        return self._entry.id

    def expert_action(self) -> str:
        """The next calls of the benchmark's own answer; several at once where one at a time would be too many."""
        gold = self._entry.gold[self._turn]
        size = -(-len(gold) // self._max_steps) or 1
        calls = gold[self._steps * size : (self._steps + 1) * size]
        return ToolAction(calls).write() if calls else "That is all I can do for now."

    def _shown(self, scene: Scene) -> Scene:
        return scene.replace(milestones=self._reached, info={"irrelevant_calls": self._irrelevant})

    def _note(self, calls: Sequence[ToolCall]) -> None:
        """Gold calls of this turn that were made, each of equal ones once."""
        made = list(calls)
        for number, gold in enumerate(self._entry.gold[self._turn]):
            name = f"call {self._turn}.{number}"
            if name not in self._reached and gold in made:
                made.remove(gold)
                self._reached = (*self._reached, name)

    def _end_turn(self) -> str:
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
        if self._turn == len(self._entry.users) - 1:
            self._check_turn()
        self.finish()

    def _check_turn(self) -> None:
        gold = self._entry.gold[self._turn]
        wanted = Counter(self._gold.calls(gold))
        called_well = self._called and wanted <= self._results and self._agent.same_state(self._gold)
        self._valid.append(called_well or not gold)
        if self._valid[-1]:
            self._reached = (*self._reached, f"turn {self._turn}")
