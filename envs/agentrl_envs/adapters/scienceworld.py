"""ScienceWorld (Wang et al. 2022): school science experiments in a simulated house; needs Java."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import agentrl
from agentrl import Scene
from agentrl_envs.adapters.adapter import Adapter, foreign

_REFUSALS = ("No known action matches", "Unknown action", "The action is not possible")
_SPLITS = {"train": "get_variations_train", "dev": "get_variations_dev", "test": "get_variations_test"}


@agentrl.hookimpl
def register_environments(register: Callable[[str, object], None]) -> None:
    register("scienceworld", ScienceWorld)


class ScienceWorld(Adapter):
    """The task `id` (`boil`, `chemistry-mix` …; empty: all 30), in the original's splits of variations.

    `simplifications` is the original's comma-separated list (`easy` is all of them). `admissible=False` leaves the
    list (a thousand and more) out of `info`, which makes a step about fifteen times faster. The reward is the change of the original's score,
    100 points being 1; a fatal mistake ends the task at −1. Every world has a Java process of its own, and with
    `fresh_process` every task has: the order in which things are listed depends on what the process played before.
    Without it a reset saves about a second, and equal tasks may read differently.
    """

    blocks = True
    instructions = (
        "You are in a house with a workshop, a kitchen and a greenhouse, and have one task. Each turn, answer with one "
        "action, as in: look around | look at OBJ | go to LOC | open OBJ | pick up OBJ | put down OBJ | move OBJ to OBJ "
        "| pour OBJ into OBJ | mix OBJ | use OBJ on OBJ | activate OBJ | connect OBJ to OBJ | read OBJ | focus on OBJ | "
        "wait1 | inventory. Where several things are meant, you are asked for a number."
    )

    def __init__(
        self,
        *,
        id: str = "",  # noqa: A002 – as for all adapters, so that `scienceworld:boil` works
        simplifications: str = "",
        max_turns: int = 100,
        admissible: bool = True,
        fresh_process: bool = True,
    ) -> None:
        self._simplifications, self.max_turns, self._admissible = simplifications, max_turns, admissible
        self._fresh = fresh_process
        self._gold: list[str] | None = None
        names = self._server.get_task_names()
        if id and id not in names:
            self.close()
            raise agentrl.ConfigError(f"ScienceWorld has no task {id!r}. {agentrl.did_you_mean(id, names)}")
        self._variations: dict[str, list[tuple[str, int]]] = {split: [] for split in _SPLITS}
        for name in [id] if id else names:
            self._server.load(name, 0, simplifications)
            for split, method in _SPLITS.items():
                self._variations[split] += [(name, number) for number in getattr(self._server, method)()]
        self.splits = {split: len(listed) for split, listed in self._variations.items()}

    def begin(self, task: agentrl.Task) -> Scene:
        self._which, self._gold = self._variations[task.split][task.index], None
        if self._fresh:
            self.close()
        self._server.load(*self._which, self._simplifications)
        self._server.server.reset()
        observation = self._server.server.step("look around")
        self._score = 0
        about = self._server.get_task_description().removeprefix("Task Description:").strip()
        return Scene(f"{about}\n\n{observation}", admissible=self._choices())

    def act(self, action: str) -> Scene:
        server = self._server.server
        observation = server.step(action.encode("utf-8", "replace").decode())
        score = round(100 * server.getScore())
        reward, self._score = (score - self._score) / 100, score
        over = bool(server.getCompleted()) or score < 0
        invalid = observation.strip() if observation.startswith(_REFUSALS) else ""
        admissible = () if over else self._choices()
        return Scene(observation, reward, over, success=score >= 100, admissible=admissible or None, invalid=invalid)

    def content(self) -> str:
        return f"{self._which} {self._simplifications}"

    def expert_action(self) -> str:
        """The next action of the original's gold path; there is none once another way was taken."""
        if self._gold is None:
            self._server.load(*self._which, self._simplifications, generateGoldPath=True)
            gold = list(self._server.get_gold_action_sequence())
            self.restore(self.snapshot())
            self._gold = gold
        done = len(self._actions)
        if list(self._actions) != self._gold[:done] or done >= len(self._gold):
            raise NotImplementedError("the gold path was left, and ScienceWorld gives it from the start only")
        return self._gold[done]

    def close(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None

    @property
    def _server(self) -> Any:
        if self._live is None:
            if shutil.which("java") is None:
                raise agentrl.ConfigError("ScienceWorld runs on Java, and there is no `java` here: install Java 17")
            self._live = foreign("scienceworld", extra="scienceworld").ScienceWorldEnv("", envStepLimit=10**9)
        return self._live

    def _choices(self) -> tuple[str, ...] | None:
        if not self._admissible:
            return None
        return tuple(sorted(set(self._server.get_valid_action_object_combinations())))
