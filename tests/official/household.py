"""The household world beside the official ALFWorld engine, step by step.

Games of our generator are written in the official format and played on both: once at random (with some commands that
are inadmissible or malformed), once by our expert. Texts, admissible commands, rewards and ends must be equal.

Run: PYTHONPATH=tests python -m official.household --games 200
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from official.games import write_game

from agentrl import Environment, Spec, default_host

SETTINGS: tuple[dict[str, Any], ...] = (
    {},  # as it comes: 10 to 30 receptacles
    {"receptacles": (6, 12), "object_types": (6, 12), "copies": (1, 3), "layouts": 1000},
)
SPLITS = ("train", "valid_seen", "valid_unseen")
JUSTIFIED = {
    "help": "the list of commands is worded by us: `help` is no part of any task, and verl-agent drops it",
}
"""Differences that are meant, by name; `compare` counts how often each was met."""
ODD = ("", " look ", "Look", "go to", "take", "dance", "put mug 1 in/on shelf 1", "use", "examine", "go to nowhere 1")


@dataclass
class Found:
    """What a comparison saw."""

    games: int = 0
    steps: int = 0
    solved: int = 0
    differences: list[str] = field(default_factory=list)
    justified: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)


def compare(games: int, *, seed: int = 0, most_turns: int = 50) -> Iterator[Found]:
    """Play that many games on both engines, twice each; gives what was found after each game."""
    found = Found()
    worlds = [default_host().build(Spec("environment", "household", dict(settings))) for settings in SETTINGS]
    official = default_host().part("environment", "alfworld")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(games):
            ours, rng = worlds[number % len(worlds)], random.Random(f"{seed} {number}")
            options = {"split": SPLITS[number % len(SPLITS)], "index": (seed * 211 + number) % 1000}
            ours.reset(options=options)
            game = ours.machine.game
            path = write_game(game, Path(folder) / str(number))
            theirs = official(path=path.parent, max_turns=most_turns)
            found.kinds[game.goal.type] += 1
            for play in ("random", "expert"):
                found.solved += _both(ours, theirs, options, play, rng, found, most_turns)
            theirs.close()
            found.games += 1
            yield found


def _both(
    ours: Any, theirs: Environment, options: dict[str, Any], play: str, rng: random.Random, found: Found, turns: int
) -> bool:
    """One episode on both; True if it was solved."""
    where = f"{options['split']} {options['index']} {play}"
    one, two = ours.reset(options=options), theirs.reset(options={"split": "train", "index": 0})
    _equal(f"{where}, start", (one[0], one[1]["admissible"]), (two[0], two[1]["admissible"]), found)
    for turn in range(turns):
        action = ours.expert_action() if play == "expert" else _random_action(ours, one[-1]["admissible"], rng)
        one, two = ours.step(action), theirs.step(action)
        found.steps += 1
        texts = one[0], two[0]
        if action.strip() == "help" and texts[0] != texts[1]:
            found.justified["help"] += 1
            texts = "", ""
        mine = texts[0], one[1], one[2], *(() if one[2] else (one[4]["admissible"],))
        official = texts[1], two[1], two[2], *(() if one[2] else (two[4].get("admissible"),))
        _equal(f"{where}, turn {turn}, {action!r}", mine, official, found)
        if one[2] or two[2]:
            break
    return bool(one[2])


def _random_action(ours: Any, admissible: tuple[str, ...], rng: random.Random) -> str:
    """Mostly admissible and evenly over the verbs, sometimes the expert's, sometimes impossible or malformed."""
    draw, game = rng.random(), ours.machine.game
    if draw < 0.55:
        verbs = sorted({command.split()[0] for command in admissible})
        verb = rng.choice(verbs)
        return rng.choice([command for command in admissible if command.split()[0] == verb])
    if draw < 0.8:
        return str(ours.expert_action())
    if draw < 0.95:
        place, thing, other = (rng.choice(names) for names in (game.layout.receptacles, game.objects, game.objects))
        return rng.choice(
            [f"{verb} {place}" for verb in ("open", "close", "examine", "go to")]
            + [f"{verb} {thing}" for verb in ("use", "examine")]
            + [f"{verb} {thing} with {place}" for verb in ("heat", "clean", "cool")]
            + [f"take {thing} from {place}", f"move {thing} to {place}", f"slice {thing} with {other}"]
        )
    return rng.choice(ODD)


def _equal(where: str, mine: tuple[Any, ...], official: tuple[Any, ...], found: Found) -> None:
    for ours, theirs in zip(mine, official, strict=True):
        if ours != theirs:
            found.differences.append(f"{where}\n  household: {ours!r}\n  official:  {theirs!r}")
            _say(found.differences[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--games", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    started, found = time.perf_counter(), Found()
    for found in compare(given.games, seed=given.seed):
        if found.games % 20 == 0 or found.games == given.games:
            _say(
                f"{found.games:4d} games, {found.steps:6,d} steps, {len(found.differences)} differences, "
                f"{time.perf_counter() - started:.0f} s"
            )
    _say("kinds of tasks: " + ", ".join(f"{kind} {count}" for kind, count in sorted(found.kinds.items())))
    _say(f"solved {found.solved} of {2 * found.games} episodes")
    for name, count in found.justified.items():
        _say(f"justified, {count} times: {JUSTIFIED[name]}")
    sys.exit(1 if found.differences else 0)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
