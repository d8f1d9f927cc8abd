"""The webshop's pages, actions and search."""

import math
from collections import Counter
from typing import Any

import pytest

pytest.importorskip("bm25s", reason="the webshop extra is not installed: pip install bm25s pystemmer rapidfuzz")

from agentrl_envs.webshop.world import WebShop

SEP = " [SEP] "


def begun(split: str = "test", index: int = 0, **settings: Any) -> tuple[WebShop, str]:
    world = WebShop(**settings)
    return world, world.reset(seed=0, options={"split": split, "index": index})[0]


def at_item(**settings: Any) -> tuple[WebShop, dict[str, tuple[str, ...]]]:
    """On the page of the goal's product, which has at least two options with at least two values."""
    world = WebShop(**settings)
    for index in range(500):
        world.reset(seed=0, options={"split": "test", "index": index})
        product = world._shop.catalogue[world._goal.product]
        if sum(len(values) > 1 for values in product.options.values()) > 1 and len(product.bullets) > 1:
            break
    while "click[buy now]" not in world.step(world.expert_action())[4]["admissible"]:
        pass
    return world, product.options


# Pages


def test_the_start_page_has_the_instruction_and_only_a_search_box() -> None:
    world, text = begun()
    goal = world._goal
    assert text == SEP.join(["WebShop", "Instruction:", goal.text, "Search"])
    assert list(world.shown.clickables) == ["search"]


def test_the_results_page_lists_ten_products_with_title_and_price() -> None:
    world, _ = begun()
    text, _, _, _, info = world.step("search[cotton dress]")
    found = [world._shop.catalogue[int(index)] for index in world._shop.results("cotton dress", 0)]
    head = ["Instruction:", world._goal.text, "Back to Search", "Page 1 (Total results: 50)", "Next >"]
    assert text.split(SEP) == head + [
        part for product in found[:10] for part in (product.asin, product.title, product.price_tag)
    ]
    clicks = ["back to search", "next >", *(product.asin.lower() for product in found[:10])]
    assert info["admissible"] == [f"click[{click}]" for click in clicks]
    text, _, _, _, info = world.step("click[next >]")
    assert text.split(SEP)[3:6] == ["Page 2 (Total results: 50)", "< Prev", "Next >"]
    assert info["admissible"][:3] == ["click[back to search]", "click[< prev]", "click[next >]"]


def test_next_is_there_even_after_the_last_page() -> None:
    world, _ = begun()
    world.step("search[cotton dress]")
    for _ in range(5):
        text = world.step("click[next >]")[0]
    assert text.split(SEP)[3:] == ["Page 6 (Total results: 50)", "< Prev", "Next >"]


def test_the_item_page_has_options_title_price_and_buttons_in_the_original_order() -> None:
    world, options = at_item(mode="faithful")
    product = world._shop.catalogue[world._goal.product]
    parts = ["Instruction:", world._goal.text, "Back to Search", "< Prev"]
    for name, values in options.items():
        parts += [name, *values]
    parts += [product.title, f"Price: {product.price_tag}", "Rating: N.A."]
    parts += ["Description", "Features", "Reviews", "Buy Now"]
    assert world.scene.observation == SEP.join(parts)
    buttons = ["back to search", "< prev", "description", "features", "reviews", "buy now"]
    values = list(dict.fromkeys(value for choices in options.values() for value in choices))
    assert list(world.shown.clickables) == buttons + values


def test_sub_pages_show_description_features_and_no_reviews() -> None:
    world, _ = at_item()
    product = world._shop.catalogue[world._goal.product]
    head = ["Instruction:", world._goal.text, "Back to Search", "< Prev"]
    for click, content in (
        ("description", [product.description]),
        ("features", list(product.bullets)),
        ("reviews", []),
    ):
        assert world.step(f"click[{click}]")[0].split(SEP) == head + [text for text in content if text]
        world.step("click[< prev]")


def test_the_attributes_page_exists_only_where_it_is_shown() -> None:
    world, _ = at_item()
    assert "to click" in world.step("click[attributes]")[4]["invalid"]
    world, _ = at_item(show_attributes=True)
    product = world._shop.catalogue[world._goal.product]
    text = world.step("click[attributes]")[0]
    assert text.split(SEP)[4:] == [*product.attributes, product.category, product.query, product.path]


def test_the_done_page_tells_the_score_and_nothing_happens_after_it() -> None:
    world, _ = at_item()
    while not (result := world.step(world.expert_action()))[2]:
        pass
    text, reward, _, _, info = result
    assert text.startswith("Thank you for shopping with us! [SEP] Your code: [SEP] None [SEP] ")
    assert SEP.join(["Your score (min 0.0, max 1.0)", "1.0"]) in text
    assert (reward, info["success"], info["score"], info["admissible"]) == (1.0, True, 100.0, [])
    again = world.step("search[dress]")
    assert again[:4] == (text, 0.0, True, False)
    assert again[4]["invalid"] == "the task is over"
    assert world.expert_action() == ""


def test_a_faithful_text_page_hides_what_is_chosen_and_a_fixed_one_says_it() -> None:
    for mode in ("faithful", "fixed"):
        world, options = at_item(mode=mode)
        name, values = next((name, values) for name, values in options.items() if len(values) > 1)
        before = world.scene.observation
        after, _, _, _, info = world.step(f"click[{values[1]}]")
        assert (before == after) is (mode == "faithful")
        assert (f"Chosen: {name} = {values[1]}" in after) is (mode == "fixed")
        assert values[1] in info["anchor"]


def test_rich_text_marks_buttons_and_what_was_clicked() -> None:
    world, options = at_item(observation="text_rich", mode="faithful")
    name, values = next((name, values) for name, values in options.items() if len(values) > 1)
    text = world.step(f"click[{values[1]}]")[0]
    lines = text.split("\n")
    assert lines[0] == f"You have clicked {values[1]}."
    assert f"  [clicked button] {values[1]} [clicked button_]" in lines
    assert f"  [button] {values[0]} [button_]" in lines
    assert "[button] Buy Now [button_]" in lines
    assert name in lines
    text = world.step("click[< prev]")[0]
    assert f"\n[clicked button] {world._shop.catalogue[world._goal.product].asin} [clicked button_]\n" in text


def test_html_holds_the_same_words_as_text() -> None:
    from html.parser import HTMLParser

    class Words(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.words: list[str] = []
            self.inside = ""

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.inside = tag

        def handle_data(self, data: str) -> None:
            if data.strip() and self.inside != "title":
                self.words.append(data.strip())

    for action in ("search[cotton dress]", "click[next >]", None, "click[description]"):
        pair = [begun(observation=mode)[0] for mode in ("html", "text")]
        texts = []
        for world in pair:
            for step in ("search[cotton dress]", "click[next >]", None, "click[description]"):
                text = world.step(step or world.scene.admissible[-1])[0]
                if step == action:
                    break
            texts.append(text)
        words = Words()
        words.feed(texts[0])
        assert words.words == [part for part in texts[1].split(SEP) if part]


# Actions and transitions


@pytest.mark.parametrize(
    "action",
    [
        "",
        "search",
        "search[]",
        "search dress",
        "click[nothing]",
        "Search[dress]",
        " search[dress]",
        "click[search]",
        "buy[dress]",
        "search[dress",
        "search[dress] now",
        "search[a\nb]",
        "click[buy now]",
        "click[< prev]",
        "][",
    ],
)
def test_what_is_no_action_here_changes_nothing(action: str) -> None:
    world, text = begun()
    after, reward, terminated, truncated, info = world.step(action)
    assert (after, reward, terminated, truncated) == (text, 0.0, False, False)
    assert info["invalid"]


def test_arguments_are_lower_cased_and_brackets_are_greedy() -> None:
    world, _ = begun()
    assert world.step("search[COTTON Dress]")[0] == world.step("search[cotton dress]")[0]
    assert world.step("click[Back TO search]")[0].startswith("WebShop")
    assert world.step("search[a b] c]")[4]["invalid"] == ""
    assert world._visit.query == "a b] c"
    assert "no action 'search[a'" in world.step("search[a[b]")[4]["invalid"]


def test_a_search_is_taken_on_any_page() -> None:
    world, _ = at_item()
    assert "Page 1 (Total" in world.step("search[cotton dress]")[0]


def test_prev_goes_back_and_only_a_sub_page_keeps_the_options() -> None:
    world, options = at_item()
    value = next(values[1] for values in options.values() if len(values) > 1)
    item = world.step(f"click[{value}]")[0]
    world.step("click[features]")
    assert world.step("click[< prev]")[0] == item
    asin = world._shop.catalogue[world._goal.product].asin.lower()
    results = world.step("click[< prev]")[0]
    assert "(Total results: " in results
    assert world._visit.chosen == ()
    assert "Chosen" not in world.step(f"click[{asin}]")[0]
    assert world.step("click[back to search]")[0].startswith("WebShop")
    assert world._visit.visited == ()


def test_of_two_values_of_one_option_the_last_one_counts() -> None:
    world, options = at_item()
    name, values = next((name, values) for name, values in options.items() if len(values) > 1)
    world.step(f"click[{values[0]}]")
    world.step(f"click[{values[1]}]")
    assert dict(world._visit.chosen)[name] == values[1]


def test_admissible_clicks_are_all_taken_and_the_search_is_a_real_one() -> None:
    world, _ = begun()
    assert world.reset(seed=0)[1]["admissible"] == [f"search[{world._goal.text}]"]
    assert WebShop(mode="faithful").reset(seed=0)[1]["admissible"] == ["search[<your query>]"]
    at_item_world, _ = at_item()
    snapshot = at_item_world.snapshot()
    for action in at_item_world.scene.admissible:
        at_item_world.restore(snapshot)
        assert at_item_world.step(action)[4]["invalid"] == ""


# Search


def test_search_ranks_by_the_bm25_of_lucene() -> None:
    catalogue = WebShop()._shop.catalogue
    index = WebShop()._shop.index
    documents = [
        [stem for word in _plain_words(product.searched_text) if (stem := index._analyzer.stem(word))]
        for product in catalogue
    ]
    mean = sum(map(len, documents)) / len(documents)
    frequency = Counter(stem for document in documents for stem in set(document))
    for query in ("long sleeve cotton dress", "gluten free snack bars chocolate", "women's boots", "usb cable 6 feet"):
        stems = [stem for word in _plain_words(query) if (stem := index._analyzer.stem(word))]
        scores = [_bm25(stems, document, mean, frequency, len(documents)) for document in documents]
        found = index.best(query, 50).tolist()
        expected = sorted(range(len(scores)), key=lambda number: (-scores[number], number))[: len(found)]
        assert [scores[number] for number in found] == pytest.approx([scores[number] for number in expected], rel=1e-4)
        assert len(found) == min(50, sum(score > 0 for score in scores))


def _plain_words(text: str) -> list[str]:
    cleaned = "".join(character if character.isalnum() or character in "'._" else " " for character in text.lower())
    return [word.strip("'.") for word in cleaned.split() if word.strip("'.")]


def _bm25(query: list[str], document: list[str], mean: float, frequency: Counter[str], count: int) -> float:
    score = 0.0
    for stem in query:
        times = document.count(stem)
        if times:
            rarity = math.log(1 + (count - frequency[stem] + 0.5) / (frequency[stem] + 0.5))
            score += rarity * times / (times + 0.9 * (1 - 0.4 + 0.4 * len(document) / mean))
    return score


def test_blocks_find_the_same_best_as_sorting_everything() -> None:
    import numpy as np

    from agentrl_envs.fulltext import _top

    draw = np.random.default_rng(0)
    for size in (3, 900, 5_000, 40_000):
        scores = np.round(draw.random(size), 2).astype(np.float32) * (draw.random(size) < 0.3)
        positive = [number for number in range(size) if scores[number] > 0]
        expected = sorted(positive, key=lambda number: (-scores[number], number))[:50]
        assert _top(scores, 50).tolist() == expected


def test_special_first_words_list_products_by_field_or_at_random() -> None:
    world, _ = begun()
    products = list(world._shop.catalogue)
    for query, field in (("<c> beauty", "category"), ("<q> men's hoodies", "query")):
        value = query.split(" ", 1)[1]
        expected = [number for number, product in enumerate(products) if getattr(product, field) == value]
        assert world._shop.results(query, 0).tolist() == expected
    expected = [number for number, product in enumerate(products) if "machine wash" in product.attributes]
    assert world._shop.results("<a> machine wash", 0).tolist() == expected
    text = world.step("search[<r>]")[0]
    assert "Page 1 (Total results: 50)" in text
    assert world.step("click[next >]")[4]["invalid"] == ""
    assert world.step("click[< prev]")[0] == text
    assert world.step("search[<r>]")[0] != text
    for query in ("<c>", "<a>", "<q> nothing", "<c> \u00e4"):
        assert "(Total results: 0)" in world.step(f"search[{query}]")[0]
