"""Sample data and parts that kits put parts under test together with."""

from __future__ import annotations

import numpy as np

from agentrl.data.columns import COLUMNS
from agentrl.data.types import Completion, Outcome, Task, Trajectory, Turn
from agentrl.parts.contracts import Columns, Seed, Splits, Texts, Updates
from agentrl.parts.wiring import Scope


def sample_scope() -> Scope:
    """What a part may ask for without a run around it."""
    return Scope(
        {
            Seed: Seed(0),
            Updates: Updates(10),
            Splits: Splits({"train": 100, "valid": 20}),
            Columns: Columns(COLUMNS),
            Texts: Texts(("You see a lamp.", "go to lamp 1")),
        }
    )


def sample_trajectories(seed: int = 0, groups: int = 4, members: int = 6) -> list[Trajectory]:
    """Seeded trajectories of 1 to 7 turns with shared anchors, sparse rewards, and one group without variance."""
    random = np.random.default_rng(seed)
    made = []
    for group in range(groups):
        for member in range(members):
            length = 3 if group == 0 else int(random.integers(1, 8))
            reward = 1.0 if group == 0 else float(random.integers(0, 2))
            turns = tuple(
                _turn(f"s{int(random.integers(4))}", reward if t == length - 1 else 0.0, random) for t in range(length)
            )
            made.append(Trajectory(turns, Task("train", group), f"g{group}", Outcome.TERMINATED, member=member))
    return made


def _turn(anchor: str, reward: float, random: np.random.Generator) -> Turn:
    ids = random.integers(0, 100, size=2).astype(np.int32)
    completion = Completion("go", np.zeros(1, np.int32), ids, np.full(2, -1.0, np.float32), None, np.zeros(2, np.int32))
    return Turn(anchor, completion, "go", reward, anchor)
