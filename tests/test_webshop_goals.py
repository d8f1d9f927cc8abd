"""The webshop's goals, prices, splits, generated catalogue and files."""

import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from webshop_files import write

import agentrl

pytest.importorskip("bm25s", reason="the webshop extra is not installed: pip install bm25s pystemmer rapidfuzz")

from agentrl_envs.webshop import files, generate, shop
from agentrl_envs.webshop.goals import NO_CAP, Goals, _families
from agentrl_envs.webshop.products import product_of
from agentrl_envs.webshop.reward import alike, base_color
from agentrl_envs.webshop.vocabulary import OPTIONS
from agentrl_envs.webshop.world import WebShop

# Goals


def test_a_synthetic_goal_exists_for_every_combination_of_options() -> None:
    goals, before = WebShop()._goals, 0
    for listing in generate.listings(1000, 0):
        if not listing.attributes["instruction"]:
            continue
        options = {name.lower(): each for name, each in listing.item["customization_options"].items()}
        values = {name: [each["value"].replace("/", " | ") for each in options[name]] for name in sorted(options)}
        before += math.prod(map(len, values.values()))
        last = goals[before - 1]
        assert last.options == tuple((name, choices[-1]) for name, choices in values.items())
        phrase = " with " + ", and ".join(f"{name}: {value}" for name, value in last.options) if values else ""
        assert last.text.split(", and price lower than")[0] == listing.attributes["instruction"] + phrase
    assert len(goals) == before


def test_price_caps_are_the_larger_of_two_draws_from_the_next_four_tens() -> None:
    for mode in ("faithful", "fixed"):
        goals = WebShop(products=4000, mode=mode)._goals
        places: Counter[int] = Counter()
        for place, end in enumerate(goals._ends):
            goal = goals[int(end) - 1]
            price, cap = goals.prices[goal.product], goals._caps[place]
            above = [10.0 * step for step in range(1, 100) if 10.0 * step > price][:4]
            if len(above) < 2:
                assert cap == NO_CAP
                assert "price lower" not in goal.text
            else:
                assert goal.text.endswith(f", and price lower than {cap:.2f} dollars")
                if len(above) == 4:
                    places[above.index(cap)] += 1
        total = sum(places.values())
        for place, chance in ((0, 0), (1, 1 / 6), (2, 2 / 6), (3, 3 / 6)):
            assert places[place] / total == pytest.approx(chance, abs=0.04)


def test_hidden_prices_lie_in_their_range() -> None:
    for mode in ("faithful", "fixed"):
        world = WebShop(mode=mode)
        for price, product in zip(world._goals.prices, world._shop.catalogue, strict=True):
            assert product.prices[0] <= price <= product.prices[-1]


def test_synthetic_goals_are_drawn_by_the_rarity_of_their_attributes_and_human_ones_evenly() -> None:
    goals = WebShop()._goals
    everything = [goals[number] for number in range(len(goals))]
    counts = Counter(attribute for goal in everything for attribute in goal.attributes)
    expected = [sum(1 / counts[each] for each in goal.attributes) / len(goal.attributes) for goal in everything]
    assert goals.weights(np.arange(len(goals), dtype=np.int32)).tolist() == pytest.approx(expected)
    human = WebShop(goals="human")._goals
    assert set(human.weights(np.arange(len(human), dtype=np.int32))) == {1.0}
    draws = Counter(goals.draw("test", np.random.default_rng(seed)) for seed in range(4000))
    weights = goals.weights(goals.splits["test"])
    heavy = int(np.argmax(weights))
    assert draws[heavy] / 4000 == pytest.approx(weights[heavy] / weights.sum(), abs=0.01)


def test_faithful_splits_are_positions_after_the_shuffle_with_seed_233() -> None:
    goals = WebShop(mode="faithful")._goals
    order = list(range(len(goals)))
    random.Random(233).shuffle(order)
    assert goals.splits["test"].tolist() == order[:500]
    assert goals.splits["dev"].tolist() == order[500:1500]
    assert goals.splits["train"].tolist() == order[1500:]
    products = {name: {goals[int(n)].product for n in numbers} for name, numbers in goals.splits.items()}
    assert products["test"] & products["train"]  # the leak


@pytest.mark.parametrize("author", ["synthetic", "human"])
def test_fixed_splits_share_no_product_title_or_wording(author: Any) -> None:
    world = WebShop(goals=author, products=3000)
    seen: dict[str, set[Any]] = {}
    for name, numbers in world._goals.splits.items():
        goals = [world._goals[int(number)] for number in numbers]
        titles = {world._shop.catalogue[goal.product].title for goal in goals}
        seen[name] = {goal.product for goal in goals} | titles | {goal.wish.lower() for goal in goals}
        assert len({goal.key for goal in goals}) == len(goals)
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["dev"]
    assert not seen["dev"] & seen["test"]
    fifth = len(world._goals) // 5
    assert [world.splits["test"], world.splits["dev"]] == [min(500, fifth), min(1000, fifth)]


def test_families_are_joined_by_product_by_title_and_by_wording() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        owner = draw.integers(0, 40, 30).astype(np.int32)
        wording, title = (draw.integers(0, 40, 30).astype(np.uint64) for _ in range(2))
        expected = list(range(30))
        for _ in range(30):
            for one in range(30):
                for two in range(30):
                    if owner[one] == owner[two] or wording[one] == wording[two] or title[one] == title[two]:
                        expected[one] = expected[two] = min(expected[one], expected[two])
        found = _families(owner, wording, title)
        assert len({*zip(expected, found, strict=True)}) == len(set(expected)) == len(set(found.tolist()))


def test_fixed_prices_do_not_depend_on_the_other_products_and_faithful_ones_do() -> None:
    few, many = WebShop(products=300), WebShop(products=600)
    assert few._goals.prices.tolist() == many._goals.prices[:300].tolist()
    assert [few._goals[n].text for n in range(300)] == [many._goals[n].text for n in range(300)]
    few, many = WebShop(products=300, mode="faithful"), WebShop(products=600, mode="faithful")
    assert [few._goals[n].text for n in range(300)] != [many._goals[n].text for n in range(300)]


def test_without_a_price_seed_prices_are_drawn_anew_as_in_the_original() -> None:
    catalogue = WebShop()._shop.catalogue
    one, two = (Goals(catalogue, "synthetic", "faithful", None) for _ in range(2))
    assert one.prices.tolist() != two.prices.tolist()
    with pytest.raises(agentrl.ConfigError, match="faithful"):
        WebShop(price_seed=None)


# Generator and files


def test_the_generated_shop_has_the_figures_of_the_original() -> None:
    listings = list(generate.listings(1000, 0))
    instructed = [listing for listing in listings if listing.attributes["instruction"]]
    attributes = [len(listing.attributes["attributes"]) for listing in listings]
    wanted = [len(listing.attributes["instruction_attributes"]) for listing in instructed]
    distinct = {attribute for listing in listings for attribute in listing.attributes["attributes"]}
    assert len(instructed) == pytest.approx(415, rel=0.1)
    assert sum(attributes) / 1000 == pytest.approx(2.83, rel=0.1)
    assert max(attributes) <= 27
    assert sum(wanted) / len(wanted) == pytest.approx(3.18, rel=0.1)
    assert len(distinct) == pytest.approx(598, rel=0.1)
    assert len(WebShop()._goals) == pytest.approx(6910, rel=0.1)
    assert len({listing.item["asin"] for listing in listings}) == 1000


def test_a_product_depends_on_seed_and_index_alone() -> None:
    assert list(generate.listings(50, 3)) == list(generate.listings(200, 3))[:50]
    assert list(generate.listings(50, 3)) != list(generate.listings(50, 4))


def test_every_generated_option_meets_its_own_goal() -> None:
    for name, values in OPTIONS.values():
        for value in values:
            assert alike(base_color(value), base_color((name, value))), value


def test_written_files_are_read_back_as_the_same_shop(tmp_path: Path) -> None:
    items, attributes, human = write(tmp_path, 200, 5)
    assert isinstance(json.loads(items.read_text()), list)
    assert list(files.listings(items, attributes, human, None)) == list(generate.listings(200, 5))
    assert len(list(files.listings(items, attributes, human, 30))) == 30
    made = WebShop(products=200, seed=5, goals="human")
    read = WebShop(items=items, attributes=attributes, human=human, goals="human")
    for index in range(20):
        options = {"split": "test", "index": index}
        assert made.reset(seed=1, options=options) == read.reset(seed=1, options=options)


def test_values_of_every_kind_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    value: list[Any] = [1234567, -0.25, {"asin": "B1", "n": 12345678, "t": "é🤖\\"}, {"asin": "B2"}]
    path.write_text(json.dumps(value, indent=3, ensure_ascii=False), encoding="utf-8")
    assert [each for _, each in files.entries(path)] == value


def test_original_listings_are_cleaned_as_the_original_cleans_them(tmp_path: Path) -> None:
    item = {
        "asin": "B000000001",
        "name": "A Thing",
        "full_description": None,
        "small_description": "only one",
        "pricing": "$1,299.00$1,399.50",
        "category": "c",
        "query": "  Things ",
        "product_category": "a › b",
        "images": [],
        "customization_options": {"Color": [{"value": " Black/White "}], "Gone": None},
    }
    others = [{**item, "asin": "nan"}, {**item, "asin": "B0000000012"}, item, {**item, "asin": "B000000002"}]
    (tmp_path / "items.json").write_text(json.dumps([item, *others]))
    wish = {"instruction": "i want it...", "instruction_attributes": ["x"], "instruction_options": {"color": "red"}}
    bare = {"instruction": "no", "instruction_attributes": [], "instruction_options": []}
    (tmp_path / "human.json").write_text(json.dumps({"B000000001": [wish, bare]}))
    first, second = map(product_of, files.listings(tmp_path / "items.json", None, tmp_path / "human.json", None))
    assert (first.prices, first.price_tag) == ((1299.0, 1399.5), "$1299.0 to $1399.5")
    assert (first.options, first.query, first.bullets) == ({"color": ("black | white",)}, "things", ("only one",))
    assert first.attributes == ("DUMMY_ATTR",)
    assert [tuple(request) for request in first.requests] == [("i want it", ("x",), (("color", "red"),))]
    assert (second.asin, second.requests) == ("B000000002", ())


@pytest.mark.parametrize("text", ["", "{", "[1", "3", '[{"asin": "B1"}', '{"a" 1}', "[{}]", '["x"]', "[] []x"[:1]])
def test_a_file_that_is_no_catalogue_is_refused_by_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    path.write_text(text)
    with pytest.raises(agentrl.DataError, match=r"items\.json"):
        list(files.listings(path, None, None, None))


def test_a_shop_kept_on_disk_is_the_same_shop(tmp_path: Path) -> None:
    stock = shop.Stock(300, cache=tmp_path)
    kept, made = [shop.Shop(*how(stock), 50, 10) for how in (shop._kept, shop._made)]
    again = shop.Shop(*shop._kept(stock), 50, 10)
    assert len(list(tmp_path.iterdir())) == 1
    for other in (kept, again):
        for index in range(0, 300, 7):
            assert msgspec.structs.asdict(other.catalogue[index]) == msgspec.structs.asdict(made.catalogue[index])
        for query in ("cotton dress", "<c> beauty", "<a> machine wash", "<r>", "\ud800"):
            assert other.results(query, 7).tolist() == made.results(query, 7).tolist()
        assert Goals(other.catalogue, "synthetic", "fixed", 0)[17] == Goals(made.catalogue, "synthetic", "fixed", 0)[17]
