"""The reward of a purchase, as WebShop publishes it, quirks included."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import agentrl
from agentrl_envs.webshop.goals import Goal
from agentrl_envs.webshop.nouns import BASE_COLORS, nouns
from agentrl_envs.webshop.products import Product, Wanted

try:
    from rapidfuzz.fuzz import token_set_ratio
except ImportError as error:  # optional: the extra `webshop`
    raise agentrl.ConfigError(
        f"the webshop compares words with the library rapidfuzz ({error}). {agentrl.how_to_install('webshop')}"
    ) from None

_ALIKE = 85.5  # the original rounds to whole numbers, half to even, and asks for more than 85
_NOT_WORD = re.compile(r"\W")
_LONGEST_COMPARED = 1000  # characters; comparing takes as long as the two lengths multiplied
_LATIN_1 = dict.fromkeys(range(128, 256))  # characters that the original's fuzzy matching drops


@dataclass(frozen=True, slots=True)
class Grade:
    """How well a purchase meets a goal."""

    reward: float
    parts: dict[str, float]  # "attributes", "options", "price": what each adds to the reward
    details: dict[str, float | bool | None]  # the original's reward_info

    @property
    def success(self) -> bool:
        """Everything that was asked for; another product than the goal's own will do."""
        return self.reward == 1.0


def grade(goal: Goal, wanted: Product, bought: Product, price: float, chosen: Sequence[str]) -> Grade:
    """The reward for buying `bought` at `price` with the option values `chosen`; `wanted` is the goal's own product."""
    kind = type_reward(wanted, bought)
    attributes = sum(_has(bought, attribute) for attribute in goal.attributes)
    options = matched_options(goal.options, chosen)
    affordable = int(price <= goal.cap)
    count = len(goal.attributes) + len(goal.options) + 1
    factor = float(kind["r_type"] or 0.0)
    details: dict[str, float | bool | None] = {
        **kind,
        "r_att": attributes / len(goal.attributes),
        "r_option": options / len(goal.options) if goal.options else None,
        "r_price": float(affordable),
        "w_att": len(goal.attributes) / count,
        "w_option": len(goal.options) / count,
        "w_price": 1 / count,
    }
    parts = {
        "attributes": factor * attributes / count,
        "options": factor * options / count,
        "price": factor * affordable / count,
    }
    return Grade((attributes + options + affordable) / count * factor, parts, details)


def shortcomings(goal: Goal, wanted: Product, bought: Product, price: float, chosen: Sequence[str]) -> str:
    """What a purchase lacks of all that was asked for, in words; empty for one that meets everything."""
    attributes = [attribute for attribute in goal.attributes if not _has(bought, attribute)]
    options = [str(option) for option in goal.options if not matched_options([option], chosen)]
    lacks = [
        f"it is not {' and not '.join(attributes)}" if attributes else "",
        f"these options were not chosen: {', '.join(options)}" if options else "",
        f"it costs {price:.2f} dollars and may cost {goal.cap:.2f}" if price > goal.cap else "",
        "it is another kind of thing" if (type_reward(wanted, bought)["r_type"] or 0) < 1 else "",
    ]
    said = "; ".join(filter(None, lacks))
    return f"The purchase falls short: {said}." if said else ""


def type_reward(wanted: Product, bought: Product) -> dict[str, float | bool | None]:
    """`r_type` and what it comes from: the query, the category path, the nouns of the two titles.

    A noun that the wanted title repeats counts each time in the denominator. A title score of 0 takes everything, even
    from a product of the same category.
    """
    same_query = wanted.query == bought.query
    same_category = len(_steps(wanted.path) & _steps(bought.path)) >= 2
    asked = nouns(wanted.title)
    score = len(set(asked) & set(nouns(bought.title))) / len(asked) if asked else 0.2
    factor = 1.0 if same_query or same_category or score > 0.2 else 0.5
    if score < 0.1:
        factor = 0.1 if score else 0.0
    return {"r_type": factor, "query_match": same_query, "category_match": same_category, "title_score": score}


def matched_options(wanted: Iterable[Wanted], chosen: Iterable[str]) -> int:
    """How many wanted options some chosen value is like; both are first reduced to a base colour if they hold one."""
    values = [base_color(value) for value in chosen]
    return sum(any(alike(value, base_color(option)) for value in values) for option in wanted)


def base_color(option: Wanted) -> Wanted:
    """The first base colour inside an option. Of a (name, value) pair only a part that *is* a colour counts, as there.

    >>> base_color("titanium"), base_color("light blue"), base_color(("color", "red")), base_color("xl")
    ('tan', 'blue', 'red', 'xl')
    """
    return next((color for color in BASE_COLORS if color in option), option)


def alike(one: Wanted, other: Wanted) -> bool:
    """Whether the token-set ratio is over 85 after the original's rounding; a set of words is like any set it is in.

    >>> alike("large", "x-large"), alike("10", ("size", "10 wide")), alike("red", "blue")
    (True, True, False)
    """
    return _alike(_words(one), _words(other))


@functools.lru_cache(maxsize=65536)
def _alike(one: str, other: str) -> bool:
    return bool(one and other) and token_set_ratio(one, other) >= _ALIKE


@functools.lru_cache(maxsize=65536)
def _words(text: Wanted) -> str:
    """Lower-cased words; a pair is compared as its written form, so the option's name joins in."""
    return _NOT_WORD.sub(" ", str(text)[:_LONGEST_COMPARED].translate(_LATIN_1)).lower().strip()


def _has(product: Product, attribute: str) -> bool:
    return (
        any(alike(each, attribute) for each in product.attributes)
        or attribute in product.title.lower()
        or attribute in " ".join(product.bullets).lower()
        or attribute in product.description.lower()
    )


@functools.lru_cache(maxsize=8192)
def _steps(path: str) -> frozenset[str]:
    return frozenset(step.strip() for step in path.split("›"))
