"""The conformance kit finds planted faults of every kind, and passes a world that has none."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import pytest
from worlds import Counting

from agentrl.testing import check_environment


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
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        observation, info = super().reset(seed=seed, options=options)
        return observation, info | {"task": f"hash-{self.start % 10_000}"}


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
