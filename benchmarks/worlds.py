"""Every registered world in one run: steps/s, reset, snapshot and restore, memory per session, as ratios.

Worlds whose library is not installed are left out by name. The libraries of others (ALFWorld, TextWorld, TextArena,
ScienceWorld) are measured through their adapters, which add microseconds; GEM and a bare Gymnasium world as they are.
Times are CPU seconds, wall clock for worlds that wait for another process.

Run: PYTHONPATH=tests python benchmarks/worlds.py [NAME …]
"""

from __future__ import annotations

import gc
import random
import sys
import tempfile
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium

from agentrl import ConfigError, Environment, Spec, UnicodeText, default_host

SECONDS, MOST_SESSIONS = 1.0, 20
SETTINGS: dict[str, dict[str, Any]] = {"gymnasium": {"id": "FrozenLake-v1"}, "scienceworld": {"id": "boil"}}
FIXED = {"textarena": "[1 2 3 4]", "gem": "\\boxed{3}", "bare": "look"}
"""What is said where a world lists no actions and has no expert."""
OTHERS = ("alfworld", "textworld", "scienceworld", "textarena", "gem", "bare")


@dataclass(frozen=True)
class Figures:
    """One world; seconds, and bytes of Python objects and resident memory per further session."""

    steps_s: float
    reset_s: float
    snapshot_s: float
    traced: float
    resident: float


class Bare(gymnasium.Env[str, str]):
    """The least a text world can do."""

    observation_space = action_space = UnicodeText()

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return "Nothing happens.", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "Nothing happens.", 0.0, False, False, {}


class Gem:
    """A game of GEM."""

    blocks = False

    def __init__(self) -> None:
        import gem

        self._game = gem.make("game:GuessTheNumber-v0-hard")
        self.reset, self.step = self._game.reset, self._game.step

    @property
    def unwrapped(self) -> Gem:
        return self

    def close(self) -> None:
        """Nothing is held."""


def measure(make: Any, name: str) -> Figures:
    """All figures of one world."""
    env, pick = make(), random.Random(0)
    clock = time.perf_counter if getattr(env.unwrapped, "blocks", False) else time.process_time
    env.reset(seed=0)
    steps, stepping, resets, resetting, seed = 0, 0.0, 0, 0.0, 0
    while stepping < SECONDS and resetting < 3 * SECONDS:
        seed += 1
        begun = clock()
        _, info = env.reset(seed=seed)
        resetting, resets, over = resetting + clock() - begun, resets + 1, False
        for _ in range(50):
            action = _action(env, info, pick, name)
            begun = clock()
            _, _, terminated, truncated, info = env.step(action)
            stepping, steps = stepping + clock() - begun, steps + 1
            over = terminated or truncated
            if over or stepping > SECONDS:
                break
    snapshot = _snapshot_s(env, make, pick, name, clock) if isinstance(env.unwrapped, Environment) else float("nan")
    env.close()
    traced, resident = _memory(make, max(2, min(MOST_SESSIONS, int(3 * resets / max(resetting, 1e-9)))))
    return Figures(steps / stepping, resetting / resets, snapshot, traced, resident)


def _snapshot_s(env: Any, make: Any, pick: random.Random, name: str, clock: Any) -> float:
    """Snapshot five steps into a task, restored on another instance."""
    other, (_, info) = make(), env.reset(seed=1)
    for _ in range(5):
        _, _, terminated, truncated, info = env.step(_action(env, info, pick, name))
        if terminated or truncated:
            _, info = env.reset(seed=2)
    times, begun = 0, clock()
    while times < 1_000 and (times == 0 or clock() - begun < SECONDS / 2):
        other.unwrapped.restore(env.unwrapped.snapshot())
        times += 1
    took = (clock() - begun) / times
    other.close()
    return float(took)


def _memory(make: Any, sessions: int) -> tuple[float, float]:
    """Bytes per session beyond the first: Python objects, and resident memory of this process."""
    first = make()
    first.reset(seed=0)
    gc.collect()
    tracemalloc.start()
    before, resident = tracemalloc.get_traced_memory()[0], _resident()
    kept = [make() for _ in range(sessions)]
    for seed, env in enumerate(kept):
        env.reset(seed=seed)
    gc.collect()
    traced = (tracemalloc.get_traced_memory()[0] - before) / sessions
    grown = (_resident() - resident) / sessions
    tracemalloc.stop()
    for env in [first, *kept]:
        env.close()
    return traced, grown


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _action(env: Any, info: dict[str, Any], pick: random.Random, name: str) -> str:
    if info.get("admissible"):
        return str(pick.choice(info["admissible"]))
    if name in FIXED:
        return FIXED[name]
    try:
        return str(env.unwrapped.expert_action())
    except (NotImplementedError, AttributeError):
        return "look"


def worlds(folder: Path) -> dict[str, Any]:
    """What can be measured here: a factory by name, or why not."""
    host, found = default_host(), {"bare": Bare}
    for entry in host.registry("environment"):
        try:
            settings = SETTINGS.get(entry.name, {}) | _made(entry.name, folder)
            spec = Spec("environment", entry.name, settings)
            env = host.build(spec)
            env.reset(seed=0)  # some notice only now that their data is missing
            env.close()
            found[entry.name] = lambda spec=spec: host.build(spec)
        except (ConfigError, ImportError) as error:
            found[entry.name] = str(error).split(":")[0]
    try:
        Gem()
        found["gem"] = Gem
    except ImportError as error:
        found["gem"] = str(error)
    return found


def _made(name: str, folder: Path) -> dict[str, Any]:
    """Games for the engines that bring none: rooms of our household for ALFWorld, small quests for TextWorld."""
    if name == "alfworld":
        from official.games import write_game

        ours: Any = default_host().build(Spec("environment", "household"))
        for index in range(5):
            ours.reset(options={"split": "train", "index": index})
            write_game(ours.machine.game, folder / f"alfworld/{index}")
        return {"path": folder / "alfworld"}
    if name == "textworld":
        import textworld

        for seed in range(3):
            options = textworld.GameOptions()
            options.nb_rooms, options.nb_objects, options.quest_length, options.seeds = 5, 10, 5, seed
            options.path = str(folder / f"textworld/{seed}.z8")
            textworld.make(options)
        return {"games": folder / "textworld"}
    return {}


def main() -> None:
    measured: dict[str, Figures] = {}
    asked = sys.argv[1:]  # read first: a library of others rewrites the arguments when it is imported
    with tempfile.TemporaryDirectory() as folder:
        found = worlds(Path(folder))
        asked = asked or list(found)
        print(
            f"{'world':14} {'steps/s':>11} {'of bare':>9} {'reset ms':>10} {'snapshot ms':>12} {'kB/session':>11} resident"
        )
        for name in [*(name for name in found if name == "bare"), *(n for n in asked if n != "bare" and n in found)]:
            if isinstance(found[name], str):
                print(f"{name:14} left out: {found[name][:100]}")
                continue
            one = measured[name] = measure(found[name], name)
            share = f"1/{measured['bare'].steps_s / one.steps_s:,.0f}"
            print(
                f"{name:14} {one.steps_s:11,.0f} {share:>9} "
                f"{one.reset_s * 1e3:10.3f} {one.snapshot_s * 1e3:12.3f} {one.traced / 1e3:11.1f} {one.resident / 1e3:8.1f}",
                flush=True,
            )
    others = [name for name in OTHERS if name in measured]
    print("\nsteps/s as multiples of " + ", ".join(others))
    for name in sorted(measured.keys() - set(OTHERS)):
        row = (f"{measured[name].steps_s / measured[other].steps_s:12,.4g}" for other in others)
        print(f"{name:14}" + "".join(row))


if __name__ == "__main__":
    main()
