"""Trajectories of the sample world that were really played, with the ids of whatever model they are for."""

from __future__ import annotations

import dataclasses

import gymnasium
import numpy as np

from agentrl.data.seeds import seed_of
from agentrl.data.types import AGENT, Batch, Completion, Group, Info, Task, Trajectory, Turn, groups
from agentrl.errors import ConfigError, PolicyFault
from agentrl.parts.playing import Dialogue, Play
from agentrl.parts.weights import Model, Question, Scorer, Scores, Version, Weights
from agentrl.testing.report import finish
from agentrl.testing.sample_model import SampleModel
from agentrl.testing.samples import GUEST, sample_player


class Wanderer:
    """A demonstrator: any admissible action."""

    def act(self, world: gymnasium.Env[str, str], info: Info, seed: int) -> str:
        """Raises ConfigError for a world that lists none."""
        admissible = info.get("admissible")
        if not isinstance(admissible, tuple):
            raise ConfigError('whoever wanders about chooses among info["admissible"], which this world does not give')
        return str(admissible[int(np.random.default_rng(seed).integers(len(admissible)))])


class Unreachable:
    """A scorer and policy that always fail, as a service that is down."""

    accepts: frozenset[type] = frozenset()
    exact: bool | None = None
    repeatable = False
    version: Version | None = None

    async def act(self, dialogue: Dialogue) -> Completion:
        raise PolicyFault("the sample service is down, as it was told to be")

    async def score(self, questions: object, **options: object) -> list[Scores]:
        raise PolicyFault("the sample service is down, as it was told to be")

    async def refresh(self, weights: Weights) -> None:
        """Nothing to take over."""

    def forget(self, key: str) -> None:
        """Nothing is kept."""


def sample_plays(
    model: Model | None = None, *, seed: int = 0, tasks: int = 2, members: int = 3, speakers: tuple[str, ...] = (AGENT,)
) -> list[Trajectory]:
    """`members` plays of each of `tasks` tasks by somebody who wanders about; not for use inside an event loop.

    The model's codec writes the ids; their log-probs are the model's, where it scores.
    """
    return finish(played(model or SampleModel(), seed=seed, tasks=tasks, members=members, speakers=speakers))


def sample_batch(model: Model, update: int = 0, *, speakers: tuple[str, ...] = (AGENT,)) -> Batch:
    """The same as a batch; the speaker `agent` is trained."""
    trajectories = sample_plays(model, seed=update, speakers=speakers)
    return as_batch(trajectories, update)


def as_batch(trajectories: list[Trajectory], update: int = 0) -> Batch:
    """Trajectories in their groups."""
    members = groups(trajectories)
    return Batch(
        update,
        tuple(Group(key, n, tuple(trajectories[i] for i in own)) for n, (key, own) in enumerate(members.items())),
    )


async def played(model: Model, *, seed: int, tasks: int, members: int, speakers: tuple[str, ...]) -> list[Trajectory]:
    """`sample_plays`, awaited."""
    plays = [
        Play(Task("train", seed + task, seed=seed), f"{seed}.{task}", member, seed_of(seed, task, member))
        for task in range(tasks)
        for member in range(members)
    ]
    player = sample_player(model, speakers=speakers)
    trajectories = await player.play({AGENT: Wanderer(), GUEST: Wanderer()}, plays)
    player.close()
    return [await _scored(trajectory, model) for trajectory in trajectories]


async def _scored(trajectory: Trajectory, model: Model) -> Trajectory:
    if not isinstance(model, Scorer):
        return trajectory
    questions = [Question(turn.completion.prompt_ids, turn.completion.ids) for turn in trajectory.turns]
    scores = await model.score(questions)
    turns = tuple(_with(turn, score) for turn, score in zip(trajectory.turns, scores, strict=True))
    return dataclasses.replace(trajectory, turns=turns)


def _with(turn: Turn, score: Scores) -> Turn:
    return dataclasses.replace(turn, completion=dataclasses.replace(turn.completion, logprobs=score.logprobs))
