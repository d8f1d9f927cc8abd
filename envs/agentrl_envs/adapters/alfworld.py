"""ALFWorld (Shridhar et al. 2021): the official text engine on the real games, where a user has them."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias

import agentrl
from agentrl import Scene
from agentrl_envs.adapters.adapter import Adapter, foreign
from agentrl_envs.adapters.generators import Generators

SPLITS = ("train", "valid_seen", "valid_unseen")
NOTHING_HAPPENS = "Nothing happens."
TaskType: TypeAlias = Literal[
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
]


@agentrl.hookimpl
def register_environments(register: Callable[[str, object], None]) -> None:
    register("alfworld", ALFWorld)


class ALFWorld(Adapter):
    """The games below `path` (default: `$ALFWORLD_DATA`, else `~/.cache/alfworld`, where `alfworld-download` puts them).

    Folders named `train`, `valid_seen` and `valid_unseen` are the splits; without such folders all games are `train`.
    As in the original, unsolvable games and those with movable receptacles or sliced objects are left out.
    `task_types` picks kinds of tasks (empty: all). `expert` asks the original's hand-written expert for its move each
    turn; it needs `traj_data.json` beside a game and slows every step.
    """

    instructions = (
        "You are in a room and have one task, told in the first observation. Each turn, answer with one command: go to "
        "(receptacle) | open (receptacle) | close (receptacle) | take (object) from (receptacle) | move (object) to "
        "(receptacle) | clean (object) with (receptacle) | heat (object) with (receptacle) | cool (object) with "
        "(receptacle) | use (object) | examine (object or receptacle) | inventory | look"
    )

    def __init__(
        self,
        *,
        path: Path | None = None,
        task_types: tuple[TaskType, ...] = (),
        max_turns: int = 50,
        help_in_admissible: bool = True,
        expert: bool = False,
    ) -> None:
        root = path or Path(os.environ.get("ALFWORLD_DATA") or "~/.cache/alfworld")
        self._games = _games(root.expanduser(), task_types)
        self.splits = {split: len(files) for split, files in self._games.items()}
        self.max_turns, self._help, self._expert = max_turns, help_in_admissible, expert
        foreign("alfworld", extra="alfworld")

    def begin(self, task: agentrl.Task) -> Scene:
        self._file = self._games[task.split][task.index]
        if self._live is None:
            self._live = _engine(self._expert)
        self._generators = Generators(task.index)  # the expert draws from the global ones where it is at a loss
        with self._generators.lent():
            self._live.load(str(self._file))
            return self._scene_of(self._live.reset(), over=False)

    def act(self, action: str) -> Scene:
        with self._generators.lent():
            state, _, over = self._live.step(action)
        return self._scene_of(state, over=bool(over))

    def content(self) -> str:
        return self._file.read_text(encoding="utf-8")

    def expert_action(self) -> str:
        """What the original's hand-written expert would do now."""
        if not self._expert:
            raise NotImplementedError("ask for it with expert = true; the games need traj_data.json beside them")
        return str(self._plan[0])

    def close(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None

    def _scene_of(self, state: Any, *, over: bool) -> Scene:
        self._plan = state.get("extra.expert_plan", ["look"])
        listed = tuple(command for command in state["admissible_commands"] if self._help or command != "help")
        won = bool(state["won"])
        text = state.feedback.strip()
        invalid = "not possible here and now" if text == NOTHING_HAPPENS else ""
        return Scene(text, float(won), over, success=won, admissible=None if over else listed, invalid=invalid)


def _engine(expert: bool) -> Any:
    """The official engine without a game, as its own text environment puts it together."""
    module = foreign("alfworld.agents.environment.alfred_tw_env", extra="alfworld")
    textworld = foreign("textworld", extra="alfworld")
    pddl = foreign("textworld.envs", extra="alfworld").PddlEnv
    engine = module.AlfredDemangler(pddl(textworld.EnvInfos(won=True, admissible_commands=True)), shuffle=False)
    return module.AlfredExpert(engine) if expert else engine


@functools.cache
def _games(root: Path, task_types: tuple[str, ...]) -> dict[str, tuple[Path, ...]]:
    """Game files by split, in the order of their paths. Raises ConfigError where there is none."""
    found: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("game.tw-pddl")):
        folders = path.relative_to(root).parts
        name = "/".join(folders)
        if "movable" in name or "Sliced" in name or (task_types and not any(kind in name for kind in task_types)):
            continue
        if json.loads(path.read_text(encoding="utf-8")).get("solvable"):
            split = next((part for part in folders if part in SPLITS), "train")
            found.setdefault(split, []).append(path)
    if not found:
        raise agentrl.ConfigError(
            f"path = {root}: no playable game.tw-pddl below it. `alfworld-download` fetches the original games; "
            "the world `household` needs none"
        )
    return {split: tuple(found[split]) for split in SPLITS if split in found}
