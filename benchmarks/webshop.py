"""Speed and size of the webshop over 1,000 products, beside a bare Gymnasium text world stepped in the same run.

All times but those of opening a shop are CPU seconds of this process, so that a busy machine does not count. Play has
one search in five steps, and no search is repeated.

Run: python benchmarks/webshop.py [--large [--cache FOLDER]]     (--large: also over 1.18 million products; the first
time that builds an index of 1.4 GB under FOLDER, which takes minutes and 2.5 GB of memory)
"""

import argparse
import gc
import os
import pickle
import statistics
import time
import tracemalloc
from pathlib import Path
from typing import Any

import gymnasium

from agentrl import UnicodeText
from agentrl_envs.webshop.generate import LARGEST
from agentrl_envs.webshop.world import WebShop

TASKS, REPEATS, SESSIONS = 200, 5, 200
LEAST_STEPS_S, LEAST_STEPS_S_LARGE, MOST_SESSION_BYTES, MOST_SHARED_BYTES = 5_000, 500, 20_000, 3_000_000_000


class Bare(gymnasium.Env[str, str]):
    """The least a text world can do."""

    observation_space = action_space = UnicodeText()

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return "", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "", 0.0, False, False, {}


def recorded_play(world: WebShop, start: int) -> list[list[str]]:
    """Per task five steps: search, open the first product found, its description, back, a first option or buy."""
    recorded = []
    for index in range(start, start + TASKS):
        world.reset(seed=0, options={"split": "train", "index": index % world.splits["train"]})
        actions = [world.expert_action()]
        info = world.step(actions[0])[4]
        product = next((click for click in info["admissible"] if click not in PAGE_BUTTONS), "click[next >]")
        actions += [product, "click[description]", "click[< prev]"]
        for action in actions[1:]:
            info = world.step(action)[4]
        option = next((click for click in info["admissible"] if click not in PAGE_BUTTONS), "click[buy now]")
        recorded.append([*actions, option])
    return recorded


PAGE_BUTTONS = {
    f"click[{name}]" for name in ("back to search", "< prev", "next >", "description", "features", "reviews", "buy now")
}


def steps_per_second(world: gymnasium.Env[str, str], recorded: list[list[str]]) -> float:
    """Resets not counted."""
    seconds = 0.0
    for index, actions in enumerate(recorded):
        world.reset(options={"split": "train", "index": index})
        begun = time.process_time()
        for action in actions:
            world.step(action)
        seconds += time.process_time() - begun
    return sum(map(len, recorded)) / seconds


def speed(make: Any, plays: list[list[list[str]]], name: str) -> float:
    """Median over recordings. Each search gets a word that no product has: the same products, but found anew."""
    rates = []
    for repeat, play in enumerate(plays):
        fresh = [[f"{actions[0][:-1]} {name}{repeat}x{number}]", *actions[1:]] for number, actions in enumerate(play)]
        rates.append(steps_per_second(make(), fresh))
    return statistics.median(rates)


def session_bytes() -> float:
    """What one more session in the middle of a task holds, the shop being open."""
    worlds = [WebShop() for _ in range(2)]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    worlds = [_in_the_middle(number) for number in range(SESSIONS)]
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return held / len(worlds)


def _in_the_middle(number: int) -> WebShop:
    world = WebShop()
    world.reset(seed=number)
    for _ in range(3):
        world.step(world.expert_action())
    return world


def microseconds(action: Any, count: int = 2_000) -> float:
    begun = time.process_time()
    for number in range(count):
        action(number)
    return (time.process_time() - begun) / count * 1e6


def resident_bytes() -> int:
    """Memory of this process, mapped files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def small(bare: float) -> None:
    begun = time.perf_counter()
    world = WebShop()
    print(f"open a shop of 1,000 products, {len(world.splits)} splits: {time.perf_counter() - begun:.2f} s")
    plays = [recorded_play(world, TASKS * repeat) for repeat in range(REPEATS)]
    for mode in ("text", "text_rich", "html"):
        rate = speed(lambda mode=mode: WebShop(observation=mode), plays, mode)
        print(
            f"steps/s, {mode:10} {rate:10,.0f}   {rate / LEAST_STEPS_S:5.1f} × the limit of {LEAST_STEPS_S:,}"
            f"   1/{bare / rate:.0f} of bare"
        )
    print(f"reset      {microseconds(lambda number: world.reset(seed=number)):8.1f} µs")
    other, taken = WebShop(), world.snapshot()
    print(
        f"snapshot + restore {microseconds(lambda _: other.restore(world.snapshot())):.1f} µs, {len(pickle.dumps(taken))} B pickled"
    )
    size = session_bytes()
    print(f"a session  {size:8,.0f} B    {size / MOST_SESSION_BYTES:.2f} of the limit of {MOST_SESSION_BYTES:,} B")


def large(bare: float, cache: Path | None) -> None:
    before, begun = resident_bytes(), time.perf_counter()
    world = WebShop(products=LARGEST, cache=cache)
    print(f"open a shop of {LARGEST:,} products: {time.perf_counter() - begun:.0f} s (built before, or just now)")
    rate = speed(lambda: world, [recorded_play(world, TASKS * repeat) for repeat in range(REPEATS)], "large")
    print(
        f"steps/s    {rate:10,.0f}   {rate / LEAST_STEPS_S_LARGE:5.1f} × the limit of {LEAST_STEPS_S_LARGE:,}"
        f"   1/{bare / rate:.0f} of bare"
    )
    held = resident_bytes() - before
    print(
        f"shared     {held / 1e9:10.2f} GB  {held / MOST_SHARED_BYTES:5.2f} of the limit of 3 GB, any number of sessions"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--cache", type=Path)
    chosen = parser.parse_args()
    bare = speed(Bare, [[["search[x]"] * 100] * TASKS] * REPEATS, "bare")
    print(f"a bare text world: {bare:,.0f} steps/s")
    small(bare)
    if chosen.large:
        large(bare, chosen.cache)


if __name__ == "__main__":
    main()
