"""Episodes: branches, starts in the middle, several speakers, what a context lets the policy say, worlds with a voice."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import time
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
import worlds
from playing import Worlds, cancelled, part, play, player
from test_player import EXPERT, Says

from agentrl import (
    Answer,
    Completion,
    ConfigError,
    Dialogue,
    Message,
    Outcome,
    Play,
    PluginError,
    PolicyFault,
    Reading,
    Speak,
    Start,
    Task,
    Trajectory,
    Turn,
    Voice,
    trainable,
    training_rows,
)
from agentrl.parts.run_file import PlayerSettings
from agentrl.worlds.player import EpisodePlayer
from agentrl.worlds.stepping import Clock
from agentrl.worlds.voice import LoopVoice
from agentrl_plugins.models.table import Table

TASK = Task("train", 0, seed=5)


class Dice(worlds.Counting):
    """Every step rolls a die of the world's own."""

    def __init__(self) -> None:
        super().__init__(length=50, cap=5)

    def step(self, action: str) -> Any:
        observation, *rest = super().step(action)
        return f"{observation}, rolled {self.np_random.integers(10**6)}", *rest


def played(on: EpisodePlayer, *plays: Play, speakers: Mapping[str, Any] | None = None) -> list[Trajectory]:
    return asyncio.run(on.play(speakers or {"agent": EXPERT}, list(plays)))


def told(trajectory: Trajectory) -> list[str]:
    return [turn.observation for turn in trajectory.turns]


def branch(parent: Trajectory, at: int, **changes: Any) -> Play:
    """A play of the same task that holds the first `at` turns."""
    start = Start(parent.turns[:at], parent=f"{parent.id}@{at}", **changes)
    return Play(parent.task, parent.group, 0, 99, start=start)


# ------------------------------------------------------------------------------------------------------- branches


@pytest.mark.parametrize("how", ["replayed", "restored"])
def test_a_branch_goes_on_from_where_its_parent_stood(how: str) -> None:
    on = player(Dice, model=Table())
    (parent,) = played(on, Play(TASK, "0", 0, 1, snapshots="all"))
    moment = on.snapshot(parent, 1) if how == "restored" else None
    assert (moment is not None) == (how == "restored")
    (child,) = played(on, branch(parent, 2, snapshot=moment, branch=1))
    assert (child.id, child.parent, child.inherited, child.branch) == ("0.0-0@2.1", "0.0-0@2", 2, 1)
    assert child.turns[:2] == parent.turns[:2]
    assert told(child) == told(parent)  # the same luck, and the expert acts alike
    assert child.tokens == len(child.turns) - 2
    assert child.turns[2].relation == "new"
    rows = training_rows(trainable([parent, child]), [np.ones(5), np.ones(5)])
    assert sum(int(row.sampled.sum()) for row in rows) == 5 + 3


def test_moments_are_kept_where_a_play_asks_for_them_until_the_update_is_over() -> None:
    from agentrl import Batch, Group

    def answers() -> Says:
        return Says("1", "nonsense", "2")

    on = player(worlds.Counting)
    none, some = (
        played(on, Play(TASK, str(n), 0, 1, snapshots=wanted), speakers={"agent": answers()})[0]
        for n, wanted in enumerate(("none", "invalid"))
    )
    assert [on.snapshot(none, turn) for turn in range(3)] == [None] * 3
    kept = [turn for turn in range(len(some.turns)) if on.snapshot(some, turn) is not None]
    assert kept == [turn for turn, one in enumerate(some.turns) if one.invalid]
    assert kept
    on.observe(Batch(0, (Group("1", 1, (some,)),)))
    assert on.snapshot(some, kept[0]) is None


def test_branches_may_have_a_luck_of_their_own() -> None:
    on = player(Dice)
    (parent,) = played(on, Play(TASK, "0", 0, 1))
    one, two, again = played(on, *(branch(parent, 2, branch=n, reseed=seed) for n, seed in enumerate((1, 2, 1))))
    assert told(one)[:3] == told(two)[:3] == told(parent)[:3]
    assert told(one)[3:] != told(two)[3:]
    assert told(one) == told(again)


def test_a_world_that_cannot_be_reseeded_is_refused_where_branches_would_share_their_luck() -> None:
    class Plain(gymnasium.Env[str, str]):
        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            return "go", {}

        def step(self, action: str) -> Any:
            return "go", 0.0, False, False, {}

    on = player(Plain, max_turns=3)
    (parent,) = played(on, Play(TASK, "0", 0, 1), speakers={"agent": Says("a")})
    with pytest.raises(ConfigError, match="Plain has no `reseed"):
        played(on, branch(parent, 1, reseed=1), speakers={"agent": Says("a")})


def test_a_world_that_does_not_repeat_itself_is_found_out() -> None:
    count = 0

    class Fickle(Dice):
        def step(self, action: str) -> Any:
            nonlocal count
            count += 1
            observation, *rest = super().step(action)
            return f"{observation} at {count}", *rest

    on = player(Fickle, retries=0)
    (parent,) = played(on, Play(TASK, "0", 0, 1))
    (child,) = played(on, branch(parent, 3))
    assert (child.outcome, child.error) == (Outcome.ENV_ERROR, "the world did not repeat itself at turn 1")
    assert len(child.turns) == child.inherited  # what was replayed is inherited, and nothing else was played
    assert trainable([child]) == []


def test_a_start_in_the_middle_may_be_part_of_a_task() -> None:
    (parent,) = played(player(Dice, model=Table()), Play(TASK, "0", 0, 1))
    task = dataclasses.replace(TASK, prefix=parent.turns[:2])
    (found,) = play(player(Dice, model=Table()), EXPERT, [task])
    assert told(found) == told(parent)
    assert (found.inherited, found.parent) == (2, None)
    assert found.episode_return == parent.episode_return
    (rows,) = [[int(i) for row in training_rows([found], [np.ones(5)]) for i in row.turn if i >= 0]]
    assert rows == [2, 3, 4]


def test_a_prefix_that_ends_the_world_too_early_is_found_out() -> None:
    (parent,) = played(player(worlds.Counting), Play(TASK, "0", 0, 1))
    (child,) = played(player(lambda: worlds.Counting(length=1), retries=0), branch(parent, 3))
    assert "the world did not repeat itself: it ended at turn 0" in child.error


# ---------------------------------------------------------------------------------------------------- forced words


def test_forced_words_come_first_and_are_not_trained() -> None:
    model = Table()
    (found,) = played(player(worlds.Counting, model=model), Play(TASK, "0", 0, 1, first="2"))
    assert [turn.action for turn in found.turns][:2] == ["2", "1"]
    assert found.turns[0].columns["mask"].tolist() == [True]  # type: ignore[attr-defined]
    assert found.turns[0].completion.ids.tolist() == model.codec.say("2").tolist()
    assert all("mask" not in turn.columns for turn in found.turns[1:])
    rows = training_rows([found], [np.ones(len(found.turns))])
    assert sorted(int(i) for row in rows for i in row.turn if i >= 0) == list(range(1, len(found.turns)))


def test_forced_words_after_a_start_stand_at_the_branch() -> None:
    on = player(worlds.Counting, model=Table())
    (parent,) = played(on, Play(TASK, "0", 0, 1))
    (child,) = played(on, dataclasses.replace(branch(parent, 1), first="7"))
    assert [turn.action for turn in child.turns][:2] == ["1", "7"]
    assert ["mask" in turn.columns for turn in child.turns[:3]] == [False, True, False]


# -------------------------------------------------------------------------------------------------------- speakers


class Talk(worlds.Counting):
    """Two speakers take turns; the second is paid for what the first one said."""

    instructions = "Talk."

    def reset(self, **given: Any) -> Any:
        observation, info = super().reset(**given)
        return observation, info | {"speaker": "agent"}

    def step(self, action: str) -> Any:
        before = self.turns % 2
        info = super().step(action)[-1]
        info["speaker"] = "user" if before == 0 else "agent"
        info["rewards"] = {"talk": 1.0}
        return f"heard {action}", 1.0, self.turns == 4, False, info


def test_every_speaker_sees_its_own_turns_and_has_a_key_of_its_own() -> None:
    agent, user = Says("a1", "a2"), Says("u1", "u2")
    (found,) = play(player(Talk), {"agent": agent, "user": user})
    assert [(turn.agent, turn.action) for turn in found.turns] == [
        ("agent", "a1"), ("user", "u1"), ("agent", "a2"), ("user", "u2"),
    ]  # fmt: skip
    assert [m.content for m in user.heard[1].messages] == ["Talk.", "heard a1", "u1", "heard a2"]
    assert [m.content for m in agent.heard[1].messages] == ["Talk.", "at 0", "a1", "heard u1"]
    assert ({d.key for d in agent.heard}, {d.key for d in user.heard}) == ({"0.0-0"}, {"0.0-0/user"})
    assert (agent.forgotten, user.forgotten) == (["0.0-0"], ["0.0-0/user"])


def test_a_speaker_is_paid_for_what_came_until_its_next_turn() -> None:
    (found,) = play(player(Talk), {"agent": Says("a"), "user": Says("u")})
    for speaker, own in (("agent", [2.0, 2.0]), ("user", [2.0, 1.0])):
        seen = found.seen_by(speaker)
        assert [turn.agent for turn in seen.turns] == [speaker] * 2
        assert seen.rewards.tolist() == own
        assert [turn.rewards for turn in seen.turns] == [{"talk": value} for value in own]
    alone = found.seen_by("agent")
    assert alone.seen_by("agent") is alone
    assert found.seen_by("nobody").turns == ()


def test_a_speaker_that_nobody_plays_is_a_mistake_in_the_run_file() -> None:
    with pytest.raises(ConfigError, match=r"names the speaker 'user', and this run has 'agent'; add \[policies.user\]"):
        play(player(Talk), Says("a"))


def test_a_play_may_have_other_speakers_and_another_context() -> None:
    def silent(
        instructions: str, turns: Sequence[Turn], observation: str, previous: tuple[Message, ...]
    ) -> tuple[Message, ...]:
        return (Message("user", "always the same"),)

    usual, other = Says("1"), Says("2")
    on = player(worlds.Counting, max_turns=1)
    found = played(
        on, Play(TASK, "0", 0, 1), Play(TASK, "0", 1, 1, speakers={"agent": other}, context=silent),  # type: ignore[arg-type]
        speakers={"agent": usual},
    )  # fmt: skip
    assert [t.turns[0].action for t in found] == ["1", "2"]
    assert other.heard[0].messages[-1].content == "always the same"


# ---------------------------------------------------------------------------------------------- what a context says


class Sums:
    """Lets the policy sum up before every `every`-th action, and keeps actions that begin with "note"."""

    def __init__(self, every: int = 2, endless: bool = False) -> None:
        self.every, self.endless = every, endless
        self.begun: list[dict[str, Any]] = []

    def begin(self, **given: Any) -> Sums:
        self.begun.append(given)
        return self

    instructions = ""
    tools = ({"type": "function", "function": {"name": "note"}},)

    def view(self, turns: Sequence[Turn], observation: str) -> tuple[Message, ...] | Speak:
        acted = sum(turn.kind == "act" for turn in turns)
        due = acted and acted % self.every == 0 and turns[-1].kind == "act"
        if self.endless or due:
            return Speak((Message("user", "sum up"),), stop=(".",), max_tokens=7)
        return (Message("user", observation),)

    def answer(self, reading: Reading) -> Answer | None:
        return Answer("noted", {"note": 0.5}) if reading.action.startswith("note") else None


def test_what_a_context_lets_the_policy_say_first_is_a_turn_that_does_not_move_the_world() -> None:
    policy = Says("1", "2", "so far: 2.", "3")
    (found,) = play(player(worlds.Counting, context=Sums()), policy)
    assert [(turn.kind, turn.action, turn.completion.text) for turn in found.turns] == [
        ("act", "1", "1"), ("act", "2", "2"), ("speak", "", "so far: 2."), ("act", "3", "3"),
    ]  # fmt: skip
    assert (found.turns[2].observation, found.turns[3].observation) == ("at 2", "at 2")
    assert (found.turns[2].reward, found.success) == (0.0, True)
    assert (policy.heard[2].stop, policy.heard[2].max_tokens) == ((".",), 7)
    assert len({dialogue.seed for dialogue in policy.heard}) == 4


def test_what_is_spoken_is_trained_like_any_other_turn() -> None:
    (found,) = play(player(worlds.Counting, context=Sums(), model=Table()), Says("1", "2", "so far: 2.", "3"))
    rows = training_rows([found], [np.ones(4)])
    assert sorted(int(i) for row in rows for i in row.turn if i >= 0) == [0, 1, 2, 3]


def test_a_context_may_keep_an_action_from_the_world() -> None:
    (found,) = play(player(worlds.Counting, context=Sums(every=9)), Says("1", "note it", "2", "3"))
    assert [(turn.kind, turn.action, turn.reward) for turn in found.turns] == [
        ("act", "1", 0.0), ("answer", "note it", 0.5), ("act", "2", 0.0), ("act", "3", 1.0),
    ]  # fmt: skip
    assert found.turns[1].rewards == {"note": 0.5}
    assert found.turns[2].observation == "noted"
    assert found.success


def test_a_context_that_speaks_for_ever_ends_the_trajectory() -> None:
    (found,) = play(player(worlds.Counting, context=Sums(endless=True)), Says("hm"))
    assert (found.outcome, len(found.turns)) == (Outcome.CONTEXT_LIMIT, 8)
    assert not found.outcome.failed


def test_limits_hold_while_a_context_speaks() -> None:
    (found,) = play(player(worlds.Counting, context=Sums(endless=True), max_turns=3), Says("hm"))
    assert (found.outcome, len(found.turns)) == (Outcome.TURN_LIMIT, 3)


def test_a_context_is_told_who_it_serves_and_can_count_tokens() -> None:
    context, policy = Sums(), Says("1")
    play(player(Talk, context=context, model=Table(), max_turns=2), {"agent": policy, "user": policy})
    assert [(given["key"], given["speaker"], given["instructions"]) for given in context.begun] == [
        ("0.0-0", "agent", "Talk."), ("0.0-0/user", "user", "Talk."),
    ]  # fmt: skip
    assert context.begun[0]["count"]((Message("user", "x"),)) == 1
    assert policy.heard[0].tools == Sums.tools


def test_a_world_may_offer_other_tools_after_an_action() -> None:
    class Learns(worlds.Counting):
        @property
        def tool_schemas(self) -> Any:
            return [{"type": "function", "function": {"name": f"tool {n}"}} for n in range(self.count + 1)]

    policy = Says("1", "2", "3")
    play(player(Learns, context=Sums(every=9)), policy)
    offered = [[tool["function"]["name"] for tool in dialogue.tools] for dialogue in policy.heard]
    assert offered == [["tool 0", "note"], ["tool 0", "tool 1", "note"], ["tool 0", "tool 1", "tool 2", "note"]]


# ------------------------------------------------------------------------------------------------ hidden, spans, voice


def test_what_a_world_hides_is_kept_for_judges_and_shown_to_nobody() -> None:
    class Hides(worlds.Counting):
        def reset(self, **given: Any) -> Any:
            observation, info = super().reset(**given)
            return observation, info | {"hidden": {"solution": "1 2 3"}}

    policy = Says("1", "2", "3")
    (found,) = play(player(Hides), policy)
    assert found.hidden == {"solution": "1 2 3"}
    assert all("hidden" not in turn.info for turn in found.turns)
    assert all("hidden" not in dialogue.info for dialogue in policy.heard)


def test_spans_of_characters_become_spans_of_tokens() -> None:
    from test_template_codec import codec_of

    class Marks:
        instructions, stop = "", ()

        def write(self, action: str) -> str:
            return action

        def read(self, text: str) -> Reading:
            return Reading("1", spans=(("think", 0, text.index("!") + 1), ("act", text.index("!") + 1, len(text))))

    class Holder:
        codec = codec_of("chatml")
        version = Table().version

    (found,) = play(player(worlds.Counting, model=Holder(), dialect=Marks(), max_turns=1), Says("go to shelf! look"))
    said, codec = found.turns[0].completion, Holder.codec
    (_, start, stop), (_, begin, end) = found.turns[0].columns["spans"]  # type: ignore[attr-defined]
    assert codec.decode(said.ids[start:stop]) == "go to shelf!"
    assert codec.decode(said.ids[begin:end]).strip() == "look"


class Asking(worlds.Counting):
    """Asks a policy in the middle of every step."""

    def __init__(self, voice: Voice) -> None:
        super().__init__()
        self.voice = voice

    def step(self, action: str) -> Any:
        answer = self.voice.say((Message("user", f"is {action} right?"),), seed=self.turns, timeout_s=5)
        observation, *rest = super().step(action)
        return f"{observation}: {answer}", *rest


class AskingWorlds(Worlds):
    def __init__(self, policy: Any, threaded: bool = True) -> None:
        super().__init__(lambda: None, threaded)  # type: ignore[arg-type,return-value]
        self.policy = policy

    def __call__(self, clock: Clock) -> Any:
        return Asking(LoopVoice(self.policy, clock))


def asking(policy: Any, threaded: bool = True, **settings: Any) -> EpisodePlayer:
    return EpisodePlayer(
        AskingWorlds(policy, threaded), part("context", "full"), part("dialect", "plain"), PlayerSettings(**settings)
    )


def test_a_world_may_ask_a_policy_in_the_middle_of_a_step() -> None:
    asked = Says("yes")
    found = asyncio.run(_play(asked, asking, tasks=5))
    assert [told(t) for t in found] == [[f"at {n}", f"at {n + 1}: yes", f"at {n + 2}: yes"] for n in range(5)]
    assert len(asked.heard) == 15
    assert len(asked.forgotten) == 15


async def _play(asked: Any, make: Any, tasks: int = 1, **settings: Any) -> list[Trajectory]:
    on = make(asked, **settings)  # a voice is made on the loop that plays
    try:
        return await on.play({"agent": EXPERT}, [Play(Task("train", n), str(n), 0, n) for n in range(tasks)])
    finally:
        on.close()


def test_what_a_world_waits_for_its_voice_is_not_its_time() -> None:
    class Slow(Says):
        async def act(self, dialogue: Dialogue) -> Completion:
            await asyncio.sleep(0.4)
            return await super().act(dialogue)

    (found,) = asyncio.run(_play(Slow("yes"), asking, step_timeout_s=0.2, retries=0))
    assert (found.outcome, found.error) == (Outcome.TERMINATED, "")


def test_a_voice_that_does_not_answer_in_time_says_so() -> None:
    class Never(Says):
        async def act(self, dialogue: Dialogue) -> Completion:
            await asyncio.sleep(60)
            raise AssertionError

    class Impatient(Asking):
        def step(self, action: str) -> Any:
            return self.voice.say((), seed=0, timeout_s=0.1)

    class Made(AskingWorlds):
        def __call__(self, clock: Clock) -> Any:
            return Impatient(LoopVoice(self.policy, clock))

    def make(policy: Any, **settings: Any) -> EpisodePlayer:
        return EpisodePlayer(Made(policy), part("context", "full"), part("dialect", "plain"), PlayerSettings(retries=0))

    (found,) = asyncio.run(_play(Never(), make))
    assert found.outcome is Outcome.TIME_LIMIT
    assert "the policy did not answer within 0.1 s" in found.error


@pytest.mark.parametrize("error", [PolicyFault("down"), StopIteration(), asyncio.CancelledError(), SystemExit(3)])
def test_a_policy_that_fails_a_voice_is_an_outcome_of_every_play_that_asked(error: BaseException) -> None:
    class Broken(Says):
        async def act(self, dialogue: Dialogue) -> Completion:
            raise error

    started = time.perf_counter()
    found = asyncio.run(_play(Broken(), asking, tasks=3, retries=1))
    assert [t.outcome for t in found] == [Outcome.ENV_ERROR] * 6
    assert time.perf_counter() - started < 5


def test_a_policy_that_gives_a_voice_no_completion_is_named() -> None:
    class Wrong(Says):
        async def act(self, dialogue: Dialogue) -> Any:
            return "yes"

    (found, _) = asyncio.run(_play(Wrong(), asking))
    assert found.outcome is Outcome.ENV_ERROR
    assert found.error == "PolicyFault: Wrong.act gave 'yes'; a policy gives an agentrl.Completion"


def test_a_play_that_is_cancelled_while_its_world_asks_leaves_nothing_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed = list[int]()

    class Never(Says):
        async def act(self, dialogue: Dialogue) -> Completion:
            await asyncio.sleep(60)
            return Completion("")

    class Made(AskingWorlds):
        def __call__(self, clock: Clock) -> Any:
            world = super().__call__(clock)
            world.close = lambda: closed.append(1)
            return world

    def make() -> EpisodePlayer:
        return EpisodePlayer(Made(Never()), part("context", "full"), part("dialect", "plain"), PlayerSettings())

    cancelled(make, EXPERT, 4)
    gc.collect()
    assert "never retrieved" not in caplog.text
    assert len(closed) == 4


def test_a_voice_on_the_loops_own_thread_is_refused_instead_of_waiting_for_itself() -> None:
    with pytest.raises(PluginError, match="must be stepped in a thread"):
        asyncio.run(_play(Says("yes"), asking, threaded=False))
