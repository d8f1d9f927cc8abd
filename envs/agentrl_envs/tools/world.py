"""LibraryDesk: an agent helps visitors of a library, by the rules, with tools over a database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from agentrl import Scene, Task, ToolAction, ToolCall, Voice
from agentrl_envs.tools import rules, tiny
from agentrl_envs.tools.database import Database
from agentrl_envs.tools.desk import Desk
from agentrl_envs.tools.tasks import job
from agentrl_envs.tools.users import visitor

_FINDS = ("find_member_by_card", "find_member_by_name")
_ERROR = '{"error": '


class LibraryDesk(Desk):
    """A world in the style of τ-bench (Yao et al. 2024): tools, rules, a visitor, and a database that tells the score.

    The reward is 1 if, when the visitor leaves, the database is exactly what the gold calls make of it, every required
    answer was given, and the visitor was found, by card or name, and nobody else (rule 1). No visitor is content with
    a refusal alone: there is always something to do or to look up as well. `info["milestones"]` names the facts that
    the calls have established in the database, as table and id, and at the end the two halves (`database`, `answers`);
    `info["feedback"]` says which rule was broken; `info["hidden"]` of the reset has the gold calls, the required answers
    and the visitor's part. Replay a task with other seeds for pass^k.

    `preset`: `full` has 29 tools, rules that the tools do not enforce and visitors with one to three wishes; `tiny`
    has six tools, one short wish, `info["admissible"]`, and leaves `tool_schemas` empty. `user`: a policy that plays
    the visitor, such as "policies.visitor"; without it they are scripted. `anchor`: the observation, or what was done so far
    and the observation.
    """

    splits = {"train": 1_000_000, "valid": 1_000, "test": 1_000}  # noqa: RUF012

    def __init__(
        self,
        *,
        user: Voice | None = None,
        preset: Literal["full", "tiny"] = "full",
        max_turns: int = 40,
        anchor: Literal["observation", "state"] = "observation",
    ) -> None:
        super().__init__(Database())
        self._voice = user
        self.blocks = user is not None
        self._preset, self.max_turns, self._anchor_is_state = preset, max_turns, anchor == "state"
        self.instructions = rules.RULES if preset == "full" else rules.TINY_RULES
        self.tools_offered = None if preset == "full" else tiny.TOOLS

    @property
    def tool_schemas(self) -> tuple[Mapping[str, object], ...]:
        """What the tools look like; empty in the tiny preset, whose prompts are to be short."""
        return super().tool_schemas if self._preset == "full" else ()

    def begin(self, task: Task) -> Scene:
        self._job = job(self._preset, task.split, task.index)
        self.database.close()
        self.database = Database(self._job.content)
        self._done: dict[str, None] = {}  # what was said and called without error, in order
        self._said: list[str] = []  # messages
        self._reached: tuple[str, ...] = ()  # milestones
        self._met: frozenset[str] = frozenset()  # ids of the members that were found
        self._user = visitor(self._job, self._voice, self.np_random)
        opening = self._user.open()
        self._texts = [opening]  # observations so far
        return self._shown(Scene(opening, hidden=self._job.hidden))

    def act(self, action: str) -> Scene:
        self._broken: list[str] = []  # rules, by this action
        return super().act(action)

    def scored(self, scene: Scene) -> Scene:
        self._texts += [line for line in scene.observation.split("\n") if not line.startswith(_ERROR)]
        return self._shown(super().scored(scene)).replace(feedback=" ".join(self._broken))

    def call(self, call: ToolCall) -> object:
        arguments = self.arguments(call)
        before, limit = self.database.changes, None if self._preset == "full" else tiny.RENEWAL_LIMIT
        broken = rules.broken(self.database, call.name, arguments, limit)
        result = getattr(self, call.name)(**arguments)
        self._broken += filter(None, [broken])
        self._done[call.write()] = None
        if call.name in _FINDS:
            self._met |= {result["member_id"]}
        if self.database.changes > before:
            reached = [f"{table} {row[0]}" for table, row in self._job.goal if self.database.holds(table, row)]
            self._note(sorted(reached))
        return result if self._preset == "full" else tiny.shortened(result)

    def hear(self, message: str) -> str | None:
        self._said.append(message.casefold())
        self._done[ToolAction(message=message).write()] = None
        return self._user.hear(message)

    def score(self) -> Mapping[str, float]:
        said = " ".join(self._said)
        answered = all(any(answer.casefold() in said for answer in group) for group in self._job.answers)
        same = self.database.changed_since(self._job.content) == self._job.goal
        self._note((*(("database",) if same else ()), *(("answers",) if answered else ())))
        alone = self._met == {self._job.member}
        if not alone:
            self._broken.append(f"The visitor was not found, or somebody else was too. {rules.FIRST_RULE}")
        return {"goal": float(same and answered and alone)}

    def content(self) -> str:
        return repr((self._job.opening, [request.says for request in self._job.requests], self._job.content))

    def expert_action(self) -> str:
        """The first thing of the task's script that was not done yet."""
        script = self._job.script
        return next((action for action in script if action not in self._done), script[-1])

    def state(self) -> object:
        told = tuple(self._done), tuple(self._said), tuple(self._texts), self._reached, self._met, self._finished
        kept = self.database.serialize(), frozenset(self.database.touched)
        return self._job, kept, told, self._user.state()

    def load(self, state: Any) -> None:
        self._job, kept, (done, said, texts, self._reached, self._met, self._finished), user = state
        self._done, self._said, self._texts = dict.fromkeys(done), list(said), list(texts)
        self.database.close()
        self.database = Database(*kept)
        self._user = visitor(self._job, self._voice, self.np_random, user)

    def close(self) -> None:
        self.database.close()

    def _note(self, milestones: Iterable[str]) -> None:
        self._reached = tuple(dict.fromkeys((*self._reached, *milestones)))

    def _shown(self, scene: Scene) -> Scene:
        listed = tiny.admissible(self.database, self._texts) if self._preset == "tiny" else None
        anchor = f"{sorted(self._done)} {scene.observation}" if self._anchor_is_state else None
        return scene.replace(milestones=self._reached, admissible=listed, anchor=anchor)
