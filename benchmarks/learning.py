"""Held-out success on the household before and after GiGPO, beside cloning continued on the policy's own successes.

Both start from the same cloned weights (the same seed makes the same ones), play the same number of tasks and take the
same held-out tasks with the same sampling; the second clones its own successful trajectories instead (filtered
cloning), for as many updates as fit into the seconds that GiGPO's stage took. Run: python benchmarks/learning.py
[--seeds 1 2 3] [--runs FOLDER] [--file examples/household.toml] [--no-baseline] [key.sub=value ...]
"""

import argparse
import json
import math
from pathlib import Path

from agentrl import Result, train
from agentrl.parts.tables import read_tables

FILTERED = [
    'credit={name="return_to_go", gamma=1.0, baseline="none"}',
    'loss={name="nll", weighting="advantage"}',
]


def stage_seconds(run: Result, stage: str) -> list[float]:
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    return [line["seconds"] for line in lines if line["stage"] == stage]


def row(name: str, run: Result) -> str:
    parts = [f"{name:<22}"]
    for key in ("before", "after", "difference"):
        value = run.summary[key]
        parts.append(f"{value['success']:>7.1%} [{value['low']:>6.1%}, {value['high']:>6.1%}]")
    seconds, memory = run.summary["seconds"], run.summary["peak_memory_mib"]
    return "  ".join([*parts, f"{seconds:>6.0f} s", f"{memory:>6.0f} MiB"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs", default="runs/learning")
    parser.add_argument("--file", type=Path, default=Path(__file__).parents[1] / "examples/household.toml")
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    last = read_tables(given.file)["stages"][-1]["name"]
    print(f"{'':<22}  {'before':<24}  {'after':<24}  {'difference':<24}  all of it")
    for seed in given.seeds:
        common = [f"runs={given.runs}", f"seed={seed}", *given.overrides]
        run = train(given.file, [f"name=gigpo-{seed}", *common])
        print(row(f"seed {seed}, {last}", run), flush=True)
        if given.no_baseline:
            continue
        seconds = stage_seconds(run, last)
        change = [f"stages.{last}.{override}" for override in FILTERED]
        trial = train(given.file, [f"name=filtered-{seed}-pace", *common, *change, f"stages.{last}.updates=3"])
        pace = sum(stage_seconds(trial, last)) / 3
        updates = max(1, math.floor(sum(seconds) / pace))
        other = train(given.file, [f"name=filtered-{seed}", *common, *change, f"stages.{last}.updates={updates}"])
        print(row(f"seed {seed}, filtered cloning", other), flush=True)


if __name__ == "__main__":
    main()
