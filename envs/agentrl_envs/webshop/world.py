"""WebShop: the Gymnasium world around the shop's pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, cast

import gymnasium

import agentrl
from agentrl_envs.webshop import pages
from agentrl_envs.webshop.expert import expert_action
from agentrl_envs.webshop.generate import LARGEST, TINY
from agentrl_envs.webshop.goals import Author, Goal, Mode
from agentrl_envs.webshop.pages import BACK, BUY, NEXT, PREVIOUS, Observation, Page, Part, Visit
from agentrl_envs.webshop.reward import Grade, grade
from agentrl_envs.webshop.shop import Stock, open_goals, open_shop

Info: TypeAlias = dict[str, Any]

LONGEST_QUERY = 2000  # characters
_ACTION = re.compile(r"(.+)\[(.+)\]")
_SUBS = {name.lower() for name in pages.SUB_PAGES}
_NOTHING = {"attributes": 0.0, "options": 0.0, "price": 0.0}


@dataclass(frozen=True, slots=True)
class _Preset:
    """Sizes of a shop: products, and how many of them a search finds and a page shows."""

    products: int
    hits: int
    page_size: int


_PRESETS = {"full": _Preset(1000, 50, 10), "tiny": _Preset(TINY, 6, 3)}


class WebShop(agentrl.Environment):
    """Find and buy the product an instruction asks for, in a shop of pages, as in WebShop (Yao et al. 2022).

    Actions are `search[words]` and `click[something on the page]`. The only reward comes with `click[buy now]`: the
    share of wanted attributes, options and price that the purchase meets, times how well its type fits (0 to 1).

    Settings. `mode`: "faithful" reproduces the original with its faults; "fixed" repairs three of them: the text page
    says which options are chosen, hidden prices and price caps depend on each product alone and not on the order of
    drawing, and no product, title or wording is in two splits (its `admissible` also names a real search, not a
    template). `goals`: synthetic ones, or those people wrote. `preset`: "tiny" is a shop of 120 products with three
    short titles to a page. `products`: how many to generate (up to 1.18 million), or to take from the front of a file;
    None is the preset's number, or the whole file. `seed` decides the generated products. `items`, `attributes`,
    `human`: the original's files (`items_shuffle*.json`, `items_ins_v2*.json`, `items_human_ins.json`), instead of
    generated ones. `price_seed`: None, in faithful mode only, draws prices anew in every process as the original does.
    `cache`: where a shop of more than 50,000 products is kept; by default under the user's cache folder.

    Raises ConfigError for settings that fit no shop, DataError for files that are not WebShop's.
    """

    instructions = (
        "You are shopping. Find the product that the instruction describes, choose the options it asks for, and buy "
        "it.\nActions, one at a time: search[words] looks for products; click[text] presses a button, opens a product "
        "by its id, or chooses an option on the page. click[buy now] ends the task: the closer the purchase comes to "
        "the instruction (type, attributes, options, price), the higher the reward."
    )

    metadata: ClassVar[dict[str, Any]] = agentrl.Environment.metadata | {"render_modes": ["ansi"]}  # type: ignore[misc]

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
        _check(mode, preset, products, seed, items, attributes, human, price_seed)
        size = _PRESETS[preset]
        if items is None and products is None:
            products = size.products
        stock = Stock(products, seed, preset, *map(_path, (items, attributes, human, cache)))
        self._settings = (stock, size.hits, size.page_size, goals, mode, price_seed)
        self._observation = observation
        self._show_attributes = show_attributes
        self.render_mode: str | None = None
        self._open()
        self._goal: Goal | None = None
        self._number = -1
        self._visit = Visit()
        self._grade: Grade | None = None

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, Info]:
        """Begin a task; without an index, one drawn from the split by the goals' weights."""
        super().reset(seed=seed)
        options = dict(options or {})
        split = options.get("split", next(iter(self.splits)))
        if options.get("index") is None and split in self.splits:
            options["index"] = self._goals.draw(split, self.np_random)
        task = self.pick_task(options)
        self._number = int(self._goals.splits[task.split][task.index])
        self._goal = self._goals[self._number]
        self._visit, self._grade = Visit(), None
        return self._show("")

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Search or click. What cannot be done changes nothing; after the purchase nothing happens any more."""
        bought = self._grade
        invalid = self._act(action) if bought is None else "the task is over"
        observation, info = self._show(invalid)
        reward = 0.0
        if bought is None and self._grade is not None:
            reward, info["rewards"] = self._grade.reward, self._grade.parts
        return observation, reward, self._grade is not None, False, info

    def expert_action(self) -> str:
        """The action of an expert who knows the product, from any page. After the purchase there is none: `""`."""
        goal = self._playing()
        if self._grade is not None:
            return ""
        return expert_action(self._shop, goal, self._visit, self._page(goal))

    def render(self) -> str | None:
        """The page as text."""
        return pages.render(self._page(self._playing()), "text") if self.render_mode == "ansi" else None

    def page(self) -> str:
        """The page as HTML, whatever the observation mode."""
        return pages.render(self._page(self._playing()), "html")

    def serve(self, host: str = "127.0.0.1", port: int = 8017, ready: Callable[[str], None] | None = None) -> None:
        """Open this shop to a browser until interrupted; `ready` is told the address."""
        from agentrl_envs.webshop.web import serve

        serve(self, host, port, ready)

    def snapshot(self) -> object:
        """Goal, place and random state; no page and nothing of the shop."""
        self._playing()
        random_state = None if self._np_random is None else self._np_random.bit_generator.state
        return self._number, self._visit, self._grade, random_state

    def restore(self, snapshot: object) -> None:
        """Go back to a snapshot, also one taken by another instance of the same settings."""
        number, self._visit, self._grade, random_state = cast(
            tuple[int, Visit, Grade | None, Mapping[str, Any] | None], snapshot
        )
        if number != self._number:
            self._number, self._goal = number, self._goals[number]
        if random_state is not None:
            self.np_random.bit_generator.state = random_state

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_shop", "_goals", "splits")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        self._shop = open_shop(*self._settings[:3])
        self._goals = open_goals(*self._settings)
        self.splits = {name: len(numbers) for name, numbers in self._goals.splits.items()}

    def _playing(self) -> Goal:
        if self._goal is None:
            raise gymnasium.error.ResetNeeded("call reset() first: no task has begun")
        return self._goal

    def _page(self, goal: Goal) -> Page:
        return pages.page_of(
            self._shop,
            goal,
            self._visit,
            tell=self._settings[4] == "fixed",
            attributes=self._show_attributes,
            reward=self._grade.reward if self._grade else 0.0,
        )

    def _act(self, action: str) -> str:
        """Move on; or say why not."""
        goal = self._playing()
        match = _ACTION.fullmatch(action)
        if match is None:
            return "an action is search[words] or click[text]"
        name, argument = match[1], match[2].lower()
        if name == "search":
            return self._search(argument)
        if name != "click":
            return f"there is no action {name[:40]!r}, only search[words] and click[text]"
        part = self._page(goal).clickables.get(argument)
        if part is None or argument == "search":
            return f"there is no {argument[:80]!r} to click on this page"
        self._visit = self._click(goal, argument, part)
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

    def _click(self, goal: Goal, text: str, part: Part) -> Visit:
        """Where a click leads. Buttons go by their words, even if an option value is worded the same."""
        visit = self._visit
        if text == BUY.lower():
            shop = self._shop.catalogue
            price = float(self._goals.prices[visit.product])
            values = [value for _, value in visit.chosen]
            self._grade = grade(goal, shop[goal.product], shop[visit.product], price, values)
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

    def _show(self, invalid: str) -> tuple[str, Info]:
        goal = self._playing()
        page = self._page(goal)
        info: Info = {
            "task": goal.key,
            "anchor": self._anchor(goal),
            "rewards": dict(_NOTHING),
            "admissible": self._admissible(goal, page),
            "invalid": invalid,
            "success": self._grade is not None and self._grade.success,
        }
        if self._grade is not None:
            info["score"] = 100 * self._grade.reward
            info["grade"] = self._grade.details
        return pages.render(page, self._observation), info

    def _anchor(self, goal: Goal) -> str:
        """The true state: in faithful text two states with different options look the same."""
        visit = self._visit
        where = "start" if visit.place == "start" else f"{visit.query}|{visit.draw}|{visit.page}"
        return f"{goal.key}|{visit.place}|{where}|{visit.product}|{visit.sub}|{dict(sorted(visit.chosen))}"

    def _admissible(self, goal: Goal, page: Page) -> list[str]:
        if self._visit.place == "start":
            words = " ".join(goal.text.replace("[", " ").split())[:LONGEST_QUERY]
            return [f"search[{'<your query>' if self._settings[4] == 'faithful' else words}]"]
        return [f"click[{text}]" for text in page.clickables if pages.can_be_clicked(text)]


def _path(path: Path | None) -> Path | None:
    return None if path is None else Path(path)


def _check(
    mode: str,
    preset: str,
    products: int | None,
    seed: int,
    items: Path | None,
    attributes: Path | None,
    human: Path | None,
    price_seed: int | None,
) -> None:
    """Raises ConfigError with what to change."""
    if items is None and (attributes is not None or human is not None):
        raise agentrl.ConfigError("attributes and human belong to an items file: give items = … too, or leave them out")
    if items is not None and preset == "tiny":
        raise agentrl.ConfigError("the tiny preset generates its products: leave items out, or use preset = 'full'")
    most = TINY if preset == "tiny" else LARGEST
    if products is not None and (products < 1 or (products > most and items is None)):
        raise agentrl.ConfigError(f"products = {products}: allowed are 1 to {most} for preset {preset!r}")
    if not 0 <= seed < 2**32:
        raise agentrl.ConfigError(f"seed = {seed}: allowed are whole numbers from 0 to {2**32 - 1}")
    if price_seed is None and mode == "fixed":
        raise agentrl.ConfigError("price_seed = None is the original's fault: it needs mode = 'faithful'")
