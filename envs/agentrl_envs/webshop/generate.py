"""A seeded catalogue of a believable shop, in the file format of the original: product i depends on (seed, i) alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from agentrl_envs.webshop.vocabulary import (
    ADJECTIVES,
    AUDIENCES,
    CODAS,
    KINDS,
    MATERIALS,
    ONSETS,
    OPTIONS,
    REQUESTS,
    TINY_KINDS,
    TINY_OPTIONS,
    TINY_WORDS,
    Kind,
)

Style = Literal["full", "tiny"]
Draw = Callable[[], float]
Item = TypeVar("Item")

LARGEST = 1_180_000
TINY = 120  # every (kind, pair of properties) of the tiny shop once

_INSTRUCTED = 0.42
_ATTRIBUTE_COUNTS = {True: (2, 3, 3, 3, 4, 4, 4, 5, 5, 6, 8), False: (0, 1, 1, 1, 2, 2, 2, 2, 3, 4)}
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Listing(NamedTuple):
    """One product as the three original files hold it."""

    item: dict[str, Any]  # an element of items_shuffle*.json
    attributes: dict[str, Any]  # its value in items_ins_v2*.json
    human: list[dict[str, Any]]  # its value in items_human_ins.json, empty for most


def listings(products: int, seed: int, style: Style = "full") -> Iterator[Listing]:
    """The first `products` listings of the shop that `seed` names, 1 to 1.18 million."""
    make = _full if style == "full" else _tiny
    return (make(index, seed) for index in range(products))


def _full(index: int, seed: int) -> Listing:
    draw = random.Random((seed << 32) + index).random
    kind = KINDS[int(draw() * len(KINDS))]
    instructed = draw() < _INSTRUCTED
    counts = _ATTRIBUTE_COUNTS[instructed]
    count = _pick(counts, draw) if draw() > 0.004 or not instructed else 20 + int(draw() * 8)  # a long tail, up to 27
    attributes = _attributes(kind, count, draw)
    options = dict(_values(pool, draw) for pool in kind.options if draw() < 0.72)
    item = _item(kind, attributes, options, draw)
    if not instructed:
        nothing = {"attributes": attributes, "instruction": None, "instruction_attributes": []}
        return Listing({"asin": _asin(index, seed), **item}, nothing, [])
    wanted = attributes[: min(len(attributes), 2 + int(draw() * 5))]
    described = {
        "attributes": attributes,
        "instruction": instruction(wanted, kind.noun),
        "instruction_attributes": wanted,
    }
    wishes = [_human(kind.noun, wanted, options, draw) for _ in range(1 + int(draw() * 2))]
    human = list({wish["instruction"]: wish for wish in wishes}.values())
    return Listing({"asin": _asin(index, seed), **item}, described, human)


def _item(kind: Kind, attributes: list[str], options: dict[str, list[str]], draw: Draw) -> dict[str, Any]:
    brand = _pick(ONSETS, draw) + _pick(CODAS, draw)
    material, extra = _pick(MATERIALS, draw), _pick(kind.extras, draw)
    return {
        "category": kind.category,
        "query": kind.query,
        "product_category": kind.path,
        "name": _title(kind, attributes, brand, material, extra, draw),
        "brand": brand,
        "full_description": _description(kind, attributes, brand, material, extra, draw) if draw() < 0.9 else "",
        "small_description": _bullets(kind, attributes, material, extra, draw),
        "pricing": _pricing(kind.price, draw),
        "images": ["https://example.com/image.jpg"],
        "customization_options": {
            name.title(): [{"value": value, "image": None} for value in values] for name, values in options.items()
        },
    }


def instruction(attributes: list[str], noun: str) -> str:
    """The synthetic request: the last of several properties follows "with".

    >>> instruction(["machine wash", "long sleeve", "daily wear"], "dress")
    'Find me machine wash, long sleeve dress with daily wear'
    """
    *front, last = attributes
    return f"Find me {', '.join(front)} {noun} with {last}" if front else f"Find me {last} {noun}"


def _attributes(kind: Kind, count: int, draw: Draw) -> list[str]:
    """Some of the kind's properties, the earlier ones of each kind's own order more often."""
    pool = kind.attributes
    shift = len(kind.query) * 7
    found = {pool[(shift + int(draw() ** 1.6 * len(pool))) % len(pool)]: None for _ in range(count)}
    while len(found) < min(count, len(pool)):
        found[pool[int(draw() * len(pool))]] = None
    return list(found)


def _values(pool: str, draw: Draw) -> tuple[str, list[str]]:
    name, values = OPTIONS[pool]
    count = min(1 + int(draw() ** 1.9 * 20), len(values))
    start = int(draw() * len(values))
    if name == "size":  # neighbours, in order
        start = int(draw() * (len(values) - count + 1))
        return name, list(values[start : start + count])
    step = 1 + 2 * int(draw() * 3)
    return name, list({values[(start + step * number) % len(values)]: None for number in range(count)})


def _title(kind: Kind, attributes: list[str], brand: str, material: str, extra: str, draw: Draw) -> str:
    noun = kind.noun.title()
    words = [brand, _pick(ADJECTIVES, draw), material, extra.title(), noun]
    if kind.query.startswith(("women's", "men's")):
        words.insert(1, kind.query.split("'")[0].title() + "'s")
    if attributes:
        words.append(f"with {attributes[0].title()}")
    if draw() < 0.6:
        words.append(
            f"- {' '.join(attributes[1:2]).title()} {_pick(kind.extras, draw).title()} for {_pick(AUDIENCES, draw)}"
        )
    if draw() < 0.3:
        words.append(f"({_pick(ADJECTIVES, draw)}, {1 + int(draw() * 12)} Pack)")
    return " ".join(words)


def _description(kind: Kind, attributes: list[str], brand: str, material: str, extra: str, draw: Draw) -> str:
    first, last = (attributes[0], attributes[-1]) if attributes else ("good value", "a fair price")
    sentences = [
        f"This {kind.noun} by {brand} is made of {material.lower()} and offers {first}.",
        f"Whether you need a {extra} for {_pick(AUDIENCES, draw).lower()} or a gift, it will not disappoint.",
        f"It combines {last} with a {_pick(ADJECTIVES, draw).lower()} look that goes with everything.",
        f"{brand} stands behind every {kind.noun}: contact us at any time and we will help within a day.",
    ]
    return " ".join(sentences[: 2 + int(draw() * 3)])


def _bullets(kind: Kind, attributes: list[str], material: str, extra: str, draw: Draw) -> list[str]:
    bullets = [f"{material} {kind.noun}: {', '.join(attributes[:4]) or 'our best seller'}"]
    bullets += [f"{attribute.capitalize()}: a {extra} that is made to last" for attribute in attributes[1:3]]
    bullets.append(f"Suitable for {_pick(AUDIENCES, draw).lower()}, {_pick(AUDIENCES, draw).lower()} and more")
    if draw() < 0.5:
        bullets.append(f"Package includes 1 x {kind.noun}")
    return bullets


def _pricing(median: float, draw: Draw) -> str:
    price = max(1.99, round(median * 2.0 ** (4 * (draw() + draw() - 1))) - 0.01)
    form = draw()
    if form < 0.08:
        return ""
    return f"${price:,.2f}" if form < 0.8 else f"${price:,.2f}${price * (1.1 + draw()):,.2f}"


def _human(noun: str, attributes: list[str], options: dict[str, list[str]], draw: Draw) -> dict[str, Any]:
    """A request in a person's words; it names some of the properties and some of the options."""
    wanted = attributes[: 1 + int(draw() * min(3, len(attributes)))]
    chosen = [_pick(values, draw) for values in options.values() if values and draw() < 0.7]
    text = _pick(REQUESTS, draw).format(thing=f"{wanted[0]} {noun}")
    text += f" that has {' and '.join(wanted[1:])}" if wanted[1:] else ""
    text += f". it should come in {' and '.join(chosen)}" if chosen else ""
    return {"instruction": text + ".", "instruction_attributes": wanted, "instruction_options": chosen}


def _asin(index: int, seed: int) -> str:
    """ "B0" and eight digits, different for each index (an odd multiplier not divisible by 3 permutes 36^8)."""
    number = (index * 1_640_531_527 + seed * 97 + 1_234_567) % 36**8
    digits = [""] * 8
    for place in range(8):
        number, digit = divmod(number, 36)
        digits[7 - place] = _DIGITS[digit]
    return "B0" + "".join(digits)


def _pick(words: Sequence[Item], draw: Draw) -> Item:
    return words[int(draw() * len(words))]


_TINY_PAIRS = tuple((a, b) for a in TINY_WORDS for b in TINY_WORDS if a < b)


def _tiny(index: int, seed: int) -> Listing:
    """Short pages: a title is two properties and the thing, and no two products share all three.

    Its id says them, as many article numbers do (`CHSO7`): ids without meaning would be learned by heart.
    """
    order = list(range(TINY))
    random.Random(seed).shuffle(order)
    kind, pair = divmod(order[index % TINY], len(_TINY_PAIRS))
    draw = random.Random((seed << 32) + index).random
    category, query, noun, path = TINY_KINDS[kind]
    attributes = list(_TINY_PAIRS[pair])
    names = TINY_OPTIONS[: 1 + (draw() < 0.6)]
    item = {
        "asin": f"{''.join(word[:2] for word in attributes).upper()}{kind}",
        "category": category,
        "query": query,
        "product_category": path,
        "name": f"{' '.join(attributes)} {noun}",
        "full_description": f"{attributes[0]} {noun}",
        "small_description": [f"{attributes[1]} {noun}"],
        "pricing": f"${1 + int(draw() * 45)}.0",
        "images": [""],
        "customization_options": {
            name: [{"value": value, "image": None} for value in values[: 2 + int(draw() * 2)]] for name, values in names
        },
    }
    wanted = {"attributes": attributes, "instruction": f"Find me {item['name']}", "instruction_attributes": attributes}
    return Listing(item, wanted, [])
