"""Contexts that keep a session: they may speak, answer, and say that nothing fits any more; branches replay them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from playing import player
from words import Says, WordCodec
from worlds import Counting, Faulty

import agentrl
from agentrl import Answer, ContextOverflow, Message, Outcome, Play, Reading, Session, Speak, Start, Task, Turn

TASK = Task("train", 0)


class Made:
    """A context whose sessions are made by a function of `count`."""

    def __init__(self, make: Callable[[Callable[[Sequence[Message]], int]], Session]) -> None:
        self.make = make

    def begin(self, *, count: Callable[[Sequence[Message]], int], **others: Any) -> Session:
        return self.make(count)


class Notes(Session):
    """Takes a note before every second action, and keeps `look` for itself."""

    def __init__(self, limit: int = 100) -> None:
        self.limit, self.looked = limit, 0

    def view(self, turns: Sequence[Turn], observation: str) -> tuple[Message, ...] | Speak:
        if len(turns) >= self.limit:
            raise ContextOverflow("nothing fits")
        acts = sum(turn.kind == "act" for turn in turns)
        if acts % 2 and turns[-1].kind != "speak":
            return Speak((Message("user", f"{observation} note?"),), max_tokens=2)
        return (Message("user", f"{observation} looked {self.looked}"),)

    def answer(self, reading: Reading) -> Answer | None:
        if reading.action != "look":
            return None
        self.looked += 1
        return Answer(f"answer {self.looked}", {"looking": -0.25})


def right(dialogue: agentrl.Dialogue) -> str:
    """The next number; a note where one is asked for."""
    words = dialogue.messages[-1].content.split()
    return "all is well so far" if words[-1] == "note?" else str(int(words[1]) + 1)


CODEC = WordCodec()


def played(context: Any, words: Callable[[agentrl.Dialogue], str] = right, make: Any = Counting, **play: Any) -> Any:
    policy = Says(words, CODEC)
    settings = {name: play.pop(name) for name in ("retries",) if name in play}
    asked = Play(TASK, "g", 0, 7, **play)
    return asyncio.run(player(make, context=context, **settings).play({"agent": policy}, [asked])), policy


def test_what_a_context_asks_for_first_is_a_turn_of_its_own() -> None:
    (trajectory,), _ = played(Made(lambda count: Notes()), make=lambda: Counting(4))
    assert [turn.kind for turn in trajectory.turns] == ["act", "speak", "act", "act", "speak", "act"]
    note = trajectory.turns[1]
    assert (note.action, note.reward, note.observation, note.completion.text) == ("", 0.0, "at 1", "all is")
    assert trajectory.outcome is Outcome.TERMINATED
    assert trajectory.success


def test_the_limit_of_turns_counts_what_is_spoken_and_holds_right_after_it() -> None:
    (trajectory,), _ = played(Made(lambda count: Notes()), max_turns=2)
    assert [turn.kind for turn in trajectory.turns] == ["act", "speak"]
    assert trajectory.outcome is Outcome.TURN_LIMIT


def test_an_answer_keeps_the_world_where_it_was_and_its_rewards_count() -> None:
    once = iter(["look", "1", "note", "2", "3"])
    (trajectory,), policy = played(Made(lambda count: Notes()), lambda dialogue: next(once))
    assert [turn.kind for turn in trajectory.turns] == ["answer", "act", "speak", "act", "act"]
    assert trajectory.turns[0].rewards == {"looking": -0.25}
    assert trajectory.episode_return == 0.75
    assert policy.asked[1].messages[-1].content == "answer 1 looked 1"


@pytest.mark.parametrize(("limit", "turns", "outcome"), [(3, 3, Outcome.CONTEXT_LIMIT), (0, 0, Outcome.POLICY_ERROR)])
def test_a_context_that_can_show_nothing_ends_the_trajectory(limit: int, turns: int, outcome: Outcome) -> None:
    (trajectory,), _ = played(Made(lambda count: Notes(limit)), retries=0)
    assert (len(trajectory.turns), trajectory.outcome) == (turns, outcome)


def test_a_prompt_is_counted_as_it_will_be_written() -> None:
    counted: list[int] = []

    class Counts(Session):
        tools = ({"type": "function"},)

        def __init__(self, count: Callable[[Sequence[Message]], int]) -> None:
            self.count = count

        def view(self, turns: Sequence[Turn], observation: str) -> tuple[Message, ...]:
            messages = agentrl.messages_of(turns, observation)
            counted.append(self.count(messages))
            return messages

    (trajectory,), _ = played(Made(Counts))
    assert counted == [len(turn.completion.prompt_ids) for turn in trajectory.turns]
    assert counted[0] > 5  # the context's own tool is in it


def test_a_tool_speaks_as_a_tool() -> None:
    turn = Turn("ask", agentrl.Completion("call"), "call", 0.0, "ask", info={"calls": [{"name": "look"}]})
    plain = dataclasses.replace(turn, info={})
    assert [m.role for m in agentrl.messages_of([turn, plain], "now")] == [
        "user", "assistant", "tool", "assistant", "user",
    ]  # fmt: skip
    assert agentrl.messages_of([turn], "now")[1].completion is turn.completion


def test_a_branch_sees_what_its_parent_saw_notes_and_answers_included() -> None:
    def words(dialogue: agentrl.Dialogue) -> str:
        last = dialogue.messages[-1].content
        return "look" if last.startswith("at") and last.endswith("looked 0") else right(dialogue)

    (parent,), policy = played(Made(lambda count: Notes()), words, make=lambda: Counting(4))
    seen = [dialogue.messages for dialogue in policy.asked]
    for turn in range(1, len(parent.turns)):
        start = Start(parent.turns[:turn], parent=f"{parent.id}@{turn}")
        (branch,), again = played(Made(lambda count: Notes()), words, make=lambda: Counting(4), start=start)
        assert [dialogue.messages for dialogue in again.asked] == seen[turn:], turn
        assert [t.completion.ids.tolist() for t in branch.turns] == [t.completion.ids.tolist() for t in parent.turns]
        assert [t.relation for t in branch.turns] == [t.relation for t in parent.turns]


def test_a_retry_begins_with_a_fresh_session() -> None:
    Faulty.left = 1
    (failed, again), _ = played(Made(lambda count: Notes()), make=Faulty)
    assert (failed.outcome, again.outcome) == (Outcome.ENV_ERROR, Outcome.TERMINATED)
    assert [turn.kind for turn in again.turns] == ["act", "speak", "act", "act"]
