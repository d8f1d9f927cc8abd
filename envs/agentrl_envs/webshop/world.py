"""WebShop: the Gymnasium world around the shop's pages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import agentrl
from agentrl import ConfigError, Scene
from agentrl_envs.webshop import pages
from agentrl_envs.webshop.expert import expert_action
from agentrl_envs.webshop.generate import LARGEST, TINY
from agentrl_envs.webshop.goals import Author, Mode
from agentrl_envs.webshop.pages import BACK, BUY, LONGEST_QUERY, NEXT, PREVIOUS, Observation, Page, Part, Visit
from agentrl_envs.webshop.products import Product
from agentrl_envs.webshop.reward import Grade, grade, shortcomings
from agentrl_envs.webshop.shop import Stock, open_goals, open_shop

_SUBS = {name.lower() for name in pages.SUB_PAGES}
_NOTHING = {"attributes": 0.0, "options": 0.0, "price": 0.0}
_PHASES = {"results": "results", "item": "product", "sub": "product", "done": "bought"}


class WebShop(agentrl.TextWorld):
    """Find and buy the product an instruction asks for, in a shop of pages, as in WebShop (Yao et al. 2022).

    Actions are `search[words]` and `click[something on the page]`. The only reward comes with `click[buy now]`: the
    share of wanted attributes, options and price that the purchase meets, times how well its type fits (0 to 1). So the
    same purchase in every task earns a tenth in the mean, a quarter in the tiny shop; it solves under 3 % of the tasks.

    Settings. `mode`: "faithful" reproduces the original with its faults; "fixed" repairs three of them: the text page
    says which options are chosen, hidden prices and price caps depend on each product alone and not on the order of
    drawing, and no product, title or wording is in two splits (its `admissible` also names a real search, not a
    template). `goals`: synthetic ones, or those people wrote. `preset`: "tiny" is a shop of 120 products with three
    short titles to a page. `products`: how many to generate (up to 1.18 million), or to take from the front of a file;
    None is the preset's number, or the whole file. `seed` decides the generated products. `items`, `attributes`,
    `human`: the original's files (`items_shuffle*.json`, `items_ins_v2*.json`, `items_human_ins.json`), instead of
    generated ones. `price_seed`: None, in faithful mode only, draws prices anew in every process as the original does.
    `cache`: where a shop of more than 50,000 products is kept; by default under the user's cache folder.

    `info` also has `milestones` (`results`, `product`, `options`, `bought`: how far the visit got) and, after a purchase,
    `score` (0 to 100), `grade` (the original's details) and, in `feedback`, what the purchase lacks.

    Raises ConfigError for settings that fit no shop, DataError for files that are not WebShop's.
    """

    instructions = (
        "You are shopping. Find the product that the instruction describes, choose the options it asks for, and buy "
        "it.\nActions, one at a time: search[words] looks for products; click[text] presses a button, opens a product "
        "by its id, or chooses an option on the page. click[buy now] ends the task: the closer the purchase comes to "
        "the instruction (type, attributes, options, price), the higher the reward."
    )

    max_turns = sys.maxsize  # the original leaves the limit to whoever trains
    resources = ("_shop", "_goals", "_shown", "splits")
    presets = {  # noqa: RUF012
        "full": {"products": 1000, "hits": 50, "page_size": 10},
        "tiny": {"products": TINY, "hits": 6, "page_size": 3},
    }

    def __init__(
        self,
        *,
        mode: Mode = "fixed",
        observation: Observation = "text",
        goals: Author = "synthetic",
        preset: Literal["full", "tiny"] = "full",
        products: int | None = None,
        seed: int = 0,
        items: Path | None = None,
        attributes: Path | None = None,
        human: Path | None = None,
        show_attributes: bool = False,
        price_seed: int | None = 0,
        cache: Path | None = None,
    ) -> None:
        if items is None and (attributes is not None or human is not None):
            raise ConfigError("attributes and human belong to an items file: give items = … too, or leave them out")
        if items is not None and preset == "tiny":
            raise ConfigError("the tiny preset generates its products: leave items out, or use preset = 'full'")
        most = TINY if preset == "tiny" else LARGEST
        if products is not None and (products < 1 or (products > most and items is None)):
            raise ConfigError(f"products = {products}: allowed are 1 to {most} for preset {preset!r}")
        if not 0 <= seed < 2**32:
            raise ConfigError(f"seed = {seed}: allowed are whole numbers from 0 to {2**32 - 1}")
        if price_seed is None and mode == "fixed":
            raise ConfigError("price_seed = None is the original's fault: it needs mode = 'faithful'")
        size = self.sizes(preset, products=products)
        count = products if items is not None else size["products"]
        stock = Stock(count, seed, preset, *(path and Path(path) for path in (items, attributes, human, cache)))
        self._settings = (stock, size["hits"], size["page_size"], goals, mode, price_seed)
        self._observation, self._show_attributes = observation, show_attributes
        self.open()

    def open(self) -> None:
        self._shop, self._goals = open_shop(*self._settings[:3]), open_goals(*self._settings)
        self._shown: Page | None = None
        self.splits = {name: len(numbers) for name, numbers in self._goals.splits.items()}

    def draw(self, split: str) -> int:
        """A task by the goals' weights."""
        return self._goals.draw(split, self.np_random)

    def begin(self, task: agentrl.Task) -> Scene:
        self._number = int(self._goals.splits[task.split][task.index])
        self._goal = self._goals[self._number]
        self._visit = Visit()
        self._reached: tuple[str, ...] = ()
        self._grade: Grade | None = None
        return self._scene("")

    def act(self, action: str) -> Scene:
        invalid = self._move(action)
        if self._grade is None:
            return self._scene(invalid)
        scene = self._scene("", shortcomings(self._goal, *self._purchase()))
        return scene.replace(reward=self._grade.reward, rewards=self._grade.parts)

    def key(self, task: agentrl.Task) -> str:
        return self._goal.key

    def state(self) -> object:
        return self._number, self._visit, self._grade, self._reached

    def load(self, state: tuple[int, Visit, Grade | None, tuple[str, ...]]) -> None:
        number, self._visit, self._grade, self._reached = state
        if number != getattr(self, "_number", None):
            self._number, self._goal = number, self._goals[number]
        self._shown = None

    def expert_action(self) -> str:
        """The action of an expert who knows the product, from any page. After the purchase there is none: `""`."""
        return "" if self._grade else expert_action(self._shop, self._goal, self._visit, self.shown)

    def render(self) -> str | None:
        """The page as text."""
        return pages.render(self.shown, "text") if self.render_mode == "ansi" else None

    def page(self) -> str:
        """The page as HTML, whatever the observation mode."""
        self._require_task()
        return pages.render(self.shown, "html")

    def serve(self, host: str = "127.0.0.1", port: int = 8017, ready: Callable[[str], None] | None = None) -> None:
        """Open this shop to a browser until interrupted; `ready` is told the address."""
        from agentrl_envs.webshop import web

        web.serve(self, host, port, ready)

    @property
    def shown(self) -> Page:
        """The page the visit is at."""
        if self._shown is None:
            self._shown = pages.page_of(
                self._shop,
                self._goal,
                self._visit,
                tell=self._settings[4] == "fixed",
                attributes=self._show_attributes,
                reward=self._grade.reward if self._grade else 0.0,
            )
        return self._shown

    def _move(self, action: str) -> str:
        """Search or click; or say why not."""
        start = action.rfind("[", 1, -2)  # no regular expression: it would look for the end from every bracket
        if start < 0 or not action.endswith("]") or "\n" in action:
            return "an action is search[words] or click[text]"
        name, argument = action[:start], action[start + 1 : -1].lower()
        if name == "search":
            return self._search(argument)
        if name != "click":
            return f"there is no action {name[:40]!r}, only search[words] and click[text]"
        part = self.shown.clickables.get(argument)
        if part is None or argument == "search":
            return f"there is no {argument[:80]!r} to click on this page"
        self._visit = self._click(argument, part)
        return ""

    def _search(self, words: str) -> str:
        if len(words) > LONGEST_QUERY:
            return f"a search has at most {LONGEST_QUERY} characters"
        query = words.encode("utf-8", "replace").decode()
        draw = int(self.np_random.integers(2**62)) if query.split(" ")[0] == "<r>" else 0
        self._visit = replace(
            self._visit, place="results", query=query, draw=draw, page=1, product=-1, sub="", chosen=()
        )
        return ""

    def _click(self, text: str, part: Part) -> Visit:
        """Where a click leads. Buttons go by their words, even if an option value is worded the same."""
        visit = self._visit
        if text == BUY.lower():
            self._grade = grade(self._goal, *self._purchase())
            return replace(visit, place="done")
        if text == BACK.lower():
            return Visit()
        if text in (NEXT.lower(), PREVIOUS.lower()) and visit.place == "results":
            return replace(visit, page=visit.page + (1 if text == NEXT.lower() else -1))
        if text == PREVIOUS.lower() and visit.place == "sub":
            return replace(visit, place="item", sub="")
        if text == PREVIOUS.lower() and visit.place == "item":
            return replace(visit, place="results", product=-1, chosen=())
        if text in _SUBS:
            return replace(visit, place="sub", sub=text)
        if part.kind == "product":
            visited = visit.visited if part.product in visit.visited else (*visit.visited, part.product)
            return replace(visit, place="item", product=part.product, chosen=(), visited=visited)
        return visit.choose(part.name, text)

    def _purchase(self) -> tuple[Product, Product, float, list[str]]:
        """What was wanted, what is bought, its price, the option values chosen."""
        shop, bought = self._shop.catalogue, self._visit.product
        values = [value for _, value in self._visit.chosen]
        return shop[self._goal.product], shop[bought], float(self._goals.prices[bought]), values

    def _scene(self, invalid: str, feedback: str = "") -> Scene:
        if not invalid:
            self._shown = None
        visit, bought = self._visit, self._grade
        phase = "options" if visit.chosen else _PHASES.get(visit.place, "")
        if phase and phase not in self._reached:
            self._reached = (*self._reached, phase)
        return Scene(
            pages.render(self.shown, self._observation),
            done=bought is not None,
            success=bought is not None and bought.success,
            admissible=self._admissible(),
            invalid=invalid,
            anchor=self._anchor(),
            milestones=self._reached,
            rewards={**_NOTHING},
            feedback=feedback,
            info=None if bought is None else {"score": 100 * bought.reward, "grade": bought.details},
        )

    def _anchor(self) -> str:
        """The true state: in faithful text two states with different options look the same."""
        visit = self._visit
        where = "start" if visit.place == "start" else f"{visit.query}|{visit.draw}|{visit.page}"
        return f"{self._goal.key}|{visit.place}|{where}|{visit.product}|{visit.sub}|{dict(sorted(visit.chosen))}"

    def _admissible(self) -> list[str]:
        if self._visit.place == "start":
            words = " ".join(self._goal.text.replace("[", " ").split())[:LONGEST_QUERY]
            return [f"search[{'<your query>' if self._settings[4] == 'faithful' else words}]"]
        return [f"click[{text}]" for text in self.shown.clickables if pages.can_be_clicked(text)]
