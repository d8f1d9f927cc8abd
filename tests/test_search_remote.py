"""The remote retriever against real servers on loopback: ours in a process of its own, and broken ones."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from agentrl import EnvironmentFault, Spec
from agentrl.testing import check_environment

pytest.importorskip("bm25s", reason="the search extra is not installed: pip install bm25s pystemmer")

from serving_support import in_thread

from agentrl_envs.search.corpus import Hit
from agentrl_envs.search.dense import Dense
from agentrl_envs.search.remote import Remote
from agentrl_envs.search.serve import app
from agentrl_envs.search.world import Search


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """The address of a server process."""
    command = [sys.executable, "-m", "agentrl_envs.search.serve", "--port", "0", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said.startswith("serving at http://"), said
        yield said.split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as address:
        yield address


@contextmanager
def broken(answer: Callable[[int], tuple[int, bytes]]) -> Iterator[tuple[str, list[Any]]]:
    """A server that gives its n-th request `answer(n)`, a status and a body; and what it was asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, body = answer(len(asked) - 1)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/retrieve", asked
    finally:
        server.shutdown()
        server.server_close()


def test_a_remote_world_plays_exactly_as_the_built_in_one(url: str) -> None:
    here, there = Search(), Search(retriever="remote", url=url)
    assert there.blocks
    assert not here.blocks
    for index in range(25):
        steps = []
        for env in (here, there):
            got: list[Any] = [env.reset(seed=0, options={"split": "test", "index": index})]
            while len(got) == 1 or not (got[-1][2] or got[-1][3]):
                got.append(env.step(env.expert_action()))
            steps.append(got)
        assert steps[0] == steps[1]
        assert steps[0][-1][1] == 1.0


def test_a_remote_world_passes_the_kit(url: str) -> None:
    report = check_environment(Spec("environment", "search", {"retriever": "remote", "url": url}), actions=200)
    assert report.passed, report.failures


def test_the_server_speaks_the_protocol_with_and_without_scores(url: str) -> None:
    queries = {"queries": ["mayor", "twin town", "qqqq"], "topk": 2}
    scored = httpx.post(url, json=queries | {"return_scores": True}).json()["result"]
    plain = httpx.post(url, json=queries).json()["result"]
    assert [len(found) for found in scored] == [2, 2, 0]
    assert [[hit["document"] for hit in found] for found in scored] == plain
    assert set(scored[0][0]) == {"document", "score"}
    assert scored[0][0]["score"] >= scored[0][1]["score"] > 0
    assert set(plain[0][0]) == {"id", "contents"}
    assert len(httpx.post(url, json={"queries": ["mayor"]}).json()["result"][0]) == 3
    wanted = [tuple(hit["document"]["contents"] for hit in found) for found in scored]
    assert [tuple(hit.contents for hit in hits) for hits in Remote(url, 10.0).retrieve(queries["queries"], 2)] == wanted


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"3", "queries"),
        (b'{"queries": "x"}', "queries"),
        (b'{"queries": []}', "0 queries"),
        (b'{"queries": [3]}', "queries"),
        (b'{"queries": ["x"], "topk": 0}', "topk"),
        (b'{"queries": ["x"], "topk": true}', "topk"),
        (b'{"queries": ["x"], "topk": "3"}', "topk"),
    ],
)
def test_the_server_refuses_nonsense_with_a_reason_and_lives_on(url: str, body: bytes, says: str) -> None:
    response = httpx.post(url, content=body)
    assert response.status_code == 422
    assert says in response.json()["detail"]
    assert httpx.post(url, content=b'{"queries": ["\\ud800"]}').status_code == 200
    assert httpx.post(url.replace("retrieve", "other"), json={"queries": ["x"]}).status_code == 404


def test_an_encoder_behind_the_server_never_meets_text_that_cannot_be_encoded() -> None:
    dense = Dense([Hit("0", "a")], np.ones((1, 1)), lambda texts, are_queries: [[len(text.encode())] for text in texts])
    with in_thread(app(dense)) as address:
        body = b'{"queries": ["\\ud800"], "return_scores": true}'
        response = httpx.post(f"{address}retrieve", content=body)
    assert response.json()["result"] == [[{"document": {"id": "0", "contents": "a"}, "score": 1.0}]]


def test_many_clients_at_once_get_their_own_answers(url: str) -> None:
    env, remote = Search(), Remote(url, 30.0)
    names = [env._questions.question("train", index).path[0] for index in range(200)]  # type: ignore[attr-defined]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda name: remote.retrieve([name], 1)[0][0].title, names))
    assert found == names


def test_a_users_corpus_is_served(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"id": "7", "contents": "Ada\\npainter"}\n{"id": "8", "contents": "Tom\\nbaker"}\n')
    with serving("--corpus", str(path), "--retriever", "dense", "--top-k", "1") as address:
        result = httpx.post(address, json={"queries": ["the baker"], "return_scores": False}).json()["result"]
    assert result == [[{"id": "8", "contents": "Tom\nbaker"}]]


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agentrl_envs.search.serve", "--corpus", str(tmp_path / "none.jsonl")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "there is no corpus" in run.stderr


def test_a_busy_server_is_asked_again() -> None:
    good = json.dumps({"result": [[{"id": "1", "contents": "a\nb"}]]}).encode()
    with broken(lambda n: (503, b"busy") if n < 2 else (200, good)) as (address, asked):
        (hits,) = Remote(address, 5.0).retrieve(["x"], 3)
    assert [hit.contents for hit in hits] == ["a\nb"]
    assert asked == [{"queries": ["x"], "topk": 3, "return_scores": True}] * 3


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((200, b"{}"), "was expected"),
        ((200, b'{"result": []}'), "was expected"),
        ((200, b'{"result": [[{"document": {}}]]}'), '"contents"'),
        ((200, b'{"result": [["x"]]}'), '"contents"'),
        ((200, b'{"result": [[{"document": {"contents": "a"}, "score": "high"}]]}'), "score"),
        ((200, b'{"result": [3]}'), "was expected"),
        ((200, b"<html>"), "refused"),
        ((404, b"nothing here"), "refused"),
        ((500, b"broken"), "4 tries"),
    ],
)
def test_an_answer_of_another_kind_is_a_fault_of_the_machinery(
    answer: tuple[int, bytes], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentrl_envs.search.remote._PAUSE_S", 0.0)
    with broken(lambda _: answer) as (address, _):
        env = Search(retriever="remote", url=address)
        env.reset(seed=0)
        before = env.snapshot()
        with pytest.raises(EnvironmentFault, match=says):
            env.step("<search>x</search>")
        assert env.snapshot() == before


def test_a_server_that_is_gone_or_silent_is_a_fault_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentrl_envs.search.remote._PAUSE_S", 0.0)
    with broken(lambda _: (time.sleep(0.5), (200, b"{}"))[1]) as (address, _):
        started = time.perf_counter()
        with pytest.raises(EnvironmentFault, match="Timeout"):
            Remote(address, 0.1).retrieve(["x"], 1)
        assert time.perf_counter() - started < 5
    with pytest.raises(EnvironmentFault, match="Is the retriever running"):
        Remote(address, 1.0).retrieve(["x"], 1)
