"""A context that lets the policy write a summary, and go on from that, before its prompt outgrows a budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import agentrl
from agentrl import AGENT, ConfigError, ContextOverflow, Message, Session, Speak, Turn, after_thought, messages_of

Count = Callable[[Sequence[Message]], int]

QUESTION = "\n\nYour memory is nearly full. Write down what you need to go on; all else will be forgotten."


@agentrl.hookimpl
def register_contexts(register: agentrl.Register) -> None:
    register("summary", Summary)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All since the last summary; once it takes `share` of `budget` tokens, the policy is asked for the next one.

    SUPO (2510.06727); what the policy writes is a turn like any other, trained with the advantage of its trajectory, as
    in CompactionRL (2607.05378). It then reads the first observation (which names the task), the summary and the present
    observation. No prompt has more than `budget` tokens: where the past does not fit beside the question, its oldest
    turns are left out, and where nothing can be left out any more, the trajectory ends at its context limit. That
    SUPO does not train on those that ended at a limit is a matter of the credit.
    """

    budget: Annotated[int, "tokens of a prompt, at most"]
    share: Annotated[float, "part of the budget from which on a summary is asked for"] = 0.95
    summary_tokens: Annotated[int, "tokens of a summary, at most"] = 64
    question: Annotated[str, "what the policy is asked, after the observation"] = QUESTION
    system: Annotated[bool, "whether the world's instructions are shown"] = True

    def __post_init__(self) -> None:
        if not (self.budget > 0 and 0 < self.share <= 1 and self.summary_tokens > 0):
            raise ConfigError("context 'summary': budget and summary_tokens must be positive, share above 0, at most 1")

    def begin(self, *, instructions: str, key: str, seed: int, speaker: str = AGENT, count: Count) -> Session:
        return SummarySession(self, [Message("system", instructions)] if self.system and instructions else [], count)


class SummarySession(Session):
    """Remembers nothing: what it shows depends on the turns alone, so a branch sees what its parent saw."""

    def __init__(self, rules: Summary, head: Sequence[Message], count: Count) -> None:
        self._rules, self._head, self._count = rules, head, count

    def view(self, turns: Sequence[Turn], observation: str) -> tuple[Message, ...] | Speak:
        since = max((i for i, turn in enumerate(turns, 1) if turn.kind == "speak"), default=0)
        past, rules = turns[since:], self._rules
        before = f"{turns[0].observation}\n\n{_summary(turns[since - 1])}\n\n" if since else ""
        shown = self._shown(before, past, observation)
        if self._count(shown) <= rules.budget * (rules.share if past else 1.0):
            return shown
        for oldest in range(len(past)):
            asked = self._shown(before, past[oldest:], observation + rules.question)
            if self._count(asked) <= rules.budget:
                return Speak(asked, max_tokens=rules.summary_tokens)
        raise ContextOverflow(f"one turn and the question for a summary take more than {rules.budget} tokens")

    def _shown(self, before: str, turns: Sequence[Turn], observation: str) -> tuple[Message, ...]:
        first, *others = messages_of(turns, observation)
        return (*self._head, Message("user", before + first.content), *others)


def _summary(turn: Turn) -> str:
    """What was written, without the thought before it."""
    return after_thought(turn.completion.text).text
