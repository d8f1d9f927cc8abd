"""Sample data and a sample world, which kits put parts under test together with."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from agentrl.data.columns import COLUMNS
from agentrl.data.types import AGENT, Completion, Message, Outcome, Task, Trajectory, Turn
from agentrl.parts.injected import Columns, SavedCodec, Seed, Splits, Texts, Updates
from agentrl.parts.playing import Player, Policy, Voice
from agentrl.parts.run_file import PlayerSettings
from agentrl.parts.weights import Folder, Model, Scorer
from agentrl.parts.wiring import Lazy, Scope
from agentrl.parts.words import Codec, Context, Dialect, Reading
from agentrl.worlds.player import EpisodePlayer
from agentrl.worlds.sessions import View
from agentrl.worlds.stepping import Clock
from agentrl.worlds.text_world import Scene, TextWorld
from agentrl.worlds.thoughts import after_thought

GUEST = "guest"
"""The second speaker of the sample world, where it has two."""
FLOORS = 3
SPLITS = {"train": 100, "valid": 20}


class Stairs(TextWorld):
    """Go up to the floor of a party, and in. What the clock shows comes from the seed, so that plays can be told apart."""

    instructions = "Find the party. Commands: up, in."
    splits = SPLITS
    max_turns = 6
    success_above = 0.0

    def __init__(self, *, speakers: tuple[str, ...] = (AGENT,)) -> None:
        self._speakers = speakers

    def begin(self, task: Task) -> Scene:
        self._goal, self._floor = task.index % FLOORS, 0
        self._clock = int(self.np_random.integers(1_000_000))
        scene = self._scene()
        invitation = f"You are asked to party {self.party(task)}. {scene.observation}"
        return scene.replace(observation=invitation, hidden={"floor": self._goal})

    def act(self, action: str) -> Scene:
        if action == "in":
            return self._scene(arrived=True)
        if action != "up" or self._floor == FLOORS:
            return self._scene("there is nothing like that here")
        self._floor += 1
        return self._scene()

    def party(self, task: Task) -> int:
        """The number of the party; none is given in two splits."""
        return task.index + SPLITS["train"] * (task.split != "train")

    def content(self) -> str:
        return f"party {self.party(self.task)}"

    def expert_action(self) -> str:
        """Up to the party, then in."""
        return "up" if self._floor < self._goal else "in"

    def _scene(self, invalid: str = "", arrived: bool = False) -> Scene:
        here = f"floor {self._floor}, the party on floor {self._goal}"
        return Scene(
            f"You are on {here}. The clock shows {self._clock}.",
            reward=float(arrived and self._floor == self._goal),
            done=arrived,
            admissible=("in",) if self._floor == FLOORS else ("up", "in"),
            invalid=invalid,
            anchor=here,
            info={"speaker": self._speakers[self.turn % len(self._speakers)]},
        )


class WholeText:
    """A dialect: the text after a thought, without blanks around it, is the action."""

    instructions = ""
    stop: tuple[str, ...] = ()

    def write(self, action: str) -> str:
        return action

    def read(self, text: str) -> Reading:
        spoken = after_thought(text)
        action = spoken.text.strip()
        return Reading(action, "" if action else spoken.error or "nothing was said")


def whole_history(
    instructions: str, turns: Sequence[Turn], observation: str, previous: tuple[Message, ...]
) -> tuple[Message, ...]:
    """A context: the instructions, and everything that was said."""
    messages = [Message("system", instructions)]
    for turn in turns:
        said = Message("assistant", turn.completion.text, completion=turn.completion)
        messages += [Message("user", turn.observation), said]
    return (*messages, Message("user", observation))


class SampleVoice:
    """Says the same whatever it is asked."""

    def say(self, messages: Sequence[Message], *, seed: int, timeout_s: float = 60.0) -> str:
        return "Yes."


class _Stairs:
    """Makes the sample world for a player."""

    threaded = False

    def __init__(self, speakers: tuple[str, ...]) -> None:
        self._speakers = speakers

    def __call__(self, clock: Clock) -> Stairs:
        return Stairs(speakers=self._speakers)


def sample_player(
    model: Model | None = None, *, speakers: tuple[str, ...] = (AGENT,), context: Context | View = whole_history
) -> EpisodePlayer:
    """Plays the sample world; `model` writes the ids of demonstrators."""
    return EpisodePlayer(_Stairs(speakers), context, WholeText(), PlayerSettings(retries=0), model)


def sample_scope(parts: Mapping[object, object] | None = None, *, seed: int = 0) -> Scope:
    """What a part may ask for without a run around it; `parts` replace those of the samples, by contract.

    What is made inside it is closed with its `stack`.
    """
    from agentrl.testing.sample_model import SampleModel, SamplePolicy

    def folder() -> Folder:
        made = Path(tempfile.mkdtemp(prefix="agentrl-check-"))
        scope.stack.callback(shutil.rmtree, made, ignore_errors=True)
        return Folder(made)

    voice: Voice = SampleVoice()
    scope = Scope(
        {
            Seed: Seed(seed),
            Updates: Updates(10),
            Splits: Splits(SPLITS),
            Columns: Columns(COLUMNS),
            Texts: Texts(("You see a lamp.", "go to lamp 1", Stairs.instructions, "up", "in")),
            SavedCodec: SavedCodec(),
            Folder: Lazy(folder),
            Dialect: WholeText(),
            Model: Lazy(lambda: SampleModel(seed)),
            Codec: Lazy(lambda: getattr(scope.get(Model), "codec", None)),
            Scorer: Lazy(lambda: scope.get(Model)),
            Policy: Lazy(lambda: SamplePolicy(SampleModel(seed))),
            Player: Lazy(sample_player),
            **(parts or {}),
        },
        voice=lambda policy: voice,
    )
    return scope


# ----------------------------------------------------------------------------------------- trajectories made by hand


def sample_trajectories(seed: int = 0, groups: int = 4, members: int = 6) -> list[Trajectory]:
    """Seeded trajectories of 1 to 7 turns with shared anchors, sparse rewards, and one group without variance."""
    random = np.random.default_rng(seed)
    made = []
    for group in range(groups):
        for member in range(members):
            length = 3 if group == 0 else int(random.integers(1, 8))
            reward = 1.0 if group == 0 else float(random.integers(0, 2))
            turns = tuple(
                _turn(f"s{int(random.integers(4))}", reward if t == length - 1 else 0.0, random) for t in range(length)
            )
            made.append(Trajectory(turns, Task("train", group), f"g{group}", Outcome.TERMINATED, member=member))
    return made


def sample_branches(seed: int = 0) -> list[Trajectory]:
    """One group: four trajectories of four turns, and two branches off turn 1 of the first."""
    random = np.random.default_rng(seed)
    roots = [sample_line(4, member, reward=float(member % 2), random=random) for member in range(4)]
    root = roots[0]
    branches = [
        dataclasses.replace(
            root,
            turns=(*root.turns[:2], *sample_line(2, 0, reward=float(number), random=random).turns),
            parent=f"{root.id}@1",
            inherited=2,
            branch=number,
        )
        for number in range(2)
    ]
    return [*roots, *branches]


def sample_line(length: int, member: int, *, reward: float, random: np.random.Generator | None = None) -> Trajectory:
    """A trajectory of one group whose last turn has a reward."""
    random = random or np.random.default_rng(member)
    turns = tuple(
        _turn(f"s{int(random.integers(3))}", reward if t == length - 1 else 0.0, random) for t in range(length)
    )
    return Trajectory(turns, Task("train", 0), "g0", Outcome.TERMINATED, member=member)


def with_spoken_turns(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """The same, with a spoken turn before every second action and an answered one before every third."""
    random = np.random.default_rng(5)
    made = []
    for trajectory in trajectories:
        turns: list[Turn] = []
        for position, turn in enumerate(trajectory.turns):
            spoken = dataclasses.replace(_turn(turn.anchor, 0.0, random), action="", agent=turn.agent)
            if position % 2 == 1:
                turns.append(dataclasses.replace(spoken, kind="speak"))
            if position % 3 == 2:
                turns.append(dataclasses.replace(spoken, kind="answer"))
            turns.append(turn)
        made.append(dataclasses.replace(trajectory, turns=tuple(turns)))
    return made


def with_two_speakers(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """The same turns, said by two speakers in turn."""
    names = (AGENT, GUEST)
    return [
        dataclasses.replace(
            t, turns=tuple(dataclasses.replace(turn, agent=names[i % 2]) for i, turn in enumerate(t.turns))
        )
        for t in trajectories
    ]


def _turn(anchor: str, reward: float, random: np.random.Generator) -> Turn:
    ids = random.integers(0, 100, size=2).astype(np.int32)
    completion = Completion(
        "go", np.zeros(1, np.int32), ids, np.full(2, -1.0, np.float32), None, np.zeros(2, np.int32),
        square=np.full(2, 0.25, np.float32),
    )  # fmt: skip
    parts = {"goal": reward, "form": 0.0}
    return Turn(anchor, completion, "go", reward, anchor, parts, columns={"value": 0.1 * len(anchor)})
