"""Five lamps, flipped by the actions 0 to 4: a small world as a stranger writes one, with plain Gymnasium's methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import agentrl


def register_environments(register: agentrl.Register) -> None:
    register("lamps", Lamps)


class Lamps(agentrl.Environment):
    """Succeeds when all five are lit; eight turns at most."""

    instructions = "Light all lamps. Answer with one number."
    splits = {"train": 24, "valid": 7}

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[str, dict[str, object]]:
        super().reset(seed=seed)
        task = self.pick_task(options)
        self.lamps, self.turns = task.index + 24 * (task.split == "valid"), 0
        return f"{self.lamps:05b}", {"task": f"{self.lamps:05b}", "admissible": tuple("01234")}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, object]]:
        self.turns += 1
        known = action in tuple("01234")
        self.lamps ^= 1 << int(action) if known else 0
        lit = self.lamps == 31
        info = {"success": lit, "admissible": tuple("01234"), "invalid": "" if known else "no lamp"}
        return f"{self.lamps:05b}", float(lit), lit, not lit and self.turns >= 8, info

    def expert_action(self) -> str:
        return next((str(number) for number in range(5) if not self.lamps >> number & 1), "0")


RUN: dict[str, Any] = {
    "name": "lamps",
    "seed": 1,
    "environment": {"name": "lamps"},
    "model": {"name": "table"},
    "policy": {"name": "tabular"},
    "evaluation": {"split": "valid", "tasks": 7},
    "stages": [
        {
            "name": "learn",
            "updates": 3,
            "sampler": {"name": "uniform", "tasks": 8},
            "collector": {"name": "asynchronous", "group_size": 4},
            "credit": {"name": "grpo"},
            "trainer": {"name": "tabular", "learning_rate": 0.3},
        }
    ],
}
"""A run file of a table that learns it, as the tables that `agentrl.train` takes."""
