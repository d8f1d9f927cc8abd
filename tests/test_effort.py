"""No input costs more than its length: actions in every preset, files that users bring, numbers in any spelling.

The kits time every installed world and dialect with its defaults (`no_action_costs_more_than_its_length`,
`long_text_is_read_in_time`); here are the other presets, later pages, and what is read when a world is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sandbox_support import needs_bubblewrap

from agentrl import ConfigError, DataError, Spec, ToolAction, default_host
from agentrl.testing.effort import MOST, UNNOTICED_S, cost, require_linear
from agentrl.testing.report import CheckFailed
from agentrl_envs.code import reading
from agentrl_envs.records import read_records
from agentrl_envs.search import dense, score, tags
from agentrl_envs.search.serve import _Refused, _wanted
from agentrl_envs.webshop.catalogue import MOST_GOALS
from agentrl_envs.webshop.nouns import nouns
from agentrl_envs.webshop.products import product_of
from agentrl_envs.webshop.world import WebShop

PRESETS: tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...] = (
    ("webshop", {"preset": "tiny"}, ("search[socks]",)),
    ("webshop", {"preset": "tiny", "mode": "faithful"}, ("search[socks]", "click[next >]")),
    ("search", {"preset": "tiny", "reward": "f1"}, ("<search>Ada</search>",)),
    ("search", {"retriever": "dense", "preset": "tiny"}, ("<search>Ada</search>",)),
    ("tools", {"preset": "tiny", "anchor": "state"}, ()),
    ("household", {"anchor": "state"}, ("look",)),
)


@pytest.mark.parametrize(("name", "settings", "before"), PRESETS, ids=str)
def test_no_action_costs_more_than_its_length(name: str, settings: dict[str, Any], before: tuple[str, ...]) -> None:
    env = default_host().build(Spec("environment", name, settings))

    def seconds(action: str) -> float:
        env.reset(seed=1)
        for earlier in before:
            env.step(earlier)
        return cost(lambda: env.step(action))

    require_linear(seconds)


@needs_bubblewrap
def test_neither_do_edits_of_a_tiny_program() -> None:
    env = default_host().build(Spec("environment", "code", {"preset": "tiny"}))

    def seconds(action: str) -> float:
        env.reset(seed=1)
        return cost(lambda: env.step(action))

    assert seconds("line 2: " + "(" * 16_000) <= max(UNNOTICED_S, MOST * seconds("line 2: " + "(" * 4_000))
    env.close()


READERS: dict[str, Callable[[str], object]] = {
    "tool calls": ToolAction.read,
    "tags": tags.read,
    "messages to the code world": reading.read,
    "answers": lambda text: score.f1(text, [text]),
    "words": lambda text: dense.hashed([text], True),
    "titles": nouns.__wrapped__,
    "listings": lambda text: product_of(listing(name=text, pricing=f"${text}", query=text)),
}


@pytest.mark.parametrize("name", READERS)
def test_no_text_costs_more_than_its_length(name: str) -> None:
    require_linear(lambda text: cost(lambda: READERS[name](text)))


def test_a_search_from_every_start_is_noticed() -> None:
    import re

    careless = re.compile(r"<answer>(.*?)</answer>")
    with pytest.raises(CheckFailed, match="<answer>"):
        require_linear(lambda text: cost(lambda: careless.search(text)))


# Limits see every spelling, and come first


@pytest.mark.parametrize(
    "topk",
    ["1e9", '"1e9"', '"٣"', '"0x10"', '"3"', "3.0", "true", "1001", "0", "-1", "9" * 30, "9" * 5_000, "[3]", "NaN"],
)
def test_how_many_documents_a_request_wants_is_a_plain_number_in_bounds(topk: str) -> None:
    with pytest.raises(_Refused):
        _wanted(f'{{"queries": ["x"], "topk": {topk}}}'.encode(), 3)
    assert _wanted(b'{"queries": ["x"], "topk": 7}', 3) == (["x"], 7, False)


@pytest.mark.parametrize(
    "body", ["[" * 100_000, '{"queries": ' * 50_000, '{"queries": ["x"], "topk": ' + "1" * 100_000]
)
def test_a_request_that_is_nested_or_counts_without_end_is_refused(body: str) -> None:
    with pytest.raises(_Refused):
        _wanted(body.encode(), 3)


@pytest.mark.parametrize(
    "number", ["1e9", "٣٠٠٠٠٠", "0x100000", "1_000_000", "9" * 20, "inf", "1e-999999999", [10**6], None, {}]
)
def test_the_benchmarks_arithmetic_takes_numbers_only(number: object) -> None:
    pytest.importorskip("bfcl_eval", reason="pip install --no-deps bfcl-eval==2026.3.23")
    pytest.importorskip("mpmath")
    from agentrl import ToolCall
    from agentrl_envs.bfcl.backend import FAILED, Backend
    from agentrl_envs.bfcl.data import entries

    backend = Backend(next(entry for entry in entries("base") if "MathAPI" in entry.classes))
    usual = {"logarithm": {"value": 8, "base": 2, "precision": 10}, "square_root": {"number": 2, "precision": 10}}
    for tool, arguments in usual.items():
        for name in arguments:
            assert backend.call(ToolCall(tool, {**arguments, name: number})).startswith(FAILED), (tool, name)
        assert not backend.call(ToolCall(tool, arguments)).startswith(FAILED)
    for size in (10_001, 1e9, float("inf"), -(10**12)):
        assert backend.call(ToolCall("logarithm", {**usual["logarithm"], "precision": size})).startswith(FAILED)


def test_depth_is_looked_at_before_anything_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("this was parsed"))
    for text in ("[" * 65, '{"a":' * 1_000, '{"name": "x", "arguments": {"y": ' + "[" * 70 + "]" * 70 + "}}"):
        assert "nested deeper than 64" in ToolAction.read(text).error


def test_brackets_inside_of_texts_are_no_depth() -> None:
    action = json.dumps({"name": "x", "arguments": {"y": "[{" * 500 + '"\\', "z": [[[]]]}})
    assert ToolAction.read(action).calls[0].arguments["y"].startswith("[{[{")
    many = [{"name": "x", "arguments": {}}] * 40
    assert len(ToolAction.read(json.dumps(many)).calls) == 40


# Files that users bring


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 100_000, "1" * 100_000])
def test_a_file_that_is_nested_or_counts_without_end_is_refused_in_words(tmp_path: Path, text: str) -> None:
    for name in ("records.jsonl", "records.json"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match="cannot be read"):
            read_records(tmp_path / name)
    (tmp_path / "corpus.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "questions.jsonl").write_text('{"question": "who", "golden_answers": ["Ada"]}\n', encoding="utf-8")
    with pytest.raises((DataError, ConfigError)):
        default_host().build(
            Spec(
                "environment",
                "search",
                {"questions": {"train": str(tmp_path / "questions.jsonl")}, "corpus": str(tmp_path / "corpus.jsonl")},
            )
        )


def listing(**item: Any) -> Any:
    from agentrl_envs.webshop.generate import Listing

    wanted = {"attributes": ["soft"], "instruction": "Find me soft", "instruction_attributes": ["soft"]}
    return Listing({"asin": "B1", "name": "A soft dress", **item}, wanted, [])


def test_a_price_without_end_is_no_price() -> None:
    assert product_of(listing(pricing="$" + "9" * 400)).prices == (100.0,)
    assert product_of(listing(pricing=f"${'9' * 400}$7")).prices == (7.0,)


def test_options_that_multiply_without_end_are_refused(tmp_path: Path) -> None:
    """Ten options of ten values are a line of text, and ten thousand million goals."""
    options = {f"o{n}": [{"value": f"v{n} {value}", "image": None} for value in range(10)] for n in range(10)}
    described = {"B1": {"attributes": ["soft"], "instruction": "Find me soft", "instruction_attributes": ["soft"]}}
    (tmp_path / "items.json").write_text(
        json.dumps([{"asin": "B1", "name": "A dress", "customization_options": options}])
    )
    (tmp_path / "attributes.json").write_text(json.dumps(described))
    with pytest.raises(DataError, match=rf"B1.*{MOST_GOALS:,}"):
        WebShop(items=tmp_path / "items.json", attributes=tmp_path / "attributes.json")


def test_a_webshop_file_that_counts_without_end_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "items.json").write_text('[{"asin": "B1", "name": "x", "price": ' + "1" * 10_000 + "}]")
    try:
        WebShop(items=tmp_path / "items.json")
    except (DataError, ConfigError):
        return
    pytest.fail("a shop without goals was opened")
