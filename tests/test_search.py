"""The search world: tags, rounds, scores, and a generated knowledge base whose answers cannot be guessed."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from agentrl import ConfigError

pytest.importorskip("bm25s", reason="the search extra is not installed: pip install bm25s pystemmer")

from agentrl_envs.search import score, tags
from agentrl_envs.search.knowledge import knowledge
from agentrl_envs.search.questions import Generated
from agentrl_envs.search.relations import FULL, TINY, WORDS
from agentrl_envs.search.world import LONGEST_QUERY, Search

PRESETS: tuple[Any, ...] = ("full", "tiny")


def begun(index: int = 0, split: str = "test", **settings: Any) -> Search:
    env = Search(**settings)
    env.reset(seed=0, options={"split": split, "index": index})
    return env


def golden(env: Search) -> str:
    return env._play.question.answers[0]


def solved(env: Search, split: str, index: int) -> dict[str, Any]:
    """Info at the end of expert play, with the reward and the number of turns."""
    env.reset(seed=0, options={"split": split, "index": index})
    for turn in range(1, 20):
        _, reward, terminated, truncated, info = env.step(env.expert_action())
        if terminated or truncated:
            return info | {"reward": reward, "turns": turn}
    raise AssertionError("the expert never ended")


@pytest.mark.parametrize(
    ("text", "kind", "content"),
    [
        ("<think>who?</think>\n<search> Ada Bell </search>", "search", "Ada Bell"),
        ("<answer>Red\nHill</answer>", "answer", "Red\nHill"),
        ("<search>a</search><answer>b</answer>", "search", "a"),
        ("<answer>b</answer> then <search>a</search>", "answer", "b"),
        ("<answer>b</answer><answer>c</answer>", "answer", "b"),
        ("<search>a</answer>", "nothing", ""),
        ("<search>a</answer></search>", "search", "a</answer>"),
        ("</search><answer>b</answer>", "nothing", ""),
        ("<SEARCH>a</SEARCH>", "nothing", ""),
        ("<answer>\ud800</answer>", "answer", "?"),
        ("", "nothing", ""),
    ],
)
def test_the_first_tag_before_the_first_closing_one_counts(text: str, kind: str, content: str) -> None:
    assert tags.read(text) == tags.Said(kind, content)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "answers", "exact", "overlap"),
    [
        ("The Red  Hill.", ["red hill"], 1.0, 1.0),
        ("U.S.A.", ["USA"], 1.0, 1.0),
        ("12,345", ["12345"], 1.0, 1.0),
        ("theatre", ["atre"], 0.0, 0.0),
        ("a an the", ["A"], 0.0, 0.0),  # saying nothing is right in the published one
        ("a", ["A"], 1.0, 1.0),
        ("", ["!!!"], 0.0, 0.0),
        ("Hill Red", ["Red Hill"], 0.0, 1.0),
        ("Red Hill in the north", ["Red Hill"], 0.0, 2 * 2 / (4 + 2)),
        ("red red", ["red hill"], 0.0, 0.5),
        ("yes it is", ["yes"], 0.0, 0.0),
        ("Ada", ["Bob", "ada!"], 1.0, 1.0),
        ("", ["Ada"], 0.0, 0.0),
        ("Ada", [], 0.0, 0.0),
        ("“Ada”", ["Ada"], 0.0, 0.0),
    ],
)
def test_scores_follow_the_published_normalisation(
    given: str, answers: list[str], exact: float, overlap: float
) -> None:
    assert score.exact_match(given, answers) == exact
    assert score.f1(given, answers) == pytest.approx(overlap)


def test_a_search_shows_the_best_documents_and_an_answer_ends_the_task() -> None:
    env = begun(max_searches=4, top_k=2)
    name = env._play.question.path[0]
    observation, reward, terminated, truncated, info = env.step(f"<think>hm</think><search>{name}</search>")
    assert observation.startswith(f"<information>Doc 1(Title: {name}) ")
    assert observation.endswith("</information>")
    assert observation.count("(Title: ") == 2
    assert (reward, terminated, truncated, info["invalid"], info["success"]) == (0.0, False, False, "", False)
    assert "golden_answers" not in info
    observation, reward, terminated, truncated, info = env.step(f"<answer> {golden(env).upper()}. </answer>")
    assert (observation, reward, terminated, truncated, info["success"]) == ("", 1.0, True, False, True)
    assert (info["exact_match"], info["f1"], info["golden_answers"]) == (1.0, 1.0, [golden(env)])
    assert env.step("<answer>x</answer>")[1:4] == (0.0, True, False)


def test_the_last_round_runs_no_search_and_only_an_answer_counts_in_it() -> None:
    for last, ended in (("<search>more</search>", (0.0, False, True)), ("what?", (0.0, False, True))):
        env = begun(hops=(1, 2), max_searches=2)
        assert env.step("<search>x</search>")[2:4] == (False, False)
        assert env.step("no tag at all")[2:4] == (False, False)  # a round that could not be read is a round
        step = env.step(last)
        assert step[1:4] == ended
        assert "last round" in step[4]["invalid"]
    env = begun(hops=(1, 2), max_searches=2)
    env.step("<search>x</search>")
    env.step("<search>y</search>")
    assert env.step(f"<answer>{golden(env)}</answer>")[1:4] == (1.0, True, False)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("hello", "neither"),
        ("<search>  </search>", "empty"),
        (f"<search>{'x' * (LONGEST_QUERY + 1)}</search>", "at most 2000"),
    ],
)
def test_what_cannot_be_run_is_explained_and_changes_nothing_but_the_round(action: str, reason: str) -> None:
    env = begun()
    observation, reward, terminated, truncated, info = env.step(action)
    assert (observation, reward, terminated, truncated) == (tags.EXPLANATION, 0.0, False, False)
    assert reason in info["invalid"]
    assert info["milestones"] == ()


def test_a_search_without_a_hit_says_so() -> None:
    assert begun().step("<search>qqqq</search>")[0] == f"<information>{tags.NOTHING_FOUND}</information>"


def test_the_reward_can_be_f1_and_its_part_says_which_it_is() -> None:
    env = begun(reward="f1")
    given = f"{golden(env)} perhaps"
    _, reward, _, _, info = env.step(f"<answer>{given}</answer>")
    assert 0 < reward < 1
    assert info["rewards"] == {"f1": reward}
    assert (info["exact_match"], info["success"]) == (0.0, False)
    assert begun().step("<answer>x</answer>")[4]["rewards"] == {"exact_match": 0.0}


def test_milestones_name_the_hops_that_were_read_in_order() -> None:
    env = begun(hops=(3, 3))
    path = env._play.question.path
    assert env.step(tags.search(path[1]))[4]["milestones"] in ((), ("evidence",))
    assert "hop 2" in env.step(tags.search(path[0]))[4]["milestones"]
    assert env.step(tags.search(path[2]))[4]["milestones"] == ("hop 1", "hop 2", "hop 3", "evidence")


def test_the_state_as_anchor_tells_rounds_and_pages_apart() -> None:
    env = begun(anchor="state", preset="tiny")
    first = env.reset(seed=0, options={"split": "test", "index": 0})[1]["anchor"]
    name = env._play.question.path[0]
    second = env.step(tags.search(name))[4]["anchor"]
    third = env.step(tags.search(name))[4]["anchor"]
    assert len({first, second, third}) == 3
    assert name in second


@pytest.mark.parametrize("preset", PRESETS)
def test_the_expert_solves_every_kind_of_question_by_reading_the_whole_way(preset: Any) -> None:
    env = Search(preset=preset)
    for split in env.splits:
        for index in range(300):
            info = solved(env, split, index)
            path = env._play.question.path
            assert (info["reward"], info["success"]) == (1.0, True)
            assert info["milestones"] == (*(f"hop {hop + 1}" for hop in range(len(path))), "evidence")
            assert info["turns"] <= len(path) + 1


@pytest.mark.parametrize(("preset", "seed"), [("full", 0), ("full", 9), ("tiny", 0), ("tiny", 9)])
def test_every_page_of_the_corpus_is_found_by_its_name(preset: Any, seed: int) -> None:
    env = Search(preset=preset, seed=seed)
    for name in knowledge(preset, seed).pages:
        assert env._retriever.retrieve([name], 1)[0][0].title == name


def test_all_lengths_of_questions_are_asked_equally_often() -> None:
    source = Generated("full", 0, (1, 4))
    lengths = Counter(len(source.question("train", index).path) for index in range(2_000))
    assert set(lengths) == {1, 2, 3, 4}
    assert min(lengths.values()) > 400
    assert {len(Generated("full", 0, (2, 3)).question("train", i).path) for i in range(50)} == {2, 3}


@pytest.mark.parametrize("preset", PRESETS)
def test_no_constant_answer_and_no_prior_from_training_scores(preset: Any) -> None:
    source = Generated(preset, 0, (1, 2) if preset == "tiny" else (1, 4))
    asked = {split: [source.question(split, i) for i in range(4_000)] for split in ("train", "test")}
    everything = Counter(question.answers[0] for question in asked["test"])
    assert everything.most_common(1)[0][1] / len(asked["test"]) < 0.015  # the best constant, chosen with hindsight
    prior: dict[str, Counter[str]] = defaultdict(Counter)
    for question in asked["train"]:  # what training teaches about this form of question, names left out
        prior[_form(question)][question.answers[0]] += 1
    right = sum(
        question.answers[0] == prior[_form(question)].most_common(1)[0][0]
        for question in asked["test"]
        if prior[_form(question)]
    )
    assert right == 0
    assert not any(score.normalise(q.answers[0]) in score.normalise(q.text) for q in asked["test"])


@pytest.mark.parametrize("preset", PRESETS)
def test_relations_are_one_to_one_inside_a_land_so_that_no_answer_is_likelier(preset: Any) -> None:
    known = knowledge(preset, 0)
    for land in known.lands:
        for relation in TINY if preset == "tiny" else FULL:
            reached = [known.pages[name].facts[relation.name] for name in land[relation.subject]]
            assert len(set(reached)) == len(reached)
            if relation.object in land:
                assert set(reached) == set(land[relation.object])
            assert all(a != b for a, b in zip(land[relation.subject], reached, strict=True))


@pytest.mark.parametrize("preset", PRESETS)
def test_splits_share_no_question_no_name_and_no_fact(preset: Any) -> None:
    source = Generated(preset, 0, (1, 2))
    names: dict[str, set[str]] = {}
    for split in source.splits:
        lands = [source.knowledge.lands[land] for land in source.lands(split)]
        names[split] = {name for land in lands for members in land.values() for name in members}
        for index in range(500):
            question = source.question(split, index)
            assert {*question.path} <= names[split]
            assert any(name in question.text for name in names[split])
    assert not names["train"] & names["valid"]
    assert not names["train"] & names["test"]
    assert not names["valid"] & names["test"]
    for split, own in names.items():
        read = " ".join(source.knowledge.pages[name].text for name in own)
        foreign = set().union(*(others for other, others in names.items() if other != split))
        assert not [name for name in foreign if f" {name} " in f" {read.replace('.', ' ').replace(',', ' ')} "]


def test_names_stay_apart_after_normalisation_and_words_name_one_kind_only() -> None:
    for preset in PRESETS:
        pages = knowledge(preset, 0).pages
        assert len({score.normalise(name) for name in pages}) == len(pages)
    listed = [word for name, words in WORDS.items() if name.startswith("tiny_") for word in words]
    assert len(set(listed)) == len(listed) == 6 * 24


def test_the_same_seed_gives_the_same_knowledge_and_another_seed_another() -> None:
    knowledge.cache_clear()
    one = knowledge("full", 3).documents
    knowledge.cache_clear()
    assert one == knowledge("full", 3).documents
    assert one != knowledge("full", 4).documents


def test_the_tiny_preset_is_short_in_pages_and_words() -> None:
    env = Search(preset="tiny")
    seen, longest = set(), 0
    for index in range(300):
        observation, _ = env.reset(seed=0, options={"split": "train", "index": index})
        over = False
        while not over:
            seen |= set(observation.replace(".", " ").split())
            longest = max(longest, len(observation.split()))
            observation, _, terminated, truncated, _ = env.step(env.expert_action())
            over = terminated or truncated
    assert longest <= 16
    assert len(seen) < 400


def test_admissible_actions_name_only_what_was_seen_and_include_the_way() -> None:
    env = Search(preset="tiny", hops=(2, 2))
    for index in range(50):
        observation, info = env.reset(seed=0, options={"split": "valid", "index": index})
        seen, over = observation, False
        while not over:
            action = env.expert_action()
            assert action in info["admissible"]
            for listed in info["admissible"]:
                assert tags.read(listed).text in seen
            observation, _, terminated, truncated, info = env.step(action)
            seen, over = seen + observation, terminated or truncated
        assert info["admissible"] == []


def test_in_the_last_round_only_answers_are_admissible() -> None:
    env = begun(preset="tiny", hops=(1, 1), max_searches=1)
    info = env.step(env.expert_action())[4]
    assert {tags.read(action).kind for action in info["admissible"]} == {"answer"}


def test_names_and_numbers_are_asked_for() -> None:
    source = Generated("full", 0, (1, 4))
    for hops in (1, 2, 3, 4):
        asked = [source.question("train", index) for index in range(600)]
        answers = [question.answers[0] for question in asked if len(question.path) == hops]
        numbers = sum(answer.replace(",", "").isdecimal() for answer in answers)
        assert 0.05 * len(answers) < numbers < 0.5 * len(answers)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"hops": (0, 2)}, "1 to 4"),
        ({"hops": (3, 2)}, "1 to 4"),
        ({"preset": "tiny", "hops": (1, 3)}, "1 to 2"),
        ({"max_searches": 3}, "too few"),
        ({"max_searches": -1}, "from 0"),
        ({"top_k": 0}, "top_k = 0"),
        ({"document_chars": 0}, "document_chars"),
        ({"seed": -1}, "seed"),
        ({"url": "http://127.0.0.1:1/retrieve"}, "remote"),
        ({"retriever": "remote"}, "url"),
        ({"retriever": "remote", "url": "127.0.0.1:1"}, "http://127"),
        ({"retriever": "remote", "url": "http://127.0.0.1:1/retrieve", "timeout_s": 0}, "timeout_s"),
        ({"encoder": "os:getcwd"}, "dense"),
        ({"embeddings": Path("x.npy")}, "dense"),
        ({"retriever": "dense", "encoder": "nowhere_at_all:f"}, "cannot be imported"),
        ({"retriever": "dense", "encoder": "os"}, "module:function"),
        ({"retriever": "dense", "encoder": "os:name"}, "not a function"),
        ({"retriever": "dense", "embeddings": Path("/nowhere/x.npy")}, "cannot be read"),
        ({"corpus": Path("x.jsonl")}, "questions"),
        ({"questions": {}}, "no split"),
        ({"questions": {"train": Path("x.jsonl")}}, "corpus"),
        (
            {"questions": {"train": Path("/nowhere/x.jsonl")}, "corpus": Path("/nowhere/y.jsonl")},
            "there is no file",
        ),
        ({"questions": {"train": Path("x.jsonl")}, "corpus": Path("y.jsonl"), "hops": (1, 2)}, "generated"),
        ({"questions": {"train": Path("x.jsonl")}, "corpus": Path("y.jsonl"), "preset": "tiny"}, "generated"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_with_what_to_change(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Search(**wrong)


def _form(question: Any) -> str:
    return str(question.text.replace(question.path[0], "…"))


def test_searches_are_told_as_calls_and_documents_as_seen_and_cited() -> None:
    env = Search()
    _, info = env.reset(seed=0, options={"split": "test", "index": 0})
    question = env._play.question
    assert info["hidden"] == {"answers": question.answers, "path": question.path}
    assert info["documents"] == {"seen": [], "cited": []}
    first = question.path[0]
    info = env.step(f"<search> {first} </search>")[4]
    assert info["calls"] == [{"name": "search", "arguments": {"query": first}, "error": ""}]
    seen = info["documents"]["seen"]
    assert len(seen) == 3
    assert info["documents"]["cited"] == []
    assert env.step("<search></search>")[4]["calls"][0]["error"] == "the query is empty"
    info = env.step(f"<think>{first} says so.</think><answer> it </answer>")[4]
    assert info["calls"] == []
    assert info["documents"] == {"seen": seen, "cited": seen[:1]}
