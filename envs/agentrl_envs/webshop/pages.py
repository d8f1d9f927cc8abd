"""The pages of the shop: what is on them, what can be clicked, and how they read in each observation mode."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from agentrl_envs.webshop.goals import Goal
from agentrl_envs.webshop.products import Product
from agentrl_envs.webshop.shop import Shop

Observation = Literal["text", "text_rich", "html"]
Place = Literal["start", "results", "item", "sub", "done"]

LONGEST_QUERY = 2000  # characters
BACK, PREVIOUS, NEXT, BUY = "Back to Search", "< Prev", "Next >", "Buy Now"
SUB_PAGES = ("Description", "Features", "Reviews", "Attributes")


@dataclass(frozen=True, slots=True)
class Visit:
    """Where a session stands; together with the goal it decides the page."""

    place: Place = "start"
    query: str = ""
    draw: int = 0  # decides what `<r>` shows
    page: int = 1
    product: int = -1
    sub: str = ""
    chosen: tuple[tuple[str, str], ...] = ()  # option name, value
    visited: tuple[int, ...] = ()  # products opened since the last start page

    def choose(self, name: str, value: str) -> Visit:
        """The same item page with one more option chosen; of two values of one option the last counts."""
        return replace(self, place="item", sub="", chosen=tuple(({**dict(self.chosen), name: value}).items()))


class Part(NamedTuple):
    """One piece of text on a page."""

    kind: Literal["text", "heading", "button", "product", "option", "input"]
    text: str
    name: str = ""  # the option this value belongs to
    product: int = -1
    clicked: bool = False


class Page(NamedTuple):
    """The parts in reading order, and what a click on each clickable means."""

    parts: list[Part]
    clickables: dict[str, Part]


def page_of(shop: Shop, goal: Goal, visit: Visit, *, tell: bool, attributes: bool, reward: float = 0.0) -> Page:
    """`tell`: say in words which options are chosen. `attributes`: item pages have the Attributes button."""
    if visit.place == "start":
        parts = [
            Part("heading", "WebShop"),
            Part("text", "Instruction:"),
            Part("text", goal.text),
            Part("input", ""),
            Part("button", "Search"),
        ]
    elif visit.place == "results":
        parts = [*_head(goal), *_results(shop, visit)]
    elif visit.place == "item":
        parts = [*_head(goal), Part("button", PREVIOUS), *_item(shop, visit, tell, attributes)]
    elif visit.place == "sub":
        product = shop.catalogue[visit.product]
        parts = [*_head(goal), Part("button", PREVIOUS), *(Part("text", text) for text in _sub(product, visit.sub))]
    else:
        parts = list(_done(shop.catalogue[visit.product], visit, reward))
    parts = [part for part in parts if part.text or part.kind == "input"]
    return Page(parts, _clickables(parts))


def _head(goal: Goal) -> tuple[Part, ...]:
    return Part("text", "Instruction:"), Part("text", goal.text), Part("button", BACK)


def _results(shop: Shop, visit: Visit) -> Iterable[Part]:
    found = shop.results(visit.query, visit.draw)
    yield Part("text", f"Page {visit.page} (Total results: {len(found)})")
    if visit.page > 1:
        yield Part("button", PREVIOUS)
    yield Part("button", NEXT)
    for index in found[(visit.page - 1) * shop.page_size : visit.page * shop.page_size].tolist():
        product = shop.catalogue[index]
        yield Part("product", product.asin, product=index, clicked=index in visit.visited)
        yield Part("text", product.title)
        yield Part("text", product.price_tag)


def _item(shop: Shop, visit: Visit, tell: bool, attributes: bool) -> Iterable[Part]:
    product = shop.catalogue[visit.product]
    values = [value for _, value in visit.chosen]
    for name, choices in product.options.items():
        yield Part("text", name)
        for choice in choices:
            yield Part("option", choice, name=name, clicked=choice in values)
    if tell and visit.chosen:
        yield Part("text", f"Chosen: {', '.join(f'{name} = {value}' for name, value in visit.chosen)}")
    yield Part("heading", product.title)
    yield Part("text", f"Price: {product.price_tag}")
    yield Part("text", "Rating: N.A.")
    for name in SUB_PAGES[: 4 if attributes else 3]:
        yield Part("button", name)
    yield Part("button", BUY)


def _sub(product: Product, name: str) -> Sequence[str]:
    if name == "description":
        return (product.description,)
    if name == "features":
        return product.bullets
    if name == "attributes":
        return (*product.attributes, product.category, product.query, product.path)
    return ()  # reviews are not part of the data


_RECEIPT = (  # as it is there
    "Your code:|None|(Paste it in your MTurk interface.)|Purchased|asin|{asin}|options|{options}|attrs|None|category|None|"
    "query|None|product category|None|Target|asin|options|attrs|price upper|instuction text|category|product category|"
    "query|Goal|None|Reward|Your score (min 0.0, max 1.0)|{reward}|Reward Details|None"
)


def _done(product: Product, visit: Visit, reward: float) -> Iterable[Part]:
    yield Part("heading", "Thank you for shopping with us!")
    told = {"asin": product.asin, "options": json.dumps(dict(visit.chosen), ensure_ascii=False), "reward": str(reward)}
    for text in _RECEIPT.split("|"):
        yield Part("text", told.get(text.strip("{}"), text) if text.startswith("{") else text)


def _clickables(parts: list[Part]) -> dict[str, Part]:
    """By the words to click: all buttons, then products, then option values; of equal words the last one acts."""
    found = {part.text.lower(): part for part in parts if part.kind == "button"}
    found.update({part.text.lower(): part for part in parts if part.kind == "product"})
    found.update({part.text: part for part in parts if part.kind == "option"})
    return found


def can_be_clicked(text: str) -> bool:
    """Whether `click[text]` is read as an action at all: an opening bracket or a line break inside hides it."""
    return bool(text) and text != "search" and "[" not in text and "\n" not in text


def render(page: Page, mode: Observation) -> str:
    """The page as an observation."""
    if mode == "text":
        return " [SEP] ".join(part.text.strip() for part in page.parts if part.kind != "input")
    return _rich(page.parts) if mode == "text_rich" else _html(page.parts)


def _rich(parts: Iterable[Part]) -> str:
    """One line per part; clickables in brackets, clicked ones marked, chosen options named again on top."""
    top: list[str] = []
    lines: list[str] = []
    for part in parts:
        if part.kind in ("text", "heading"):
            lines.append(part.text)
        elif part.kind != "input":
            before = {"button": "", "option": "  ", "product": "\n"}[part.kind]
            mark = "clicked button" if part.clicked else "button"
            lines.append(f"{before}[{mark}] {part.text} [{mark}_]")
            if part.clicked and part.kind == "option":
                top.insert(0, f"You have clicked {part.text}.")
    return "\n".join([*top, *lines, ""])


def _html(parts: Iterable[Part]) -> str:
    """A page of forms that works without scripts: every button posts the action that it stands for."""
    body = "\n".join(map(_tag, parts))
    return (
        '<!DOCTYPE html>\n<html>\n<head><meta charset="utf-8"><title>WebShop</title></head>\n<body>\n'
        f'<form method="post" action="/step">\n{body}\n</form>\n</body>\n</html>'
    )


def _tag(part: Part) -> str:
    text = html.escape(part.text)
    if part.kind == "text":
        return f"<p>{text}</p>"
    if part.kind == "heading":
        return f"<h2>{text}</h2>"
    if part.kind == "input":
        return '<input id="search_input" name="query" placeholder="Search..." autofocus>'
    if part.text == "Search" and part.kind == "button":
        return '<button class="btn" name="action" value="search">Search</button>'
    style = {"button": "btn", "product": "product-link", "option": "option"}[part.kind]
    mark = ' aria-pressed="true"' if part.clicked and part.kind == "option" else ""
    return (
        f'<button class="{style}" name="action" value="click[{html.escape(part.text.lower())}]"{mark}>{text}</button>'
    )
