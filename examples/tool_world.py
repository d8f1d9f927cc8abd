"""A tool world of one's own: a bakery's stock. Save it as a module of your plugin, and `agentrl play bakery` finds it."""

from typing import Annotated, Any

from pydantic import Field

import agentrl

BREADS = ("rye", "spelt", "white")


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("bakery", Bakery)


class Bakery(agentrl.ToolEnvironment):
    """Fill the shelf to what the shop has ordered; the oven holds six loaves at a time."""

    instructions = "Bake until the shelf holds what was ordered, then say that it is ready."
    splits = {"train": 900, "valid": 100}
    max_turns = 12

    def begin(self, task: agentrl.Task) -> str:
        number = task.index + (900 if task.split == "valid" else 0)
        self.wanted = {bread: number // 10**i % 10 for i, bread in enumerate(BREADS)}
        self.shelf = dict.fromkeys(BREADS, 0)
        return "Order: " + ", ".join(f"{count} {bread}" for bread, count in self.wanted.items())

    @agentrl.tool
    def look(self) -> dict[str, int]:
        """What is on the shelf."""
        return self.shelf

    @agentrl.tool
    def bake(self, bread: str, loaves: Annotated[int, Field(ge=1, le=6, description="at most six")]) -> str:
        """Bake some loaves of one bread: rye, spelt or white."""
        if bread not in self.shelf:
            raise agentrl.ToolError(f"no recipe for {bread!r}. {agentrl.did_you_mean(bread, BREADS)}")
        self.shelf[bread] += loaves
        return f"{loaves} {bread} baked"

    def score(self) -> dict[str, float]:
        return {"order": float(self.shelf == self.wanted)}

    def expert_action(self) -> str:
        for bread in BREADS:
            if missing := self.wanted[bread] - self.shelf[bread]:
                return agentrl.ToolCall("bake", {"bread": bread, "loaves": min(missing, 6)}).write()
        return "It is ready."
