"""One trajectory, played from its start to its outcome."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from agentrl.data.schedules import Scheduled
from agentrl.data.seeds import turn_seed
from agentrl.data.types import AGENT, EMPTY, Completion, Final, Info, Message, Outcome, Task, Trajectory, Turn
from agentrl.errors import ConfigError, ContextOverflow, PluginError, SandboxFault
from agentrl.parts.contracts import (
    Codec,
    Context,
    Demonstrator,
    Dialect,
    Dialogue,
    Model,
    Play,
    Prompt,
    Reading,
    Session,
    Speak,
    Speaker,
    Speakers,
    Start,
    Tool,
)
from agentrl.worlds.sessions import View, begin_session
from agentrl.worlds.stepping import World
from agentrl.worlds.steps import Step, checked_mapping, checked_reset, checked_step, cost_of

log = logging.getLogger(__name__)
Result = TypeVar("Result")
SPEAKS = 8  # spoken turns in a row after which a context is taken to be stuck


@dataclass(frozen=True)
class Rules:
    """What all episodes of a stage share."""

    context: Context | View
    dialect: Dialect
    model: Model | None  # writes the ids of speakers that have none of their own
    step_timeout_s: float
    max_turns: Scheduled[int] | None
    max_tokens: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """The world after a turn: a snapshot, and what it had just shown."""

    snapshot: object
    observation: str
    info: Info


class _Ended(Exception):
    """The trajectory is over, with this outcome."""

    def __init__(self, outcome: Outcome, error: str = "") -> None:
        self.outcome, self.error = outcome, error


class _View:
    """What one speaker has of a trajectory: its session, its own turns, its last completion."""

    def __init__(
        self, name: str, speaker: Speaker, codec: Codec | None, session: Session, tools: tuple[Tool, ...], key: str
    ) -> None:
        self.name, self.speaker, self.codec, self.session = name, speaker, codec, session
        self.tools, self.key = tools, key
        self.shows = not inspect.iscoroutinefunction(speaker.act)  # a demonstrator, which looks at the world itself
        self.turns: list[Turn] = []
        self.last: Completion | None = None

    def take(self, turn: Turn) -> None:
        self.turns.append(turn)
        self.last = turn.completion


class Episode:
    """Plays one task once. What the world or the machinery does wrong ends in an Outcome, never in a reward."""

    def __init__(self, rules: Rules, world: World, speakers: Speakers, play: Play, attempt: int) -> None:
        self._rules, self._world, self._play = rules, world, play
        self._speakers = {**speakers, **play.speakers}
        self._env = world.env.unwrapped
        self._turns: list[Turn] = []
        self._views: dict[str, _View] = {}
        self._tokens = 0
        self._forced = play.first
        self._step_before: Step | None = None
        self._max_turns = _least(rules.max_turns.now if rules.max_turns else None, play.max_turns)
        self._max_tokens = _least(rules.max_tokens, play.max_tokens)
        self.world_seconds = 0.0
        self.moments: dict[int, Moment] = {}
        start = play.start or (Start(play.task.prefix) if play.task.prefix else None)
        self._start = start
        self._blank = Trajectory(
            (), play.task, play.group, Outcome.CANCELLED, play.member, attempt, play.seed,
            parent=start.parent if start else None, branch=start.branch if start else 0,
            inherited=len(start.turns) if start else 0, labels=play.labels,
        )  # fmt: skip
        self._key = self._blank.id

    async def run(self) -> Trajectory:
        """Raises ConfigError and PluginError (mistakes of a run file, a plugin); every other fault is the outcome."""
        started = time.perf_counter()
        task, error = self._play.task, ""
        hidden: Info = EMPTY
        try:
            observation, info = await self._reset(task)
            task = dataclasses.replace(task, key=str(info.get("task", f"{task.split}/{task.index}")))
            if "hidden" in info:
                hidden = checked_mapping(info["hidden"])  # it is, or the reset had failed
                info = {key: value for key, value in info.items() if key != "hidden"}
            if self._start is not None:
                observation, info = await self._go_to(self._start, observation, info)
                self._check_limits()
            outcome = await self._turns_of(observation, info)
        except _Ended as ended:
            outcome, error = ended.outcome, ended.error
        finally:
            for view in self._views.values():
                if not view.shows:
                    view.speaker.forget(view.key)  # type: ignore[union-attr]
        if outcome.failed:
            log.warning("trajectory %s failed: %s", self._key, error)
        step = self._step_before
        return dataclasses.replace(
            self._blank, turns=tuple(self._turns), task=task, outcome=outcome, hidden=hidden, error=error,
            final=Final(step.observation, step.anchor, step.info) if step is not None else None,
            inherited=min(self._blank.inherited, len(self._turns)), seconds=time.perf_counter() - started,
        )  # fmt: skip

    async def _turns_of(self, observation: str, info: Info) -> Outcome:
        until, stop = self._play.until, self._rules.dialect.stop
        while True:
            view = self._view(str(info.get("speaker", AGENT)))
            seen = self._seen(view, observation)
            if isinstance(seen, Speak):
                seen = await self._spoken(view, seen, observation, info)
            completion, prompt = await self._said(view, seen, info, stop)
            reading = self._read(completion)
            answer = view.session.answer(reading)
            if answer is not None:
                step = Step.unmoved(info, answer)
                self._keep(_turn(observation, completion, prompt, reading, "answer", view, step, info), view)
                observation = answer.observation
            else:
                step, seconds = await self._step(reading.action)
                turn = _turn(observation, completion, prompt, reading, "act", view, step, info, seconds)
                if self._world.clock.asked:
                    turn.info["cost"].update(self._world.clock.asked)  # type: ignore[attr-defined]
                    self._world.clock.asked = {}
                self._keep(turn, view)
                self._step_before = step
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

    def _keep(self, turn: Turn, view: _View) -> None:
        if self._forced is not None and turn.kind == "act":
            turn.columns["mask"] = np.ones(len(turn.completion.ids), np.bool_)
            self._forced = None
        self._turns.append(turn)
        view.take(turn)
        self._tokens += len(turn.completion.ids)

    async def _remember(self, step: Step) -> None:
        snapshot = getattr(self._env, "snapshot", None)
        if snapshot is not None and (self._play.snapshots == "all" or self._turns[-1].invalid):
            taken = await self._in_world(snapshot)  # in the world's own thread, and its faults are the world's
            self.moments[len(self._turns) - 1] = Moment(taken, step.observation, step.info)

    def _check_limits(self) -> None:
        if len(self._turns) >= self._max_turns:
            raise _Ended(Outcome.TURN_LIMIT)
        if self._tokens >= self._max_tokens:
            raise _Ended(Outcome.TOKEN_LIMIT)

    # ------------------------------------------------------------------------------------------- who sees and says

    def _view(self, name: str) -> _View:
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = self._new_view(name)
        return view

    def _new_view(self, name: str) -> _View:
        speaker = self._speakers.get(name)
        if speaker is None:
            raise ConfigError(
                f"the world names the speaker {name!r}, and this run has {', '.join(map(repr, self._speakers))}; "
                f"add [policies.{name}]"
            )
        model = self._rules.model
        codec: Codec | None = getattr(speaker, "codec", None) or (model.codec if model is not None else None)
        key = self._key if name == AGENT else f"{self._key}/{name}"
        wanted = str(getattr(self._env, "instructions", "") or "")
        tools = tuple(getattr(self._env, "tool_schemas", ()) or ())
        view: _View | None = None

        def count(messages: Sequence[Message]) -> int:
            own, after = (view.tools, view.last) if view is not None else (tools, None)
            return len(codec.prompt(messages, tools=own, after=after).ids) if codec is not None else 0

        session = begin_session(
            self._play.context or self._rules.context,
            instructions="\n\n".join(part for part in (wanted, self._rules.dialect.instructions) if part),
            key=key,
            seed=self._play.seed,
            speaker=name,
            count=count,
        )
        view = _View(name, speaker, codec, session, tools + tuple(session.tools), key)
        return view

    def _seen(self, view: _View, observation: str) -> tuple[Message, ...] | Speak:
        try:
            return view.session.view(view.turns, observation)
        except ContextOverflow as error:
            raise self._too_long(error) from None

    def _too_long(self, error: ContextOverflow) -> _Ended:
        if not self._turns:  # nothing was played: there is nothing to train on, and the run file is to blame
            return _Ended(Outcome.POLICY_ERROR, f"the first prompt does not fit: {error}")
        return _Ended(Outcome.CONTEXT_LIMIT, str(error))

    async def _spoken(self, view: _View, seen: Speak, observation: str, info: Info) -> tuple[Message, ...]:
        """What the speaker reads at last; what the context lets it say before becomes turns of its own."""
        for _ in range(SPEAKS):
            completion, prompt = await self._said(view, seen.messages, info, seen.stop, seen.max_tokens)
            step = Step.unmoved(info)
            self._keep(_turn(observation, completion, prompt, _NOTHING, "speak", view, step, info), view)
            self._check_limits()
            after = self._seen(view, observation)
            if not isinstance(after, Speak):
                return after
            seen = after
        raise _Ended(Outcome.CONTEXT_LIMIT, f"the context let the policy speak {SPEAKS} times without an action")

    async def _said(
        self,
        view: _View,
        messages: tuple[Message, ...],
        info: Info,
        stop: tuple[str, ...],
        max_tokens: int | None = None,
    ) -> tuple[Completion, Prompt | None]:
        seed = turn_seed(self._play.seed, len(self._turns))
        try:
            prompt = view.codec.prompt(messages, tools=view.tools, after=view.last) if view.codec is not None else None
            if self._forced is not None:
                return self._encoded(view, prompt, self._forced, stop), prompt
            if view.shows:
                return self._encoded(view, prompt, await self._shown(view, info, seed), stop), prompt
            dialogue = Dialogue(messages, view.key, seed, prompt, view.tools, info, stop, max_tokens)
            completion = await view.speaker.act(dialogue)  # type: ignore[call-arg,arg-type,misc]
        except ContextOverflow as error:
            raise self._too_long(error) from None
        except (ConfigError, PluginError, _Ended):
            raise
        except Exception as error:  # an engine may fail in any way; the trajectory says so and is never trained on
            raise _Ended(Outcome.POLICY_ERROR, f"{type(error).__name__}: {error}") from error
        if not isinstance(completion, Completion):
            raise PluginError(
                f"{type(view.speaker).__name__}.act gave {completion!r}; a policy gives an agentrl.Completion"
            )
        if prompt is not None and not len(completion.ids):
            encoded = self._encoded(view, prompt, completion.text, stop)
            structure = {name: getattr(completion, name) for name in ("calls", "thought", "stop", "sampling")}
            return dataclasses.replace(encoded, **structure), prompt
        return completion, prompt

    async def _shown(self, view: _View, info: Info, seed: int) -> str:
        """A demonstrator's action as the dialect writes it."""
        speaker: Demonstrator = view.speaker  # type: ignore[assignment]
        action = await self._in_world(lambda: speaker.act(self._world.env, info, seed))
        if not isinstance(action, str):
            raise PluginError(f"{type(speaker).__name__}.act gave {action!r}; a demonstrator gives the action's text")
        return self._rules.dialect.write(action)

    def _encoded(self, view: _View, prompt: Prompt | None, text: str, stop: tuple[str, ...]) -> Completion:
        """Words that no engine sampled, with the ids that sampling them would have given; log-probs 0."""
        if view.codec is None or prompt is None:
            return Completion(text)
        ids = view.codec.say(text, stop=stop)
        if len(prompt.ids) + len(ids) > view.codec.max_context:
            raise ContextOverflow(
                f"{len(prompt.ids)} + {len(ids)} tokens do not fit into max_context = {view.codec.max_context}"
            )
        update = self._rules.model.version.update if self._rules.model is not None else 0
        ends = [text.index(word) + len(word) for word in stop if word and word in text]
        return Completion(
            text[: min(ends)] if ends else text,
            prompt.ids,
            ids,
            np.zeros(len(ids), np.float32),
            versions=np.full(len(ids), update, np.int32),
        )

    def _read(self, completion: Completion) -> Reading:
        if completion.calls is not None:
            from agentrl.worlds.toolcalls import ToolAction, ToolCall

            calls = tuple(ToolCall(str(call["name"]), dict(call["arguments"])) for call in completion.calls)  # type: ignore[call-overload]
            return Reading(ToolAction(calls, completion.text).write())
        reading = self._rules.dialect.read(completion.text)
        if not isinstance(reading, Reading):
            raise PluginError(
                f"{type(self._rules.dialect).__name__}.read gave {reading!r}; a dialect gives an agentrl.Reading"
            )
        return reading

    # ------------------------------------------------------------------------------------------------- the world

    async def _reset(self, task: Task) -> tuple[str, Info]:
        options = task.options if hasattr(self._env, "pick_task") else None
        result = await self._in_world(lambda: self._world.env.reset(seed=task.seed, options=options))
        try:
            observation, info = checked_reset(result)
            checked_mapping(info.get("hidden", EMPTY))
            return observation, info
        except TypeError as error:
            raise _Ended(Outcome.ENV_ERROR, str(error)) from None

    async def _go_to(self, start: Start, observation: str, info: Info) -> tuple[str, Info]:
        """Take over the turns before a start; the world gets there by its snapshot, or by replaying their actions."""
        moment = start.snapshot if isinstance(start.snapshot, Moment) else None
        for position, turn in enumerate(start.turns):
            if turn.kind == "act":
                if moment is None and turn.observation != observation:
                    raise _Ended(Outcome.ENV_ERROR, f"the world did not repeat itself at turn {position}")
                step = moment or (await self._step(turn.action))[0]
                observation, info = step.observation, step.info
                if isinstance(step, Step) and (step.terminated or step.truncated) and position + 1 < len(start.turns):
                    raise _Ended(Outcome.ENV_ERROR, f"the world did not repeat itself: it ended at turn {position}")
            view = self._view(turn.agent)
            self._seen(view, turn.observation)  # what the parent's session saw and answered, step by step
            answer = view.session.answer(Reading(turn.action, turn.invalid)) if turn.kind != "speak" else None
            if answer is not None:
                observation = answer.observation
            self._turns.append(turn)
            view.take(turn)
        if moment is not None:
            await self._in_world(lambda: self._env.restore(moment.snapshot))  # type: ignore[attr-defined]
        if start.reseed is not None:
            await self._in_world(lambda: _reseed(self._env, start.reseed or 0))
        return observation, info

    async def _step(self, action: str) -> tuple[Step, float]:
        before, world = self.world_seconds, self._world
        if world.inline:
            result = self._inline(lambda: world.env.step(action))
        else:
            result = await self._in_world(lambda: world.env.step(action))
        try:
            return checked_step(result), self.world_seconds - before
        except (TypeError, ValueError) as error:
            raise _Ended(Outcome.ENV_ERROR, str(error)) from None

    async def _in_world(self, function: Callable[[], Result]) -> Result:
        if self._world.inline:
            return self._inline(function)
        clock = self._world.clock
        started, waited = time.perf_counter(), clock.waited_s
        try:
            result = await self._world.call(function, self._rules.step_timeout_s)
        except BaseException as error:
            self._failed(error)
            raise
        self._took(clock.own_s(started, waited))
        return result

    def _inline(self, function: Callable[[], Result]) -> Result:
        started = time.perf_counter()
        try:
            result = function()
        except BaseException as error:
            self._failed(error)
            raise
        self._took(time.perf_counter() - started)
        return result

    def _failed(self, error: BaseException) -> None:
        """Raise the outcome that an exception of a world stands for; return for those that are not the world's."""
        if isinstance(error, TimeoutError) and not self._world.inline:
            limit = f"the world took longer than {self._rules.step_timeout_s} s"
            raise _Ended(Outcome.TIME_LIMIT, str(error) or limit) from None
        if isinstance(error, SandboxFault):
            raise _Ended(Outcome.SANDBOX_ERROR, str(error)) from error
        if isinstance(error, Exception) and not isinstance(error, (ConfigError, PluginError)):
            raise _Ended(Outcome.ENV_ERROR, f"{type(error).__name__}: {error}") from error

    def _took(self, seconds: float) -> None:
        self.world_seconds += seconds
        limit = self._rules.step_timeout_s
        if seconds > limit:
            raise _Ended(Outcome.TIME_LIMIT, f"the world took {seconds:.1f} s, allowed are {limit} s")


def _reseed(env: object, seed: int) -> None:
    reseed = getattr(env, "reseed", None)
    if reseed is None:
        raise ConfigError(f"{type(env).__name__} has no `reseed(seed)`, so its branches would share their luck")
    reseed(seed)


_NOTHING = Reading("")
_PER_TURN = ("anchor", "rewards", "admissible")  # what a turn keeps elsewhere, or belongs to the next one


def _turn(
    observation: str, completion: Completion, prompt: Prompt | None, reading: Reading,
    kind: Literal["act", "speak", "answer"], view: _View, step: Step, before: Info, seconds: float = 0.0,
) -> Turn:  # fmt: skip
    info = dict(step.info)
    for key in _PER_TURN:
        info.pop(key, None)
    if "admissible" in before:
        info["admissible"] = before["admissible"]
    invalid = reading.invalid or str(info.pop("invalid", "") or "")
    info["cost"] = cost_of(step.info, seconds, len(completion.ids))
    relation, kept = (prompt.relation, prompt.kept) if prompt is not None else ("start", 0)
    columns = _spans(completion, reading, view.codec) if reading.spans else {}
    return Turn(
        observation, completion, reading.action, step.reward, str(before.get("anchor", observation)), step.rewards,
        invalid, info, view.name, kind, relation, kept, columns,
    )  # fmt: skip


def _spans(completion: Completion, reading: Reading, codec: Codec | None) -> dict[str, object]:
    """The column `spans`: a dialect's spans of characters as spans of tokens."""
    if codec is None or not len(completion.ids):
        return {}
    ends = np.array([len(codec.decode(completion.ids[: count + 1])) for count in range(len(completion.ids))])
    spans = [
        [name, int(np.searchsorted(ends, start, "right")), int(np.searchsorted(ends, stop, "left")) + 1]
        for name, start, stop in reading.spans
    ]
    return {"spans": spans}


def _least(*limits: int | None) -> float:
    """The smallest limit that is set; infinite where none is."""
    return min((limit for limit in limits if limit is not None), default=math.inf)
