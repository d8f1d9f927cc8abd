"""The conformance kit for worlds: what every environment must do, checked by playing it."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import pickle
import random
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from agentrl.errors import ConfigError
from agentrl.parts.registry import Spec
from agentrl.testing.report import CheckFailed, CheckSkipped, Report, require, run_checks
from agentrl.testing.world_reports import REPORTS, check_reports
from agentrl.worlds.environment import Environment

HOSTILE = (
    "",
    " ",
    "\n\r\t",
    "\x00",
    "a" * 100_000,
    "🤖" * 50,
    "שלום e\u0301\u202e",
    "{" * 2_000,
    "click[" * 500,
    "'; DROP TABLE users; --",
    "../../etc/passwd",
    "\ud800",
    "<action>go</action>",
    '{"name": "x", "arguments": {"a": NaN}}',
    "%s %n {0} ${x}",
)
"""Actions that no world may crash on."""

LONGEST = 1_000
"""Turns after which an episode is taken to go on for ever."""

Make = Callable[[], Any]


def check_environment(make: Make | Spec, *, name: str = "", actions: int = 10_000, step_limit_s: float = 5.0) -> Report:
    """Put a world through the whole kit. `make` is a factory, or the Spec of an installed world.

    `actions` random and malformed actions are played; no single step or reset may take longer than `step_limit_s`.
    """
    spec = make if isinstance(make, Spec) else None
    factory = _factory(make)
    kit = _Kit(factory, spec, actions, step_limit_s)
    checks = {
        function.__name__.lstrip("_"): function
        for function in (
            kit.conforms_to_gymnasium,
            kit.same_seed_and_actions_give_the_same_bytes,
            kit.another_process_gives_the_same_bytes,
            kit.global_generators_stay_untouched,
            kit.admissible_actions_are_sound,
            kit.the_expert_reaches_the_goal,
            kit.rewards_sum_up_and_stay_in_bounds,
            kit.reports_have_their_types,
            kit.snapshots_restore_exactly,
            kit.worlds_and_snapshots_can_be_pickled,
            kit.hostile_text_is_survived,
            kit.random_and_malformed_actions_are_survived,
            kit.splits_are_disjoint_by_content,
            kit.unknown_tasks_are_refused,
            kit.episodes_end,
            kit.steps_are_in_time,
            kit.close_twice_is_safe,
        )
    }
    return run_checks("environment", name or (spec.name if spec else "?"), checks)


class _Kit:
    def __init__(self, make: Make, spec: Spec | None, actions: int, step_limit_s: float) -> None:
        self.make, self.spec, self.actions, self.step_limit_s = make, spec, actions, step_limit_s
        self.slowest = 0.0

    def conforms_to_gymnasium(self) -> str | None:
        from gymnasium.utils.env_checker import check_env

        env = self.make()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            check_env(env.unwrapped, skip_render_check=True)
        env.close()
        texts = [str(w.message) for w in seen if "not within the obs" in str(w.message)]
        require(not texts, "; ".join(texts))
        return f"{len(seen)} warnings" if seen else None

    def same_seed_and_actions_give_the_same_bytes(self) -> None:
        one, two = (transcript(self.make(), seed=5) for _ in range(2))
        require(one == two, f"two plays with the same seed and actions differ: {_first_difference(one, two)}")
        reused = self.make()
        transcript(reused, seed=9, close=False)
        again = transcript(reused, seed=5)
        require(one == again, f"an instance that was used before plays differently: {_first_difference(one, again)}")

    def another_process_gives_the_same_bytes(self) -> None:
        if self.spec is None:
            raise CheckSkipped("only an installed world can be built in another process")
        here = digest(transcript(self.make(), seed=5))
        code = (
            "import sys, json; from agentrl.testing.environment import digest, transcript, _factory;"
            "from agentrl.parts.registry import Spec; spec = Spec('environment', **json.loads(sys.argv[1]));"
            "print(digest(transcript(_factory(spec)(), seed=5)))"
        )
        given = json.dumps({"name": self.spec.name, "settings": dict(self.spec.settings)})
        environment = {**_environ(), "PYTHONHASHSEED": "12345"}
        run = subprocess.run(
            [sys.executable, "-c", code, given], capture_output=True, text=True, env=environment, check=False
        )
        require(run.returncode == 0, f"the other process failed: {run.stderr.strip()[-300:]}")
        require(run.stdout.strip() == here, "the same seed and actions give other bytes in another process")

    def global_generators_stay_untouched(self) -> None:
        random.seed(1)
        np.random.seed(1)
        before = (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]
        transcript(self.make(), seed=3)
        after = (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]
        require(before[0] == after[0], "the world draws from (or seeds) Python's global generator; use self.np_random")
        require(before[1] == after[1], "the world draws from (or seeds) NumPy's global generator; use self.np_random")
        random.seed(2)
        np.random.seed(2)
        one = transcript(self.make(), seed=3)
        random.seed(3)
        np.random.seed(3)
        require(one == transcript(self.make(), seed=3), "what the world does depends on a global generator")

    def admissible_actions_are_sound(self) -> str:
        env, picks, tried = self.make(), np.random.default_rng(4), 0
        for seed in range(5):
            _, info = self._reset(env, seed)
            if "admissible" not in info:
                raise CheckSkipped("the world lists no admissible actions")
            for _ in range(40):
                admissible = info["admissible"]
                require(len(admissible) > 0, "the list of admissible actions is empty before the end")
                require(len(set(admissible)) == len(admissible), f"an admissible action is listed twice: {admissible}")
                action = admissible[int(picks.integers(len(admissible)))]
                _, _, terminated, truncated, info = self._step(env, action)
                require(
                    not info.get("invalid"), f"{action!r} was listed as admissible and refused: {info.get('invalid')}"
                )
                tried += 1
                if terminated or truncated:
                    break
        env.close()
        return f"{tried} actions"

    def the_expert_reaches_the_goal(self) -> str:
        env, solved, played = self.make(), 0, 20
        if not _has_expert(env):
            raise CheckSkipped("the world has no scripted expert")
        self._reset(env, 0)
        try:
            env.unwrapped.expert_action()
        except NotImplementedError as error:
            raise CheckSkipped(f"no expert with these settings: {error}") from None
        for seed in range(played):
            self._reset(env, seed)
            info: Mapping[str, Any] = {}
            for _ in range(LONGEST):
                _, _, terminated, truncated, info = self._step(env, env.unwrapped.expert_action())
                if terminated or truncated:
                    break
            solved += bool(info.get("success"))
        env.close()
        require(solved == played, f"the expert solved {solved} of {played} tasks")
        return f"{solved} of {played}"

    def rewards_sum_up_and_stay_in_bounds(self) -> str | None:
        env, seen = self.make(), 0
        for _, reward, _, _, info in self._play(env, min(2_000, self.actions)):
            require(isinstance(reward, (int, float, np.number)) and math.isfinite(reward), f"the reward is {reward!r}")
            parts = info.get("rewards")
            if parts:
                seen += 1
                total = sum(parts.values())
                require(
                    math.isclose(total, reward, abs_tol=1e-9),
                    f"parts {dict(parts)} sum to {total}, the reward is {reward}",
                )
        env.close()
        return None if seen else "the world names no parts of its reward"

    def reports_have_their_types(self) -> str:
        env, seen = self.make(), set()
        for seed in range(5):
            observation, info = self._reset(env, seed)
            picks, reached = np.random.default_rng(seed), info.get("milestones", ())
            seen |= check_reports(info)
            solution = info.get("hidden", {}).get("solution") or observation + " "
            require(solution not in observation, "the first observation holds the hidden solution")
            for _ in range(40):
                _, _, terminated, truncated, info = self._step(env, _some_action(info, picks, env))
                require("hidden" not in info, "`hidden` is for the info of reset only, and a step gave it")
                seen |= check_reports(info)
                milestones = info.get("milestones", reached)
                require(set(reached) <= set(milestones), f"milestones only grow, and after {reached} come {milestones}")
                reached = milestones
                if terminated or truncated:
                    break
        env.close()
        return ", ".join(sorted(seen)) or f"the world gives none of {', '.join(REPORTS)}"

    def snapshots_restore_exactly(self) -> None:
        env, other = self.make(), self.make()
        if not hasattr(env.unwrapped, "snapshot"):
            raise CheckSkipped("the world takes no snapshots")
        picks = np.random.default_rng(8)
        for seed in range(4):
            _, info = self._reset(env, seed)
            self._reset(other, seed + 100)
            for _ in range(int(picks.integers(0, 8))):
                _, _, terminated, truncated, info = self._step(env, _some_action(info, picks, env))
                if terminated or truncated:
                    _, info = self._reset(env, seed + 50)
            taken = env.unwrapped.snapshot()
            first = _tail(env, info, seed)
            for target, name in ((env, "the same instance"), (other, "another instance"), (env, "a second time")):
                target.unwrapped.restore(taken)
                again = _tail(target, info, seed)
                require(first == again, f"after restore on {name} the play differs: {_first_difference(first, again)}")
        env.close()
        other.close()

    def worlds_and_snapshots_can_be_pickled(self) -> None:
        env = self.make()
        _, info = self._reset(env, 1)
        if hasattr(env.unwrapped, "snapshot"):
            taken = pickle.loads(pickle.dumps(env.unwrapped.snapshot()))
            first = _tail(env, info, 1)
            env.unwrapped.restore(taken)
            require(first == _tail(env, info, 1), "a pickled snapshot restores to something else")
        if not getattr(env.unwrapped, "blocks", False):
            pickle.loads(pickle.dumps(env))
        env.close()

    def hostile_text_is_survived(self) -> str:
        env = self.make()
        for text in HOSTILE:
            self._reset(env, 2)
            observation, _, terminated, _, info = self._step(env, text)
            require(
                isinstance(observation, str), f"the observation after {text[:20]!r} is {type(observation).__name__}"
            )
            require(not (terminated and info.get("success")), f"{text[:20]!r} solved the task")
        env.close()
        return f"{len(HOSTILE)} texts"

    def random_and_malformed_actions_are_survived(self) -> str:
        env = self.make()
        count = sum(1 for _ in self._play(env, self.actions, malformed=0.3))
        env.close()
        return f"{count} actions"

    def splits_are_disjoint_by_content(self) -> str:
        env = self.make()
        splits = getattr(env.unwrapped, "splits", None)
        if not isinstance(env.unwrapped, Environment) or not splits or len(splits) < 2:
            raise CheckSkipped("the world has one split only")
        openings: dict[str, dict[str, int]] = {}
        for split, size in splits.items():
            indices = np.unique(np.linspace(0, size - 1, num=min(size, 200)).astype(np.int64)).tolist()
            for index in indices:
                observation, info = env.reset(seed=0, options={"split": split, "index": index})
                require("task" in info, "info has no `task` after reset")
                content = str(info["task"]).removeprefix(f"{split}/").removeprefix(f"{index}").lstrip("/-:#")
                key = content or observation
                openings.setdefault(split, {})[key] = index
        env.close()
        names = list(openings)
        for i, one in enumerate(names):
            for two in names[i + 1 :]:
                shared = openings[one].keys() & openings[two].keys()
                if shared:
                    key = sorted(shared)[0]
                    raise CheckFailed(
                        f"{one} {openings[one][key]} and {two} {openings[two][key]} are the same task: {key[:80]!r}"
                    )
        return ", ".join(f"{len(found)} of {split}" for split, found in openings.items())

    def unknown_tasks_are_refused(self) -> None:
        env = self.make()
        if not isinstance(env.unwrapped, Environment):
            raise CheckSkipped("not an agentrl.Environment")
        size = next(iter(env.unwrapped.splits.values()))
        for options in ({"split": "no such split"}, {"index": -1}, {"index": size}, {"indx": 1}):
            try:
                env.reset(seed=0, options=options)
            except ConfigError:
                continue
            raise CheckFailed(f"reset accepted options {options}; pick_task refuses them")
        env.close()

    def episodes_end(self) -> str:
        env, longest = self.make(), 0
        for seed in range(3):
            _, info = self._reset(env, seed)
            picks = np.random.default_rng(seed)
            for turn in range(LONGEST + 1):
                require(turn < LONGEST, f"an episode went on for {LONGEST} turns; a world needs a cap (truncated=True)")
                _, _, terminated, truncated, info = self._step(env, _some_action(info, picks, env))
                if terminated or truncated:
                    longest = max(longest, turn + 1)
                    break
        env.close()
        return f"longest of 3: {longest} turns"

    def steps_are_in_time(self) -> str:
        require(
            self.slowest <= self.step_limit_s,
            f"a step or reset took {self.slowest:.2f} s, allowed are {self.step_limit_s} s",
        )
        return f"slowest {self.slowest * 1000:.1f} ms"

    def close_twice_is_safe(self) -> None:
        env = self.make()
        self._reset(env, 0)
        env.close()
        env.close()

    def _play(self, env: Any, actions: int, malformed: float = 0.0) -> Any:
        picks, info, over, seed = np.random.default_rng(6), {}, True, 0
        for _ in range(actions):
            if over:
                _, info = self._reset(env, seed)
                seed += 1
            action = _malformed(info, picks, env) if picks.random() < malformed else _some_action(info, picks, env)
            step = self._step(env, action)
            info, over = step[4], step[2] or step[3]
            yield step

    def _reset(self, env: Any, seed: int) -> Any:
        started = time.perf_counter()
        observation, info = env.reset(seed=seed)
        self.slowest = max(self.slowest, time.perf_counter() - started)
        require(isinstance(observation, str), f"reset gave {type(observation).__name__}, not text")
        require(isinstance(info, Mapping), f"reset gave info {info!r}, not a mapping")
        return observation, info

    def _step(self, env: Any, action: str) -> Any:
        started = time.perf_counter()
        step = env.step(action)
        self.slowest = max(self.slowest, time.perf_counter() - started)
        require(isinstance(step, tuple) and len(step) == 5, f"step gave {step!r}, not Gymnasium's five values")
        require(isinstance(step[0], str), f"the observation is {type(step[0]).__name__}, not text")
        return step


def transcript(env: Any, *, seed: int, turns: int = 60, close: bool = True) -> list[str]:
    """Everything a seeded play says, as text: two equal worlds give equal lists."""
    picks = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    lines = [observation, _written(info)]
    for _ in range(turns):
        action = _some_action(info, picks, env)
        observation, reward, terminated, truncated, info = env.step(action)
        lines += [action, observation, repr((float(reward), bool(terminated), bool(truncated))), _written(info)]
        if terminated or truncated:
            break
    if close:
        env.close()
    return lines


def digest(lines: list[str]) -> str:
    """One hash of a transcript."""
    return hashlib.sha256("\x1e".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def _factory(make: Make | Spec) -> Make:
    if not isinstance(make, Spec):
        return make
    from agentrl.parts.host import default_host

    spec = make
    return lambda: default_host().build(spec)


def _tail(env: Any, info: Mapping[str, Any], seed: int) -> list[str]:
    picks, lines = np.random.default_rng(seed), []
    for _ in range(12):
        action = _some_action(info, picks, env)
        observation, reward, terminated, truncated, info = env.step(action)
        lines += [action, observation, repr((float(reward), bool(terminated), bool(truncated))), _written(info)]
        if terminated or truncated:
            break
    return lines


def _some_action(info: Mapping[str, Any], picks: np.random.Generator, env: Any) -> str:
    admissible = info.get("admissible")
    if admissible and picks.random() < 0.9:
        return str(admissible[int(picks.integers(len(admissible)))])
    if _has_expert(env) and picks.random() < 0.5:
        try:
            return str(env.unwrapped.expert_action())
        except NotImplementedError:
            pass
    return "".join(chr(int(code)) for code in picks.integers(32, 127, size=int(picks.integers(1, 12))))


def _malformed(info: Mapping[str, Any], picks: np.random.Generator, env: Any) -> str:
    base = _some_action(info, picks, env)
    cut = int(picks.integers(0, len(base) + 1))
    noise = HOSTILE[int(picks.integers(len(HOSTILE)))][:50]
    return (base[:cut] + noise + base[cut:], base.upper(), base[:cut], base + base)[int(picks.integers(4))]


def _has_expert(env: Any) -> bool:
    method = getattr(type(env.unwrapped), "expert_action", None)
    return (
        method is not None and method is not Environment.expert_action and not inspect.isabstract(type(env.unwrapped))
    )


def _written(info: Mapping[str, Any]) -> str:
    return json.dumps(dict(info), sort_keys=True, default=repr)


def _first_difference(one: list[str], two: list[str]) -> str:
    for position, (a, b) in enumerate(zip(one, two, strict=False)):
        if a != b:
            return f"line {position}: {a[:120]!r} and {b[:120]!r}"
    return f"{len(one)} and {len(two)} lines"


def _environ() -> dict[str, str]:
    import os

    return dict(os.environ)
