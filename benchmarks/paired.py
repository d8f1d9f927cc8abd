"""Figures of `make bench`, and of all worlds, in this tree and in another commit's, taken by turns on one machine: the ratio of each.

Each tree runs its own scripts in a checkout of its own, in the order this, other, other, this, …, so that a machine
that slows down slows both. A ratio is this tree's figure divided by the other's; printed are the median over the pairs
of runs, the least and the greatest, and the ratio of the best runs, because others on the machine only ever slow a run
down. The figures are read from the lines that the scripts print (`FIGURES`). The last lines name what got worse by more
than 5 % (framework: 30 %) by median and by best run alike; on a busy machine take that again, with more pairs. A figure
that one side does not print is named too, and ends this program with 1. All of it takes about 30 minutes on two idle
cores, most of them for engine and trainer.

Run: python benchmarks/paired.py [--against COMMIT] [--only SCRIPT …] [--repeat N]
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from dataclasses import dataclass

from trees import Tree, this_tree, tree_of

NUMBER = r"([\d,.]+)"
MISSING = "not printed by both trees"
PAIRS = {"framework": 8, "household": 8, "credit": 3, "vector": 2, "engine": 2, "trainer": 2, "worlds": 4}
"""How often each script is run in each tree, unless asked otherwise."""
WORLDS = ("household", "webshop", "search", "tools", "bfcl", "code", "corridor")
ARGUMENTS = {"worlds": WORLDS}
"""What a script is asked for."""


@dataclass(frozen=True)
class Figure:
    """One number that a script prints: the first group of `pattern`."""

    name: str
    pattern: str
    higher: bool
    """Whether higher is better."""
    allowed: float = 0.05
    """By which share it may get worse."""


def _trainer(kind: str) -> Figure:
    return Figure(f"trainer, {kind}, tokens/s", rf"^{re.escape(kind)} +wall +{NUMBER} tokens/s", True)


def _vector(world: str) -> list[Figure]:
    line = rf"^{re.escape(world)} +(?:\w+) *"
    return [
        Figure(f"vector, {world}, steps/s", line + NUMBER, True),
        Figure(f"vector, {world}, ratio to a plain loop", line + rf".* ratio +{NUMBER}", True),
    ]


def _world(name: str) -> list[Figure]:
    line = rf"^{name} +[\d,]+ +\S+ +"
    return [
        Figure(f"world {name}, steps/s", rf"^{name} +{NUMBER}", True),
        Figure(f"world {name}, reset, ms", line + NUMBER, False),
        Figure(f"world {name}, snapshot and restore, ms", line + rf"[\d.]+ +{NUMBER}", False),
    ]


FIGURES: dict[str, list[Figure]] = {
    "framework": [Figure("framework per turn, µs", rf"^framework per turn +{NUMBER} us", False, 0.3)],
    "household": [
        Figure("household, admissible list, steps/s", rf"^steps/s, admissible list built +{NUMBER}", True),
        Figure("household, no admissible list, steps/s", rf"^steps/s, no admissible list +{NUMBER}", True),
        Figure("household, state as anchor, steps/s", rf"^steps/s, … and true state as anchor +{NUMBER}", True),
        Figure("household, reset in train, µs", rf"^reset, train +{NUMBER}", False),
        Figure("household, reset in valid_unseen, µs", rf"^reset, valid_unseen +{NUMBER}", False),
        Figure("household, snapshot and restore, µs", rf"^snapshot \+ restore +{NUMBER}", False),
    ],
    "credit": [
        Figure("credit, gigpo of 25,600 turns, ms", rf"^gigpo {{4,}}{NUMBER}", False),
        Figure("credit, gigpo, times as fast as plain loops", rf"^gigpo {{4,}}[\d.]+ +[\d.]+ +{NUMBER}", True),
    ],
    "vector": [
        figure
        for world in ("corridor (cheap)", "household (cheap)", "waiting 2 ms", "computing 5 ms")
        for figure in _vector(world)
    ],
    "engine": [
        Figure("engine, 96 games, tokens/s", rf"^ +ours +{NUMBER} tokens/s", True),
        Figure("engine, times as fast as generate", rf"^ +ratio +{NUMBER}", True),
        Figure("engine, decoding only, tokens/s", rf"decoding only, .*: {NUMBER} tokens/s", True),
    ],
    "trainer": [_trainer("cloning, AdamW"), _trainer("cloning, Muon"), _trainer("policy gradient")],
    "worlds": [figure for world in WORLDS for figure in _world(world)],
}  # fmt: skip


def measured(tree: Tree, script: str) -> dict[str, float]:
    """The figures that a tree's own script prints, by name; those it does not print are left out."""
    started = time.perf_counter()
    done = tree.run([str(tree.folder / f"benchmarks/{script}.py"), *ARGUMENTS.get(script, ())], timeout_s=1200)
    print(f"{script} in {tree.name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    if done.returncode:
        print(f"{script} in {tree.name} failed:\n{done.stderr}", file=sys.stderr)
        return {}
    return figures_of(script, done.stdout)


def figures_of(script: str, printed: str) -> dict[str, float]:
    """The figures in what a script printed.

    >>> figures_of("framework", "framework per turn      32.2 us   goal 100 us, ratio 0.32")
    {'framework per turn, µs': 32.2}
    """
    values = {}
    for figure in FIGURES[script]:
        match = re.search(figure.pattern, printed, re.MULTILINE)
        if match:
            values[figure.name] = float(match[1].replace(",", ""))
    return values


def compare(this: Tree, other: Tree, script: str, pairs: int) -> list[str]:
    """Run a script `pairs` times in each tree, print its figures, and give those that got worse."""
    runs: list[tuple[dict[str, float], dict[str, float]]] = []
    for number in range(pairs):
        order = (this, other) if number % 2 == 0 else (other, this)
        values = {tree.name: measured(tree, script) for tree in order}
        runs.append((values[this.name], values[other.name]))
    worse = []
    for figure in FIGURES[script]:
        both = [
            (ours[figure.name], theirs[figure.name]) for ours, theirs in runs if figure.name in ours.keys() & theirs
        ]
        line, is_worse = _compared(figure, both) if both else (MISSING, True)
        print(f"{figure.name:<46} {line}", flush=True)
        worse += [f"{figure.name}: {line}"] if is_worse else []
    return worse


def _compared(figure: Figure, both: list[tuple[float, float]]) -> tuple[str, bool]:
    """The ratios of a figure in words, and whether it got worse."""
    ratios = [ours / theirs for ours, theirs in both]
    best = [(max if figure.higher else min)(column) for column in zip(*both, strict=True)]
    two = statistics.median(ratios), best[0] / best[1]
    line = (
        f"ratio {two[0]:5.2f} ({min(ratios):.2f} to {max(ratios):.2f}), of the best runs {two[1]:5.2f}"
        f" ({_short(best[0])} and {_short(best[1])}); {'higher' if figure.higher else 'lower'} is better"
    )
    return line, all(ratio < 1 - figure.allowed if figure.higher else ratio > 1 + figure.allowed for ratio in two)


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="COMMIT", default="HEAD~1", help="the other tree; the commit before")
    parser.add_argument("--only", metavar="SCRIPT", nargs="+", default=list(FIGURES), choices=list(FIGURES))
    parser.add_argument("--repeat", metavar="N", type=int, help=f"pairs of runs of each script: {PAIRS}")
    given = parser.parse_args()
    worse: list[str] = []
    with this_tree() as this, tree_of(given.against) as other:
        print(f"this tree against {given.against}, this tree's figure first")
        for script in given.only:
            worse += compare(this, other, script, given.repeat or PAIRS[script])
    print("\nworse:\n  " + "\n  ".join(worse) if worse else "\nnothing got worse")
    return int(any(figure.endswith(MISSING) for figure in worse))  # ratios are for a person to judge


if __name__ == "__main__":
    sys.exit(main())
