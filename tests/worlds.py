"""Small real worlds for tests: one that counts, and one that can be told to go wrong."""

from __future__ import annotations

import time
from typing import Any

from agentrl import Environment, SandboxFault


class Counting(Environment):
    """Say the next number; `length` right answers end it with reward 1."""

    splits = {"train": 1000, "valid": 100}

    def __init__(self, length: int = 3, cap: int = 6) -> None:
        self.length, self.cap = length, cap

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        task = self.pick_task(options)
        self.start, self.count, self.turns = task.index + 10_000 * (task.split != "train"), 0, 0
        return self._observation(), self._info() | {"task": f"{task.split}/{task.index}"}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        before = self._info()["admissible"]
        right = action == str(self.start + self.count + 1)
        self.count += right
        self.turns += 1
        done = self.count == self.length
        info = self._info() | {"success": done, "rewards": {"goal": float(done)}}
        if not right and action not in before:
            info["invalid"] = "that is not the next number"
        return self._observation(), float(done), done, self.turns >= self.cap and not done, info

    def expert_action(self) -> str:
        return str(self.start + self.count + 1)

    def _observation(self) -> str:
        return f"at {self.start + self.count}"

    def _info(self) -> dict[str, Any]:
        now = self.start + self.count
        return {"admissible": (str(now + 1), str(now + 2)), "anchor": f"state {now}"}


class Faulty(Counting):
    """Goes wrong at its second step, `faults` times over all instances together."""

    left = 0

    def __init__(self, fault: str = "raise", blocks: bool = False) -> None:
        super().__init__()
        self.fault, self.blocks = fault, blocks

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self.turns == 1 and Faulty.left > 0:
            Faulty.left -= 1
            if self.fault == "raise":
                raise RuntimeError("the world broke")
            if self.fault == "sandbox":
                raise SandboxFault("the daemon is gone")
            time.sleep(0.5)
        return super().step(action)
