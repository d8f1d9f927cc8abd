"""Serves a retriever over HTTP by Search-R1's protocol: `python -m agentrl_envs.search.serve --corpus wiki.jsonl`.

Anything that speaks the protocol can use it, among them this world with `retriever = "remote"`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import agentrl
from agentrl_envs import serving
from agentrl_envs.search.corpus import Retriever
from agentrl_envs.search.settings import Library, open_retriever

log = logging.getLogger(__name__)
_LONGEST_BODY = 16_000_000  # bytes
_MOST_QUERIES, _MOST_HITS = 4096, 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted. Returns 2 for settings that do not go together."""
    parser = argparse.ArgumentParser(prog="python -m agentrl_envs.search.serve", description=__doc__)
    parser.add_argument("--corpus", type=Path, help=".jsonl or .parquet; without it the generated one is served")
    parser.add_argument("--retriever", choices=("bm25", "dense"), default="bm25")
    parser.add_argument("--embeddings", type=Path, help=".npy, one row per document")
    parser.add_argument("--encoder", default="hashed", help='"hashed" or "module:function"')
    parser.add_argument("--preset", choices=("full", "tiny"), default="full", help="of the generated corpus")
    parser.add_argument("--seed", type=int, default=0, help="of the generated corpus")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free")
    parser.add_argument("--top-k", type=int, default=3, help="for requests that name none")
    given = parser.parse_args(arguments)
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    try:
        library = Library(given.retriever, given.preset, given.seed, given.corpus, given.embeddings, given.encoder)
        retriever = open_retriever(library)
        serving.serve(
            app(retriever, given.top_k), given.host, given.port, lambda url: log.info("serving at %sretrieve", url)
        )
    except agentrl.AgentRLError as error:
        log.error("%s", error)
        return 2
    return 0


def app(retriever: Retriever, top_k: int = 3) -> Starlette:
    """Answers POST /retrieve from one retriever, each request in a thread."""

    async def retrieve(request: Request) -> JSONResponse:
        try:
            queries, count, scores = _wanted(await serving.body(request, _LONGEST_BODY), top_k)
            found = await run_in_threadpool(retriever.retrieve, queries, count)
        except _Refused as refused:
            return JSONResponse({"detail": str(refused)}, 422)
        except agentrl.AgentRLError as error:
            return JSONResponse({"detail": str(error)}, 500)
        documents = [[({"id": hit.id, "contents": hit.contents}, hit.score) for hit in hits] for hits in found]
        wrapped = [[{"document": document, "score": score} for document, score in hits] for hits in documents]
        plain = [[document for document, _ in hits] for hits in documents]
        return JSONResponse({"result": wrapped if scores else plain})

    return Starlette(routes=[Route("/retrieve", retrieve, methods=["POST"])])


class _Refused(Exception):
    """The request cannot be answered, for a reason its sender should read."""


def _wanted(body: bytes, top_k: int) -> tuple[list[str], int, bool]:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        raise _Refused("the body is no JSON") from None
    queries = payload.get("queries") if isinstance(payload, dict) else None
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        raise _Refused('"queries" must be a list of texts')
    if not 0 < len(queries) <= _MOST_QUERIES:
        raise _Refused(f"{len(queries)} queries: allowed are 1 to {_MOST_QUERIES}")
    count = payload.get("topk")
    count = top_k if count is None else count
    if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= _MOST_HITS:
        raise _Refused(f'"topk" must be a whole number from 1 to {_MOST_HITS}')
    clean = [query.encode("utf-8", "replace").decode() for query in queries]
    return clean, count, bool(payload.get("return_scores", False))


if __name__ == "__main__":
    sys.exit(main())
