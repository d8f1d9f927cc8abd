"""A product as the shop shows it, cleaned from a listing of the original files as the original cleans it."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple, TypeAlias

import msgspec

from agentrl_envs.webshop.generate import Listing

NO_ATTRIBUTES = ("DUMMY_ATTR",)  # what the original gives a product without properties
_NOT_A_PRICE = re.compile(r"[^\d.]")


Wanted: TypeAlias = str | tuple[str, str]
"""An option somebody asked for: its value, or its name and value."""


class Request(NamedTuple):
    """What somebody wants of a product. `options` is None for a synthetic request: every combination is a goal."""

    text: str
    attributes: tuple[str, ...]
    options: tuple[Wanted, ...] | None


class Product(msgspec.Struct, frozen=True, array_like=True, eq=False):
    """Everything pages, search, goals and reward need. As JSON, it is a list of its fields."""

    asin: str
    title: str
    description: str
    bullets: tuple[str, ...]
    prices: tuple[float, ...]  # one, or the two ends of a range
    options: dict[str, tuple[str, ...]]
    attributes: tuple[str, ...]
    category: str
    query: str
    path: str
    requests: tuple[Request, ...]

    @property
    def price_tag(self) -> str:
        """As the pages show it.

        >>> product_of(Listing({"asin": "B1", "pricing": "$5.50$7.00"}, {}, [])).price_tag
        '$5.5 to $7.0'
        """
        return " to ".join(f"${price}" for price in self.prices)

    @property
    def searched_text(self) -> str:
        """What the search engine indexes: title, description, first bullet, options."""
        options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in self.options.items())
        return " ".join((self.title, self.description, "".join(self.bullets[:1]), options)).lower()


def product_of(listing: Listing) -> Product:
    """Clean a listing: missing texts are empty, a missing price is 100, option values are lower-cased."""
    item, described, human = listing
    bullets = item.get("small_description") or []
    return Product(
        asin=item["asin"],
        title=item.get("name") or "",
        description=item.get("full_description") or "",
        bullets=tuple(str(bullet) for bullet in bullets) if isinstance(bullets, list) else (str(bullets),),
        prices=_prices(item.get("pricing")),
        options=_options(item.get("customization_options")),
        attributes=tuple(described.get("attributes") or NO_ATTRIBUTES),
        category=item.get("category") or "",
        query=(item.get("query") or "").lower().strip(),
        path=item.get("product_category") or "",
        requests=tuple(_requests(described, human)),
    )


def _prices(tag: str | None) -> tuple[float, ...]:
    """Of "$1,299.00" or "$10.99$19.99".

    >>> _prices("$1,299.00"), _prices("$10.99$19.99"), _prices("")
    ((1299.0,), (10.99, 19.99), (100.0,))
    """
    texts = [_NOT_A_PRICE.sub("", part) for part in (tag or "").split("$")[1:]]
    prices = [float(text) for text in texts[:2] if text.count(".") <= 1 and text.strip(".")]
    return tuple(filter(math.isfinite, prices)) or (100.0,)


def _options(customisation: dict[str, Any] | None) -> dict[str, tuple[str, ...]]:
    return {
        name.lower(): tuple(str(value["value"]).strip().replace("/", " | ").lower() for value in values)
        for name, values in (customisation or {}).items()
        if values is not None
    }


def _requests(described: dict[str, Any], human: list[dict[str, Any]]) -> list[Request]:
    requests = []
    if described.get("instruction") and described.get("instruction_attributes"):
        requests.append(Request(described["instruction"], tuple(described["instruction_attributes"]), None))
    for wish in human:
        if wish["instruction_attributes"]:
            options = wish.get("instruction_options") or ()
            chosen = _wanted(list(options.items()) if isinstance(options, dict) else options)
            requests.append(Request(wish["instruction"].strip("."), tuple(wish["instruction_attributes"]), chosen))
    return requests


def _wanted(options: Any) -> tuple[Wanted, ...] | None:
    return None if options is None else tuple(each if isinstance(each, str) else tuple(each) for each in options)
