"""Worlds, policies, contexts and dialects that break in every way they can: none ends a run, none becomes a reward."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
import pytest
import worlds
from playing import cancelled, play, player
from test_player import EXPERT, Says

from agentrl import (
    Answer,
    Completion,
    Dialogue,
    Message,
    Outcome,
    Play,
    PluginError,
    PolicyFault,
    Reading,
    SandboxFault,
    Speak,
    Task,
    Trajectory,
)
from agentrl.parts.run_file import PlayerSettings
from agentrl.worlds.player import EpisodePlayer
from agentrl.worlds.stepping import Clock


class Unreadable(Exception):
    """Even its message breaks."""

    def __str__(self) -> str:
        raise RuntimeError("no message")


class Opaque:
    """Nothing can be found out about it."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    __str__ = __bool__ = __float__ = __repr__  # type: ignore[assignment]


RAISED: tuple[BaseException, ...] = (
    RuntimeError("broke"), StopIteration("over"), SystemExit(3), asyncio.CancelledError(), GeneratorExit(),
    KeyError(), Unreadable(), RecursionError(), MemoryError(), RuntimeError("x" * 10**6),
)  # fmt: skip
"""What a world may raise."""


def failed(trajectory: Trajectory, outcome: Outcome = Outcome.ENV_ERROR) -> str:
    """Why a trajectory failed; it is kept out of training and has a readable reason of bearable length."""
    assert trajectory.outcome is outcome
    assert trajectory.outcome.failed
    assert 0 < len(trajectory.error) < 3_000
    return trajectory.error


@pytest.mark.parametrize("where", ["reset", "step", "snapshot", "close", "__init__"])
@pytest.mark.parametrize("blocks", [False, True], ids=["inline", "threaded"])
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_whatever_a_world_raises_wherever_is_an_outcome(error: BaseException, blocks: bool, where: str) -> None:
    def raises(*_: Any, **__: Any) -> Any:
        raise error

    broken = type("Broken", (worlds.Counting,), {where: raises, "blocks": blocks})
    on = player(broken, retries=1, step_timeout_s=5)
    started = time.perf_counter()
    found = asyncio.run(on.play({"agent": EXPERT}, [Play(Task("train", 0), "0", 0, 0, snapshots="all")]))
    on.close()
    assert time.perf_counter() - started < 4
    if where == "close":
        assert [t.outcome for t in found] == [Outcome.TERMINATED]
    else:
        assert [failed(t).split(":")[0] for t in found] == [type(error).__name__] * 2


@pytest.mark.parametrize(
    "step",
    [
        ("o", 10**400, False, False, {}), ("o", "1.5", False, False, {}), ("o", b"1", False, False, {}),
        ("o", np.array([1.0, 2.0]), False, False, {}), ("o", float("inf"), False, False, {}), ("o", None, False, False, {}),
        ("o", 0.0, np.array([True, False]), False, {}), ("o", 0.0, Opaque(), False, {}), (b"o", 0.0, False, False, {}),
        ("o", Opaque(), False, False, {}), Opaque(), ["o", 0.0, False, False, {}],
        ("o", 0.0, False, False, {"rewards": 1.0}), ("o", 0.0, False, False, {"rewards": {"goal": "much"}}),
        ("o", 0.0, False, False, {"rewards": {"goal": float("nan")}}), ("o", 0.0, False, False, {"rewards_by": 1.0}),
        ("o", 0.0, False, False, {"rewards_by": {"agent": float("nan")}}), ("o", 0.0, False, False, {"cost": {"money": "much"}}),
        ("o", 0.0, False, False, {"success": np.array([True, False])}), ("o", 0.0, False, False, {"success": Opaque()}),
        ("o", 0.0, False, False, {"anchor": Opaque()}), ("o", 0.0, False, False, {"invalid": Opaque()}),
        ("o", 0.0, False, False, {"speaker": Opaque()}), ("o", 0.0, False, False, [("speaker", "agent")]),
    ],
    ids=range(24),
)  # fmt: skip
def test_a_step_that_gives_what_no_step_may_give_is_an_outcome(step: Any) -> None:
    class Odd(worlds.Counting):
        def step(self, action: str) -> Any:
            return step

    (found,) = play(player(Odd, retries=0, max_turns=1), EXPERT)
    failed(found)
    assert found.turns == ()


def test_values_that_are_nearly_right_become_plain_ones() -> None:
    class Nearly(worlds.Counting):
        def step(self, action: str) -> Any:
            info = {
                "success": np.bool_(True), "rewards": {"goal": np.float32(1), 3: 0}, "anchor": 7, "invalid": None,
                "rewards_by": {"agent": np.float32(1)}, "cost": {"money": np.int64(2)}, "blob": b"\xff", "set": {1},
            }  # fmt: skip
            return np.str_("seen"), np.float32(1), np.bool_(True), np.bool_(False), info

    (found,) = play(player(Nearly), EXPERT)
    turn = found.turns[0]
    assert (turn.reward, turn.rewards, found.success) == (1.0, {"goal": 1.0, "3": 0.0}, True)
    assert type(turn.reward) is type(turn.rewards["goal"]) is float
    assert found.seen_by("agent").rewards.tolist() == [1.0]
    assert found.final is not None
    assert found.final.anchor == "7"
    assert isinstance(turn.info["cost"], Mapping)
    assert turn.info["cost"]["money"] == 2.0


def test_worlds_that_are_given_up_are_closed_and_their_threads_end() -> None:
    release, closed = threading.Event(), list[int]()

    class Stuck(worlds.Counting):
        blocks = True

        def step(self, action: str) -> Any:
            release.wait(30)
            return super().step(action)

        def close(self) -> None:
            closed.append(1)

    before = set(threading.enumerate())
    on = player(Stuck, step_timeout_s=0.1, retries=1)
    assert {t.outcome for t in play(on, EXPERT, 3)} == {Outcome.TIME_LIMIT}
    on.close()
    release.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("world-")]
    assert len(closed) == 6


@pytest.mark.parametrize("blocks", [False, True], ids=["inline", "threaded"])
def test_a_play_that_is_cancelled_leaves_neither_a_world_nor_a_thread(blocks: bool) -> None:
    closed = list[int]()

    class Closes(worlds.Counting):
        def close(self) -> None:
            closed.append(1)

    class Hangs(Says):
        async def act(self, dialogue: Dialogue) -> Completion:
            await asyncio.sleep(60)
            return Completion("")

    policy = Hangs()

    cancelled(lambda: player(Closes, threaded=blocks), policy, 5)
    assert len(closed) == 5
    assert sorted(policy.forgotten) == [f"0.{n}-0" for n in range(5)]


def test_a_world_that_cannot_be_made_at_once_is_made_again() -> None:
    made = list[int]()

    def environment() -> gymnasium.Env[str, str]:
        made.append(1)
        if len(made) == 1:
            raise SandboxFault("the daemon starts late")
        return worlds.Counting()

    found = play(player(environment), EXPERT)
    assert [t.outcome for t in found] == [Outcome.SANDBOX_ERROR, Outcome.TERMINATED]
    assert [t.id for t in found] == ["0.0-0", "0.0-1"]


def test_worlds_beside_one_that_cannot_be_closed_are_closed() -> None:
    closed = list[int]()

    class Clings(worlds.Counting):
        def close(self) -> None:
            closed.append(1)
            raise RuntimeError("no")

    on = player(Clings)

    class Waits(Says):
        async def act(self, dialogue: Dialogue) -> Completion:
            await asyncio.sleep(0.01)
            return Completion("1")

    play(on, Waits(), 4)
    on.close()
    assert len(closed) == 4


# ------------------------------------------------------------------------------------------------------- policies


@pytest.mark.parametrize(
    "error",
    [StopAsyncIteration(), asyncio.CancelledError(), Unreadable(), PolicyFault("x" * 10**6), TimeoutError(), SandboxFault("a")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_a_policy_raises_is_its_own_fault(error: BaseException) -> None:
    class Breaks(Says):
        async def act(self, dialogue: Dialogue) -> Completion:
            raise error

    found = play(player(worlds.Counting, retries=1), Breaks())
    assert len(found) == 2
    for trajectory in found:
        failed(trajectory, Outcome.POLICY_ERROR)


def test_a_policy_that_cannot_forget_does_not_end_the_run() -> None:
    class Keeps(Says):
        def forget(self, key: str) -> None:
            raise KeyError(key)

    (found,) = play(player(worlds.Counting), Keeps("1", "2", "3"))
    assert (found.outcome, found.success) == (Outcome.TERMINATED, True)


@pytest.mark.parametrize(
    "call", [{}, {"name": "x"}, {"name": 3, "arguments": {}}, {"name": "x", "arguments": [1]}, None]
)
def test_a_call_that_a_model_garbled_is_an_invalid_action(call: Any) -> None:
    (found,) = play(player(worlds.Counting, max_turns=1), Says(Completion("x", calls=(call,))))
    assert found.outcome is Outcome.TURN_LIMIT
    assert found.turns[0].invalid
    assert found.turns[0].action == ""


# ---------------------------------------------------------------------------------------------- contexts and dialects


class Odd:
    """A context and its session: one of its methods is replaced."""

    instructions, tools = "", ()

    def __init__(self, **methods: Callable[..., Any]) -> None:
        self.__dict__.update(methods)

    def begin(self, **given: Any) -> Any:
        return self

    def view(self, turns: Any, observation: str) -> Any:
        return (Message("user", observation),)

    def answer(self, reading: Reading) -> Any:
        return None


def raises(*_: Any, **__: Any) -> Any:
    raise RuntimeError("the memory is gone")


@pytest.mark.parametrize("method", ["begin", "view", "answer"])
def test_a_context_that_raises_is_found_in_the_outcome(method: str) -> None:
    (found,) = play(player(worlds.Counting, context=Odd(**{method: raises}), retries=0), EXPERT)
    assert failed(found, Outcome.POLICY_ERROR) == f"RuntimeError: the memory is gone (in {__name__}.raises)"


@pytest.mark.parametrize("seen", [None, "text", (), ("text",), 3, Speak(())])
def test_a_context_that_shows_no_messages_is_a_mistake_of_the_plugin(seen: Any) -> None:
    with pytest.raises(PluginError, match="the context Odd gave .*; it gives agentrl.Message objects"):
        play(player(worlds.Counting, context=Odd(view=lambda *_: seen)), EXPERT)


def test_a_context_that_answers_with_something_else_is_a_mistake_of_the_plugin() -> None:
    with pytest.raises(PluginError, match="the context Odd answered 'no', no agentrl.Answer"):
        play(player(worlds.Counting, context=Odd(answer=lambda *_: "no")), EXPERT)


@pytest.mark.parametrize("answer", [Answer("o", {"x": float("nan")}), Answer("o", 3), Answer(3)])  # type: ignore[arg-type]
def test_an_answer_that_cannot_be_paid_or_shown_is_an_outcome(answer: Answer) -> None:
    (found,) = play(player(worlds.Counting, context=Odd(answer=lambda *_: answer), retries=0), EXPERT)
    failed(found, Outcome.POLICY_ERROR)
    assert found.turns == ()


@pytest.mark.parametrize("speaks", [False, True])
def test_a_context_that_answers_for_ever_ends_the_trajectory(speaks: bool) -> None:
    def view(turns: Any, observation: str) -> Any:
        if speaks and turns and turns[-1].kind == "answer":
            return Speak((Message("user", "sum up"),))
        return (Message("user", observation),)

    context = Odd(answer=lambda *_: Answer("again"), view=view)
    (found,) = play(player(worlds.Counting, context=context), Says("1"))
    assert (found.outcome, found.error) == (Outcome.CONTEXT_LIMIT, "the context answered 64 times without a step")
    assert sum(turn.kind == "answer" for turn in found.turns) == 64


def test_a_dialect_that_raises_is_found_in_the_outcome() -> None:
    class Cramped:
        instructions, stop = "", ()
        write = str

        def read(self, text: str) -> Reading:
            raise RecursionError("too deep")

    (found,) = play(player(worlds.Counting, dialect=Cramped(), retries=0), EXPERT)
    assert failed(found, Outcome.POLICY_ERROR) == f"RecursionError: too deep (in {__name__}.read)"


# -------------------------------------------------------------------------------------------------------------- voices


def test_a_world_that_waits_for_a_policy_at_its_time_limit_does_not_keep_the_loop_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = 0
    wait = asyncio.wait

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal waits
        waits += 1
        return wait(*given, **named)

    monkeypatch.setattr(asyncio, "wait", counted)

    class Asks(worlds.Counting):
        blocks = True

        def __init__(self, clock: Clock) -> None:
            super().__init__()
            self.clock = clock

        def step(self, action: str) -> Any:
            if self.turns == 0:
                with self.clock.paused():
                    time.sleep(0.6)
            return super().step(action)

    class Environments:
        threaded = False

        def __call__(self, clock: Clock) -> Asks:
            return Asks(clock)

    from playing import part

    settings = PlayerSettings(step_timeout_s=0.2)
    on = EpisodePlayer(Environments(), part("context", "full"), part("dialect", "plain"), settings)
    (found,) = play(on, EXPERT)
    on.close()
    assert found.outcome is Outcome.TERMINATED
    assert waits < 100
