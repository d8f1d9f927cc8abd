"""A world of two speakers: a seller names prices, a buyer takes one or waits for the next."""

from typing import Annotated

import agentrl
from agentrl import Scene, Task

PRICES = ("1", "2", "3", "4", "5")


@agentrl.hookimpl
def register_environments(register: agentrl.Register) -> None:
    register("haggle", Haggle)


class Haggle(agentrl.TextWorld):
    """The buyer knows the limit (1 to 5, by the task), the seller does not; after three prices both go home.

    A deal pays the seller a fifth of the price, the buyer a fifth of what is below the limit; the reward of the step is
    the seller's.
    """

    max_turns = 6

    def __init__(
        self, *, seller: Annotated[str, "who names prices"] = "agent", buyer: Annotated[str, "who takes them"] = "other"
    ) -> None:
        self.seller, self.buyer = seller, buyer

    def begin(self, task: Task) -> Scene:
        self.limit, self.price = 1 + task.index % 5, 0
        return self._ask("A buyer comes.")

    def act(self, action: str) -> Scene:
        if not self.price:
            self.price = int(action) if action in PRICES else 5
            text = f"Your limit is {self.limit}. They ask {self.price}."
            return Scene(text, admissible=("deal", "wait"), info={"speaker": self.buyer})
        if action != "deal":
            refused, self.price = self.price, 0
            return self._ask(f"They do not give {refused}.")
        paid = {self.seller: self.price / 5, self.buyer: (self.limit - self.price) / 5}
        return Scene("Sold.", paid[self.seller], done=True, success=True, info={"rewards_by": paid})

    def _ask(self, news: str) -> Scene:
        return Scene(f"{news} Name a price.", admissible=PRICES, info={"speaker": self.seller})
