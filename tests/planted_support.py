"""Sound parts that planted faults change in one place each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from agentrl import (
    Advantages,
    Answer,
    ContextOverflow,
    Draw,
    Group,
    LossBatch,
    Message,
    Play,
    Player,
    Reading,
    Speak,
    Speakers,
    Start,
    Task,
    Trajectory,
    Turn,
    after_thought,
    groups,
    seed_of,
)
from agentrl.testing.sample_model import SampleModel
from agentrl.testing.samples import whole_history

Count = Callable[[Sequence[Message]], int]
MODEL, OTHER = SampleModel(0), SampleModel(1)
"""The model that planted policies play with, and one with other weights."""


class History:
    """A context with sessions: everything that was said."""

    def begin(self, *, instructions: str, key: str, seed: int, speaker: str, count: Count) -> object:
        self.instructions, self.count = instructions, count
        return _Session(self)

    def shown(self, turns: Sequence[Turn], observation: str) -> tuple[Message, ...]:
        return whole_history("rules", turns, observation, ())


class _Session:
    instructions = ""
    tools = ()

    def __init__(self, context: History) -> None:
        self._context = context

    def view(self, turns: Sequence[Turn], observation: str) -> tuple[Message, ...]:
        return self._context.shown(turns, observation)

    def answer(self, reading: Reading) -> None:
        return None


class Bounded(History):
    """A context that says so where its prompt does not fit."""

    def shown(self, turns: Sequence[Turn], observation: str) -> tuple[Message, ...]:
        messages = super().shown(turns, observation)
        if self.count(messages) > 10_000:
            raise ContextOverflow("more than 10,000 tokens")
        return messages


class Summaries(History):
    """A context that lets the policy write a summary once the prompt is too long, and shows what came since."""

    def begin(self, *, instructions: str, key: str, seed: int, speaker: str, count: Count) -> object:
        return _Summarised(instructions, count)


class _Summarised:
    instructions = ""
    tools = ()

    def __init__(self, instructions: str, count: Count) -> None:
        self._instructions, self._count = instructions, count

    def view(self, turns: Sequence[Turn], observation: str) -> tuple[Message, ...] | Speak:
        last = max((i for i, turn in enumerate(turns) if turn.kind == "speak"), default=-1)
        shown = list(whole_history(self._instructions, turns[last + 1 :], observation, ()))
        if last >= 0:
            summary = turns[last].completion
            shown.insert(1, Message("assistant", summary.text, completion=summary))
        if self._count(shown) > 100 and last + 1 < len(turns):
            return Speak((*shown, Message("user", "Sum up what happened.")))
        return tuple(shown)

    def answer(self, reading: Reading) -> Answer | None:
        return Answer("You wrote that down.") if reading.action.startswith("note ") else None


class Brackets:
    """A dialect: `<a>…</a>`."""

    instructions = "Write <a>action</a>."
    stop = ("</a>",)

    def write(self, action: str) -> str:
        return f"<a>{action}</a>"

    def read(self, text: str) -> Reading:
        spoken = after_thought(text, self.spans)
        _, opened, rest = spoken.text.partition("<a>")
        action, closed, _ = rest.partition("</a>")
        if not opened or not closed or not action.strip():
            return Reading("", spoken.error or "no <a>action</a>")
        return Reading(action)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The first action of a text."""
        start, end = text.find("<a>"), text.find("</a>")
        return [(start, end)] if 0 <= start < end else []


class Repeats:
    """A collector: a task is played `size` times."""

    def __init__(self, player: Player, size: int = 4) -> None:
        self.player, self.size = player, size

    async def collect(self, draw: Draw, speakers: Speakers) -> list[Group]:
        plays = [self.play(draw, member) for member in range(draw.copies or self.size)]
        return [Group(str(draw.number), draw.number, tuple(await self.player.play(speakers, plays)))]

    def play(self, draw: Draw, member: int) -> Play:
        return Play(draw.task, str(draw.number), member, seed_of(draw.seed, member))


class Branches(Repeats):
    """A collector that goes on once more from after the first turn of every trajectory that has two."""

    async def collect(self, draw: Draw, speakers: Speakers) -> list[Group]:
        [group] = await super().collect(draw, speakers)
        plays = [
            Play(
                draw.task,
                group.key,
                root.member,
                seed_of(draw.seed, root.member, "branch"),
                start=Start(root.turns[:1], parent=f"{root.id}@0"),
            )
            for root in group.trajectories
            if not root.outcome.failed and len(root.turns) > 1
        ]
        branches = await self.player.play(speakers, plays)
        return [Group(group.key, group.draw, (*group.trajectories, *branches))]


class InTurn:
    """A sampler: one task after the other, from a place that the seed decides."""

    def __init__(self, seed: int = 0) -> None:
        self.place, self.seed = 0, seed

    def next(self, update: int) -> list[Task]:
        self.place += 1
        return [Task("train", (self.seed + self.place) % 100, seed=self.place)]

    def state(self) -> dict[str, int]:
        return {"place": self.place, "seed": self.seed}

    def restore(self, state: dict[str, int]) -> None:
        self.place, self.seed = state["place"], state["seed"]


def against_the_mean(trajectories: Sequence[Trajectory]) -> Advantages:
    """A credit: return minus the mean of the group, for every turn."""
    advantages: Advantages = [np.zeros(0)] * len(trajectories)
    for members in groups(trajectories).values():
        mean = np.mean([trajectories[i].episode_return for i in members])
        for i in members:
            advantages[i] = np.full(len(trajectories[i].turns), trajectories[i].episode_return - mean)
    return advantages


def halved(trajectories: Sequence[Trajectory], advantages: Advantages) -> Advantages:
    """A shaper: half of every advantage."""
    return [[0.5 * np.asarray(number, np.float64) for number in advantage] for advantage in advantages]


class PolicyGradient:
    """A loss: −Σ weight · ratio · advantage."""

    aggregation = "token"
    scope = "sampled"
    unit = "token"
    needs = frozenset({"behaviour"})
    skips_zero = True

    def __call__(self, batch: LossBatch) -> tuple[object, dict[str, float]]:
        ratio = (batch.logprobs - batch.behaviour).clamp(-20, 20).exp()
        loss = -(batch.weight * ratio * batch.advantages).sum()
        return loss, {"ratio": float((batch.weight * ratio).sum().detach())}


class Lengths:
    """A judge: how long a turn was."""

    async def annotate(self, trajectories: Sequence[Trajectory]) -> None:
        for trajectory in trajectories:
            for turn in trajectory.turns[trajectory.inherited :]:
                known = turn.columns.get("judged") or {}
                turn.columns["judged"] = {**known, "length": float(len(turn.completion.text))}  # type: ignore[dict-item]


class Lines:
    """A logger: keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, dict[str, float]]] = []

    def log(self, update: int, metrics: dict[str, float]) -> None:
        self.lines.append((update, dict(metrics)))

    def close(self) -> None:
        self.lines.clear()
