"""The webshop's reward: the published figures, the quirks, and an independent calculation of the formula."""

import functools
import random
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rapidfuzz", reason="the webshop extra is not installed: pip install bm25s pystemmer rapidfuzz")

from agentrl_envs.webshop import generate
from agentrl_envs.webshop.goals import Goal
from agentrl_envs.webshop.nouns import nouns
from agentrl_envs.webshop.products import Product
from agentrl_envs.webshop.reward import BASE_COLORS, alike, grade, matched_options, type_reward
from agentrl_envs.webshop.world import WebShop

SNEAKERS = "Mens D.O.N. Issue 2 Gca Basketball Sneakers Shoes Casual - Off White"
CORD = "Saireed UL Listed 2 Prong Power Cord for JBL Bar 3.1 Bar 2.1 Channel 4K Ultra HD Soundbar"
OTHER_CORD = (
    "BRST AC Power Cord Outlet Socket Cable Plug Lead for Panasonic SC-HT830V DVD/VCR Combo Home Theater System"
)


def product(title: str = SNEAKERS, query: str = "q", path: str = "a › b › c", **more: Any) -> Product:
    fields: dict[str, Any] = {
        "description": "",
        "bullets": (),
        "prices": (35.0,),
        "options": {},
        "attributes": (),
        "category": "x",
        "requests": (),
    }
    return Product(asin="B1", title=title, query=query, path=path, **{**fields, **more})


def goal(options: Any = (("color", "grey"), ("size", "XL")), cap: float = 40.0) -> Goal:
    wanted = ("tea tree", "essential oils", "natural ingredients")
    return Goal(0, "", "", wanted, tuple(options), cap, "")


# Figures that the original's own tests fix


def test_everything_met_is_one() -> None:
    bought = product(attributes=("tea tree", "essential oil", "natural ingredients"))
    result = grade(goal(), product(), bought, 35, ["grey", "XL"])
    assert (result.reward, result.success) == (1.0, True)
    assert result.details["r_type"] == 1.0


def test_shares_of_attributes_options_and_price_are_added_and_multiplied_by_the_type() -> None:
    bought = product(description="Best shampoo, made with natural ingredients")
    assert grade(goal(), product(), bought, 35, ["grey", "XL"]).reward == pytest.approx(4 / 6)
    three = goal((("color", "grey"), ("size", "XL"), ("amount", "pack of 12")))
    result = grade(three, product(), bought, 35, ["grey", "XL"])
    assert result.reward == pytest.approx(4 / 7)
    assert result.parts == pytest.approx({"attributes": 1 / 7, "options": 2 / 7, "price": 1 / 7})
    assert {
        name: result.details[name] for name in ("r_att", "r_option", "r_price", "w_att", "w_option", "w_price")
    } == {
        "r_att": pytest.approx(1 / 3),
        "r_option": pytest.approx(2 / 3),
        "r_price": 1.0,
        "w_att": pytest.approx(3 / 7),
        "w_option": pytest.approx(3 / 7),
        "w_price": pytest.approx(1 / 7),
    }
    stranger = product(OTHER_CORD, "other", "a › d › e", description=bought.description)
    assert grade(three, product(CORD), stranger, 35, ["grey", "XL"]).reward == pytest.approx(2 / 7)


def test_a_price_above_the_cap_costs_its_share() -> None:
    bought = product(attributes=goal().attributes)
    assert grade(goal(cap=30.0), product(), bought, 35, ["grey", "XL"]).reward == pytest.approx(5 / 6)
    assert grade(goal(cap=35.0), product(), bought, 35, ["grey", "XL"]).reward == 1.0


def test_attributes_are_also_found_inside_title_bullets_and_description() -> None:
    bought = product(
        "Best Tea Tree Shampoo", bullets=("This shampoo has", "essential oils and smells"), description="natural"
    )
    assert grade(goal(()), product(), bought, 35, []).details["r_att"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("path", "same"),
    [("b › c › a", True), ("d › e › f", False), ("a › d › b", True), ("a › a › b", True), ("a › a › d", False)],
)
def test_two_shared_category_steps_match_in_any_order(path: str, same: bool) -> None:
    assert type_reward(product(), product(query="z", path=path))["category_match"] is same


@pytest.mark.parametrize(
    ("wanted", "bought", "score"),
    [
        (
            "adidas Unisex-Adult D.o.n. Issue 2 Basketball Shoe",
            "adidas Unisex-Adult D.o.n. Issue 2 Indoor Court Shoe",
            6 / 7,
        ),
        (f"{CORD} Home Theater System Subwoofer", OTHER_CORD, 5 / 16),
        (CORD, OTHER_CORD, 2 / 12),
        ("Rusticware 921ORB Kitchen and Bath Cabinet Knob", "Minkissy 2pcs Stainless Steel Eyebrow Tweezers", 0.0),
    ],
)
def test_title_scores_are_those_of_the_original(wanted: str, bought: str, score: float) -> None:
    assert type_reward(product(wanted), product(bought))["title_score"] == pytest.approx(score)


# Quirks


def test_a_title_without_a_shared_noun_takes_everything_even_in_the_same_category() -> None:
    kind = type_reward(product("Cotton Dress"), product("Leather Belt"))
    assert (kind["query_match"], kind["category_match"], kind["r_type"]) == (True, True, 0.0)


def test_a_small_title_score_makes_a_tenth_and_a_title_without_nouns_counts_as_a_fifth() -> None:
    long = "Lamp " + " ".join(f"Word{letter}x" for letter in "abcdefghijk")
    assert type_reward(product(long), product("Lamp"))["r_type"] == 0.1
    assert type_reward(product("Soft and Warm"), product("Lamp"))["title_score"] == 0.2
    assert type_reward(product("Soft"), product("Lamp", "other", "x › y"))["r_type"] == 0.5


@pytest.mark.parametrize(
    ("value", "wanted", "same"),
    [
        ("large", "x-large", True),
        ("10", "10 wide", True),
        ("xx-large", "x-large", True),  # 93
        ("standard", "titanium", True),  # both hold "tan"
        ("black forest", ("color", "black"), True),
        ("standard", ("style", "standard"), False),  # only one side is reduced to "tan"
        ("redwood", ("color", "redwood"), False),
        ("size", ("size", "large"), True),  # the option's name joins the words
        ("small", "large", False),
        ("powder snow", "cool powder snow", True),
        ("", "", False),
    ],
)
def test_options_are_compared_as_the_original_compares_them(value: str, wanted: Any, same: bool) -> None:
    assert (matched_options([wanted], [value]) == 1) is same


def test_one_chosen_value_may_meet_several_wishes_and_unchosen_ones_meet_none() -> None:
    assert matched_options(["large", "x-large"], ["large"]) == 2
    assert matched_options([("size", "one size")], []) == 0


def test_there_are_102_base_colors_in_order() -> None:
    assert len(BASE_COLORS) == 102
    assert list(BASE_COLORS) == sorted(BASE_COLORS)


@pytest.mark.parametrize("reference", ["by hand", "thefuzz"])
def test_words_are_like_each_other_over_85_after_rounding(reference: str) -> None:
    if reference == "thefuzz":  # the original's library
        percent = pytest.importorskip("thefuzz.fuzz", reason="thefuzz is not installed").token_set_ratio
    else:
        percent = _ratio
    draw = random.Random(0)
    words = "large x xx small 10 8 red black forest navy cotton sleeve long free sugar gluten café ½ essential oils"
    outcomes = {True: 0, False: 0}
    for number in range(10_000):
        one = draw.choice([" ", "-", " | ", "/"]).join(draw.choices(words.split(), k=draw.randint(0, 4)))
        two = " ".join(draw.choices(words.split(), k=draw.randint(0, 3)))
        if number % 2 and one:  # almost the same: around the limit
            place = draw.randrange(len(one))
            two = one[:place] + draw.choice(["", "q", "oo"]) + one[place + draw.randint(0, 3) :]
        other: Any = (draw.choice(words.split()), two) if draw.random() < 0.3 else two
        expected = percent(one, str(other)) > 85
        assert alike(one, other) is expected, (one, other)
        outcomes[expected] += 1
    assert min(outcomes.values()) > 2000


# The formula, calculated independently


def test_ten_thousand_random_purchases_are_graded_as_by_hand() -> None:
    draw = random.Random(0)
    shops = [WebShop(products=300), WebShop(products=300, goals="human", mode="faithful")]
    raw = [dict(listing.item, **listing.attributes) for listing in generate.listings(300, 0)]
    seen = {"full": 0, "none": 0, "some": 0}
    for number in range(10_000):
        world = shops[number % 2]
        wish = world._goals[draw.randrange(len(world._goals))]
        bought = wish.product if draw.random() < 0.4 else _somewhat_like(raw, wish.product, draw)
        options = {
            name.lower(): [each["value"].replace("/", " | ") for each in values]
            for name, values in raw[bought]["customization_options"].items()
        }
        wanted = dict(option for option in wish.options if isinstance(option, tuple))
        chosen = {
            name: wanted[name] if wanted.get(name) in values and draw.random() < 0.6 else draw.choice(values)
            for name, values in options.items()
            if draw.random() < 0.8
        }
        price = float(world._goals.prices[bought])
        catalogue = world._shop.catalogue
        result = grade(wish, catalogue[wish.product], catalogue[bought], price, list(chosen.values()))
        expected = _by_hand(wish, raw[wish.product], raw[bought], price, list(chosen.values()))
        assert result.reward == pytest.approx(expected, abs=1e-12), (wish, raw[bought], chosen)
        assert sum(result.parts.values()) == pytest.approx(result.reward, abs=1e-12)
        assert result.success is (expected == 1)
        seen["full" if expected == 1 else "some" if expected else "none"] += 1
    assert min(seen.values()) > 500, seen


def test_a_purchase_in_the_world_gets_the_same_reward_in_parts() -> None:
    world, draw = WebShop(products=200), random.Random(3)
    raw = [dict(listing.item, **listing.attributes) for listing in generate.listings(200, 0)]
    for number in range(300):
        info = world.reset(seed=number)[1]
        for _ in range(20):
            clicks = [action for action in info["admissible"] if action.startswith("click[") and "back" not in action]
            action = draw.choice(clicks) if clicks and draw.random() < 0.8 else f"search[{draw.choice(raw)['name']}]"
            _, reward, over, _, info = world.step(action.replace("[[", "["))
            if over:
                break
        if not over:
            continue
        visit = world._visit
        values = [value for _, value in visit.chosen]
        price = float(world._goals.prices[visit.product])
        expected = _by_hand(world._goal, raw[world._goal.product], raw[visit.product], price, values)
        assert reward == pytest.approx(expected, abs=1e-12)
        assert sum(info["rewards"].values()) == pytest.approx(reward, abs=1e-12)
        assert info["score"] == pytest.approx(100 * reward)


def _somewhat_like(raw: list[dict[str, Any]], wanted: int, draw: random.Random) -> int:
    same = [number for number, item in enumerate(raw) if item["category"] == raw[wanted]["category"]]
    return draw.choice(same) if draw.random() < 0.7 else draw.randrange(len(raw))


def _by_hand(wish: Goal, wanted: dict[str, Any], bought: dict[str, Any], price: float, chosen: list[str]) -> float:
    met = 0
    text = [bought["name"].lower(), " ".join(bought["small_description"]).lower(), bought["full_description"].lower()]
    for attribute in wish.attributes:
        listed = any(_ratio(own, attribute) > 85 for own in bought["attributes"] or ["DUMMY_ATTR"])
        met += listed or any(attribute in each for each in text)
    for option in wish.options:
        target = _color(option)
        met += any(_ratio(str(_color(value)), str(target)) > 85 for value in chosen)
    met += price <= wish.cap
    asked, had = nouns(wanted["name"]), nouns(bought["name"])
    score = len(set(asked).intersection(had)) / len(asked)
    paths = [{step.strip() for step in item["product_category"].split("›")} for item in (wanted, bought)]
    factor = 1.0
    if not (wanted["query"] == bought["query"] or len(paths[0] & paths[1]) >= 2 or score > 0.2):
        factor = 0.5
    if score == 0:
        factor = 0.0
    elif score < 0.1:
        factor = 0.1
    return factor * met / (len(wish.attributes) + len(wish.options) + 1)


def _color(option: Any) -> Any:
    for color in sorted(BASE_COLORS):
        if color in option:  # a piece of a string, or a member of a pair
            return color
    return option


@functools.cache
def _ratio(one: str, two: str) -> int:
    """Token-set ratio in whole numbers: the best of three comparisons of shared and own words."""
    first, second = ({word for word in _spaced(each).split() if word} for each in (one, two))
    if not first or not second:
        return 0
    shared, own, others = (" ".join(sorted(each)) for each in (first & second, first - second, second - first))
    left, right = f"{shared} {own}".strip(), f"{shared} {others}".strip()
    return max(_percent(shared, left), _percent(shared, right), _percent(left, right))


def _spaced(text: str) -> str:
    plain = [character for character in text if not 128 <= ord(character) < 256]
    return "".join(character if character.isalnum() or character == "_" else " " for character in plain).lower()


def _percent(one: str, two: str) -> int:
    """Twice the longest common subsequence over both lengths, rounded half to even."""
    if not one or not two:
        return 0
    row = [0] * (len(two) + 1)
    for a in one:
        diagonal = 0
        for place, b in enumerate(two, 1):
            diagonal, row[place] = row[place], diagonal + 1 if a == b else max(row[place], row[place - 1])
    return round(100 * 2 * row[-1] / (len(one) + len(two)))


# Nouns


def _tagged(part: int) -> tuple[int, int, int]:
    """Nouns found in both, found by us alone, tagged by hand alone."""
    text = (Path(__file__).parent / "webshop_titles.txt").read_text()
    both = ours = hand = 0
    for line in text.split("# Held out")[part].splitlines()[1:]:
        if line.startswith("#") or not line:
            continue
        title = line.replace("*", "").replace(" '", "'").replace(" ,", ",").replace("( ", "(").replace(" )", ")")
        by_hand = [word[1:].lower() for word in line.split() if word.startswith("*")]
        found = list(nouns(title))
        for word in by_hand:
            if word in found:
                found.remove(word)
                both += 1
            else:
                hand += 1
        ours += len(found)
    return both, ours, hand


@pytest.mark.parametrize("part", [0, 1])
def test_nouns_are_those_a_person_tags(part: int) -> None:
    both, ours, hand = _tagged(part)
    assert both > 150
    assert both / (both + ours) > 0.94
    assert both / (both + hand) > 0.94
