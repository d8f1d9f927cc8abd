"""TextWorld (Côté et al. 2018): its generated quests, or any interactive fiction it can run."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import agentrl
from agentrl import Scene
from agentrl_envs.adapters.adapter import Adapter, foreign
from agentrl_envs.cache import cache_folder, filled

_GAMES = (".z3", ".z4", ".z5", ".z6", ".z7", ".z8", ".ulx")
_BANNER = set(" _|\\/$>")
_NOT_TYPED = re.compile(r"[^a-zA-Z0-9 ,.'\"-]+")
_META = ("save", "restor", "restar", "quit", "script", "unscri", "transc", "record", "replay")
VALID_SEEDS = 2**24


@agentrl.hookimpl
def register_environments(register: Callable[[str, object], None]) -> None:
    register("textworld", TextWorld)


class TextWorld(Adapter):
    """Quests of `quest_length` actions among `rooms` rooms and `objects` objects, one per task, made when first played
    (a few seconds each) and kept in `cache` (default: the user's cache folder).

    With `games`, a file or a folder, the games found there are played instead; folders inside it whose names are
    `train`, `valid` … are splits. The reward is the change of the score, the highest score being 1.
    """

    resources = ("_live", "_module", "_state")
    instructions = "You play a text adventure. Each turn, answer with one command, as in: look | go east | take lamp."

    def __init__(
        self,
        *,
        games: Path | None = None,
        rooms: int = 5,
        objects: int = 10,
        quest_length: int = 5,
        cache: Path | None = None,
        max_turns: int = 50,
        admissible: bool = True,
    ) -> None:
        self.open()
        self.max_turns, self._admissible = max_turns, admissible
        self._recipe = {"nb_rooms": rooms, "nb_objects": objects, "quest_length": quest_length}
        self._cache = cache
        self._files = None if games is None else _found(games)
        self.blocks = games is None
        self.splits = (
            {"train": VALID_SEEDS, "valid": 1_000}
            if self._files is None
            else {split: len(files) for split, files in self._files.items()}
        )

    def begin(self, task: agentrl.Task) -> Scene:
        if self._files is None:
            self._file = self._made(task.index + VALID_SEEDS * (task.split == "valid"))
        else:
            self._file = self._files[task.split][task.index]
        self.close()
        wanted = dict.fromkeys(("won", "lost", "score", "max_score", "policy_commands"), True)
        infos = self._module.EnvInfos(**wanted, admissible_commands=self._admissible)
        self._live = self._module.start(str(self._file), infos)
        self._score = 0.0
        return self._scene_of(self._live.reset(), over=False)

    def act(self, action: str) -> Scene:
        line = " ".join(_NOT_TYPED.sub(" ", action).split())[:190]  # a backslash would steer the interpreter itself
        if not line or _is_meta(line):
            about = "commands about the program (save, restart, quit …) are not played" if line else "nothing to do"
            return self.scene.replace(reward=0.0, invalid=about)
        state, _, over = self._live.step(line)
        return self._scene_of(state, over=bool(over))

    def content(self) -> str:
        return hashlib.blake2b(self._file.read_bytes()).hexdigest()

    def expert_action(self) -> str:
        """The next command of a shortest way to win; there is none for games that TextWorld did not make."""
        commands = self._state.get("policy_commands")
        if not commands:
            raise NotImplementedError("TextWorld knows no way to win from here")
        return str(commands[0])

    def close(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None

    def open(self) -> None:
        self._module = foreign("textworld", extra="textworld")

    def _scene_of(self, state: Any, *, over: bool) -> Scene:
        self._state = state
        score = float(state.get("score") or 0) / float(state.get("max_score") or 1)
        reward, self._score = score - self._score, score
        listed = None if over else state.get("admissible_commands")
        admissible = tuple(listed) if listed and self._admissible else None
        return Scene(_clean(state.feedback), reward, over, success=bool(state.get("won")), admissible=admissible)

    def _made(self, seed: int) -> Path:
        """The game of a seed, from the cache or made now and put into the cache as a whole."""
        name = "-".join(f"{value}" for value in (*self._recipe.values(), seed))
        folder = cache_folder("textworld", f"{self._module.__version__}-{name}", self._cache)
        return filled(folder, functools.partial(self._make, seed)) / "game.z8"

    def _make(self, seed: int, folder: Path) -> None:
        options = self._module.GameOptions()
        options.seeds, options.path = seed, str(folder / "game.z8")
        for setting, value in self._recipe.items():
            setattr(options, setting, value)
        self._module.make(options)


def _found(games: Path) -> dict[str, list[Path]]:
    """Game files by split. Raises ConfigError where there is none."""
    games = games.expanduser()
    if games.is_file():
        return {"train": [games]}
    found: dict[str, list[Path]] = {}
    for path in sorted(path for path in games.rglob("*") if path.suffix in _GAMES):
        inner = path.relative_to(games).parts
        found.setdefault(inner[0] if len(inner) > 1 else "train", []).append(path)
    if not found:
        raise agentrl.ConfigError(f"games = {games}: no game file there; allowed are {', '.join(_GAMES)}")
    return {split: found[split] for split in sorted(found, key=lambda split: (split != "train", split))}


def _is_meta(line: str) -> bool:
    """Whether any of the commands on a line would write files or end the program; old games know words by 6 letters."""
    firsts = [part.split()[0] for part in re.split(r"[.,]|\b(?:then|and)\b", line.casefold()) if part.strip()]
    return any(word == "q" or word.startswith(_META) for word in firsts)


def _clean(feedback: str) -> str:
    """Without the banner of dollar signs and the status line that follows the prompt."""
    lines = [line.rstrip() for line in feedback.split("\n")]
    while lines and (lines[-1].startswith(">") or not lines[-1]):
        lines.pop()
    kept = [line for line in lines if not line or not set(line) <= _BANNER]
    text = "\n".join(kept).strip()
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text
