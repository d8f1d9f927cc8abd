"""LibraryDesk: an agent helps visitors of a library, by the rules, with tools over a database."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

from agentrl import Policy, Task, ToolAction, ToolCall
from agentrl_envs.tools import tiny
from agentrl_envs.tools.database import Database
from agentrl_envs.tools.desk import Desk
from agentrl_envs.tools.rules import RULES, TINY_RULES
from agentrl_envs.tools.tasks import Job, job
from agentrl_envs.tools.users import PolicyUser, ScriptedUser, User


class LibraryDesk(Desk):
    """A world in the style of τ-bench (Yao et al. 2024): tools, rules, a visitor, and a database that tells the score.

    The reward is 1 if, when the visitor leaves, the database is exactly what the gold calls make of it and every
    required answer was given; `info["milestones"]` names the halves. Replay a task with other seeds for pass^k.
    `preset`: `full` has 29 tools, rules that the tools do not enforce and visitors with one to three wishes; `tiny`
    has six tools, one short wish, `info["admissible"]`, and leaves `tool_schemas` empty. `user`: a policy that plays
    the visitor, or what makes one; without it they are scripted. `anchor`: the observation, or what was done so far
    and the observation.
    """

    splits = {"train": 1_000_000, "valid": 1_000, "test": 1_000}  # noqa: RUF012

    def __init__(
        self,
        user: Policy | Callable[[], Policy] | None = None,
        *,
        preset: Literal["full", "tiny"] = "full",
        max_turns: int = 40,
        anchor: Literal["observation", "state"] = "observation",
    ) -> None:
        super().__init__(Database())
        self._policy = _made(user)
        self.blocks = self._policy is not None
        self._preset, self.max_turns, self._anchor_is_state = preset, max_turns, anchor == "state"
        self.instructions = RULES if preset == "full" else TINY_RULES
        self.tools_offered = None if preset == "full" else tiny.TOOLS
        self._done: dict[str, None] = {}  # what was said and called without error, in order
        self._said: list[str] = []  # messages
        self._texts: list[str] = []  # observations so far
        self._reached: tuple[str, ...] = ()  # milestones, known at the end

    @property
    def tool_schemas(self) -> tuple[Mapping[str, Any], ...]:
        """What the tools look like; empty in the tiny preset, whose prompts are to be short."""
        return super().tool_schemas if self._preset == "full" else ()

    def begin(self, task: Task) -> str:
        self._job: Job = job(self._preset, task.split, task.index)
        self.database.close()
        self.database = Database(self._job.content)
        self._done, self._said, self._reached = {}, [], ()
        self._user: User = ScriptedUser(self._job)
        if self._policy is not None:
            self._user = PolicyUser(self._job, self._policy, int(self.np_random.integers(2**62)))
        opening = self._user.open()
        self._texts = [opening]
        return opening

    def act(self, said: ToolAction) -> tuple[str, str]:
        observation, invalid = super().act(said)
        self._texts.append(observation)
        return observation, invalid

    def call(self, call: ToolCall) -> Any:
        result = super().call(call)
        self._done[ToolAction((call,)).write()] = None
        return result if self._preset == "full" else tiny.shortened(result)

    def hear(self, message: str) -> str | None:
        self._said.append(message.casefold())
        self._done[ToolAction(message=message).write()] = None
        return self._user.hear(message)

    def score(self) -> Mapping[str, float]:
        self._reached = self._milestones()
        return {"goal": float(len(self._reached) == 2)}

    def content(self) -> str:
        return repr((self._job.opening, [request.says for request in self._job.requests], self._job.content))

    def anchor(self) -> str:
        return f"{sorted(self._done)} {self._observation}" if self._anchor_is_state else self._observation

    def expert_action(self) -> str:
        """The first thing of the task's script that was not done yet."""
        script = self._job.script
        return next((action for action in script if action not in self._done), script[-1])

    def snapshot(self) -> object:
        """Everything but the policy that plays the visitor."""
        return copy.deepcopy({name: value for name, value in self.__dict__.items() if name != "_policy"})

    def restore(self, snapshot: object) -> None:
        policy = self._policy
        super().restore(snapshot)
        self._policy = policy

    def close(self) -> None:
        self.database.close()

    def _milestones(self) -> tuple[str, ...]:
        said = " ".join(self._said)
        answers = [answers for request in self._job.requests for answers in request.answers]
        answered = all(any(answer.casefold() in said for answer in group) for group in answers)
        wanted = Desk(Database(self._job.content))
        for call in self._job.gold:
            wanted.call(call)
        same = wanted.database.digest() == self.database.digest()
        wanted.database.close()
        return (("database",) if same else ()) + (("answers",) if answered else ())

    def _info(self, rewards: Mapping[str, float], invalid: str) -> dict[str, Any]:
        info = super()._info(rewards, invalid)
        info["milestones"] = self._reached
        if self._preset == "tiny":
            info["admissible"] = tiny.admissible(self._texts)
        return info


def _made(user: Policy | Callable[[], Policy] | None) -> Policy | None:
    """The policy itself; run files hand over what makes one."""
    if user is None or (isinstance(user, Policy) and not inspect.isclass(user)):
        return user
    return user()
