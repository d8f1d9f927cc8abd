"""The kit for worlds: what every environment must do, checked by playing it."""

from __future__ import annotations

import math
import pickle
import random
import warnings
from collections.abc import Mapping, Sequence

import gymnasium
import numpy as np

from agentrl.data.types import EMPTY, Info
from agentrl.errors import ConfigError
from agentrl.parts.registry import Spec
from agentrl.testing.copying import require_copied
from agentrl.testing.effort import cost, require_linear
from agentrl.testing.plays import (
    HOSTILE,
    Make,
    Stepped,
    admissible_action,
    continued,
    digest,
    digest_elsewhere,
    expert_action,
    first_difference,
    generators,
    has_expert,
    restore,
    snapshot,
    some_action,
    transcript,
    trying,
    world_maker,
)
from agentrl.testing.report import CheckFailed, CheckSkipped, Report, checks_of, gate, require, run_checks
from agentrl.testing.splits import SAMPLE, shared_content
from agentrl.testing.world_reports import REPORTS, check_later_reports, check_reports, milestones_of, shows_solution
from agentrl.worlds.environment import Environment
from agentrl.worlds.steps import checked_step

LONGEST = 1_000  # turns after which an episode is taken to go on for ever


def check_environment(
    make: Make | Spec,
    *,
    name: str = "",
    actions: int = 10_000,
    step_limit_s: float = 5.0,
    tries: Sequence[str] = (),
) -> Report:
    """Put a world through the whole kit. `make` is a factory, or the Spec of an installed world.

    `actions` random and malformed actions are played, fewer where they take longer than a minute; no single step or
    reset may take longer than `step_limit_s`. `tries`: actions that mean something to a world which lists none.
    """
    spec = make if isinstance(make, Spec) else None
    kit = _Kit(world_maker(make), spec, actions, step_limit_s)
    with trying(tries):
        return run_checks("environment", name or (spec.name if spec else "?"), checks_of(kit))


class _Kit(Stepped):
    def __init__(self, make: Make, spec: Spec | None, actions: int, step_limit_s: float) -> None:
        super().__init__(make, actions)
        self._spec, self._step_limit_s = spec, step_limit_s

    @gate
    def it_can_be_made_and_reset(self) -> None:
        env = self._make()
        require(isinstance(env, gymnasium.Env), f"it is made as {env!r}, which is no gymnasium.Env")
        env.reset(seed=0)
        env.close()

    def conforms_to_gymnasium(self) -> str | None:
        from gymnasium.utils.env_checker import check_env

        env = self._make()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            check_env(env.unwrapped, skip_render_check=True)
        env.close()
        texts = [str(w.message) for w in seen if "not within the obs" in str(w.message)]
        require(not texts, "; ".join(texts))
        return f"{len(seen)} warnings" if seen else None

    def same_seed_and_actions_give_the_same_bytes(self) -> None:
        one, two = (transcript(self._make(), seed=5) for _ in range(2))
        require(one == two, f"two plays with the same seed and actions differ: {first_difference(one, two)}")
        reused = self._make()
        transcript(reused, seed=9, close=False)
        again = transcript(reused, seed=5)
        require(one == again, f"an instance that was used before plays differently: {first_difference(one, again)}")

    def another_process_gives_the_same_bytes(self) -> None:
        if self._spec is None:
            raise CheckSkipped("only an installed world can be built in another process")
        here = digest(transcript(self._make(), seed=5))
        require(
            digest_elsewhere(self._spec, seed=5) == here,
            "the same seed and actions give other bytes in another process",
        )

    def global_generators_stay_untouched(self) -> None:
        random.seed(1)
        np.random.seed(1)
        before = generators()
        transcript(self._make(), seed=3)
        after = generators()
        require(before[0] == after[0], "the world draws from (or seeds) Python's global generator; use self.np_random")
        require(before[1] == after[1], "the world draws from (or seeds) NumPy's global generator; use self.np_random")
        random.seed(2)
        np.random.seed(2)
        one = transcript(self._make(), seed=3)
        random.seed(3)
        np.random.seed(3)
        require(one == transcript(self._make(), seed=3), "what the world does depends on a global generator")

    def admissible_actions_are_sound(self) -> str:
        env, picks, tried = self._make(), np.random.default_rng(4), 0
        for seed in range(5):
            _, info = self._reset(env, seed)
            if "admissible" not in info:
                raise CheckSkipped("the world lists no admissible actions")
            for _ in range(40):
                action = admissible_action(info, picks)
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
        env, solved, said, played = self._make(), 0, 0, 20
        if not has_expert(env):
            raise CheckSkipped("the world has no scripted expert")
        self._reset(env, 0)
        try:
            expert_action(env)
        except NotImplementedError as error:
            raise CheckSkipped(f"no expert with these settings: {error}") from None
        for seed in range(played):
            self._reset(env, seed)
            info: Info = EMPTY
            for _ in range(LONGEST):
                _, _, terminated, truncated, info = self._step(env, expert_action(env))
                if terminated or truncated:
                    break
            said += info.get("success") is not None
            solved += bool(info.get("success"))
        env.close()
        if not said:
            raise CheckSkipped("the world does not say what success is (info['success'], TextWorld.success_above)")
        require(solved == played, f"the expert solved {solved} of {played} tasks")
        return f"{solved} of {played}"

    def rewards_sum_up_and_stay_in_bounds(self) -> str | None:
        env, seen = self._make(), 0
        for _, reward, _, _, info in self._play(env, min(2_000, self._actions)):
            require(isinstance(reward, (int, float, np.number)) and math.isfinite(reward), f"the reward is {reward!r}")
            parts = info.get("rewards")
            if isinstance(parts, Mapping) and parts:
                seen += 1
                total = sum(parts.values())
                same = math.isclose(total, reward, abs_tol=1e-9)
                require(same, f"parts {dict(parts)} sum to {total}, the reward is {reward}")
        env.close()
        return None if seen else "the world names no parts of its reward"

    def flags_and_info_are_taken_as_they_are(self) -> str:
        env, said = self._make(), False
        for observation, _, terminated, truncated, info in self._play(env, min(200, self._actions)):
            invalid = info.get("invalid") or ""
            require(
                isinstance(invalid, str),
                f"info['invalid'] is {invalid!r}; it says in words why an action did not run, and nothing where it ran",
            )
            plain = {name: value for name, value in info.items() if name != "rewards"}
            try:
                checked_step((observation, 0.0, terminated, truncated, plain))
            except (TypeError, ValueError) as error:
                raise CheckFailed(str(error)) from None
            said |= info.get("success") is not None
        env.close()
        return "" if said else "says nothing of success; [player] success_above may"

    def reports_have_their_types(self) -> str:
        env, seen = self._make(), set[str]()
        for seed in range(5):
            observation, info = self._reset(env, seed)
            require(not shows_solution(observation, info), "the first observation holds the hidden solution")
            seen |= check_reports(info)
            picks, reached = np.random.default_rng(seed), milestones_of(info, ())
            for _ in range(40):
                _, _, terminated, truncated, info = self._step(env, some_action(info, picks, env))
                seen |= check_later_reports(info, reached)
                reached = milestones_of(info, reached)
                if terminated or truncated:
                    break
        env.close()
        return ", ".join(sorted(seen)) or f"the world gives none of {', '.join(REPORTS)}"

    def snapshots_restore_exactly(self) -> None:
        env, other = self._make(), self._make()
        if not hasattr(env.unwrapped, "snapshot"):
            raise CheckSkipped("the world takes no snapshots")
        picks = np.random.default_rng(8)
        for seed in range(4):
            _, info = self._reset(env, seed)
            self._reset(other, seed + 100)
            for _ in range(int(picks.integers(0, 8))):
                _, _, terminated, truncated, info = self._step(env, some_action(info, picks, env))
                if terminated or truncated:
                    _, info = self._reset(env, seed + 50)
            taken = snapshot(env)
            first = continued(env, info, seed)
            for target, name in ((env, "the same instance"), (other, "another instance"), (env, "a second time")):
                restore(target, taken)
                again = continued(target, info, seed)
                require(first == again, f"after restore on {name} the play differs: {first_difference(first, again)}")
        env.close()
        other.close()

    def worlds_and_snapshots_can_be_pickled(self) -> None:
        env = self._make()
        _, info = self._reset(env, 1)
        if hasattr(env.unwrapped, "snapshot"):
            state = snapshot(env)
            require_copied(env.unwrapped, state, pickle.dumps, "a pickle")
            taken = pickle.loads(pickle.dumps(state))
            first = continued(env, info, 1)
            restore(env, taken)
            require(first == continued(env, info, 1), "a pickled snapshot restores to something else")
        if not getattr(env.unwrapped, "blocks", False):
            require_copied(env.unwrapped, env.unwrapped, pickle.dumps, "a pickle")
            pickle.loads(pickle.dumps(env))
        env.close()

    def hostile_text_is_survived(self) -> str:
        env = self._make()
        for text in HOSTILE:
            self._reset(env, 2)
            _, _, terminated, _, info = self._step(env, text)
            require(not (terminated and info.get("success")), f"{text[:20]!r} solved the task")
        env.close()
        return f"{len(HOSTILE)} texts"

    def no_action_costs_more_than_its_length(self) -> str:
        env = self._make()
        _, info = self._reset(env, 2)
        picks = np.random.default_rng(2)
        own = [some_action(info, picks, env) for _ in range(3)]

        def seconds(text: str) -> float:
            self._reset(env, 2)
            return cost(lambda: self._step(env, text))

        said = require_linear(seconds, own)
        env.close()
        return said

    def random_and_malformed_actions_are_survived(self) -> str:
        env = self._make()
        count = sum(1 for _ in self._play(env, self._actions, malformed=0.3))
        env.close()
        return f"{count} actions"

    def splits_are_disjoint_by_content(self) -> str:
        env = self._make()
        splits = getattr(env.unwrapped, "splits", None)
        if not isinstance(env.unwrapped, Environment) or not splits or len(splits) < 2:
            raise CheckSkipped("the world has one split only")
        shared = shared_content(env, splits)
        env.close()
        if shared is not None:
            one, two = (f"task {task.index} of {task.split!r}" for task in shared)
            raise CheckFailed(f"{one} and {two} are the same: they begin alike and go on alike, whatever their keys")
        return ", ".join(f"{min(size, SAMPLE)} of {split}" for split, size in splits.items())

    def unknown_tasks_are_refused(self) -> None:
        env = self._make()
        if not isinstance(env.unwrapped, Environment):
            raise CheckSkipped("not an agentrl.Environment")
        size = next(iter(env.unwrapped.splits.values()))
        wrong: tuple[dict[str, object], ...] = ({"split": "no such split"}, {"index": -1}, {"index": size}, {"indx": 1})
        for options in wrong:
            try:
                env.reset(seed=0, options=options)
            except ConfigError:
                continue
            raise CheckFailed(f"reset accepted options {options}; pick_task refuses them")
        env.close()

    def episodes_end(self) -> str:
        env, longest = self._make(), 0
        for seed in range(3):
            _, info = self._reset(env, seed)
            picks = np.random.default_rng(seed)
            for turn in range(LONGEST + 1):
                require(turn < LONGEST, f"an episode went on for {LONGEST} turns; a world needs a cap (truncated=True)")
                _, _, terminated, truncated, info = self._step(env, some_action(info, picks, env))
                if terminated or truncated:
                    longest = max(longest, turn + 1)
                    break
        env.close()
        return f"longest of 3: {longest} turns"

    def steps_are_in_time(self) -> str:
        slowest = f"slowest {self._slowest * 1000:.1f} ms"
        require(self._slowest <= self._step_limit_s, f"{slowest}; a step or reset may take {self._step_limit_s} s")
        return slowest

    def close_twice_is_safe(self) -> None:
        env = self._make()
        self._reset(env, 0)
        env.close()
        env.close()
