"""Vectorised play: the mode follows the measured cost, and every mode plays what the plain loop plays."""

from __future__ import annotations

import copy
import functools
import hashlib
import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from worlds import Counting, Faulty

from agentrl import ConfigError, Spec, default_host
from agentrl.worlds.infos import Infos
from agentrl.worlds.vector import StepCost, choose, make, measure

LONG = "ünï☃ " * 20_000


class Sleeping(Counting):
    """Waits as a server would make it wait; a step in another thread than the last one is a fault."""

    blocks = True

    def __init__(self, seconds: float = 0.01) -> None:
        super().__init__(length=3, cap=4)
        self.seconds = seconds

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        time.sleep(self.seconds)
        self.thread = threading.get_ident()
        return super().reset(seed=seed, options=options)

    def step(self, action: str) -> Any:
        if self.thread != threading.get_ident():
            raise RuntimeError("stepped by another thread")
        time.sleep(self.seconds)
        return super().step(action)


class Computing(Counting):
    """Keeps a core busy."""

    def step(self, action: str) -> Any:
        digest = b""
        for _ in range(30_000):
            digest = hashlib.blake2b(digest).digest()
        return super().step(action)


class Wordy(Counting):
    """Says more than any fixed buffer holds, and changes the types of what it tells."""

    def _observation(self) -> str:
        return f"{self.count} {LONG}"

    def _info(self) -> dict[str, Any]:
        told: dict[str, Any] = {"cost": None, "note": LONG} if self.count else {"cost": 1}
        return super()._info() | told | {"parts": {"goal": self.count / 2, "other": 0}}


def installed(name: str) -> Callable[[], Any]:
    return functools.partial(default_host().build, Spec("environment", name))


def played_one_by_one(factory: Callable[[], Any], count: int, turns: int) -> list[Any]:
    """What the plain loop sees, a world that is over being reset by the next step."""
    seen = []
    for i in range(count):
        env = factory()
        observation, info = env.reset(seed=7 + i)
        rows: list[Any] = [(observation, 0.0, False, False, info)]
        for turn in range(turns):
            if rows[-1][2] or rows[-1][3]:
                observation, info = env.reset()
                rows.append((observation, 0.0, False, False, info))
            else:
                rows.append(env.step(choice(rows[-1][4], turn)))
        env.close()
        seen.append(rows)
    return seen


def choice(info: Any, turn: int) -> str:
    return str(info["admissible"][turn % len(info["admissible"])])


@pytest.mark.parametrize("mode", ["inline", "threads", "processes"])
@pytest.mark.parametrize("world", ["corridor", "household", Wordy], ids=str)
def test_every_mode_plays_what_the_plain_loop_plays(mode: Any, world: Any) -> None:
    factory = installed(world) if isinstance(world, str) else world
    expected = played_one_by_one(factory, 3, 30)
    vector = make(world, 3, mode=mode)
    assert vector.mode == mode
    try:
        observations, infos = vector.reset(seed=7)
        assert list(zip(observations, infos.each, strict=True)) == [(rows[0][0], rows[0][4]) for rows in expected]
        for turn in range(30):
            *step, infos = vector.step([choice(info, turn) for info in infos.each])
            assert list(zip(*step, infos.each, strict=True)) == [rows[turn + 1] for rows in expected]
    finally:
        vector.close()
        vector.close()


@pytest.mark.parametrize("mode", ["inline", "processes"])
def test_infos_have_the_form_that_gymnasium_gives_them(mode: Any) -> None:
    ours, gymnasiums = make("household", 3, mode=mode), gymnasium.vector.SyncVectorEnv([installed("household")] * 3)
    _, one = ours.reset(seed=3)
    _, two = gymnasiums.reset(seed=3)
    for _ in range(3):
        assert set(one) == set(two)
        assert {**one}.keys() == two.keys()
        for key in two:
            assert_same(one[key], two[key])
        actions = [choice(info, 1) for info in one.each]
        *flags, one = ours.step(actions)
        *wanted, two = gymnasiums.step(actions)
        assert_same(tuple(flags), tuple(wanted))
    ours.close()
    gymnasiums.close()


def assert_same(one: Any, two: Any) -> None:
    if isinstance(two, dict):
        assert set(one) == set(two)
        for key in two:
            assert_same(one[key], two[key])
    elif isinstance(two, tuple):
        for left, right in zip(one, two, strict=True):
            assert_same(left, right)
    elif isinstance(two, np.ndarray):
        assert one.dtype == two.dtype
        assert one.tolist() == two.tolist()
    else:
        assert one == two


@pytest.mark.parametrize("mode", ["inline", "threads", "processes"])
def test_texts_are_never_cut_and_changing_types_never_crash(mode: Any) -> None:
    vector = make(Wordy, 2, mode=mode)
    _, infos = vector.reset(seed=0)
    assert infos["cost"].tolist() == [1, 1]
    assert "note" not in infos
    right = infos["admissible"][0][0]
    observations, *_, infos = vector.step([right, "no"])
    assert observations == (f"1 {LONG}", f"0 {LONG}")
    assert infos["note"].tolist() == [LONG, None]
    assert infos["_note"].tolist() == [True, False]
    assert infos["cost"].tolist() == [None, 1]
    assert infos["parts"]["goal"].tolist() == [0.5, 0.0]
    vector.close()


def test_infos_are_a_dictionary_that_is_built_as_it_is_read() -> None:
    infos = Infos([{"a": 1, "b": "x"}, {"a": 0.5}])
    assert infos["a"].tolist() == [1, 0.5]
    assert dict.keys(infos) == {"a": 1, "_a": 1}.keys()
    assert infos.get("c", 4) == 4
    with pytest.raises(KeyError):
        infos["_c"]
    infos["mine"] = 3
    assert len(infos) == 5
    for same in (dict(infos), {**infos}, copy.deepcopy(infos), pickle.loads(pickle.dumps(infos))):
        assert same["b"].tolist() == ["x", None]
        assert same["_b"].tolist() == [True, False]
    assert "mine" in repr(infos)


def test_gymnasiums_wrappers_work_on_it() -> None:
    vector = gymnasium.wrappers.vector.RecordEpisodeStatistics(make("corridor", 2))
    _, infos = vector.reset(seed=0)
    for turn in range(40):
        *_, terminated, truncated, infos = vector.step([choice(i, turn) for i in infos.each])
        if (terminated | truncated).any():
            break
    assert infos["episode"]["l"].max() == turn + 1
    vector.close()


def test_a_reset_mask_begins_only_the_worlds_it_names() -> None:
    for mode in ("inline", "threads"):
        vector = make(Sleeping, 3, mode=mode, settings=None)
        vector.reset(seed=0)
        before, *_, infos = vector.step(["no"] * 3)
        after, infos = vector.reset(seed=50, options={"reset_mask": np.array([False, True, False])})
        assert (after[0], after[2]) == (before[0], before[2])
        assert "task" in infos.each[1]
        assert vector.step(["no"] * 3)[3].tolist() == [False] * 3
        vector.close()


def test_the_cost_of_a_step_is_measured() -> None:
    cheap, waiting, busy = (measure(factory) for factory in (installed("corridor"), Sleeping, Computing))
    assert cheap.seconds < 0.001
    assert waiting.seconds > 0.009
    assert waiting.cpu_seconds < 0.5 * waiting.seconds
    assert waiting.blocks
    assert busy.cpu_seconds > 10 * cheap.cpu_seconds


def test_the_choice_follows_the_cost() -> None:
    def chosen(seconds: float, cpu: float, blocks: bool, count: int = 8, cores: int = 8, pickling: float = 1e-5) -> str:
        return choose(StepCost(seconds, cpu, pickling, blocks), count, cores=cores)

    assert chosen(5e-6, 5e-6, False) == "inline"
    assert chosen(5e-6, 5e-6, True) == "inline"  # it says that it blocks, and does not
    assert chosen(0.01, 1e-4, True) == "threads"
    assert chosen(0.01, 0.01, False) == "processes"
    assert chosen(0.01, 0.01, False, cores=1) == "inline"
    assert chosen(0.01, 1e-4, False) == "processes"  # it waits without saying so: its threads may not be safe
    assert chosen(0.01, 0.01, False, pickling=0.02) == "inline"
    assert chosen(0.01, 0.01, False, count=1) == "inline"
    assert chosen(0.01, 0.01, False, count=1000, cores=2) == "inline"  # nobody wants a thousand processes


def test_auto_steps_a_cheap_world_inline_and_lets_waiting_worlds_wait_together() -> None:
    cheap, waiting = make("corridor", 8), make(Sleeping, 8)
    assert (cheap.mode, waiting.mode) == ("inline", "threads")
    waiting.reset(seed=0)
    started = time.perf_counter()
    for _ in range(3):
        waiting.step(["no"] * 8)
    assert time.perf_counter() - started < 0.5 * 3 * 8 * 0.01
    cheap.close()
    waiting.close()


def test_processes_that_turn_out_slower_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentrl.worlds.vector.MESSAGE_S", -1.0)  # an estimate that is wrong by far
    vector = make("corridor", 4, probe_s=0.02)
    assert vector.mode == "inline"
    vector.close()


@pytest.mark.parametrize("mode", ["inline", "threads"])
def test_a_world_that_breaks_says_so_and_leaves_no_step_behind(mode: Any) -> None:
    Faulty.left = 1
    vector = make(functools.partial(Faulty, "raise", blocks=True), 3, mode=mode)
    vector.reset(seed=0)
    vector.step(["no"] * 3)
    with pytest.raises(RuntimeError, match="the world broke"):
        vector.step(["no"] * 3)
    observations, _ = vector.reset(seed=1)
    assert len(observations) == 3
    vector.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("world_")]


def test_the_first_error_is_raised_when_the_other_threads_have_ended() -> None:
    ended: list[str] = []

    class Uneven(Counting):
        def step(self, action: str) -> Any:
            if action == "break":
                raise RuntimeError("the world broke")
            time.sleep(0.05)
            ended.append(action)
            return super().step(action)

    vector = make(Uneven, 3, mode="threads")
    vector.reset(seed=0)
    with pytest.raises(RuntimeError, match="the world broke"):
        vector.step(["break", "a", "b"])
    assert sorted(ended) == ["a", "b"]
    vector.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("coridor", 2, {}), "Did you mean 'corridor'"),
        (("corridor", 0, {}), "at least 1"),
        (("corridor", 2, {"mode": "thread"}), "Did you mean 'threads'"),
        (("corridor", 2, {"settings": {"lenght": 4}}), "Did you mean 'length'"),
        ((Counting, 2, {"settings": {"length": 4}}), "bind them to the factory"),
        ((lambda: gymnasium.make("CartPole-v1"), 2, {}), "worlds of text"),
    ],
)
def test_bad_input_is_refused_with_a_word_of_advice(arguments: Any, message: str) -> None:
    world, count, settings = arguments
    with pytest.raises(ConfigError, match=message):
        make(world, count, **settings)
