"""The search world over a user's files: corpora, questions of the usual sets, dense retrieval, the index on disk."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agentrl import ConfigError, DataError, Spec
from agentrl.testing import check_environment

pytest.importorskip("bm25s", reason="the search extra is not installed: pip install bm25s pystemmer")

from agentrl_envs.search import bm25, settings
from agentrl_envs.search.corpus import Hit, JsonLines, open_corpus
from agentrl_envs.search.dense import Dense, hashed
from agentrl_envs.search.files import Asked, questions
from agentrl_envs.search.world import Search

PAGES = [
    {"id": "0", "contents": '"Ada Bell"\nAda Bell was a painter from Red Hill.'},
    {"id": "1", "contents": '"Red Hill"\nRed Hill is a town. Its mayor is Tom Rays.'},
    {"id": "2", "contents": '"Tom Rays"\nTom Rays was born in 1950; he grows “quinces” – ü.'},
    {"id": "3", "contents": '"Port Cole"\nPort Cole is a harbour with a lighthouse.'},
]
ASKED = [
    {
        "id": "train_0",
        "question": "Who is the mayor of Red Hill?",
        "golden_answers": ["Tom Rays", "T. Rays"],
        "metadata": {},
    },
    {"id": "train_1", "question": "where was ada bell from", "golden_answers": ["Red Hill"]},
    {"id": "train_2", "question": "When was Tom Rays born?", "golden_answers": ["1950"]},
]
HELD_OUT = [{"question": "when was TOM Rays born", "golden_answers": ["1950"]}]


def lines(path: Path, records: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def parquet(path: Path, records: list[Any]) -> Path:
    pq.write_table(pa.Table.from_pylist(records), path)
    return path


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    asked = {"train": lines(tmp_path / "train.jsonl", ASKED), "test": lines(tmp_path / "test.jsonl", HELD_OUT)}
    return {"questions": asked, "corpus": lines(tmp_path / "corpus.jsonl", PAGES)}


def test_a_users_corpus_and_questions_make_a_world_that_passes_the_kit(given: dict[str, Any]) -> None:
    table = {name: str(value) for name, value in given["questions"].items()}
    report = check_environment(
        Spec("environment", "search", {"questions": table, "corpus": str(given["corpus"])}), actions=300
    )
    assert report.passed, report.failures


def test_a_question_of_a_file_is_asked_and_any_golden_answer_is_right(given: dict[str, Any]) -> None:
    env = Search(**given)
    observation, info = env.reset(seed=0, options={"split": "train", "index": 0})
    assert observation == "Question: Who is the mayor of Red Hill?"
    observation, _, _, _, info = env.step("<search>mayor of Red Hill</search>")
    assert observation.startswith('<information>Doc 1(Title: "Red Hill") Red Hill is a town.')
    assert info["milestones"] == ("evidence",)
    assert env.step("<answer>t rays</answer>")[1] == 1.0
    assert "admissible" not in info


def test_a_question_in_two_splits_stays_in_the_later_one_only(given: dict[str, Any]) -> None:
    env = Search(**given)
    assert env.splits == {"train": 2, "test": 1}
    with pytest.raises(DataError, match="none is left"):
        Search(
            questions={"train": given["questions"]["test"], "test": given["questions"]["train"]}, corpus=given["corpus"]
        )


def test_the_expert_searches_once_and_answers_what_is_golden(given: dict[str, Any]) -> None:
    env = Search(**given)
    env.reset(seed=0, options={"split": "train", "index": 1})
    assert env.expert_action() == "<search> where was ada bell from </search>"
    env.step(env.expert_action())
    assert env.step(env.expert_action())[1:3] == (1.0, True)


def test_long_documents_are_cut(given: dict[str, Any]) -> None:
    env = Search(document_chars=8, **given)
    env.reset(seed=0)
    assert env.step("<search>lighthouse</search>")[0] == '<information>Doc 1(Title: "Port Cole") Port Col</information>'


@pytest.mark.parametrize(
    "record",
    [
        {"question": "who", "golden_answers": ["a", "b", "a"]},
        {"question": " who ", "answers": ["a", "b"]},
        {"question": "who", "answer": ["a", "b"]},
        {
            "question": "who",
            "data_source": "nq",
            "prompt": [{"role": "user", "content": "…"}],
            "reward_model": {"style": "rule", "ground_truth": {"target": ["a", "b"]}},
        },
    ],
)
def test_questions_are_read_in_every_form_from_lines_and_parquet(tmp_path: Path, record: dict[str, Any]) -> None:
    wanted = [Asked("who", ("a", "b"))]
    assert questions(lines(tmp_path / "q.jsonl", [record])) == wanted
    assert questions(parquet(tmp_path / "q.parquet", [record])) == wanted
    assert questions(lines(tmp_path / "one.jsonl", [{"question": "who", "answer": "a"}])) == [Asked("who", ("a",))]


def test_a_corpus_is_the_same_from_lines_and_from_parquet(tmp_path: Path) -> None:
    text = lines(tmp_path / "c.jsonl", PAGES)
    text.write_text("\n" + text.read_text() + "  \n", encoding="utf-8")
    table = parquet(tmp_path / "c.parquet", PAGES)
    apart = lines(
        tmp_path / "d.jsonl",
        [{"id": p["id"], "title": p["contents"].split("\n")[0], "text": p["contents"].split("\n")[1]} for p in PAGES],
    )
    shelves = [open_corpus(path) for path in (text, table, apart)]
    for number, page in enumerate(PAGES):
        assert {shelf[number] for shelf in shelves} == {Hit(page["id"], page["contents"])}
    assert [len(shelf) for shelf in shelves] == [4, 4, 4]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("c.jsonl", b"", "no document"),
        ("c.jsonl", b"nonsense\n", "no JSON"),
        ("c.jsonl", b"\xff\xfe\n", "no JSON"),
        ("c.jsonl", b'{"id": 1}\n', '"contents"'),
        ("c.jsonl", b"[1]\n", '"contents"'),
        ("c.parquet", b"nonsense", "no Parquet"),
    ],
)
def test_files_that_are_no_corpus_are_refused_with_a_reason(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        open_corpus(tmp_path / name)
    with pytest.raises(ConfigError, match=r"\.jsonl or \.parquet"):
        open_corpus(lines(tmp_path / "c.csv", PAGES))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("q.jsonl", b"", "no question"),
        ("q.jsonl", b"{", "JSON lines"),
        ("q.jsonl", b"\xff\n", "JSON lines"),
        ("q.jsonl", b'{"question": "who"}\n', "golden_answers"),
        ("q.jsonl", b'{"question": "", "golden_answers": ["a"]}\n', "golden_answers"),
        ("q.jsonl", b'{"question": "who", "golden_answers": []}\n', "golden_answers"),
        ("q.jsonl", b"3\n", "golden_answers"),
        ("q.parquet", b"nonsense", "Parquet"),
    ],
)
def test_files_that_hold_no_questions_are_refused_with_a_reason(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        questions(tmp_path / name)
    with pytest.raises(ConfigError, match=r"\.parquet file"):
        questions(lines(tmp_path / "q.csv", ASKED))


def test_the_index_of_a_large_file_is_kept_on_disk_and_finds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(0)
    vocabulary = [f"w{number}" for number in range(300)]
    texts = [f"t{n}\n" + " ".join(draw.choices(vocabulary, k=20)) for n in range(2_000)]
    path = lines(tmp_path / "large.jsonl", [{"id": str(n), "contents": text} for n, text in enumerate(texts)])
    corpus = JsonLines(path)
    queries = [" ".join(draw.choices(vocabulary, k=3)) for _ in range(50)]
    in_memory = bm25.BM25.over(corpus, path).retrieve(queries, 5)
    monkeypatch.setattr(bm25, "LARGE", 1)
    built = bm25.BM25.over(corpus, path, tmp_path / "cache").retrieve(queries, 5)
    (folder,) = (tmp_path / "cache").iterdir()
    mapped = bm25.BM25.over(corpus, path, tmp_path / "cache").retrieve(queries, 5)
    assert in_memory == built == mapped
    unread = bm25.BM25.over([Hit(str(n), "") for n in range(2_000)], path, tmp_path / "cache")
    assert [hit.id for hit in unread.retrieve(queries, 5)[0]] == [hit.id for hit in mapped[0]]
    assert list((tmp_path / "cache").iterdir()) == [folder]
    scores = [hit.score for hit in mapped[0]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0


def test_dense_retrieval_is_the_exact_best_by_inner_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random_numbers = np.random.default_rng(0)
    embeddings = random_numbers.normal(size=(500, 16)).astype(np.float16)
    np.save(tmp_path / "e.npy", embeddings)
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "given_encoder.py").write_text(
        "import numpy as np\n\ndef encode(texts, are_queries):\n    assert are_queries\n"
        "    return [np.random.default_rng(int(text)).normal(size=16) for text in texts]\n"
    )
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.setattr("agentrl_envs.search.dense._BLOCK", 64)
    dense = Dense.over([Hit(str(n), f"t{n}") for n in range(500)], tmp_path / "e.npy", "given_encoder:encode")
    for number, hits in enumerate(dense.retrieve([str(n) for n in range(20)], 7)):
        scores = embeddings.astype(np.float32) @ np.random.default_rng(number).normal(size=16).astype(np.float32)
        assert [int(hit.id) for hit in hits] == np.argsort(-scores)[:7].tolist()
        assert [hit.score for hit in hits] == pytest.approx(np.sort(scores)[::-1][:7].tolist(), rel=1e-4)
    assert len(dense.retrieve(["0"], 1000)[0]) == 500


def test_embeddings_that_do_not_fit_corpus_or_encoder_are_refused(tmp_path: Path) -> None:
    corpus = [Hit("0", "a"), Hit("1", "b")]
    np.save(tmp_path / "short.npy", np.zeros((1, 1024)))
    np.save(tmp_path / "narrow.npy", np.zeros((2, 3)))
    with pytest.raises(DataError, match="one row per document"):
        Dense.over(corpus, tmp_path / "short.npy", "hashed")
    with pytest.raises(ConfigError, match="1024 numbers per text"):
        Dense.over(corpus, tmp_path / "narrow.npy", "hashed").retrieve(["a"], 1)
    with pytest.raises(DataError, match="the encoder gave"):
        Dense(corpus, np.zeros((2, 3)), lambda texts, are_queries: [1.0]).retrieve(["a"], 1)


def test_the_hashed_encoder_finds_a_misspelt_name_that_bm25_misses() -> None:
    corpus = [Hit(page["id"], page["contents"]) for page in PAGES]
    query = "lighthose harbuor"
    assert bm25.BM25.over(corpus).retrieve([query], 1) == [()]
    assert Dense.over(corpus, None, "hashed").retrieve([query], 1)[0][0].id == "3"
    assert np.linalg.norm(hashed(["a word", ""], False), axis=1) == pytest.approx([1, 0])


def test_the_dense_retriever_finds_nearly_all_pages_of_the_generated_corpus() -> None:
    retriever = settings.open_retriever(settings.Library("dense"))
    names = [question.path[0] for question in map(_asked, range(300))]
    found = [hits[0].title for hits in retriever.retrieve(names, 1)]
    assert sum(a == b for a, b in zip(names, found, strict=True)) >= 0.97 * len(names)


def _asked(index: int) -> Any:
    return Search()._questions.question("valid", index)
