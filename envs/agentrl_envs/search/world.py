"""Search: the Gymnasium world in which questions are answered by searching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import agentrl
from agentrl import ConfigError, Scene
from agentrl_envs.search import score, tags
from agentrl_envs.search.corpus import Hit
from agentrl_envs.search.knowledge import Preset
from agentrl_envs.search.questions import Generated, Question
from agentrl_envs.search.settings import Kind, Library, Quiz, open_questions, open_retriever

LONGEST_QUERY = 2000  # characters
_INSTRUCTIONS = (
    "Answer the question. Whenever you get new information, reason about it first inside <think> and </think>. If you "
    "lack knowledge, write <search> query </search>: what a search engine finds comes back between <information> and "
    "</information>. You may do so {searches} times. As soon as you know enough, write the answer, as short as possible "
    "and without explanation, between <answer> and </answer>; this ends the task."
)


@dataclass(frozen=True, slots=True)
class _Play:
    """Everything that changes while a question is being answered."""

    question: Question
    rounds: int = 0  # completions so far that were not the last one
    read: tuple[str, ...] = ()  # titles of the documents that were shown, each once
    seen: tuple[tuple[str, str], ...] = ()  # their ids and titles
    cited: tuple[str, ...] = ()  # ids of those whose title a later completion holds
    evidence: bool = False  # whether a golden answer was in one of them


class Search(agentrl.TextWorld):
    """Answer a question by searching a corpus over several turns, as in Search-R1 (Jin et al. 2025).

    An action is what a completion says after its thought, which the dialect takes off: `<search> query </search>` or
    `<answer> text </answer>`, among other words; the first tag counts. The observation after a search is `<information>…</information>` with the `top_k`
    best documents. After `max_searches` rounds (as in the original, one without a readable tag counts) comes a last
    one without search, in which only an answer counts. The reward is the exact match of the answer, or its F1, with
    SQuAD's normalisation; `info` holds both at the end. Differences to the original: a search without words, or with
    more than 2,000 characters, is refused like an unreadable one; an answer such as "A" or "The The", of which the
    normalisation leaves nothing, has to be given as it is.

    `info` also has `milestones` (`hop N` for each page of the way that was read, `evidence` once a golden answer was in
    a document), `calls` (the search of this turn), `documents` (ids of those `seen`, and of those `cited`: a later
    completion holds their title), and at the reset `hidden`: the golden `answers` and the `path` of pages to them.

    Settings. Without `questions`, they are generated, of `hops` (fewest, most) relations each, about a generated
    knowledge base (`seed`); `preset`: "tiny" has pages of a dozen words, at most two hops and `info["admissible"]`.
    `questions`: split → file (.jsonl or .parquet with `question`, `golden_answers`), and `corpus`: a file of documents
    (`id`, `contents` with the title on the first line). `retriever`: "bm25"; "dense", with `embeddings` (.npy, one row
    per document; made at the start if left out) and `encoder` ("hashed" or "module:function", called with texts and
    whether they are queries); "remote", a server at `url` that speaks Search-R1's /retrieve protocol (see `serve`).
    `anchor`: the observation, or the true state (what was read, rounds used). `document_chars`: how much of a
    document's text is shown. `cache`: where the index of a large corpus is kept.

    Raises ConfigError for settings that do not go together, DataError for files that are not what they claim to be.
    """

    resources = ("_questions", "_retriever", "splits")
    presets = {"full": {"max_searches": 5, "top_k": 3}, "tiny": {"max_searches": 3, "top_k": 1}}  # noqa: RUF012

    def __init__(
        self,
        *,
        preset: Preset = "full",
        hops: tuple[int, int] | None = None,
        seed: int = 0,
        max_searches: int | None = None,
        top_k: int | None = None,
        reward: Literal["exact_match", "f1"] = "exact_match",
        anchor: Literal["observation", "state"] = "observation",
        questions: dict[str, Path] | None = None,
        corpus: Path | None = None,
        retriever: Kind = "bm25",
        embeddings: Path | None = None,
        encoder: str = "hashed",
        url: str = "",
        timeout_s: float = 30.0,
        document_chars: int = 4000,
        cache: Path | None = None,
    ) -> None:
        if questions is not None and not questions:
            raise ConfigError('questions names no split: give split = file, as in { train = "nq/train.jsonl" }')
        if corpus is not None and not questions:
            raise ConfigError("a corpus needs questions about it: give questions = { split = file } too")
        if questions and corpus is None and retriever != "remote":
            raise ConfigError(
                "questions of files need documents to search: give corpus = … too, or retriever = 'remote' with a url"
            )
        if document_chars < 1:
            raise ConfigError(f"document_chars = {document_chars}: allowed are whole numbers from 1")
        paths = [path and Path(path) for path in (corpus, embeddings, cache)]
        self._library = Library(retriever, preset, seed, paths[0], paths[1], encoder, url, timeout_s, paths[2])
        self._quiz = Quiz.of(preset, seed, hops, (questions or {}).items())
        sizes = self.sizes(preset, max_searches=max_searches, top_k=top_k)
        self._searches, self._top_k = sizes["max_searches"], sizes["top_k"]
        needed = 0 if questions else self._quiz.hops[1]
        if self._searches < 0 or self._top_k < 1:
            raise ConfigError(
                f"max_searches = {self._searches}, top_k = {self._top_k}: allowed are numbers from 0 and from 1"
            )
        if self._searches < needed:
            raise ConfigError(
                f"max_searches = {self._searches} is too few for questions of {needed} hops: allow {needed}, or set "
                f"hops = [1, {self._searches or 1}]"
            )
        self._preset, self.reward_name, self._anchor_is_state = preset, reward, anchor == "state"
        self._longest = document_chars
        self.max_turns = self._searches + 1
        self.instructions = _INSTRUCTIONS.format(searches=self._searches)
        self.blocks = retriever == "remote"
        self.open()

    def open(self) -> None:
        self._questions, self._retriever = open_questions(self._quiz), open_retriever(self._library)
        self.splits = self._questions.splits

    def begin(self, task: agentrl.Task) -> Scene:
        self._play = _Play(self._questions.question(task.split, task.index))
        question = self._play.question
        scene = self._scene(f"Question: {question.text}")
        return scene.replace(calls=None, hidden={"answers": question.answers, "path": question.path})

    def act(self, action: str) -> Scene:
        """Search or answer. Raises EnvironmentFault where a remote retriever fails."""
        play, said = self._play, tags.read(action)
        if said.kind == "answer":
            self._play = self._cite(action)
            return self._over(said.text)
        if play.rounds == self._searches:
            return self._over(None, "this was the last round: only an answer counts")
        invalid = _refused(said)
        call = {"name": "search", "arguments": {"query": said.text}, "error": invalid}
        if invalid:
            self._play = replace(self._cite(action), rounds=play.rounds + 1)
            return self._scene(tags.EXPLANATION, invalid, [call] if said.kind == "search" else [])
        hits = self._retriever.retrieve([said.text], self._top_k)[0]
        self._play = replace(
            self._cite(action),
            rounds=play.rounds + 1,
            read=tuple(dict.fromkeys((*play.read, *(hit.title for hit in hits)))),
            seen=tuple(dict.fromkeys((*play.seen, *((hit.id, hit.title) for hit in hits)))),
            evidence=play.evidence or _holds_one(hits, play.question.answers),
        )
        return self._scene(tags.information(hits, self._longest), "", [call])

    def key(self, task: agentrl.Task) -> str:
        return self._play.question.key

    def expert_action(self) -> str:
        """Searches for the next page of the way and answers when all were read; other questions it searches for once."""
        play = self._play
        question = play.question
        missing = [name for name in question.path if name not in play.read]
        if missing and play.rounds < self._searches:
            return tags.search(missing[0])
        if not question.path and not play.rounds:
            return tags.search(" ".join(question.text[:LONGEST_QUERY].replace("<", " ").split()))
        return tags.answer(question.answers[0])

    def state(self) -> object:
        return self._play

    def load(self, state: _Play) -> None:
        self._play = state

    def _cite(self, completion: str) -> _Play:
        """The play with the documents cited whose title a completion holds."""
        text = completion.casefold()
        named = (document for document, title in self._play.seen if title.casefold() in text)
        return replace(self._play, cited=tuple(dict.fromkeys((*self._play.cited, *named))))

    def _over(self, answer: str | None, invalid: str = "") -> Scene:
        golden = self._play.question.answers
        scores = {"exact_match": 0.0, "f1": 0.0}
        if answer is not None:
            scores = {"exact_match": score.exact_match(answer, golden), "f1": score.f1(answer, golden)}
        return self._scene("", invalid, over=True).replace(
            reward=scores[self.reward_name],
            done=answer is not None,
            success=scores["exact_match"] == 1.0,
            info={**scores, "answer": answer or "", "golden_answers": list(golden)},
        )

    def _scene(
        self, observation: str, invalid: str = "", calls: Sequence[Mapping[str, object]] = (), over: bool = False
    ) -> Scene:
        play = self._play
        return Scene(
            observation,
            success=False,
            admissible=self._admissible(over) if self._preset == "tiny" else None,
            invalid=invalid,
            anchor=self._anchor() if self._anchor_is_state else None,
            milestones=self._milestones(),
            calls=list(calls),
            documents={"seen": [document for document, _ in play.seen], "cited": list(play.cited)},
        )

    def _anchor(self) -> str:
        play = self._play
        return f"{play.question.text} | {play.rounds} | {', '.join(sorted(play.read))}"

    def _milestones(self) -> tuple[str, ...]:
        """`hop N` for each page of the way that was read, up to the first that was not; `evidence` for an answer seen."""
        play, hops = self._play, 0
        while hops < len(play.question.path) and play.question.path[hops] in play.read:
            hops += 1
        return (*(f"hop {hop}" for hop in range(1, hops + 1)), *(("evidence",) if play.evidence else ()))

    def _admissible(self, over: bool) -> list[str]:
        """A search for, and an answer with, each name that was seen in the question or on a page."""
        if over:
            return []
        play, pages = self._play, cast(Generated, self._questions).knowledge.pages
        names = dict.fromkeys(play.question.path[:1])
        for title in play.read:
            if title in pages:
                names |= dict.fromkeys((title, *pages[title].facts.values()))
        searches = [tags.search(name) for name in names] if play.rounds < self._searches else []
        return searches + [tags.answer(name) for name in names]


def _refused(said: tags.Said) -> str:
    if said.kind == "nothing":
        return "neither <search>…</search> nor <answer>…</answer> outside of the thought"
    if not said.text:
        return "the query is empty"
    return f"a query has at most {LONGEST_QUERY} characters" if len(said.text) > LONGEST_QUERY else ""


def _holds_one(hits: Sequence[Hit], answers: Sequence[str]) -> bool:
    """Whether a golden answer is in the documents, as whole words."""
    shown = [f" {score.normalise(hit.contents)} " for hit in hits]
    wanted = [f" {score.normalise(answer)} " for answer in answers]
    return any(answer in text for text in shown for answer in wanted if answer.strip())
