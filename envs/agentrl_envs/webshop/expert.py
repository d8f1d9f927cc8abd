"""The scripted expert: knows which product the goal was written for and clicks its way there, from any page."""

from __future__ import annotations

from agentrl_envs.webshop.goals import Goal
from agentrl_envs.webshop.pages import BACK, BUY, NEXT, PREVIOUS, SUB_PAGES, Page, Visit, can_be_clicked
from agentrl_envs.webshop.reward import matched_options
from agentrl_envs.webshop.shop import Shop

_NEAR = 2  # result pages an expert leafs through before it prefers better words
_FAR = 5
_BUTTONS = {name.lower() for name in (BACK, PREVIOUS, NEXT, BUY, *SUB_PAGES)}


def expert_action(shop: Shop, goal: Goal, visit: Visit, page: Page) -> str:
    """The next action towards buying the goal's own product with the wanted options."""
    if visit.place == "start":
        return f"search[{search_words(shop, goal)}]"
    if visit.place == "results":
        return _leaf(shop, goal, visit)
    if visit.product != goal.product:
        near = visit.place == "item" and goal.product in shop.results(visit.query, visit.draw)
        return _click(PREVIOUS if near or visit.place == "sub" else BACK)
    if visit.place == "sub":
        return _click(PREVIOUS)
    return _choose(goal, visit, page)


def search_words(shop: Shop, goal: Goal) -> str:
    """The words of the request if they find the product soon, else its title, else all its text, else its kind."""
    product = shop.catalogue[goal.product]
    wish = goal.wish.lower().removeprefix("find me ")
    for words, enough in (
        (wish, _NEAR * shop.page_size),
        (product.title, shop.hits),
        (product.searched_text[:1000], shop.hits),
    ):
        query = " ".join(words.lower().replace("[", " ").split())
        if query and goal.product in shop.results(query, 0)[:enough]:
            return query
    return f"<q> {product.query}"


def _leaf(shop: Shop, goal: Goal, visit: Visit) -> str:
    places = (shop.results(visit.query, visit.draw) == goal.product).nonzero()[0]
    if not len(places):
        return _click(BACK)
    page = int(places[0]) // shop.page_size + 1
    if page == visit.page:
        return _click(shop.catalogue[goal.product].asin)
    if abs(page - visit.page) > _FAR and visit.query != search_words(shop, goal):
        return _click(BACK)
    return _click(NEXT if page > visit.page else PREVIOUS)


def _choose(goal: Goal, visit: Visit, page: Page) -> str:
    """The option that meets most of what is still missing; equal ones in the order of the page; then buy."""
    chosen = dict(visit.chosen)
    best, best_count = BUY, matched_options(goal.options, chosen.values())
    exact = {option if isinstance(option, str) else option[1] for option in goal.options}
    options = [part for part in page.clickables.values() if part.kind == "option"]
    parts = [part for part in options if part.text not in _BUTTONS and can_be_clicked(part.text)]
    for part in sorted(parts, key=lambda part: part.text not in exact):
        count = matched_options(goal.options, {**chosen, part.name: part.text}.values())
        if count > best_count:
            best, best_count = part.text, count
    return _click(best)


def _click(text: str) -> str:
    return f"click[{text.lower()}]"
