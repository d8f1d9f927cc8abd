"""One speaker in one trajectory: what it is shown, what it says, and how that is read."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from agentrl.data.types import AGENT, Completion, Info, Message, Outcome, Turn
from agentrl.errors import ConfigError, ContextOverflow, PluginError
from agentrl.parts.playing import Dialogue, Play, Speaker
from agentrl.parts.weights import Model
from agentrl.parts.words import Answer, Codec, Context, Dialect, Prompt, Reading, Speak, Tool
from agentrl.worlds.live_world import Ended, LiveWorld, in_words
from agentrl.worlds.sessions import View, begin_session
from agentrl.worlds.steps import Step, short
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


class Speaking:
    """A speaker's session, its own turns and its last completion.

    What a policy, context or dialect gives instead of what it should is a mistake of the plugin: PluginError.
    """

    def __init__(
        self, words: Words, world: LiveWorld, play: Play, name: str, speaker: Speaker, trajectory: str
    ) -> None:
        self.name, self.turns = name, list[Turn]()
        self._dialect, self._world, self._speaker = words.dialect, world, speaker
        model = words.model
        self._codec: Codec | None = getattr(speaker, "codec", None) or (model.codec if model is not None else None)
        self._opened = bool(getattr(self._codec, "opens_thought", False))
        self._update = model.version.update if model is not None else 0
        self._key = trajectory if name == AGENT else f"{trajectory}/{name}"
        self._demonstrates = not inspect.iscoroutinefunction(speaker.act)  # looks at the world itself
        self._last: Completion | None = None
        self._context = play.context or words.context
        self._tools: tuple[Tool, ...] = tuple(getattr(world.bare, "tool_schemas", ()) or ())
        wanted = str(getattr(world.bare, "instructions", "") or "")
        instructions = "\n\n".join(part for part in (wanted, words.dialect.instructions) if part)
        self._session = begin_session(
            self._context, instructions=instructions, key=self._key, seed=play.seed, speaker=name, count=self._count
        )
        self._tools += tuple(self._session.tools)

    def take(self, turn: Turn) -> None:
        """This speaker has said this."""
        self.turns.append(turn)
        self._last = turn.completion

    def forget(self) -> None:
        """The trajectory is over, or could not begin; the policy may free what it keeps for it."""
        if not self._demonstrates:
            try:
                self._speaker.forget(self._key)  # type: ignore[union-attr]
            except Exception:  # the trajectory is played; what the policy fails to free is the policy's
                log.warning("%s.forget failed", type(self._speaker).__name__, exc_info=True)

    def view(self, observation: str) -> tuple[Message, ...] | Speak:
        """What it reads now, or what it is asked first."""
        seen = self._session.view(self.turns, observation)
        messages = seen.messages if isinstance(seen, Speak) else seen
        if not (isinstance(messages, (tuple, list)) and messages and isinstance(messages[-1], Message)):
            raise PluginError(
                f"the context {_name(self._context)} gave {short(seen)}; it gives agentrl.Message objects, or a Speak"
            )
        return seen

    def answer(self, reading: Reading, info: Info) -> Step | None:
        """What the context answers in place of the world, which still shows `info`."""
        answer = self._session.answer(reading)
        if answer is None:
            return None
        if not isinstance(answer, Answer):
            raise PluginError(f"the context {_name(self._context)} answered {short(answer)}, no agentrl.Answer")
        return Step.unmoved(info, answer)

    def read(self, completion: Completion) -> Reading:
        """The action in a completion."""
        if completion.calls is not None:
            return _structured(completion)
        opened = OPEN if self._opened and len(completion.prompt_ids) else OPEN + CLOSE if completion.thought else ""
        reading = self._dialect.read(opened + completion.text)
        if not isinstance(reading, Reading) or not isinstance(reading.action, str):
            raise PluginError(
                f"{type(self._dialect).__name__}.read gave {reading!r}; a dialect gives an agentrl.Reading"
            )
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
            completion = await self._speaker.act(dialogue)  # type: ignore[call-arg,arg-type,misc]
        except (ContextOverflow, ConfigError, PluginError, Ended):
            raise
        except Exception as error:  # an engine may fail in any way; the trajectory says so and is never trained on
            raise Ended(Outcome.POLICY_ERROR, in_words(error)) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise Ended(Outcome.POLICY_ERROR, "the policy was cancelled, and this trajectory was not") from error
        if not isinstance(completion, Completion):
            raise PluginError(
                f"{type(self._speaker).__name__}.act gave {completion!r}; a policy gives an agentrl.Completion"
            )
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
            raise PluginError(
                f"{type(self._speaker).__name__}.act gave {action!r}; a demonstrator gives the action's text"
            )
        return self._dialect.write(action)

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


def _name(part: object) -> str:
    function = getattr(part, "func", part)  # settings are bound to a function as a partial
    return str(getattr(function, "__name__", type(part).__name__))


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
