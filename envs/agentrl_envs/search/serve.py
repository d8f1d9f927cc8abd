"""Serves a retriever over HTTP by Search-R1's protocol: `python -m agentrl_envs.search.serve --corpus wiki.jsonl`.

Anything that speaks the protocol can use it, among them this world with `retriever = "remote"`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import agentrl
from agentrl_envs.search.corpus import Retriever
from agentrl_envs.search.settings import Library, open_retriever

log = logging.getLogger(__name__)
_LONGEST_BODY = 16_000_000  # bytes
_MOST_QUERIES, _MOST_HITS = 4096, 1000
_IDLE_S = 60.0  # a connection that says nothing for so long is closed


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
        server = RetrieveServer(open_retriever(library), given.host, given.port, given.top_k)
    except agentrl.AgentRLError as error:
        log.error("%s", error)
        return 2
    with server:
        log.info("serving at http://%s:%d/retrieve", given.host, server.server_address[1])
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            log.info("stopped")
    return 0


class RetrieveServer(ThreadingHTTPServer):
    """Answers POST /retrieve from one retriever; each connection has a thread."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, retriever: Retriever, host: str, port: int, top_k: int = 3) -> None:
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise agentrl.ConfigError(
                f"cannot serve at {host}:{port}: {error}. Choose another port; 0 takes any."
            ) from None
        self.retriever, self.top_k = retriever, top_k

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is worth a line, not a traceback."""
        log.warning("a request from %s was not answered: %r", client_address, sys.exc_info()[1])


class _Refused(Exception):
    """The request cannot be answered, for a reason its sender should read."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer a search, or say what is wrong with it."""
        server = cast(RetrieveServer, self.server)
        try:
            if self.path.rstrip("/") != "/retrieve":
                self._send(HTTPStatus.NOT_FOUND, {"detail": "POST /retrieve is all there is"})
                return
            queries, count, scores = self._wanted(server.top_k)
            found = server.retriever.retrieve(queries, count)
        except _Refused as refused:
            self.close_connection = True  # the body may not have been read
            self._send(HTTPStatus.UNPROCESSABLE_ENTITY, {"detail": str(refused)})
            return
        except agentrl.AgentRLError as error:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, {"detail": str(error)})
            return
        documents = [[({"id": hit.id, "contents": hit.contents}, hit.score) for hit in hits] for hits in found]
        if scores:
            wrapped: Any = [[{"document": document, "score": score} for document, score in hits] for hits in documents]
        else:
            wrapped = [[document for document, _ in hits] for hits in documents]
        self._send(HTTPStatus.OK, {"result": wrapped})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing per request."""

    def _wanted(self, top_k: int) -> tuple[list[str], int, bool]:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LONGEST_BODY:
            raise _Refused(f"a body of at most {_LONGEST_BODY} bytes with its Content-Length is needed")
        try:
            payload = json.loads(self.rfile.read(int(length)))
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

    def _send(self, status: HTTPStatus, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    sys.exit(main())
