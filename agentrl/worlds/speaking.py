"""One speaker in one trajectory: what it is shown, what it says, and how that is read."""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from agentrl.data.types import AGENT, Completion, Info, Message, Outcome, Turn
from agentrl.errors import ConfigError, ContextOverflow, PluginError
from agentrl.parts.faults import in_words, interrupts, short
from agentrl.parts.playing import Dialogue, Play, Speaker
from agentrl.parts.weights import Model
from agentrl.parts.words import Answer, Codec, Context, Dialect, Prompt, Reading, Speak
from agentrl.worlds.live_world import Ended, LiveWorld
from agentrl.worlds.patience import Patience
from agentrl.worlds.sessions import View, begin_session
from agentrl.worlds.steps import Step
from agentrl.worlds.thoughts import CLOSE, OPEN
from agentrl.worlds.toolcalls import ToolAction, ToolCall

log = logging.getLogger(__name__)
Said: TypeAlias = tuple[Completion, Prompt | None]


@dataclass(frozen=True)
class Words:
    """How all speakers of a stage read and write."""

    context: Context | View
    dialect: Dialect
    model: Model | None  # writes the ids of speakers that have none of their own
    patience: Patience
    names: Mapping[str, str] = field(default_factory=dict)
    """Kind → which plugin made the part, for messages."""

    def name(self, kind: str) -> str:
        """Who is to blame for what a part of this kind gave."""
        part = getattr(self, kind)
        function = getattr(part, "func", part)  # settings are bound to a function as a partial
        return self.names.get(kind, f"the {kind} {getattr(function, '__name__', type(part).__name__)}")


class Speaking:
    """A speaker's session, its own turns and its last completion.

    What a policy gives instead of a completion ends the trajectory. What a context or dialect gives instead of what it
    should is a mistake of the plugin, whatever is played: PluginError.
    """

    def __init__(
        self, words: Words, world: LiveWorld, play: Play, name: str, speaker: Speaker, trajectory: str
    ) -> None:
        self.name, self.turns = name, list[Turn]()
        self._dialect, self._world, self._speaker = words.dialect, world, speaker
        self._words = words
        model = words.model
        self._codec: Codec | None = getattr(speaker, "codec", None) or (model.codec if model is not None else None)
        self._opened = bool(getattr(self._codec, "opens_thought", False))
        self._update = model.version.update if model is not None else 0
        self._key = trajectory if name == AGENT else f"{trajectory}/{name}"
        self._demonstrates = not inspect.iscoroutinefunction(speaker.act)  # looks at the world itself
        self._last: Completion | None = None
        if play.context is not None:
            self._words = dataclasses.replace(words, context=play.context, names={})
        wanted, self._tools = world.words()
        instructions = "\n\n".join(part for part in (wanted, words.dialect.instructions) if part)
        self._session = begin_session(
            self._words.context,
            instructions=instructions,
            key=self._key,
            seed=play.seed,
            speaker=name,
            count=self._count,
            name=self._words.name("context"),
        )
        self._tools += tuple(self._session.tools)
        self._wait = words.patience.join()

    def take(self, turn: Turn) -> None:
        """This speaker has said this."""
        self.turns.append(turn)
        self._last = turn.completion

    def forget(self) -> None:
        """The trajectory is over, or could not begin; the policy may free what it keeps for it."""
        self._words.patience.leave(self._wait)
        if not self._demonstrates:
            try:
                self._speaker.forget(self._key)  # type: ignore[union-attr]
            except BaseException as error:  # the trajectory is played; what the policy fails to free is the policy's
                if interrupts(error):
                    raise
                log.warning("%s.forget failed", type(self._speaker).__name__, exc_info=True)

    def view(self, observation: str) -> tuple[Message, ...] | Speak:
        """What it reads now, or what it is asked first, with the tools that there are now."""
        if self._world.has_tools:
            self._tools = (*self._world.words()[1], *self._session.tools)
        seen = self._session.view(self.turns, observation)
        messages = seen.messages if isinstance(seen, Speak) else seen
        if not (isinstance(messages, (tuple, list)) and messages and isinstance(messages[-1], Message)):
            raise PluginError(
                f"{self._words.name('context')} gave {short(seen)}; it gives agentrl.Message objects, or a Speak"
            )
        return seen

    def answer(self, reading: Reading, info: Info) -> Step | None:
        """What the context answers in place of the world, which still shows `info`."""
        answer = self._session.answer(reading)
        if answer is None:
            return None
        if not isinstance(answer, Answer):
            raise PluginError(f"{self._words.name('context')} answered {short(answer)}, no agentrl.Answer")
        return Step.unmoved(info, answer)

    def read(self, completion: Completion) -> Reading:
        """The action in a completion."""
        if completion.calls is not None:
            return _structured(completion)
        opened = OPEN if self._opened and len(completion.prompt_ids) else OPEN + CLOSE if completion.thought else ""
        reading = self._dialect.read(opened + completion.text)
        if not isinstance(reading, Reading) or not isinstance(reading.action, str):
            raise PluginError(f"{self._words.name('dialect')}: read gave {short(reading)}; it gives an agentrl.Reading")
        if opened and reading.spans:
            shift = len(opened)
            spans = [(name, max(0, start - shift), max(0, stop - shift)) for name, start, stop in reading.spans]
            return dataclasses.replace(reading, spans=tuple(spans))
        return reading

    async def say(
        self,
        messages: tuple[Message, ...],
        info: Info,
        seed: int,
        stop: tuple[str, ...],
        *,
        max_tokens: int | None = None,
        forced: str | None = None,
    ) -> Said:
        """What it says to these messages, and the prompt that it read. Raises ContextOverflow where that does not fit."""
        try:
            codec = self._codec
            prompt = codec.prompt(messages, tools=self._tools, after=self._last) if codec is not None else None
            if forced is not None:
                return self._encoded(prompt, forced, stop), prompt
            if self._demonstrates:
                return self._encoded(prompt, await self._demonstrated(info, seed), stop), prompt
            dialogue = Dialogue(messages, self._key, seed, prompt, self._tools, info, stop, max_tokens)
            self._wait.asked += 1
            completion = await self._speaker.act(dialogue)  # type: ignore[call-arg,arg-type,misc]
            self._wait.answered = self._wait.asked
        except (ContextOverflow, ConfigError, PluginError, Ended):
            raise
        except BaseException as error:  # an engine may fail in any way; the trajectory says so and is never trained on
            if self._wait.over():
                limit_s = self._words.patience.limit_s
                raise Ended(Outcome.POLICY_ERROR, f"no answer came within answer_timeout_s = {limit_s}") from error
            if interrupts(error):
                raise
            raise Ended(Outcome.POLICY_ERROR, in_words(error)) from error
        if self._wait.late:  # and the answer came all the same
            self._wait.over()
        if not isinstance(completion, Completion) or not isinstance(completion.text, str):
            raise self._wrong(completion, "a policy gives an agentrl.Completion, whose text is text")
        if prompt is not None and not len(completion.ids):
            encoded = self._encoded(prompt, completion.text, stop)
            structure = {name: getattr(completion, name) for name in ("calls", "thought", "stop", "sampling")}
            return dataclasses.replace(encoded, **structure), prompt
        return completion, prompt

    def spans(self, completion: Completion, reading: Reading) -> dict[str, object]:
        """The column `spans`: a dialect's spans of characters as spans of tokens."""
        codec, ids = self._codec, completion.ids
        if codec is None or not len(ids):
            return {}
        ends = np.array([len(codec.decode(ids[: count + 1])) for count in range(len(ids))])
        spans = [
            [name, int(np.searchsorted(ends, start, "right")), int(np.searchsorted(ends, stop, "left")) + 1]
            for name, start, stop in reading.spans
        ]
        return {"spans": spans}

    async def _demonstrated(self, info: Info, seed: int) -> str:
        """A demonstrator's action as the dialect writes it."""
        act: Callable[..., object] = self._speaker.act
        action = await self._world.call(lambda: act(self._world.env, info, seed))
        if not isinstance(action, str):
            raise self._wrong(action, "a demonstrator gives the action's text")
        return self._dialect.write(action)

    def _wrong(self, answer: object, wanted: str) -> Ended:
        """One bad value of a policy ends one trajectory, and says so."""
        return Ended(Outcome.POLICY_ERROR, f"{type(self._speaker).__name__}.act gave {short(answer)}; {wanted}")

    def _encoded(self, prompt: Prompt | None, text: str, stop: tuple[str, ...]) -> Completion:
        """Words that no engine sampled, with the ids that sampling them would have given; log-probs 0."""
        if self._codec is None or prompt is None:
            return Completion(text)
        text = self._in_thought(text) if self._opened else text
        ids = self._codec.say(text, stop=stop)
        if len(prompt.ids) + len(ids) > self._codec.max_context:
            raise ContextOverflow(
                f"{len(prompt.ids)} + {len(ids)} tokens do not fit into max_context = {self._codec.max_context}"
            )
        ends = [text.index(word) + len(word) for word in stop if word and word in text]
        return Completion(
            text[: min(ends)] if ends else text,
            prompt.ids,
            ids,
            np.zeros(len(ids), np.float32),
            versions=np.full(len(ids), self._update, np.int32),
        )

    def _in_thought(self, text: str) -> str:
        """The same words after a prompt that opened a thought already: that one is ended first."""
        begin = text.lstrip()
        if begin.startswith(OPEN):
            return begin[len(OPEN) :]
        return f"{CLOSE}\n\n{text}" if self._dialect.read(OPEN + text).invalid else text

    def _count(self, messages: Sequence[Message]) -> int:
        """Tokens of a prompt; 0 where nothing makes ids."""
        codec = self._codec
        return len(codec.prompt(messages, tools=self._tools, after=self._last).ids) if codec is not None else 0


def _structured(completion: Completion) -> Reading:
    """The calls that a service gave as structure; what is no call of a tool was said by a model, and is invalid."""
    try:
        calls = []
        for call in completion.calls or ():
            name, arguments = call["name"], call["arguments"]
            if not isinstance(name, str) or not isinstance(arguments, Mapping):
                raise TypeError(f"the call {short(call)} has no name, or no arguments by name")
            calls.append(ToolCall(name, dict(arguments)))
        return Reading(ToolAction(tuple(calls), completion.text).write())
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        return Reading("", in_words(error))
