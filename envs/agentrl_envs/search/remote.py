"""A retriever behind HTTP, by the `/retrieve` protocol of Search-R1's servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import stamina

import agentrl
from agentrl_envs.search.corpus import Hit

_PAUSE_S = 0.2  # before the first retry; each later one waits longer
_AGAIN = frozenset({429, 500, 502, 503, 504})


class _Busy(Exception):
    """The server is there and cannot answer now."""


class Remote:
    """POST {"queries", "topk", "return_scores"} to `url` → {"result": [[{"document": {"contents"}, "score"}]]}.

    Documents without the wrapping (what servers give for `return_scores: false`) are read too. Raises EnvironmentFault
    for a server that does not answer, refuses, or answers something else; lost connections and busy servers are
    asked again `retries` times.
    """

    def __init__(self, url: str, timeout_s: float, retries: int = 3) -> None:
        self._url, self._retries = url, retries
        self._client = httpx.Client(timeout=timeout_s, trust_env=False)

    def retrieve(self, queries: Sequence[str], count: int) -> list[tuple[Hit, ...]]:
        answer = self._post({"queries": list(queries), "topk": count, "return_scores": True})
        result = answer.get("result") if isinstance(answer, Mapping) else None
        if (
            not isinstance(result, list)
            or len(result) != len(queries)
            or not all(isinstance(found, list) for found in result)
        ):
            raise agentrl.EnvironmentFault(
                f'{self._url} answered {str(answer)[:200]!r}; {{"result": [[…]]}} with one list per query was expected'
            )
        return [tuple(self._hit(entry) for entry in found[:count]) for found in result]

    def close(self) -> None:
        self._client.close()

    def _post(self, payload: Mapping[str, object]) -> object:
        asking = stamina.retry(
            on=(httpx.TransportError, _Busy),
            attempts=self._retries + 1,
            timeout=None,
            wait_initial=_PAUSE_S,
            wait_jitter=_PAUSE_S,
        )(self._ask)
        try:
            return asking(payload)
        except (httpx.TransportError, _Busy) as error:
            raise agentrl.EnvironmentFault(
                f"{self._url} gave no answer to {self._retries + 1} tries ({type(error).__name__}: {error}). Is the "
                "retriever running? `python -m agentrl_envs.search.serve` starts one."
            ) from error
        except (httpx.HTTPStatusError, ValueError, RecursionError) as error:
            raise agentrl.EnvironmentFault(f"{self._url} refused a search: {error}") from error

    def _ask(self, payload: Mapping[str, object]) -> object:
        response = self._client.post(self._url, json=payload)
        if response.status_code in _AGAIN:
            raise _Busy(f"status {response.status_code}: {response.text[:200]}")
        return response.raise_for_status().json()

    def _hit(self, entry: object) -> Hit:
        found: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {}
        document = found.get("document", found)
        if not isinstance(document, Mapping) or not isinstance(document.get("contents"), str):
            raise agentrl.EnvironmentFault(f'{self._url} gave a document without "contents": {str(entry)[:200]!r}')
        score = found.get("score")
        if not isinstance(score, int | float | None):
            raise agentrl.EnvironmentFault(f"{self._url} gave the score {str(score)[:200]!r}; a number was expected")
        contents = document["contents"].encode("utf-8", "replace").decode()
        return Hit(str(document.get("id", "")), contents, float(score or 0.0))
