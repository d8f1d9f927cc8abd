"""Judges, loggers, watchers and policies that fail: counted and named, while the run goes on without what they failed to do."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worlds
from cases import lamps
from playing import play, player
from test_player import EXPERT, Says

import agentrl
from agentrl import Completion, Dialogue, Outcome, PluginError, Trajectory
from agentrl.data.record import Run
from agentrl_plugins.collectors.asynchronous import Asynchronous
from agentrl_plugins.trainers.tabular import Tabular

FAULTS: Mapping[str, Callable[[], Any]] = {
    "raises": lambda: exit_with(ValueError("no")),
    "exits": lambda: exit_with(SystemExit(3)),
    "panics": lambda: exit_with(BaseException("a panic of a library")),
    "is cancelled": lambda: exit_with(asyncio.CancelledError()),
    "gives something": lambda: 7,
}


def exit_with(error: BaseException) -> None:
    raise error


def small(folder: Path, **more: Any) -> dict[str, Any]:
    stage = {**lamps.RUN["stages"][0], "updates": 3, "sampler": {"name": "uniform", "tasks": 2}}
    stage |= {key: more.pop(key) for key in ("judge_timeout_s",) if key in more}
    evaluation = {"split": "valid", "tasks": 2, "every": 1, "during_split": "train", "during_tasks": 2}
    return {**lamps.RUN, "runs": str(folder), "evaluation": evaluation, "stages": [stage], **more}


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# --------------------------------------------------------------------------------------------------------------- judges


class Judge:
    """Writes the value 0.5 everywhere, and fails in the second update."""

    def __init__(self, fault: Callable[[], Any]) -> None:
        self.fault, self.asked = fault, 0

    async def annotate(self, trajectories: Sequence[Trajectory]) -> None:
        self.asked += 1
        for turn in (turn for t in trajectories for turn in t.turns):
            turn.columns["value"] = 0.5
        return self.fault() if self.asked == 2 else None  # type: ignore[no-any-return]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_judge_that_fails_has_written_nothing_and_the_run_goes_on(tmp_path: Path, fault: str) -> None:
    folder = agentrl.train(
        small(tmp_path), parts={"environment": lamps.Lamps, "judge": lambda: Judge(FAULTS[fault])}
    ).folder
    written = [
        {"value" in turn.columns for t in c.trajectories() for turn in t.turns} for c in Run.open(folder).commits()
    ]
    assert written == [{True}, {False}, {True}]
    assert [m.get("judges.0/failed") for m in metrics(folder)] == [None, 1.0, None]
    log = (folder / "run.log").read_text()
    assert "judge 'given/judge' of plugin 'given' failed in update 1, and what it wrote is left out" in log
    assert "judges.0 failed; the run goes on, and run.log says why" in log


def test_a_judge_that_hangs_is_given_up_in_time(tmp_path: Path) -> None:
    class Hangs(Judge):
        async def annotate(self, trajectories: Sequence[Trajectory]) -> None:
            await super().annotate(trajectories)
            if self.asked == 2:
                await asyncio.sleep(3600)

    parts = {"environment": lamps.Lamps, "judge": lambda: Hangs(lambda: None)}
    folder = agentrl.train(small(tmp_path, judge_timeout_s=0.2), parts=parts).folder
    assert "judge_timeout_s = 0.2 is over" in (folder / "run.log").read_text()
    assert sum(m.get("judges.0/failed", 0) for m in metrics(folder)) == 1


@pytest.mark.parametrize(("column", "value"), [("value", "much"), ("value", [1.0, 2.0]), ("teacher_ids", [[1, 2]] * 9)])
def test_a_value_of_a_judge_that_fits_no_column_is_not_kept(tmp_path: Path, column: str, value: Any) -> None:
    class Odd(Judge):
        async def annotate(self, trajectories: Sequence[Trajectory]) -> None:
            trajectories[0].turns[0].columns[column] = value

    parts = {"environment": lamps.Lamps, "judge": lambda: Odd(lambda: None)}
    folder = agentrl.train(small(tmp_path), parts=parts).folder
    assert [m["judges.0/failed"] for m in metrics(folder)] == [1.0, 1.0, 1.0]
    assert f"column '{column}' of turn 0 of 0.0-0" in (folder / "run.log").read_text()


def test_a_judge_that_does_not_write_async_is_counted_and_told_how(tmp_path: Path) -> None:
    class Hasty:
        def annotate(self, trajectories: Sequence[Trajectory]) -> None: ...

    folder = agentrl.train(small(tmp_path), parts={"environment": lamps.Lamps, "judge": Hasty}).folder
    assert "annotate gave None at once; write `async def annotate`" in (folder / "run.log").read_text()


def test_a_run_whose_judge_failed_is_resumed(tmp_path: Path) -> None:
    parts = {"environment": lamps.Lamps, "judge": lambda: Judge(FAULTS["panics"])}
    folder = agentrl.train(small(tmp_path), parts=parts).folder
    shutil.rmtree(folder / "updates/000002")
    agentrl.resume(folder, parts=parts)
    assert len(metrics(folder)) == 3


# -------------------------------------------------------------------------------------------------- loggers and watchers


class Logger:
    """Keeps what it was told, and fails at update 1."""

    threads: set[int]
    told: list[int]

    def __init__(self, fault: Callable[[], Any]) -> None:
        self.fault, self.told, self.threads = fault, [], {threading.get_ident()}
        Logger.last = self

    last: Logger

    def log(self, update: int, metrics: Mapping[str, float]) -> Any:
        self.threads.add(threading.get_ident())
        if update == 1:
            return self.fault()
        self.told.append(update)
        return None

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        raise OSError("already closed")


@pytest.mark.parametrize("fault", [*FAULTS, "stops iterating"])
def test_a_logger_that_fails_is_named_and_the_run_goes_on(tmp_path: Path, fault: str) -> None:
    does = {**FAULTS, "stops iterating": lambda: exit_with(StopIteration())}[fault]
    folder = agentrl.train(small(tmp_path), parts={"environment": lamps.Lamps, "logger": lambda: Logger(does)}).folder
    assert Logger.last.told == [0, 0, 2, 2]  # each update, and each evaluation
    assert len(Logger.last.threads) == 1
    assert [m.get("loggers.0/failed") for m in metrics(folder)] == [None, None, 2.0]
    log = (folder / "run.log").read_text()
    assert "logger 'given/logger' of plugin 'given' failed after update 1" in log


def test_a_logger_that_hangs_is_given_up_and_the_process_ends(tmp_path: Path) -> None:
    release = threading.Event()
    started = time.perf_counter()
    folder = agentrl.train(
        small(tmp_path, logger_timeout_s=0.2),
        parts={"environment": lamps.Lamps, "logger": lambda: Logger(lambda: release.wait(60))},
    ).folder
    release.set()
    assert time.perf_counter() - started < 30
    assert Logger.last.told[:2] == [0, 0]
    assert "took longer than logger_timeout_s = 0.2, and is given up" in (folder / "run.log").read_text()
    assert len(metrics(folder)) == 3


def test_a_logger_that_cannot_be_made_is_a_mistake(tmp_path: Path) -> None:
    class Gone:
        def __init__(self) -> None:
            raise ConnectionError("no account")

    with pytest.raises(PluginError, match="logger 'given/logger' of plugin 'given' cannot be made: ConnectionError"):
        agentrl.train(small(tmp_path), parts={"environment": lamps.Lamps, "logger": Gone})


def test_a_plugin_that_watches_and_fails_is_named_and_the_others_are_told(tmp_path: Path) -> None:
    class Breaks:
        def on_update(self, update: int) -> None:
            exit_with(SystemExit(1))

        def on_trajectories(self, trajectories: Any) -> None:
            raise KeyError("trajectories")

    class Listens:
        def __init__(self) -> None:
            self.updates, self.batches = list[int](), list[int]()

        def on_update(self, update: int, metrics: Any) -> None:
            self.updates.append(update)

        def on_trajectories(self, update: int, trajectories: Any) -> None:
            self.batches.append(update)

    first, last = Listens(), Listens()
    host = agentrl.Host({"first": first, "breaks": Breaks(), "last": last, "lamps": lamps})
    folder = agentrl.train(small(tmp_path), host=host).folder
    assert first.updates == last.updates == first.batches == last.batches == [0, 1, 2]
    assert metrics(folder)[-1]["plugins.breaks/failed"] == 2.0  # its hooks of this update, and of the one before
    assert "on_update of plugin breaks failed: SystemExit: 1" in (folder / "run.log").read_text()


# ------------------------------------------------------------------------------------------------------------- policies


def test_a_policy_that_never_answers_is_given_up_and_the_others_go_on() -> None:
    class Silent(Says):
        async def act(self, dialogue: Dialogue) -> Completion:
            if dialogue.key.startswith("1."):
                await asyncio.sleep(3600)
            return await super().act(dialogue)

    found = play(player(worlds.Counting, answer_timeout_s=0.2, retries=1), Silent("1"), 3)
    late = [t for t in found if t.group == "1"]
    assert [t.outcome for t in late] == [Outcome.POLICY_ERROR] * 2
    assert late[0].error == "no answer came within answer_timeout_s = 0.2"
    assert {t.outcome for t in found if t.group != "1"} == {Outcome.TURN_LIMIT}


@pytest.mark.parametrize("stubborn", [True, False], ids=["answers late", "fails in another way"])
def test_a_policy_that_does_not_end_when_it_is_told_to_spoils_nothing_that_follows(stubborn: bool) -> None:
    class Late(Says):
        async def act(self, dialogue: Dialogue) -> Completion:
            try:
                await asyncio.sleep(0.6)
            except asyncio.CancelledError:
                if not stubborn:
                    raise RuntimeError("the queue is closed") from None
            return await super().act(dialogue)

    (found,) = play(player(worlds.Counting, answer_timeout_s=0.1, retries=0, max_turns=2), Late("1", "2"))
    assert found.outcome is (Outcome.TURN_LIMIT if stubborn else Outcome.POLICY_ERROR)


def test_a_limit_of_a_player_holds_in_each_event_loop_that_it_plays_in() -> None:
    class Silent(Says):
        async def act(self, dialogue: Dialogue) -> Completion:
            await asyncio.sleep(3600)
            raise AssertionError

    on = player(worlds.Counting, answer_timeout_s=0.1, retries=0)
    for _ in range(2):
        (found,) = play(on, Silent())
        assert "no answer came within" in found.error


@pytest.mark.parametrize("error", [SystemExit(2), BaseException("a panic of a library"), KeyError("x")])
@pytest.mark.parametrize("method", ["act", "forget"])
def test_a_policy_may_raise_what_is_no_exception(error: BaseException, method: str) -> None:
    class Breaks(Says):
        async def act(self, dialogue: Dialogue) -> Completion:
            if method == "act":
                raise error
            return await super().act(dialogue)

        def forget(self, key: str) -> None:
            if method == "forget":
                raise error

    (found,) = play(player(worlds.Counting, retries=0), Breaks("1", "2", "3"))
    assert found.outcome is (Outcome.POLICY_ERROR if method == "act" else Outcome.TERMINATED)


@pytest.mark.parametrize("logprob", [float("nan"), float("inf"), -float("inf")])
def test_log_probs_that_are_none_are_the_policys_and_are_not_trained(logprob: float) -> None:
    ids = np.zeros(1, np.int32)
    right = Completion("1", ids, ids, np.zeros(1, np.float32), versions=ids)
    wrong = Completion("2", ids, ids, np.full(1, logprob, np.float32), versions=ids)
    (found,) = play(player(worlds.Counting, retries=0, max_turns=2), Says(right, wrong))
    assert found.outcome is Outcome.POLICY_ERROR
    assert found.error == "Says gave log-probs that are not finite in turn 1"


@pytest.mark.parametrize("told", [None, {"speed": "fast"}, {"speed": None}, 3])
def test_metrics_that_are_none_are_left_out_and_named(tmp_path: Path, told: Any) -> None:
    class Talks(Judge):
        def metrics(self) -> Any:
            return told

    parts = {"environment": lamps.Lamps, "judge": lambda: Talks(lambda: None)}
    folder = agentrl.train(small(tmp_path), parts=parts).folder
    assert "metrics of judge 'given/judge' of plugin 'given' are left out" in (folder / "run.log").read_text()
    assert not any("speed" in key for key in metrics(folder)[0])


# ------------------------------------------------------------------------------------- what should have been a coroutine


def test_a_collector_or_a_trainer_that_is_no_coroutine_is_named(tmp_path: Path) -> None:
    class Hasty(Asynchronous):
        def collect(self, draw: Any, speakers: Any) -> Any:
            return []

    class Sudden(Tabular):
        def update(self, batch: Any, advantages: Any) -> Any:
            return {}

    for kind, part, method in (("collector", Hasty, "collect"), ("trainer", Sudden, "update")):
        with pytest.raises(
            PluginError, match=f"{kind} 'given/{kind}' of plugin 'given': {method} gave .* at once; write"
        ):
            agentrl.train(small(tmp_path), parts={"environment": lamps.Lamps, kind: part})


@pytest.mark.parametrize("gives", ["text", None, ()])
def test_a_context_that_gives_nonsense_is_named_with_its_plugin(tmp_path: Path, gives: Any) -> None:
    def odd(instructions: str, turns: Any, observation: str, previous: Any) -> Any:
        return gives

    with pytest.raises(
        PluginError, match="context 'given/context' of plugin 'given' gave .*; it gives agentrl.Message"
    ):
        agentrl.train(small(tmp_path), parts={"environment": lamps.Lamps, "context": odd})


def test_a_session_that_is_none_is_named() -> None:
    class Forgetful:
        def begin(self, **given: Any) -> object:
            return object()

    with pytest.raises(PluginError, match="the context Forgetful: begin gave .* lacks view, answer, tools"):
        play(player(worlds.Counting, context=Forgetful()), EXPERT)


def test_a_part_that_wants_a_demonstrator_is_told_so(tmp_path: Path) -> None:
    class Guided(Judge):
        def __init__(self, guide: agentrl.Demonstrator) -> None:
            super().__init__(lambda: None)

    parts = {"environment": lamps.Lamps, "judge": Guided}
    wanted = "needs a demonstrator, which looks at the world.*guide = { name = "
    with pytest.raises(agentrl.ConfigError, match=wanted):
        agentrl.train(small(tmp_path), parts=parts)
