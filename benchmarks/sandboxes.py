"""What a sandbox costs, as a ratio to starting plain Python in the same run, and what a thousand lives leave behind."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from agentrl import Sandbox, SandboxLimits, SandboxProvider, SandboxSpec, Spec, default_host

SPEC = SandboxSpec(limits=SandboxLimits(wall_s=120, memory_mib=256))
FILL = """
import os
for i in range(2000):
    os.makedirs(f"d{i % 50}", exist_ok=True)
    with open(f"d{i % 50}/f{i}", "w") as file:
        file.write("x" * 100)
"""
GOALS_MS = {"life": 20.0, "snippet": 2.0, "reset 2,000 files": 5.0, "snapshot + restore 2,000 files": 5.0}
GOAL_LIVES_PER_S = 100.0


def plain_python() -> None:
    """What everything is compared with."""
    subprocess.run(
        ["/usr/bin/env", "python3", "-I", "-c", "print(1)"], check=True, stdout=subprocess.DEVNULL, env=LIGHT
    )


LIGHT = {"PATH": "/usr/bin:/bin"}


def median_ms(action: Callable[[], object], times: int, prepare: Callable[[], object] = lambda: None) -> float:
    """Median wall-clock time; `prepare` is not counted."""
    taken = []
    for _ in range(times):
        prepare()
        started = time.perf_counter()
        action()
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken)


def life(provider: SandboxProvider) -> None:
    """Create, run Python, destroy."""
    with provider.create(SPEC) as sandbox:
        assert sandbox.python("print(1)").ok


def cold_life(provider: SandboxProvider) -> None:
    """Likewise with an interpreter that is started, not forked."""
    with provider.create(SPEC) as sandbox:
        assert sandbox.exec(["python3", "-I", "-c", "print(1)"]).ok


def lives_per_second(provider: SandboxProvider, count: int) -> float:
    """With two threads for each core."""
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as threads:
        list(threads.map(lambda _: life(provider), range(8)))
        started = time.perf_counter()
        list(threads.map(lambda _: life(provider), range(count)))
        return count / (time.perf_counter() - started)


def single_figures(provider: SandboxProvider, times: int) -> dict[str, float]:
    """Milliseconds of everything one can do with one sandbox at a time."""
    life(provider)
    found = {
        "plain Python": median_ms(plain_python, times),
        "life": median_ms(lambda: life(provider), times),
        "life, cold interpreter": median_ms(lambda: cold_life(provider), times),
    }
    with provider.create(SPEC) as sandbox:
        sandbox.python("print(1)")
        found["snippet"] = median_ms(lambda: sandbox.python("print(1)"), 4 * times)
        found["command"] = median_ms(lambda: sandbox.exec(["true"]), 2 * times)
        if "python_session" in sandbox.abilities:
            with sandbox.session("python") as session:
                session.run("x = 1")
                found["call of a session"] = median_ms(lambda: session.run("x += 1"), 4 * times)
        found["reset 2,000 files"] = median_ms(sandbox.reset, 15, lambda: fill(sandbox))
        if "snapshot" in sandbox.abilities:
            fill(sandbox)
            found["snapshot + restore 2,000 files"] = median_ms(
                lambda: sandbox.restore(sandbox.snapshot()), times, lambda: sandbox.put("new", b"x")
            )
        if "fork" in sandbox.abilities:
            found["fork of 2,000 files"] = median_ms(lambda: sandbox.fork().close(), times)
    return found


def fill(sandbox: Sandbox) -> None:
    """A workspace with 2,000 files."""
    assert sandbox.python(FILL).ok


def under_load(provider: SandboxProvider, at_once: int, lives: int) -> dict[str, float]:
    """Medians of each phase with so many at once, and how many lives failed."""
    phases: dict[str, list[float]] = {"start": [], "exec": [], "reset": [], "destroy": []}
    errors: list[BaseException] = []
    lock = threading.Lock()

    def one(_: int) -> None:
        try:
            marks = [time.perf_counter()]
            sandbox = provider.create(SPEC)
            marks.append(time.perf_counter())
            good = sandbox.python("print(1)").stdout.text == "1\n"
            marks.append(time.perf_counter())
            sandbox.reset()
            marks.append(time.perf_counter())
            sandbox.close()
            marks.append(time.perf_counter())
            if not good:
                raise RuntimeError("wrong output")
            with lock:
                for taken, begin, end in zip(phases.values(), marks, marks[1:], strict=False):
                    taken.append(1000 * (end - begin))
        except Exception as error:  # counted; a benchmark under load goes on
            errors.append(error)

    started = time.perf_counter()
    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(one, range(lives)))
    rate = lives / (time.perf_counter() - started)
    return {
        **{name: statistics.median(taken) for name, taken in phases.items()},
        "p90 life": statistics.quantiles([sum(each) for each in zip(*phases.values(), strict=True)], n=10)[-1],
        "lives/s": rate,
        "errors": len(errors),
    }


def left_behind(before: dict[str, int]) -> dict[str, int]:
    """What is there now and was not before."""
    return {name: max(count - before[name], 0) for name, count in inventory().items()}


def inventory() -> dict[str, int]:
    """Processes below this one, mounts, control groups, folders and descriptors."""
    groups = [path for path in Path("/sys/fs/cgroup").rglob("agentrl-*") if path.is_dir()]
    folders = [path for folder in ("/run", "/dev/shm", "/tmp") for path in Path(folder).glob("agentrl-*")]
    return {
        "processes": len(descendants()),
        "mounts": len(Path("/proc/self/mounts").read_text().splitlines()),
        "cgroups": len(groups),
        "files": len(folders) + len(os.listdir("/proc/self/fd")),
    }


def descendants() -> set[int]:
    """Processes that this one started, and those that they started."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def say(figures: dict[str, float], rate: float) -> None:
    """The first table."""
    plain = figures["plain Python"]
    print(f"{'':<34}{'ms':>8}{'/ plain Python':>16}{'goal':>8}")
    for name, taken in figures.items():
        goal = f"{GOALS_MS[name]:.0f}" if name in GOALS_MS else ""
        print(f"{name:<34}{taken:>8.2f}{taken / plain:>16.2f}{goal:>8}")
    print(f"{'lives per second':<34}{rate:>8.0f}{'':>16}{GOAL_LIVES_PER_S:>8.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in", dest="name", default="bubblewrap")
    parser.add_argument("--lives", type=int, default=100, help="lives for each row of the second table (full: 2000)")
    parser.add_argument("--at-once", default="1,16,64")
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    before = inventory()
    provider: Any = default_host().build(Spec("sandbox", arguments.name))
    figures = single_figures(provider, arguments.times)
    rate = lives_per_second(provider, max(arguments.lives, 100))
    load = {int(n): under_load(provider, int(n), arguments.lives) for n in arguments.at_once.split(",")}
    with provider.create(SPEC) as sandbox:
        grade = sandbox.grade()
    provider.close()
    left = left_behind(before)
    if arguments.json:
        print(
            json.dumps({"figures": figures, "lives_per_s": rate, "load": load, "left": left, "grade": grade}, indent=2)
        )
        return
    print(f"{arguments.name}, {grade['level']}, {os.cpu_count()} cores; medians in ms\n")
    say(figures, rate)
    names = ["start", "exec", "reset", "destroy", "p90 life", "lives/s", "errors"]
    print(f"\n{'at once':<10}{'lives':>8}" + "".join(f"{name:>10}" for name in names))
    for at_once, row in load.items():
        cells = "".join(
            f"{row[name]:>10.0f}" if name in ("lives/s", "errors") else f"{row[name]:>10.2f}" for name in names
        )
        print(f"{at_once:<10}{arguments.lives:>8}{cells}")
    print("\nleft behind: " + ", ".join(f"{count} {name}" for name, count in left.items()))


if __name__ == "__main__":
    main()
