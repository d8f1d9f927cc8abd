"""The player: exact turns, typed outcomes, retries, threads for worlds that block, and no luck in the order."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
import worlds
from playing import collected, draws, part, play, player

from agentrl import (
    Completion,
    ConfigError,
    ContextOverflow,
    Dialogue,
    Message,
    Outcome,
    Play,
    PluginError,
    Task,
    Turn,
    Weights,
)
from agentrl_plugins.collectors.asynchronous import Asynchronous
from agentrl_plugins.models.table import Table

EXPERT, RANDOM = part("policy", "expert"), part("policy", "random")


class Says:
    """A policy that says what it is told to, or raises it."""

    accepts: frozenset[type] = frozenset()
    exact: bool | None = False
    repeatable = True
    version = None

    def __init__(self, *answers: object) -> None:
        self.answers, self.heard, self.forgotten = list(answers), list[Dialogue](), list[str]()

    async def act(self, dialogue: Dialogue) -> Completion:
        self.heard.append(dialogue)
        answer = self.answers[min(len(self.heard), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Completion) else Completion(str(answer))

    async def refresh(self, weights: Weights) -> None: ...

    def forget(self, key: str) -> None:
        self.forgotten.append(key)


def long() -> worlds.Counting:
    return worlds.Counting(length=50, cap=20)


def test_a_trajectory_holds_what_was_seen_said_and_paid() -> None:
    (trajectory,) = play(player(worlds.Counting), EXPERT)
    assert [turn.observation for turn in trajectory.turns] == ["at 0", "at 1", "at 2"]
    assert [turn.action for turn in trajectory.turns] == ["1", "2", "3"]
    assert [turn.anchor for turn in trajectory.turns] == ["state 0", "state 1", "state 2"]
    assert trajectory.turns[0].info["admissible"] == ("1", "2")
    assert trajectory.rewards.tolist() == [0, 0, 1]
    assert trajectory.turns[-1].rewards == {"goal": 1.0}
    assert (trajectory.success, trajectory.outcome, trajectory.task.key) == (True, Outcome.TERMINATED, "train/0")
    assert (trajectory.id, trajectory.group, trajectory.hidden, trajectory.parent) == ("0.0-0", "0", {}, None)
    assert trajectory.final is not None
    assert (trajectory.final.observation, trajectory.final.anchor) == ("at 3", "state 3")
    assert trajectory.final.admissible == ("4", "5")


def test_what_a_turn_cost_is_kept_with_it() -> None:
    class Dear(worlds.Counting):
        def step(self, action: str) -> Any:
            observation, reward, done, cut, info = super().step(action)
            return observation, reward, done, cut, info | {"calls": ("a", "b"), "cost": {"money": 0.5}}

    cost = play(player(Dear, model=Table()), EXPERT)[0].turns[0].info["cost"]
    assert isinstance(cost, dict)
    assert (cost["tokens"], cost["calls"], cost["money"]) == (1, 2, 0.5)
    assert 0 <= cost["seconds"] < 1


def test_the_cap_of_the_world_and_limits_of_ours_end_a_trajectory_that_is_kept() -> None:
    def capped() -> worlds.Counting:
        return worlds.Counting(length=50, cap=5)

    theirs = play(player(capped), RANDOM)[0]
    ours = play(player(capped, max_turns=2), RANDOM)[0]
    tokens = play(player(capped, max_tokens=3, model=Table()), RANDOM)[0]
    assert (theirs.outcome, len(theirs.turns)) == (Outcome.TURN_LIMIT, 5)
    assert (ours.outcome, len(ours.turns), ours.outcome.failed) == (Outcome.TURN_LIMIT, 2, False)
    assert (tokens.outcome, tokens.tokens, tokens.outcome.failed) == (Outcome.TOKEN_LIMIT, 3, False)


def test_a_play_may_have_tighter_limits_and_none_that_are_wider() -> None:
    on = player(long, max_turns=4, model=Table())
    task = Task("train", 0)
    wanted = [
        Play(task, "0", 0, 0),
        Play(task, "0", 1, 0, max_turns=2),
        Play(task, "0", 2, 0, max_turns=9),
        Play(task, "0", 3, 0, max_tokens=1),
        Play(task, "0", 4, 0, until=lambda turn: turn.observation == "at 2"),
    ]
    found = asyncio.run(on.play({"agent": EXPERT}, wanted))
    assert [len(t.turns) for t in found] == [4, 2, 4, 1, 3]
    assert [t.outcome for t in found][3:] == [Outcome.TOKEN_LIMIT, Outcome.TURN_LIMIT]


def test_groups_share_task_and_seed_and_members_differ() -> None:
    found = play(player(long), RANDOM, 2, group_size=8)
    assert len({t.group for t in found}) == 2
    assert len({t.id for t in found}) == 16
    assert len({tuple(turn.action for turn in t.turns) for t in found[:8]}) > 1
    assert {(t.task.index, t.task.seed) for t in found[:8]} == {(0, 0)}
    assert len({t.seed for t in found}) == 16


def test_a_task_may_ask_for_its_own_number_of_copies() -> None:
    found = play(player(worlds.Counting), EXPERT, [Task("train", 0, copies=3), Task("train", 1)], group_size=2)
    assert [t.id for t in found] == ["0.0-0", "0.1-0", "0.2-0", "1.0-0", "1.1-0"]


def test_a_group_size_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="group_size = 0"):
        Asynchronous(player(worlds.Counting), group_size=0)


@pytest.mark.parametrize("concurrency", [1, 3, 64])
def test_what_is_played_depends_neither_on_concurrency_nor_on_companions(concurrency: int) -> None:
    noisy = part("policy", "expert", noise=0.5)

    def actions(concurrency: int, tasks: int) -> list[list[str]]:
        found = play(player(worlds.Counting, concurrency=concurrency), noisy, tasks)
        return [[turn.action for turn in t.turns] for t in found]

    assert actions(concurrency, 9)[:2] == actions(1, 2)


def test_at_most_so_many_worlds_exist_at_once_whatever_groups_they_belong_to() -> None:
    made, running, most = [], 0, 0

    class Counted(worlds.Counting):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

        def reset(self, **given: Any) -> Any:
            nonlocal running, most
            running += 1
            most = max(most, running)
            return super().reset(**given)

    class Slow(Says):
        async def act(self, dialogue: Dialogue) -> Completion:
            nonlocal running
            await asyncio.sleep(0)
            if dialogue.messages[-1].content.endswith("2"):
                running -= 1
            return Completion(str(int(dialogue.messages[-1].content.split()[-1]) + 1))

    on = player(Counted, concurrency=3)
    found = play(on, Slow(), [Task("train", 0) for _ in range(5)], group_size=4)
    assert len(found) == 20
    assert (len(made), most) == (3, 3)
    on.close()


@pytest.mark.parametrize(
    ("fault", "blocks", "outcome"),
    [
        ("raise", False, Outcome.ENV_ERROR),
        ("raise", True, Outcome.ENV_ERROR),
        ("sandbox", False, Outcome.SANDBOX_ERROR),
        ("sandbox", True, Outcome.SANDBOX_ERROR),
        ("hang", True, Outcome.TIME_LIMIT),
        ("hang", False, Outcome.TIME_LIMIT),
    ],
)
def test_a_fault_is_an_outcome_and_is_retried(fault: str, blocks: bool, outcome: Outcome) -> None:
    worlds.Faulty.left = 1
    found = play(player(lambda: worlds.Faulty(fault, blocks), step_timeout_s=0.2, concurrency=1), EXPERT, 3)
    assert [t.outcome for t in found] == [outcome, *[Outcome.TERMINATED] * 3]
    assert [t.id for t in found] == ["0.0-0", "0.0-1", "1.0-0", "2.0-0"]
    assert found[0].outcome.failed
    assert found[0].error
    assert len(found[0].turns) == 1
    assert {t.seed for t in found[:2]} == {found[0].seed}


def test_the_retry_budget_is_kept() -> None:
    worlds.Faulty.left = 100
    found = play(player(worlds.Faulty, retries=2), EXPERT)
    assert [t.outcome for t in found] == [Outcome.ENV_ERROR] * 3
    worlds.Faulty.left = 100
    assert len(play(player(worlds.Faulty, retries=0), EXPERT)) == 1


def test_a_world_that_failed_is_closed_and_replaced_and_one_that_did_not_is_played_again() -> None:
    made: list[Any] = []

    class Kept(worlds.Faulty):
        def __init__(self) -> None:
            super().__init__()
            self.closed = 0
            made.append(self)

        def close(self) -> None:
            self.closed += 1

    worlds.Faulty.left = 1
    on = player(Kept, concurrency=1)
    play(on, EXPERT, 3)
    assert [world.closed for world in made] == [1, 0]
    on.close()
    on.close()
    assert [world.closed for world in made] == [1, 1]


def test_a_world_that_hangs_neither_holds_up_the_others_nor_the_end() -> None:
    release = threading.Event()

    class Stuck(worlds.Counting):
        blocks = True

        def step(self, action: str) -> Any:
            if self.start == 0:
                release.wait(30)
            return super().step(action)

    started = time.perf_counter()
    on = player(Stuck, step_timeout_s=0.3, retries=0)
    try:
        found = play(on, EXPERT, 4)
        on.close()
        assert time.perf_counter() - started < 10
        assert [t.outcome for t in found] == [Outcome.TIME_LIMIT, *[Outcome.TERMINATED] * 3]
        assert "longer than 0.3 s" in found[0].error
    finally:
        release.set()


def test_worlds_that_block_are_stepped_side_by_side() -> None:
    class Slow(worlds.Counting):
        blocks = True

        def step(self, action: str) -> Any:
            time.sleep(0.05)
            return super().step(action)

    started = time.perf_counter()
    play(player(Slow), EXPERT, 20)
    assert time.perf_counter() - started < 20 * 3 * 0.05 / 3


def test_a_world_that_blocks_is_stepped_in_one_thread_of_its_own() -> None:
    threads: dict[int, set[int]] = {}

    class Bound(worlds.Counting):
        blocks = True

        def step(self, action: str) -> Any:
            threads.setdefault(id(self), set()).add(threading.get_ident())
            return super().step(action)

    play(player(Bound, concurrency=2), EXPERT, 6)
    assert all(len(own) == 1 for own in threads.values())
    assert threading.get_ident() not in set().union(*threads.values())


def test_seconds_of_worlds_and_of_playing_are_counted_since_the_last_call() -> None:
    class Slow(worlds.Counting):
        def step(self, action: str) -> Any:
            time.sleep(0.01)
            return super().step(action)

    on = player(Slow)
    play(on, EXPERT, 2)
    seconds = on.metrics()
    assert seconds["world_seconds"] >= 6 * 0.01
    assert seconds["collect_seconds"] >= 6 * 0.01  # stepped inline, one after the other
    assert on.metrics() == {"world_seconds": 0, "collect_seconds": 0}


# ------------------------------------------------------------------------------------------------------- policies


def test_a_policy_that_fails_is_an_outcome_and_an_overflow_is_a_limit() -> None:
    on = player(worlds.Counting, retries=0)
    failed = play(on, Says("1", RuntimeError("gone")))[0]
    assert (failed.outcome, failed.error, len(failed.turns)) == (Outcome.POLICY_ERROR, "RuntimeError: gone", 1)
    full = play(on, Says("1", ContextOverflow("full")))[0]
    assert (full.outcome, len(full.turns)) == (Outcome.CONTEXT_LIMIT, 1)


def test_a_first_prompt_that_does_not_fit_is_no_trajectory_to_learn_from() -> None:
    found = play(player(worlds.Counting, retries=0), Says(ContextOverflow("300 tokens")))[0]
    assert (found.outcome, found.error) == (Outcome.POLICY_ERROR, "the first prompt does not fit: 300 tokens")


def test_the_policy_is_told_which_dialogues_are_over_however_they_ended() -> None:
    worlds.Faulty.left = 1
    policy = Says("1", "2", "3")
    found = play(player(worlds.Faulty, concurrency=1), policy, 1)
    assert [t.id for t in found] == ["0.0-0", "0.0-1"]
    assert policy.forgotten == ["0.0-0", "0.0-1"]
    assert {dialogue.key for dialogue in policy.heard} == {"0.0-0", "0.0-1"}


def test_every_turn_has_a_seed_of_its_own() -> None:
    policy = Says("1")
    play(player(long, max_turns=3), policy, 2, group_size=2)
    assert len({dialogue.seed for dialogue in policy.heard}) == len(policy.heard) == 12


def test_a_policy_is_shown_the_info_from_before_its_action() -> None:
    policy = Says("1", "2")
    play(player(worlds.Counting, max_turns=2), policy)
    assert [dialogue.info["admissible"] for dialogue in policy.heard] == [("1", "2"), ("2", "3")]
    assert [dialogue.prompt for dialogue in policy.heard] == [None, None]


def test_words_without_ids_get_those_that_sampling_would_have_given() -> None:
    model = Table()
    by_expert = play(player(worlds.Counting, model=model), EXPERT)[0]
    by_service = play(player(worlds.Counting, model=model), Says("1", "2", "3"))[0]
    for found in (by_expert, by_service):
        said = [turn.completion for turn in found.turns]
        assert [one.ids.tolist() for one in said] == [model.codec.say(text).tolist() for text in "123"]
        assert [one.logprobs.tolist() for one in said] == [[0.0]] * 3
        assert said[0].prompt_ids.tolist() == model.codec.prompt((Message("user", "at 0"),)).ids.tolist()
        assert [turn.relation for turn in found.turns] == ["start", "new", "new"]


def test_what_a_service_gave_as_structure_is_kept_beside_the_ids_it_did_not_give() -> None:
    said = Completion("let me see", calls=({"name": "next", "arguments": {"by": 1}},), thought="easy", stop="length")
    turn = play(player(worlds.Counting, model=Table(), max_turns=1), Says(said))[0].turns[0]
    assert (turn.completion.calls, turn.completion.thought, turn.completion.stop) == (said.calls, "easy", "length")
    assert len(turn.completion.ids) == 1
    assert '"name": "next"' in turn.action or '"name":"next"' in turn.action


def test_a_demonstration_that_does_not_fit_the_model_ends_at_the_limit_of_the_context() -> None:
    model = Table()
    model.codec.max_context = 1
    found = play(player(worlds.Counting, model=model, retries=0), EXPERT)[0]
    assert found.outcome is Outcome.POLICY_ERROR
    assert "1 + 1 tokens do not fit into max_context = 1" in found.error


# ------------------------------------------------------------------------------- mistakes that stop everything


def test_a_mistake_in_the_run_file_stops_everything() -> None:
    with pytest.raises(ConfigError, match="unknown split 'tarin'"):
        play(player(worlds.Counting), EXPERT, [Task("tarin", 0)])
    plain = type("Plain", (gymnasium.Env,), {"reset": lambda self, **_: ("o", {}), "step": None})
    with pytest.raises(ConfigError, match="expert_action"):
        play(player(plain), EXPERT)


def test_a_mistake_cancels_what_is_played_beside_it_and_closes_its_world() -> None:
    ended: list[str] = []

    class Waits(Says):
        async def act(self, dialogue: Dialogue) -> Completion:
            if dialogue.key.startswith("3"):
                raise ConfigError("wrong")
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(dialogue.key)
            return Completion("1")

    closed: list[int] = []

    class Closes(worlds.Counting):
        def close(self) -> None:
            closed.append(1)

    async def together() -> None:
        on = player(Closes)
        plays = [Play(draw.task, str(draw.number), 0, draw.seed) for draw in draws([Task("train", 0)] * 4)]
        with pytest.raises(ConfigError, match="wrong"):
            await on.play({"agent": Waits()}, plays)
        on.close()

    asyncio.run(together())
    assert sorted(ended) == ["0.0-0", "1.0-0", "2.0-0"]
    assert len(closed) == 4


@pytest.mark.parametrize("answer", [None, "words", 3, Completion(3)])  # type: ignore[arg-type]
def test_a_policy_that_gives_no_completion_ends_the_trajectory_and_is_named(answer: object) -> None:
    class Wrong(Says):
        async def act(self, dialogue: Dialogue) -> Any:
            return answer

    (found,) = play(player(worlds.Counting, retries=0), Wrong())
    assert found.outcome is Outcome.POLICY_ERROR
    assert re.search("Wrong.act gave .*; a policy gives an agentrl.Completion", found.error)


def test_a_demonstrator_that_gives_no_text_ends_the_trajectory_and_is_named() -> None:
    class Wrong:
        def act(self, world: Any, info: Any, seed: int) -> Any:
            return 3

    (found,) = play(player(worlds.Counting, retries=0), Wrong())
    assert found.outcome is Outcome.POLICY_ERROR
    assert found.error == "Wrong.act gave 3; a demonstrator gives the action's text"


def test_something_that_is_no_world_is_refused() -> None:
    with pytest.raises(PluginError, match="a world must be a gymnasium.Env"):
        play(player(lambda: "no world"), EXPERT)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (("o", 0.0, False, {}), "Gymnasium's step gives"),
        (("o", "much", False, False, {}), "it is one finite number"),
        (("o", float("nan"), False, False, {}), "it is one finite number"),
        ((3, 0.0, False, False, {}), "the observation is text"),
        (("o", 0.0, False, False, None), "the info a mapping"),
        (None, "Gymnasium's step gives"),
    ],
)
def test_a_world_that_gives_something_else_than_a_step_is_an_outcome_that_says_so(step: Any, reason: str) -> None:
    class Odd(worlds.Counting):
        def step(self, action: str) -> Any:
            return step

    found = play(player(Odd, retries=0), EXPERT)[0]
    assert found.outcome is Outcome.ENV_ERROR
    assert reason in found.error
    assert found.turns == ()


@pytest.mark.parametrize("reset", ["o", (3, {}), ("o", None), None, ("o", {"hidden": 3})])
def test_a_world_that_gives_something_else_than_a_reset_is_an_outcome_too(reset: Any) -> None:
    class Odd(worlds.Counting):
        def reset(self, **given: Any) -> Any:
            super().reset(**given)
            return reset

    found = play(player(Odd, retries=0), EXPERT)[0]
    assert found.outcome is Outcome.ENV_ERROR
    assert "reset gave" in found.error


def test_a_failure_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    worlds.Faulty.left = 1
    with caplog.at_level(logging.WARNING, "agentrl"):
        play(player(worlds.Faulty), EXPERT)
    assert "trajectory 0.0-0 failed: RuntimeError: the world broke" in caplog.text


def test_a_plain_gymnasium_world_works_unmodified() -> None:
    class Plain(gymnasium.Env[str, str]):
        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            self.left = 3
            return "go", {}

        def step(self, action: str) -> Any:
            self.left -= 1
            return "on", np.float32(1.0), self.left == 0, np.bool_(False), {}

    found = play(player(Plain), Says("anything"))[0]
    assert (found.episode_return, found.turns[0].anchor, found.task.key) == (3.0, "go", "train/0")


# ------------------------------------------------------------------------------------------- contexts and dialects


@pytest.mark.parametrize(("last", "roles"), [(0, "su"), (1, "suau"), (2, "suauau")])
def test_a_window_keeps_the_task_and_the_last_turns(last: int, roles: str) -> None:
    context = part("context", "window", last=last)
    turns = play(player(lambda: worlds.Counting(length=5)), EXPERT)[0].turns[:3]
    messages = context("rules", turns, "now", ())
    assert "".join(m.role[0] for m in messages) == roles
    assert messages[1].content.startswith("at 0")
    assert messages[-1].content.endswith("now")
    assert [m.completion for m in messages if m.role == "assistant"] == [t.completion for t in turns[3 - last :]]


def test_a_context_is_shown_each_turn_once_with_what_it_returned_before() -> None:
    seen: list[tuple[int, str, int]] = []

    def context(
        instructions: str, turns: Sequence[Turn], observation: str, previous: tuple[Message, ...]
    ) -> tuple[Message, ...]:
        seen.append((len(turns), observation, len(previous)))
        return (*previous, Message("user", observation))

    play(player(worlds.Counting, context=context), EXPERT)
    assert seen == [(0, "at 0", 0), (1, "at 1", 1), (2, "at 2", 2)]


def test_something_that_is_no_context_is_refused() -> None:
    with pytest.raises(PluginError, match="a context is a function or has `begin`; 3 is neither"):
        play(player(worlds.Counting, context=3), EXPERT)


def test_a_dialect_that_reads_no_reading_is_a_mistake_of_the_plugin() -> None:
    class Wrong:
        instructions, stop = "", ()

        def write(self, action: str) -> str:
            return action

        def read(self, text: str) -> str:
            return text

    with pytest.raises(PluginError, match="the dialect Wrong: read gave '1'; it gives an agentrl.Reading"):
        play(player(worlds.Counting, dialect=Wrong()), EXPERT)


@pytest.mark.parametrize("name", ["plain", "tags"])
def test_a_dialect_reads_what_it_writes(name: str) -> None:
    dialect = part("dialect", name)
    for action in ("go to shelf 1", "search[red <b> shoe]", "ü ∑"):
        assert dialect.read(dialect.write(action)).action == action
    assert dialect.read("").invalid


def test_random_play_of_two_seeds_differs() -> None:
    one, two = (play(player(long), RANDOM, seed=seed)[0] for seed in (0, 1))
    assert not np.array_equal([t.action for t in one.turns], [t.action for t in two.turns])


def test_collecting_gives_one_group_per_draw_in_order() -> None:
    tasks = [Task("train", index) for index in range(3)]
    groups = asyncio.run(collected(player(worlds.Counting), EXPERT, tasks, group_size=2))
    assert [(group.key, group.draw, [t.id for t in group.trajectories]) for group in groups] == [
        (str(n), n, [f"{n}.0-0", f"{n}.1-0"]) for n in range(3)
    ]
