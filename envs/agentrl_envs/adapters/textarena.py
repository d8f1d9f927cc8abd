"""TextArena (Guertler et al. 2025): its games for one player."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import agentrl
from agentrl import Scene
from agentrl_envs.adapters.adapter import Adapter, foreign
from agentrl_envs.adapters.generators import Generators

SEEDS = 2**30


@agentrl.hookimpl
def register_environments(register: Callable[[str, object], None]) -> None:
    register("textarena", TextArena)


class TextArena(Adapter):
    """The game `id` made with `settings`. A move stands in square brackets, which are added where they are missing.

    The agent is shown what is new, not the whole dialogue each turn. The reward comes at the end and is the game's own;
    a reward of 1 is a success. As in the original, a second wrong move in a row loses. A task is a seed; `valid` keeps
    that many apart as a split, which is of use where the game draws its position from the seed.

    Games for more players are refused, and so are those that fetch word lists or ask a judge over the network where
    these cannot be had.
    """

    resources = ("_live", "_generators")

    def __init__(
        self,
        *,
        id: str = "Mastermind-v0",  # noqa: A002 – as for all adapters
        settings: dict[str, Any] | None = None,
        max_turns: int = 100,
        valid: int = 0,
    ) -> None:
        module = foreign("textarena", extra="textarena")
        names = foreign("textarena.envs.registration", extra="textarena").ENV_REGISTRY
        if id not in names:
            games = [name for name in names if not name.endswith(("-raw", "-train"))]
            raise agentrl.ConfigError(f"TextArena has no game {id!r}. {agentrl.did_you_mean(id, games)}")
        self._id, self._raw = id, f"{id}-raw" if f"{id}-raw" in names else id
        self.max_turns = max_turns
        if valid:
            self.splits = {"train": SEEDS, "valid": valid}
        self.instructions = "You play a game. Each turn, answer with your move in square brackets."
        self._message = module.ObservationType
        self._settings = settings or {}
        self._game()

    def begin(self, task: agentrl.Task) -> Scene:
        self._seed = task.index + SEEDS * (task.split == "valid")
        self._generators = Generators(self._seed)
        with self._generators.lent():
            self._live = self._game()
            self._live.reset(num_players=1, seed=self._seed)
            return Scene(self._heard()[0])

    def act(self, action: str) -> Scene:
        with self._generators.lent():
            over, _ = self._live.step(action if "[" in action else f"[{action}]")
            observation, refused = self._heard()
            if not over:
                return Scene(observation, invalid=refused)
            rewards, ending = self._live.close()
        reward, told = float(rewards[0]), ending[0]
        observation = "\n".join(filter(None, [observation, str(told.get("reason") or "")]))
        invalid = str(told.get("reason")) if told.get("invalid_move") else ""
        return Scene(observation, reward, done=True, success=reward >= 1, invalid=invalid)

    def content(self) -> str:
        """The game and its seed: much is drawn only later."""
        return f"{self._id} {self._settings} {self._seed}"

    def _game(self) -> Any:
        """Raises ConfigError for a game that cannot be played here."""
        quiet = contextlib.redirect_stdout(io.StringIO())
        with Generators(0).lent(), quiet:
            try:
                game = foreign("textarena", extra="textarena").make(self._raw, **self._settings)
                game.reset(num_players=1, seed=0)
            except Exception as error:  # its games fail in many ways: missing word lists, judges, player counts, syntax
                reason = str(error).strip().partition("\n")[0][:200]
                raise agentrl.ConfigError(
                    f"TextArena cannot make {self._id!r} for one player: {type(error).__name__}: {reason}"
                ) from error
        return game

    def _heard(self) -> tuple[str, str]:
        """What the game said since the last time, and why it refused the last move ("" if it did not)."""
        _, messages = self._live.get_observation()
        if isinstance(messages, str):
            return messages, ""
        heard = [(text, kind) for _, text, kind in messages if kind is not self._message.PLAYER_ACTION]
        refused = [text for text, kind in heard if kind is self._message.GAME_ADMIN and "invalid move" in text]
        return "\n".join(text.strip() for text, _ in heard), refused[-1] if refused else ""
