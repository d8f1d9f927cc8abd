"""One trajectory, played from its start to its outcome."""

from __future__ import annotations

import dataclasses
import math
import time
import traceback
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from agentrl.data.schedules import Scheduled
from agentrl.data.seeds import turn_seed
from agentrl.data.types import AGENT, EMPTY, Final, Info, Message, Outcome, Trajectory, Turn
from agentrl.errors import ConfigError, ContextOverflow, PluginError
from agentrl.parts.faults import in_words, interrupts
from agentrl.parts.playing import Play, Speakers, Start
from agentrl.parts.words import Reading, Speak
from agentrl.worlds.live_world import Ended, LiveWorld
from agentrl.worlds.speaking import Said, Speaking, Words
from agentrl.worlds.stepping import World
from agentrl.worlds.steps import Step, cost_of

SPEAKS = 8  # spoken turns in a row after which a context is taken to be stuck
ANSWERS = 64  # answers in a row, the world untouched, after which it is


@dataclass(frozen=True)
class Rules:
    """What all episodes of a stage share."""

    words: Words
    step_timeout_s: float
    max_turns: Scheduled[int] | None
    max_tokens: int | None
    success_above: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """The world after a turn: a snapshot, and what it had just shown."""

    snapshot: object
    observation: str
    info: Info


def unplayed(play: Play, attempt: int, outcome: Outcome, error: str = "") -> Trajectory:
    """The trajectory of an attempt before its first turn."""
    start = _start(play) or Start(())
    return Trajectory(
        (), play.task, play.group, outcome, play.member, attempt, play.seed, labels=play.labels, error=error,
        parent=start.parent, branch=start.branch, inherited=len(start.turns),
    )  # fmt: skip


class Episode:
    """Plays one task once. What the world or the machinery does wrong ends in an Outcome, never in a reward."""

    def __init__(self, rules: Rules, world: World, speakers: Speakers, play: Play, attempt: int) -> None:
        self._rules, self._play = rules, play
        self._world = LiveWorld(world, rules.step_timeout_s)
        self._speakers = {**speakers, **play.speakers}
        self._start = _start(play)
        self._turns: list[Turn] = []
        self._speaking: dict[str, Speaking] = {}
        self._tokens = self._answers = 0
        self._forced = play.first
        self._last_step: Step | None = None
        self._max_turns = _least(rules.max_turns.now if rules.max_turns else None, play.max_turns)
        self._max_tokens = _least(rules.max_tokens, play.max_tokens)
        self._blank = unplayed(play, attempt, Outcome.CANCELLED)
        self.moments: dict[int, Moment] = {}

    @property
    def world_seconds(self) -> float:
        """Seconds inside the world."""
        return self._world.seconds

    async def run(self) -> Trajectory:
        """Raises ConfigError and PluginError (mistakes of a run file, a plugin); every other fault is the outcome."""
        started = time.perf_counter()
        task, hidden, error = self._play.task, EMPTY, ""
        try:
            observation, info, hidden = await self._world.reset(task)
            task = dataclasses.replace(task, key=str(info.get("task", f"{task.split}/{task.index}")))
            if self._start is not None:
                observation, info = await self._go_to(self._start, observation, info)
                self._check_limits()
            outcome = await self._turns_of(observation, info)
        except Ended as ended:
            outcome, error = ended.outcome, ended.error
        except ContextOverflow as full:
            outcome, error = Outcome.CONTEXT_LIMIT, str(full)
            if not self._turns:  # nothing was played: there is nothing to train on, and the run file is to blame
                outcome, error = Outcome.POLICY_ERROR, f"the first prompt does not fit: {full}"
        except (ConfigError, PluginError):
            raise
        except BaseException as fault:  # a context, a dialect or a codec may fail in any way, as policies do
            if interrupts(fault):
                raise
            outcome, error = Outcome.POLICY_ERROR, f"{in_words(fault)} (in {_place(fault)})"
        finally:
            for speaking in self._speaking.values():
                speaking.forget()
        step = self._last_step
        if not outcome.failed and (spoiled := self._spoiled()):
            outcome, error = Outcome.POLICY_ERROR, spoiled
        return self._with_success(dataclasses.replace(
            self._blank, turns=tuple(self._turns), task=task, outcome=outcome, hidden=hidden, error=error,
            final=Final(step.observation, step.anchor, step.info) if step is not None else None,
            inherited=min(self._blank.inherited, len(self._turns)), seconds=time.perf_counter() - started,
        ))  # fmt: skip

    def _spoiled(self) -> str:
        """What makes it unfit for training: log-probs that are none. They are looked at together, since turns are short."""
        own = self._turns[self._blank.inherited :]
        if own and not np.isfinite(np.concatenate([turn.completion.logprobs for turn in own])).all():
            number, turn = next((n, t) for n, t in enumerate(own) if not np.isfinite(t.completion.logprobs).all())
            policy = type(self._speakers.get(turn.agent)).__name__
            return f"{policy} gave log-probs that are not finite in turn {self._blank.inherited + number}"
        return ""

    def _with_success(self, played: Trajectory) -> Trajectory:
        """With the success that a setting tells of, where the world told of none."""
        above = self._rules.success_above
        if above is None or not played.turns or played.outcome.failed or played.success is not None:
            return played
        success = played.outcome is Outcome.TERMINATED and played.episode_return > above
        last = dataclasses.replace(played.turns[-1], info={**played.turns[-1].info, "success": success})
        return dataclasses.replace(played, turns=(*played.turns[:-1], last))

    async def _turns_of(self, observation: str, info: Info) -> Outcome:
        until, stop = self._play.until, self._rules.words.dialect.stop
        while True:
            speaking = self._speaker(info)
            seen = speaking.view(observation)
            if isinstance(seen, Speak):
                seen = await self._spoken(speaking, seen, observation, info)
            said = await self._said(speaking, seen, info, stop)
            reading = speaking.read(said[0])
            step = speaking.answer(reading, info)
            if step is not None:
                self._keep("answer", speaking, observation, said, reading, step, info)
                observation = step.observation
                self._answers += 1
                if self._answers == ANSWERS:
                    raise Ended(Outcome.CONTEXT_LIMIT, f"the context answered {ANSWERS} times without a step")
            else:
                before = self._world.seconds
                step = self._last_step = await self._world.step(reading.action)
                seconds = self._world.seconds - before
                self._keep("act", speaking, observation, said, reading, step, info, seconds)
                self._answers = 0
                if self._play.snapshots != "none":
                    await self._remember(step)
                if step.terminated:
                    return Outcome.TERMINATED
                if step.truncated:
                    return Outcome.TURN_LIMIT
                observation, info = step.observation, step.info
            if until is not None and until(self._turns[-1]):
                return Outcome.TURN_LIMIT
            self._check_limits()

    def _speaker(self, info: Info) -> Speaking:
        """Who speaks now."""
        name = str(info.get("speaker", AGENT))
        speaking = self._speaking.get(name)
        if speaking is None:
            if name not in self._speakers:
                raise ConfigError(
                    f"the world names the speaker {name!r}, and this run has {', '.join(map(repr, self._speakers))}; "
                    f"add [policies.{name}]"
                )
            speaking = Speaking(self._rules.words, self._world, self._play, name, self._speakers[name], self._blank.id)
            self._speaking[name] = speaking
        return speaking

    async def _spoken(self, speaking: Speaking, seen: Speak, observation: str, info: Info) -> tuple[Message, ...]:
        """What the speaker reads at last; what the context lets it say before becomes turns of its own."""
        for _ in range(SPEAKS):
            said = await self._said(speaking, seen.messages, info, seen.stop, seen.max_tokens)
            self._keep("speak", speaking, observation, said, _NOTHING, Step.unmoved(info), info)
            self._check_limits()
            after = speaking.view(observation)
            if not isinstance(after, Speak):
                return after
            seen = after
        raise Ended(Outcome.CONTEXT_LIMIT, f"the context let the policy speak {SPEAKS} times without an action")

    def _said(
        self, speaking: Speaking, messages: tuple[Message, ...], info: Info, stop: tuple[str, ...],
        max_tokens: int | None = None,
    ) -> Awaitable[Said]:  # fmt: skip
        seed = turn_seed(self._play.seed, len(self._turns))
        return speaking.say(messages, info, seed, stop, max_tokens=max_tokens, forced=self._forced)

    def _keep(
        self, kind: Literal["act", "speak", "answer"], speaking: Speaking, observation: str, said: Said,
        reading: Reading, step: Step, before: Info, seconds: float = 0.0,
    ) -> None:  # fmt: skip
        """Add a turn; what the world showed `before` its action is kept with it, and what came of that."""
        completion, prompt = said
        info = dict(step.info)
        for key in _NOT_OF_A_TURN:
            info.pop(key, None)
        if "admissible" in before:
            info["admissible"] = before["admissible"]
        invalid = reading.invalid or str(info.pop("invalid", "") or "")
        info["cost"] = cost = cost_of(step.info, seconds, len(completion.ids))
        columns = speaking.spans(completion, reading) if reading.spans else {}
        if kind == "act":
            if self._world.clock.asked:
                cost.update(self._world.clock.asked)
                self._world.clock.asked = {}
            if self._forced is not None:
                columns["mask"] = np.ones(len(completion.ids), np.bool_)
                self._forced = None
        relation, kept = (prompt.relation, prompt.kept) if prompt is not None else ("start", 0)
        turn = Turn(
            observation, completion, reading.action, step.reward, str(before.get("anchor", observation)), step.rewards,
            invalid, info, speaking.name, kind, relation, kept, columns,
        )  # fmt: skip
        self._turns.append(turn)
        speaking.take(turn)
        self._tokens += len(completion.ids)

    async def _remember(self, step: Step) -> None:
        snapshot = getattr(self._world.bare, "snapshot", None)
        if snapshot is not None and (self._play.snapshots == "all" or self._turns[-1].invalid):
            taken = await self._world.call(snapshot)  # in the world's own thread, and its faults are the world's
            self.moments[len(self._turns) - 1] = Moment(taken, step.observation, step.info)

    def _check_limits(self) -> None:
        if len(self._turns) >= self._max_turns:
            raise Ended(Outcome.TURN_LIMIT)
        if self._tokens >= self._max_tokens:
            raise Ended(Outcome.TOKEN_LIMIT)

    async def _go_to(self, start: Start, observation: str, info: Info) -> tuple[str, Info]:
        """Take over the turns before a start; the world gets there by its snapshot, or by replaying their actions."""
        moment = start.snapshot if isinstance(start.snapshot, Moment) else None
        ended = False
        for position, turn in enumerate(start.turns):
            if turn.kind == "act" and moment is not None:
                observation, info = moment.observation, moment.info
            elif turn.kind == "act":
                if ended or turn.observation != observation:
                    how = f": it ended at turn {position - 1}" if ended else f" at turn {position}"
                    raise Ended(Outcome.ENV_ERROR, f"the world did not repeat itself{how}")
                step = await self._world.step(turn.action)
                observation, info, ended = step.observation, step.info, step.terminated or step.truncated
            observation = self._taken_over(turn, observation)
        if moment is not None:
            await self._world.call(lambda: self._world.bare.restore(moment.snapshot))  # type: ignore[attr-defined]
        if start.reseed is not None:
            await self._world.call(lambda: _reseed(self._world.bare, start.reseed or 0))
        return observation, info

    def _taken_over(self, turn: Turn, observation: str) -> str:
        """Keep an inherited turn; its session sees and answers what it did. Gives what is observed after it."""
        speaking = self._speaker({"speaker": turn.agent})
        speaking.view(turn.observation)
        answer = speaking.answer(Reading(turn.action, turn.invalid), EMPTY) if turn.kind != "speak" else None
        self._turns.append(turn)
        speaking.take(turn)
        return observation if answer is None else answer.observation


def _start(play: Play) -> Start | None:
    return play.start or (Start(play.task.prefix) if play.task.prefix else None)


def _place(error: BaseException) -> str:
    """The module and function that raised an exception."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_name}"


def _reseed(env: object, seed: int) -> None:
    reseed = getattr(env, "reseed", None)
    if reseed is None:
        raise ConfigError(f"{type(env).__name__} has no `reseed(seed)`, so its branches would share their luck")
    reseed(seed)


_NOTHING = Reading("")
_NOT_OF_A_TURN = ("anchor", "rewards", "admissible")  # it keeps them elsewhere, or they belong to the next one


def _least(*limits: int | None) -> float:
    """The smallest limit that is set; infinite where none is."""
    return min((limit for limit in limits if limit is not None), default=math.inf)
