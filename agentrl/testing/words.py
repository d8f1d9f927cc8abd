"""The kits for dialects and contexts: what is said is read, and what is read is what was said."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from agentrl.data.types import AGENT, Completion, Message, Turn
from agentrl.errors import AgentRLError, ContextOverflow
from agentrl.parts.words import Answer, Context, Dialect, Reading, Session, Speak
from agentrl.testing.compare import written
from agentrl.testing.plays import HOSTILE
from agentrl.testing.report import CheckFailed, CheckSkipped, Report, checks_of, gate, require, run_checks
from agentrl.worlds.episode import SPEAKS
from agentrl.worlds.sessions import View, begin_session

ACTIONS = ("go to shelf 1", "search[red shoe]", "ü ∑ 🤖", "{}")
LONG = tuple(
    word * 5_000 for word in ("<think>", "</think>", "<action>", "<tool_call>", "[", '{"a": ', "```\n", "a b ")
)
"""Texts on which a careless search takes minutes."""
LONGEST_READING_S = 1.0


def check_dialect(make: Callable[[], Dialect], *, name: str = "?", actions: Sequence[str] = ACTIONS) -> Report:
    """Put a dialect through the kit. `actions` are written and read back."""
    return run_checks("dialect", name, checks_of(_DialectKit(make, actions)))


def check_context(make: Callable[[], Context | View], *, name: str = "?") -> Report:
    """Put a context, a function or one with sessions, through the kit."""
    return run_checks("context", name, checks_of(_ContextKit(make)))


class _DialectKit:
    def __init__(self, make: Callable[[], Dialect], actions: Sequence[str]) -> None:
        self._make, self._actions = make, actions

    def _texts(self) -> tuple[str, ...]:
        """Texts that it wrote, those cut in the middle, and hostile ones."""
        dialect = self._make()
        whole = [dialect.write(action) for action in self._actions]
        return (*whole, *(text[:end] for text in whole for end in range(len(text))), *HOSTILE)

    @gate
    def it_gives_readings_and_words(self) -> None:
        dialect = self._make()
        require(isinstance(dialect.instructions, str), f"instructions are {dialect.instructions!r}, not text")
        stop = dialect.stop
        fits = isinstance(stop, tuple) and all(isinstance(word, str) and word for word in stop)
        require(fits, f"stop = {stop!r}; it is a tuple of texts that are not empty")
        text = dialect.write(self._actions[0])
        require(isinstance(text, str), f"write gave {text!r}, not text")
        reading = dialect.read(text)
        require(isinstance(reading, Reading), f"read gave {reading!r}, not an agentrl.Reading")
        require(isinstance(reading.action, str), f"the action is {reading.action!r}, not text")

    def what_is_written_is_read_back(self) -> None:
        dialect = self._make()
        for action in self._actions:
            reading = dialect.read(dialect.write(action))
            require(reading.action == action and not reading.invalid, f"{action!r} was read back as {reading}")

    def the_stop_string_ends_what_is_written_and_stands_nowhere_else(self) -> None:
        dialect = self._make()
        for stop in dialect.stop:
            for action in self._actions:
                text = dialect.write(action)
                require(
                    text.find(stop) == len(text) - len(stop), f"the stop string {stop!r} is not the end of {text!r}"
                )

    def hostile_text_is_read_or_refused_with_a_reason(self) -> None:
        dialect = self._make()
        for text in HOSTILE:
            reading = dialect.read(text)
            require(reading.action or reading.invalid, f"{text[:20]!r} gave neither an action nor a reason")

    def text_that_was_cut_is_survived(self) -> None:
        for text in self._texts():
            self._make().read(text)

    def what_is_invalid_has_no_action(self) -> None:
        for text in self._texts():
            reading = self._try(text)
            if reading is not None and reading.invalid:
                require(
                    not reading.action,
                    f"{text[:40]!r} is invalid ({reading.invalid}), and the action {reading.action!r}",
                )

    def spans_lie_inside_the_text(self) -> None:
        for text in self._texts():
            reading = self._try(text)
            for name, start, stop in reading.spans if reading is not None else ():
                inside = isinstance(name, str) and 0 <= start <= stop <= len(text)
                require(inside, f"the span {(name, start, stop)} of {text[:40]!r}, which has {len(text)} characters")

    def reading_twice_gives_the_same(self) -> None:
        dialect = self._make()
        texts = [dialect.write(action) for action in self._actions]
        first = [dialect.read(text) for text in texts]
        require(
            first == [dialect.read(text) for text in texts], "the same texts are read in another way the second time"
        )

    def long_text_is_read_in_time(self) -> str:
        slowest = 0.0
        for text in LONG:
            started = time.perf_counter()
            self._try(text)
            seconds = time.perf_counter() - started
            slowest = max(slowest, seconds)
            require(
                seconds < LONGEST_READING_S, f"reading {len(text)} characters like {text[:20]!r} took {seconds:.1f} s"
            )
        return f"slowest {slowest * 1000:.0f} ms"

    def _try(self, text: str) -> Reading | None:
        """What is read; None where it fails, which other checks tell."""
        try:
            return self._make().read(text)
        except Exception:  # whatever a stranger's dialect may raise is found by `text_that_was_cut_is_survived`
            return None


@dataclass(frozen=True)
class _Seen:
    """One view of a session: what was asked of the policy before, and the messages for its action."""

    spoken: tuple[Speak, ...]
    messages: tuple[Message, ...]


class _ContextKit:
    def __init__(self, make: Callable[[], Context | View]) -> None:
        self._make = make

    def _begin(self, context: Context | View | None = None, *, tokens: int = 10, key: str = "k") -> _Play:
        return _Play(context if context is not None else self._make(), tokens, key)

    @gate
    def it_gives_messages(self) -> str:
        turns = _acts()
        play = self._begin()
        require(isinstance(play.session.instructions, str), "the instructions of its session are no text")
        require(isinstance(play.session.tools, tuple), f"the tools of its session are {play.session.tools!r}, no tuple")
        for view in play.views(turns):
            ok = isinstance(view.messages, tuple) and all(isinstance(message, Message) for message in view.messages)
            require(
                ok and view.messages, f"view gave {view.messages!r}; it gives a tuple of agentrl.Message, or a Speak"
            )
        answer = play.session.answer(Reading("act 0"))
        require(
            answer is None or isinstance(answer, Answer), f"answer gave {answer!r}, neither None nor an agentrl.Answer"
        )
        return f"{len(view.messages)} messages after {len(turns)} turns"

    def the_current_observation_comes_last(self) -> None:
        turns = _acts()
        for count, view in enumerate(self._begin().views(turns)):
            last = view.messages[-1]
            require(last.role in ("user", "tool"), f"the last message is said by the {last.role}")
            require(
                f"now {count}" in last.content, f"the last message is {last.content[:80]!r}, not what is observed now"
            )

    def sampled_messages_keep_their_completion(self) -> None:
        turns = _acts()
        play = self._begin()
        for view in play.views(turns):
            known = {id(turn.completion) for turn in play.turns}
            for message in (*view.messages, *(m for speak in view.spoken for m in speak.messages)):
                if message.role == "assistant":
                    kept = message.completion is not None and id(message.completion) in known
                    require(
                        kept, f"{message.content[:40]!r} was sampled, and its message does not carry its completion"
                    )

    def a_branch_sees_what_its_parent_saw(self) -> None:
        turns = _acts()
        parent = self._begin()
        last = parent.views(turns)[-1]
        messages = _replayed(self._begin().session, parent.turns, f"now {len(turns)}")
        require(written(messages) == written(last.messages), "a branch, replayed turn by turn, sees something else")

    def trajectories_do_not_mix(self) -> None:
        turns = _acts()
        context = self._make()
        alone = self._begin().views(turns)
        one, two = self._begin(context), self._begin(context, key="other")
        for count in range(len(turns) + 1):
            mixed = one.view(count, turns)
            two.view(count, [_said("elsewhere", "wait")] * len(turns))
            require(written(mixed) == written(alone[count]), "what one trajectory sees depends on another one")

    def views_and_turns_stay_as_they_were(self) -> None:
        turns = _acts()
        play = self._begin()
        views, texts = [], []
        before = written(turns)
        for count in range(len(turns) + 1):
            views.append(play.view(count, turns))
            texts.append(written(views[-1]))
        require([written(view) for view in views] == texts, "an earlier view was changed later")
        require(written(turns) == before, "it changes the turns that it is given")

    def a_budget_is_kept(self) -> str:
        turns = _acts()
        short, long = self._begin(tokens=0), self._begin(tokens=10**9)
        few = short.views(turns)[-1]
        try:
            many = long.views(turns)[-1]
        except ContextOverflow as full:
            return f"it says so where nothing fits: {full}"
        if not long.counted:
            raise CheckSkipped("it never asks how many tokens a prompt has")
        differs = len(many.messages) < len(few.messages) or len(long.turns) > len(short.turns)
        require(differs, "it asks how many tokens a prompt has, and shows as much whatever the answer")
        return f"{len(many.messages)} instead of {len(few.messages)} messages where nothing fits"

    def turns_without_earlier_messages_are_shown_or_refused(self) -> str:
        turns = _acts()
        context = self._make()
        if hasattr(context, "begin"):
            raise CheckSkipped("it has sessions, which are given no earlier messages")
        replayed = _replayed(self._begin().session, turns, "now")
        try:
            messages = context("rules", tuple(turns), "now", ())
        except AgentRLError as refused:
            return f"refused: {refused}"
        same = written(messages) == written(replayed)
        require(same, "given turns, and no messages that it returned before, it shows something else than turn by turn")
        return "they are shown as turn by turn"


def _acts() -> list[Turn]:
    """Eight turns that were acted, newly made."""
    return [_said(f"now {number}", f"act {number}") for number in range(8)]


def _replayed(session: Session, turns: Sequence[Turn], observation: str) -> tuple[Message, ...]:
    """What a branch sees that inherits some turns: its session is asked again for each of them."""
    for position, turn in enumerate(turns):
        session.view(tuple(turns[:position]), turn.observation)
    seen = session.view(tuple(turns), observation)
    return seen.messages if isinstance(seen, Speak) else seen


class _Play:
    """A session, and a policy that says whatever it is asked."""

    def __init__(self, context: Context | View, tokens: int, key: str) -> None:
        self.counted = False
        self.turns: list[Turn] = []
        self._acted = 0

        def count(messages: Sequence[Message]) -> int:
            self.counted = True
            return tokens * len(messages)

        self.session: Session = begin_session(
            context, instructions="rules", key=key, seed=0, speaker=AGENT, count=count
        )

    def views(self, turns: Sequence[Turn]) -> list[_Seen]:
        """What is seen before each of some turns, and after the last."""
        return [self.view(count, turns) for count in range(len(turns) + 1)]

    def view(self, count: int, turns: Sequence[Turn]) -> _Seen:
        """What is seen after the first `count` of some turns, those before being told first."""
        if count > self._acted:
            self.turns.append(turns[count - 1])
            self._acted = count
        spoken: list[Speak] = []
        for _ in range(SPEAKS + 1):
            seen = self.session.view(tuple(self.turns), f"now {count}")
            if not isinstance(seen, Speak):
                return _Seen(tuple(spoken), seen)
            require(seen.messages, "it asks the policy to speak, and shows it nothing")
            spoken.append(seen)
            self.turns.append(_said(f"now {count}", f"a summary of {len(self.turns)} turns", kind="speak"))
        raise CheckFailed(f"it lets the policy speak more than {SPEAKS} times before it acts")


def _said(observation: str, text: str, kind: str = "act") -> Turn:
    ids = np.arange(len(text), dtype=np.int32)
    completion = Completion(
        text, np.zeros(1, np.int32), ids, np.full(len(ids), -1.0, np.float32), versions=np.zeros(len(ids), np.int32)
    )
    return Turn(observation, completion, text if kind == "act" else "", 0.0, observation, kind=kind)  # type: ignore[arg-type]
