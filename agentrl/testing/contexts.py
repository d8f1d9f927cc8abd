"""The kit for contexts: what the policy reads of its past, turn by turn, within its budget."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from agentrl.data.types import AGENT, Completion, Message, Turn
from agentrl.errors import AgentRLError, ConfigError, ContextOverflow
from agentrl.parts.words import Answer, Context, Reading, Session, Speak
from agentrl.testing.compare import written
from agentrl.testing.plays import require_generators_untouched
from agentrl.testing.report import CheckFailed, CheckSkipped, Report, checks_of, gate, require, run_checks
from agentrl.testing.sample_model import SampleCodec
from agentrl.worlds.episode import SPEAKS
from agentrl.worlds.sessions import View, begin_session

BUDGETS = (300, 1_000, 4_000)
"""Tokens that a context may show which lets its budget be set."""
SHARE = 8
"""An observation takes one part in so many of the budget."""
Count = Callable[[Sequence[Message]], int]


def check_context(
    make: Callable[[], Context | View],
    *,
    name: str = "?",
    budgeted: Callable[[int], Context | View] | None = None,
) -> Report:
    """Put a context, a function or one with sessions, through the kit.

    `budgeted` gives one that may show so many tokens, where that can be set; else its attribute `budget` is believed.
    """
    return run_checks("context", name, checks_of(_ContextKit(make, budgeted)))


@dataclass(frozen=True)
class _Seen:
    """One view of a session: what was asked of the policy before, and the messages for its action."""

    spoken: tuple[Speak, ...]
    messages: tuple[Message, ...]


class _ContextKit:
    def __init__(
        self, make: Callable[[], Context | View], budgeted: Callable[[int], Context | View] | None = None
    ) -> None:
        self._make, self._budgeted = make, budgeted

    def _begin(self, context: Context | View | None = None, *, tokens: int = 10, key: str = "k") -> _Play:
        return _Play(context if context is not None else self._make(), lambda messages: tokens * len(messages), key)

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
        differs = written(many.messages) != written(few.messages) or len(long.turns) > len(short.turns)
        require(differs, "it asks how many tokens a prompt has, and shows as much whatever the answer")
        return f"{len(many.messages)} instead of {len(few.messages)} messages where nothing fits"

    def no_prompt_is_larger_than_its_budget(self) -> str:
        contexts = self._with_budgets()
        if not contexts:
            raise CheckSkipped(f"it takes none of the budgets {', '.join(map(str, BUDGETS))}")
        largest = [self._largest_share(context, budget) for context, budget in contexts]
        return f"prompts fill up to {max(largest):.0%} of it"

    def _with_budgets(self) -> list[tuple[Context | View, int]]:
        """The context with the budgets that it can be given, or with its own. Raises CheckSkipped where it has none."""
        if self._budgeted is not None:
            contexts: list[tuple[Context | View, int]] = []
            for budget in BUDGETS:
                with contextlib.suppress(ConfigError):  # it may have a smallest one
                    contexts.append((self._budgeted(budget), budget))
            return contexts
        context = self._make()
        own = getattr(context, "budget", None)
        if isinstance(context, functools.partial):
            own = context.keywords.get("budget")
        if isinstance(own, bool) or not isinstance(own, int):
            raise CheckSkipped("it has no budget: neither a setting nor an attribute `budget`")
        return [(context, own)]

    def _largest_share(self, context: Context | View, budget: int) -> float:
        """The part of its budget that its largest prompt for an action takes, in a play that does not fit as a whole."""
        codec, padding = SampleCodec(), "." * max(1, budget // SHARE)
        play = _Play(context, lambda messages: len(codec.prompt(messages).ids), "k", padding)
        turns, largest = _acts(padding, 3 * SHARE), 0
        for count in range(len(turns) + 1):
            try:
                tokens = len(codec.prompt(play.view(count, turns).messages).ids)
            except ContextOverflow:
                break  # it says that nothing that would fit is left
            if not play.counted:
                raise CheckSkipped("it never asks how many tokens a prompt has, so its budget is of something else")
            require(tokens <= budget, f"its budget is {budget}, and after {count} turns a prompt has {tokens} tokens")
            largest = max(largest, tokens)
        return largest / budget

    def global_generators_stay_untouched(self) -> None:
        require_generators_untouched(lambda: self._begin().views(_acts()))

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


def _acts(padding: str = "", number: int = 8) -> list[Turn]:
    """Turns that were acted, newly made; what was observed ends with `padding`."""
    return [_said(f"now {place}{padding}", f"act {place}") for place in range(number)]


def _replayed(session: Session, turns: Sequence[Turn], observation: str) -> tuple[Message, ...]:
    """What a branch sees that inherits some turns: its session is asked again for each of them."""
    for position, turn in enumerate(turns):
        session.view(tuple(turns[:position]), turn.observation)
    seen = session.view(tuple(turns), observation)
    return seen.messages if isinstance(seen, Speak) else seen


class _Play:
    """A session, and a policy that says whatever it is asked."""

    def __init__(self, context: Context | View, count: Count, key: str, padding: str = "") -> None:
        """`padding` is the end of everything that is observed."""
        self.counted, self._padding = False, padding
        self.turns: list[Turn] = []
        self._acted = 0

        def counted(messages: Sequence[Message]) -> int:
            self.counted = True
            return count(messages)

        self.session: Session = begin_session(
            context, instructions="rules", key=key, seed=0, speaker=AGENT, count=counted
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
            observation = f"now {count}{self._padding}"
            seen = self.session.view(tuple(self.turns), observation)
            if not isinstance(seen, Speak):
                return _Seen(tuple(spoken), seen)
            require(seen.messages, "it asks the policy to speak, and shows it nothing")
            spoken.append(seen)
            self.turns.append(_said(observation, f"a summary of {len(self.turns)} turns", kind="speak"))
        raise CheckFailed(f"it lets the policy speak more than {SPEAKS} times before it acts")


def _said(observation: str, text: str, kind: str = "act") -> Turn:
    ids = np.arange(len(text), dtype=np.int32)
    completion = Completion(
        text, np.zeros(1, np.int32), ids, np.full(len(ids), -1.0, np.float32), versions=np.zeros(len(ids), np.int32)
    )
    return Turn(observation, completion, text if kind == "act" else "", 0.0, observation, kind=kind)  # type: ignore[arg-type]
