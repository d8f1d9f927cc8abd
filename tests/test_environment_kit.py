"""The conformance kit finds planted faults of every kind, and passes a world that has none."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import pytest
from worlds import Counting

from agentrl import Environment
from agentrl.testing import check_environment
from agentrl.testing.splits import shared_content


class Sound(Counting):
    """A world without a fault; each fault below changes one thing."""

    def __init__(self) -> None:
        super().__init__(length=6, cap=12)


class DrawsGlobally(Sound):
    def step(self, action: str) -> Any:
        random.random()
        return super().step(action)


class DrawsFromNumpy(Sound):
    def step(self, action: str) -> Any:
        np.random.rand()
        return super().step(action)


class DependsOnTheClock(Sound):
    def step(self, action: str) -> Any:
        observation, *rest = super().step(action)
        return (f"{observation} {time.perf_counter_ns()}", *rest)


class ListsRefusedActions(Sound):
    def _info(self) -> dict[str, Any]:
        return super()._info() | {"admissible": (str(self.start + self.count + 1), "fly")}

    def step(self, action: str) -> Any:
        *rest, info = super().step(action)
        return (*rest, info | {"invalid": "no wings"} if action == "fly" else info)


class ExpertIsLost(Sound):
    def expert_action(self) -> str:
        return "0"


class PartsDoNotSumUp(Sound):
    def step(self, action: str) -> Any:
        *rest, info = super().step(action)
        return (*rest, info | {"rewards": {"goal": 0.5}})


class PaysNan(Sound):
    def step(self, action: str) -> Any:
        observation, _, *rest = super().step(action)
        return (observation, float("nan"), *rest)


class LosesMilestones(Sound):
    def step(self, action: str) -> Any:
        *rest, info = super().step(action)
        return (*rest, info | {"milestones": ("begun",) if self.count % 2 else ()})


class HidesLate(Sound):
    def step(self, action: str) -> Any:
        *rest, info = super().step(action)
        return (*rest, info | {"hidden": {"solution": "1"}})


class TellsCallsAsText(Sound):
    def step(self, action: str) -> Any:
        *rest, info = super().step(action)
        return (*rest, info | {"calls": [{"name": action, "arguments": "none", "error": ""}]})


class ForgetsItsCount(Sound):
    def snapshot(self) -> object:
        return {key: value for key, value in vars(self).items() if key != "count"}

    def restore(self, snapshot: Any) -> None:
        self.__dict__.update(snapshot)


class SnapshotIsShared(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    def step(self, action: str) -> Any:
        self.log.append(action)
        observation, *rest = super().step(action)
        return (f"{observation} {len(self.log)}", *rest)

    def snapshot(self) -> object:
        return dict(vars(self))

    def restore(self, snapshot: Any) -> None:
        self.__dict__.update(snapshot)


class CannotBePickled(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.key = lambda: 0

    def snapshot(self) -> object:
        return {key: value for key, value in vars(self).items() if key != "key"}

    def restore(self, snapshot: Any) -> None:
        self.__dict__.update(snapshot)


class CrashesOnEmptyText(Sound):
    def step(self, action: str) -> Any:
        return super().step(action[0] + action[1:])


class CrashesOnLongText(Sound):
    def step(self, action: str) -> Any:
        if len(action) > 10_000:
            raise MemoryError
        return super().step(action)


class SplitsOverlap(Sound):
    """Its keys differ."""

    def pick_task(self, options: Any) -> Any:
        task = super().pick_task(options)
        return task if task.split == "train" else type(task)("train", task.index)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        observation, info = super().reset(seed=seed, options=options)
        return observation, info | {"task": f"{(options or {}).get('split')}-{self.start}"}


class TakesAnyTask(Sound):
    def pick_task(self, options: Any) -> Any:
        return super().pick_task({"index": 1} if options else options)


class NeverEnds(Sound):
    def step(self, action: str) -> Any:
        observation, _reward, _, _, info = super().step(action)
        self.count = min(self.count, 4)
        return observation, 0.0, False, False, info | {"success": False, "rewards": {}}


class IsSlow(Sound):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        if seed == 3:
            time.sleep(0.3)
        return super().reset(seed=seed, options=options)


class ClosesOnce(Sound):
    def close(self) -> None:
        del self.start


class ObservesBytes(Sound):
    def _observation(self) -> Any:
        return super()._observation().encode()


class CarriesOver(Sound):
    plays = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.plays += 1
        observation, info = super().reset(seed=seed, options=options)
        return f"{observation}, play {self.plays}", info


FAULTS = {
    DrawsGlobally: "global_generators_stay_untouched",
    DrawsFromNumpy: "global_generators_stay_untouched",
    DependsOnTheClock: "same_seed_and_actions_give_the_same_bytes",
    CarriesOver: "same_seed_and_actions_give_the_same_bytes",
    ListsRefusedActions: "admissible_actions_are_sound",
    ExpertIsLost: "the_expert_reaches_the_goal",
    PartsDoNotSumUp: "rewards_sum_up_and_stay_in_bounds",
    PaysNan: "rewards_sum_up_and_stay_in_bounds",
    LosesMilestones: "reports_have_their_types",
    HidesLate: "reports_have_their_types",
    TellsCallsAsText: "reports_have_their_types",
    ForgetsItsCount: "snapshots_restore_exactly",
    SnapshotIsShared: "snapshots_restore_exactly",
    CannotBePickled: "worlds_and_snapshots_can_be_pickled",
    CrashesOnEmptyText: "hostile_text_is_survived",
    CrashesOnLongText: "hostile_text_is_survived",
    SplitsOverlap: "splits_are_disjoint_by_content",
    TakesAnyTask: "unknown_tasks_are_refused",
    NeverEnds: "episodes_end",
    IsSlow: "steps_are_in_time",
    ClosesOnce: "close_twice_is_safe",
    ObservesBytes: "conforms_to_gymnasium",
}


@pytest.mark.parametrize(("world", "check"), FAULTS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_fault_is_found(world: Any, check: str) -> None:
    report = check_environment(world, actions=300, step_limit_s=0.25)
    assert check in {result.check for result in report.failures}, report.results


def test_a_sound_world_passes_everything() -> None:
    report = check_environment(Sound, actions=10_000)
    assert report.passed, report.failures
    skipped = [result.check for result in report.results if result.verdict == "skipped"]
    assert skipped == ["another_process_gives_the_same_bytes"]


def test_the_report_is_machine_readable() -> None:
    import json

    found = json.loads(json.dumps(check_environment(Sound, actions=100).to_json()))
    assert found["passed"]
    assert {row["verdict"] for row in found["results"]} <= {"passed", "skipped"}


class Guess(Environment):
    """Every task begins alike; what is to be guessed is seen nowhere, and there is no expert."""

    splits = {"train": 30, "valid": 30}

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.task = self.pick_task(options)
        self.wanted, self.turns = self.secret(), 0
        return "Guess the number.", {"task": self.key()}

    def step(self, action: str) -> Any:
        self.turns += 1
        right = action == str(self.wanted)
        return "yes" if right else "no", float(right), right, self.turns >= 5, {"success": right, "invalid": ""}

    def secret(self) -> int:
        return 7 * self.task.index + 1000 * (self.task.split == "valid")

    def key(self) -> str:
        return f"{self.task.split}/{self.task.index}"


class GuessWithOneKey(Guess):
    def key(self) -> str:
        return "a number"


class GuessSaysWhatItHides(Guess):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        observation, info = super().reset(seed=seed, options=options)
        return observation, info | {"hidden": {"answers": [str(self.wanted)]}}


class GuessWithExpert(Guess):
    def expert_action(self) -> str:
        return str(self.wanted)


class GuessTheSame(Guess):
    def secret(self) -> int:
        return self.task.index % 10


class GuessTheSameAndSayIt(GuessSaysWhatItHides, GuessTheSame):
    pass


class GuessTheSameWithExpert(GuessWithExpert, GuessTheSame):
    pass


@pytest.mark.parametrize("world", [Guess, GuessWithOneKey, GuessSaysWhatItHides, GuessWithExpert])
def test_tasks_that_begin_alike_and_hide_different_things_are_not_accused(world: type[Guess]) -> None:
    assert shared_content(world(), world.splits) is None


@pytest.mark.parametrize("world", [GuessTheSame, GuessTheSameAndSayIt, GuessTheSameWithExpert])
def test_tasks_that_are_the_same_under_other_keys_are_found(world: type[Guess]) -> None:
    shared = shared_content(world(), world.splits)
    assert shared is not None
    one, two = shared
    assert (one.split, one.index % 10) == ("train", two.index % 10)
    assert two.split == "valid"
