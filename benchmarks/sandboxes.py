"""What a sandbox costs, as a ratio to starting plain Python in the same run, and what a thousand cycles leave behind."""

from __future__ import annotations

import argparse
import contextlib
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
GOALS_MS = {
    "bubblewrap": {"cycle": 20.0, "snippet": 2.0, "reset 2,000 files": 5.0, "snapshot + restore 2,000 files": 5.0},
    "docker": {"command": 3.0},
}
GOAL_CYCLES_PER_S = 100.0


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


def cycle(provider: SandboxProvider) -> None:
    """Create, run Python, destroy."""
    with provider.create(SPEC) as sandbox:
        assert sandbox.python("print(1)").ok


def cold_cycle(provider: SandboxProvider) -> None:
    """Likewise with an interpreter that is started, not forked."""
    with provider.create(SPEC) as sandbox:
        assert sandbox.exec(["python3", "-I", "-c", "print(1)"]).ok


def cycles_per_second(provider: SandboxProvider, count: int) -> float:
    """With two threads for each core."""
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as threads:
        list(threads.map(lambda _: cycle(provider), range(8)))
        started = time.perf_counter()
        list(threads.map(lambda _: cycle(provider), range(count)))
        return count / (time.perf_counter() - started)


def single_figures(provider: SandboxProvider, times: int, cycles: int) -> dict[str, float]:
    """Milliseconds of everything one can do with one sandbox at a time."""
    cycle(provider)
    figures = {
        "plain Python": median_ms(plain_python, times),
        "cycle": median_ms(lambda: cycle(provider), cycles),
        "cycle, cold interpreter": median_ms(lambda: cold_cycle(provider), cycles),
    }
    with provider.create(SPEC) as sandbox:
        sandbox.python("print(1)")
        figures["snippet"] = median_ms(lambda: sandbox.python("print(1)"), 4 * times)
        figures["command"] = median_ms(lambda: sandbox.exec(["true"]), 2 * times)
        if "python_session" in sandbox.abilities:
            with sandbox.session("python") as session:
                session.run("x = 1")
                figures["call of a session"] = median_ms(lambda: session.run("x += 1"), 4 * times)
        figures["reset 2,000 files"] = median_ms(sandbox.reset, 15, lambda: fill(sandbox))
        if "snapshot" in sandbox.abilities:
            fill(sandbox)
            figures["snapshot + restore 2,000 files"] = median_ms(
                lambda: sandbox.restore(sandbox.snapshot()), times, lambda: sandbox.put("new", b"x")
            )
        if "fork" in sandbox.abilities:
            figures["fork of 2,000 files"] = median_ms(lambda: sandbox.fork().close(), cycles)
    return figures


def exec_run_ms(provider: Any, times: int) -> float:
    """What docker-py's own way costs: a new exec for each command, in a container like ours."""
    import docker

    with provider.create(SPEC) as sandbox:
        client = docker.DockerClient(base_url=provider.host) if provider.host else docker.from_env()
        container = client.containers.get(sandbox.container.id)
        taken = median_ms(lambda: container.exec_run(["true"]), times)
        client.close()
    return taken


def fill(sandbox: Sandbox) -> None:
    """A workspace with 2,000 files."""
    assert sandbox.python(FILL).ok


def under_load(provider: SandboxProvider, at_once: int, cycles: int) -> dict[str, float]:
    """Medians of each phase with so many at once, and how many cycles failed."""
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
        list(threads.map(one, range(cycles)))
    rate = cycles / (time.perf_counter() - started)
    whole = [sum(each) for each in zip(*phases.values(), strict=True)] or [float("nan")] * 2
    return {
        **{name: statistics.median(taken or [float("nan")]) for name, taken in phases.items()},
        "p90 cycle": statistics.quantiles(whole, n=10)[-1],
        "cycles/s": rate,
        "errors": len(errors),
    }


def left_behind(before: dict[str, int], name: str) -> dict[str, int]:
    """What is there now and was not before."""
    return {kind: max(count - before[kind], 0) for kind, count in inventory(name).items()}


def inventory(name: str) -> dict[str, int]:
    """Processes below this one, mounts, control groups, folders and descriptors; containers, where there is a daemon."""
    groups = [path for path in Path("/sys/fs/cgroup").rglob("agentrl-*") if path.is_dir() and not_others(path)]
    folders = [path for folder in ("/run", "/dev/shm", "/tmp") for path in Path(folder).glob("agentrl-*-*")]
    folders = [path for path in folders if not_others(path)]
    figures = {
        "processes": len(descendants()),
        "mounts": len(Path("/proc/self/mounts").read_text().splitlines()),
        "cgroups": len(groups),
        "files": len(folders) + len(os.listdir("/proc/self/fd")),
    }
    return {**figures, "containers": containers()} if name == "docker" else figures


def not_others(path: Path) -> bool:
    """Whether something is ours or nobody's: its name has the process that made it, which may be at work elsewhere."""
    maker = path.name.split("-")[1]
    return maker.isdigit() and (int(maker) in descendants() or not Path(f"/proc/{maker}").exists())


def containers() -> int:
    """How many of ours the daemon has."""
    import docker

    client = docker.from_env()
    try:
        return len(client.api.containers(all=True, filters={"label": "agentrl.sandbox"}))
    finally:
        client.close()


def descendants() -> set[int]:
    """Processes that this one started, and those that they started."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    family = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return family - {os.getpid()}


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything about one kind of sandbox; only a reason where there is none here."""
    started: dict[str, int] = {} if name == "docker" else inventory(name)
    with contextlib.ExitStack() as stack:
        settings: dict[str, Any] = {}
        if name == "pool":
            settings = served(stack)
        provider: Any = default_host().build(Spec("sandbox", name, settings))
        obstacle = provider.obstacle()
        if obstacle:
            return {"skipped": obstacle}
        few = name == "docker"
        before = started or inventory(name)
        figures = single_figures(provider, arguments.times, max(arguments.times // 8, 3) if few else arguments.times)
        if few:
            figures["docker-py's exec_run"] = exec_run_ms(provider, arguments.times)
        cycles = min(arguments.cycles, arguments.docker_cycles) if few else arguments.cycles
        rate = cycles_per_second(provider, cycles if few else max(cycles, 100))
        load = {int(n): under_load(provider, int(n), cycles) for n in arguments.at_once.split(",")}
        with provider.create(SPEC) as sandbox:
            grade = sandbox.grade()
        provider.close()
    left = left_behind(before, name)
    return {"figures": figures, "cycles_per_s": rate, "cycles": cycles, "load": load, "left": left, "grade": grade}


def served(stack: contextlib.ExitStack) -> dict[str, Any]:
    """A pool of bubblewrap sandboxes on the loopback, and how to reach it."""
    from agentrl_sandboxes.pool.server import PoolServer, PoolSettings

    server = PoolServer(PoolSettings(port=0))
    stack.callback(server.close)
    server.start()
    return {"url": server.url, "token": server.token}


def say(name: str, measured: dict[str, Any]) -> None:
    """Two tables."""
    if "skipped" in measured:
        print(f"{name}: skipped. {measured['skipped']}\n")
        return
    figures, grade = measured["figures"], measured["grade"]
    goals = GOALS_MS.get(name, {})
    base = "docker-py's exec_run" if name == "docker" else "plain Python"
    print(f"{name}, {grade['level']}, {os.cpu_count()} cores; medians in ms\n")
    print(f"{'':<34}{'ms':>8}{'/ ' + base:>24}{'goal':>8}")
    for what, taken in figures.items():
        goal = f"{goals[what]:.0f}" if what in goals else ""
        print(f"{what:<34}{taken:>8.2f}{taken / figures[base]:>24.2f}{goal:>8}")
    goal = f"{GOAL_CYCLES_PER_S:.0f}" if name == "bubblewrap" else ""
    print(f"{'cycles per second':<34}{measured['cycles_per_s']:>8.1f}{'':>24}{goal:>8}")
    names = ["start", "exec", "reset", "destroy", "p90 cycle", "cycles/s", "errors"]
    print(f"\n{'at once':<10}{'cycles':>8}" + "".join(f"{each:>10}" for each in names))
    for at_once, row in measured["load"].items():
        cells = "".join(f"{row[each]:>10.0f}" if each == "errors" else f"{row[each]:>10.1f}" for each in names)
        print(f"{at_once:<10}{measured['cycles']:>8}{cells}")
    print("\nleft behind: " + ", ".join(f"{count} {kind}" for kind, count in measured["left"].items()) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in", dest="names", default="bubblewrap,docker,pool")
    parser.add_argument("--cycles", type=int, default=100, help="cycles for each row of the second table (full: 2000)")
    parser.add_argument("--docker-cycles", type=int, default=40, help="likewise for Docker, where a cycle takes longer")
    parser.add_argument("--at-once", default="1,16,64")
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = {}
    for name in arguments.names.split(","):
        results[name] = measure(name, arguments)
        if not arguments.json:
            say(name, results[name])
    if arguments.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
