"""Search: the Gymnasium world in which questions are answered by searching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, cast

import gymnasium

import agentrl
from agentrl_envs.search import score, tags
from agentrl_envs.search.corpus import Hit
from agentrl_envs.search.knowledge import Preset
from agentrl_envs.search.questions import Generated, Question
from agentrl_envs.search.settings import Kind, Library, Quiz, open_questions, open_retriever

Info: TypeAlias = dict[str, Any]

LONGEST_QUERY = 2000  # characters
_SEARCHES = {"full": 5, "tiny": 3}
_TOP_K = {"full": 3, "tiny": 1}
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
    observation: str
    rounds: int = 0  # completions so far that were not the last one
    read: tuple[str, ...] = ()  # titles of the documents that were shown, each once
    evidence: bool = False  # whether a golden answer was in one of them
    over: Literal["", "answered", "no answer"] = ""
    answer: str = ""


class Search(agentrl.Environment):
    """Answer a question by searching a corpus over several turns, as in Search-R1 (Jin et al. 2025).

    An action is a whole completion: `<search> query </search>` or `<answer> text </answer>`, after as much reasoning as
    one likes; the first tag counts. The observation after a search is `<information>…</information>` with the `top_k`
    best documents. After `max_searches` rounds (as in the original, one without a readable tag counts) comes a last
    one without search, in which only an answer counts. The reward is the exact match of the answer, or its F1, with
    SQuAD's normalisation; `info` holds both at the end. Differences to the original: a search without words, or with
    more than 2,000 characters, is refused like an unreadable one.

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

    metadata: ClassVar[dict[str, Any]] = agentrl.Environment.metadata | {"render_modes": ["ansi"]}  # type: ignore[misc]

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
        _check(questions, corpus, retriever, document_chars)
        self._library = Library(
            retriever, preset, seed, _path(corpus), _path(embeddings), encoder, url, timeout_s, _path(cache)
        )
        self._quiz = Quiz.of(preset, seed, hops, (questions or {}).items())
        self._searches = _SEARCHES[preset] if max_searches is None else max_searches
        self._top_k = _TOP_K[preset] if top_k is None else top_k
        _check_numbers(self._searches, self._top_k, 0 if questions else self._quiz.hops[1])
        self._preset, self._reward, self._anchor_is_state = preset, reward, anchor == "state"
        self._longest = document_chars
        self.instructions = _INSTRUCTIONS.format(searches=self._searches)
        self.blocks = retriever == "remote"
        self.render_mode: str | None = None
        self._play: _Play | None = None
        self._open()

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, Info]:
        """Begin a task; without an index, one drawn from the split."""
        super().reset(seed=seed)
        task = self.pick_task(options)
        question = self._questions.question(task.split, task.index)
        self._play = _Play(question, f"Question: {question.text}")
        return self._play.observation, self._info(self._play, "")

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Search or answer. Raises EnvironmentFault where a remote retriever fails."""
        play = self._playing()
        if play.over:
            invalid, reward = "the task is over", 0.0
        else:
            self._play, invalid = self._after(play, tags.read(action))
            reward = self._scores(self._play)[self._reward] if self._play.over == "answered" else 0.0
        play = self._playing()
        info = self._info(play, invalid)
        info["rewards"] = {self._reward: reward}
        return play.observation, reward, play.over == "answered", play.over == "no answer", info

    def expert_action(self) -> str:
        """Searches for the next page of the way and answers when all were read; other questions it searches for once."""
        play = self._playing()
        question = play.question
        missing = [name for name in question.path if name not in play.read]
        if missing and play.rounds < self._searches:
            return tags.search(missing[0])
        if not question.path and not play.rounds:
            return tags.search(" ".join(question.text[:LONGEST_QUERY].replace("<", " ").split()))
        return tags.answer(question.answers[0])

    def render(self) -> str | None:
        """The last observation."""
        return self._playing().observation if self.render_mode == "ansi" else None

    def snapshot(self) -> object:
        """Question, what was read and random state; nothing of the corpus."""
        random_state = None if self._np_random is None else self._np_random.bit_generator.state
        return self._playing(), random_state

    def restore(self, snapshot: object) -> None:
        """Go back to a snapshot, also one taken by another instance of the same settings."""
        self._play, random_state = cast(tuple[_Play, Mapping[str, Any] | None], snapshot)
        if random_state is not None:
            self.np_random.bit_generator.state = random_state

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_questions", "_retriever")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        self._questions, self._retriever = open_questions(self._quiz), open_retriever(self._library)
        self.splits = self._questions.splits

    def _playing(self) -> _Play:
        if self._play is None:
            raise gymnasium.error.ResetNeeded("call reset() first: no task has begun")
        return self._play

    def _after(self, play: _Play, said: tags.Said) -> tuple[_Play, str]:
        """What the play is then, and why the action did not run (if it did not)."""
        if said.kind == "answer":
            return replace(play, observation="", over="answered", answer=said.text), ""
        if play.rounds == self._searches:
            return replace(play, observation="", over="no answer"), "this was the last round: only an answer counts"
        invalid = _refused(said)
        if invalid:
            return replace(play, observation=tags.EXPLANATION, rounds=play.rounds + 1), invalid
        hits = self._retriever.retrieve([said.text], self._top_k)[0]
        return replace(
            play,
            observation=tags.information(hits, self._longest),
            rounds=play.rounds + 1,
            read=tuple(dict.fromkeys((*play.read, *(hit.title for hit in hits)))),
            evidence=play.evidence or _holds_one(hits, play.question.answers),
        ), ""

    def _scores(self, play: _Play) -> dict[str, float]:
        golden = play.question.answers
        return {"exact_match": score.exact_match(play.answer, golden), "f1": score.f1(play.answer, golden)}

    def _info(self, play: _Play, invalid: str) -> Info:
        scores = self._scores(play) if play.over == "answered" else {"exact_match": 0.0, "f1": 0.0}
        info: Info = {
            "task": play.question.key,
            "anchor": self._anchor(play),
            "rewards": {self._reward: 0.0},
            "milestones": self._milestones(play),
            "invalid": invalid,
            "success": scores["exact_match"] == 1.0,
        }
        if play.over:
            info |= scores | {"answer": play.answer, "golden_answers": list(play.question.answers)}
        if self._preset == "tiny":
            info["admissible"] = self._admissible(play)
        return info

    def _anchor(self, play: _Play) -> str:
        if not self._anchor_is_state:
            return play.observation
        return f"{play.question.text} | {play.rounds} | {', '.join(sorted(play.read))}"

    def _milestones(self, play: _Play) -> tuple[str, ...]:
        """`hop N` for each page of the way that was read, up to the first that was not; `evidence` for an answer seen."""
        hops = 0
        while hops < len(play.question.path) and play.question.path[hops] in play.read:
            hops += 1
        return (*(f"hop {hop}" for hop in range(1, hops + 1)), *(("evidence",) if play.evidence else ()))

    def _admissible(self, play: _Play) -> list[str]:
        """A search for, and an answer with, each name that was seen in the question or on a page."""
        if play.over:
            return []
        pages = cast(Generated, self._questions).knowledge.pages
        names = dict.fromkeys(play.question.path[:1])
        for title in play.read:
            if title in pages:
                names |= dict.fromkeys((title, *pages[title].facts.values()))
        searches = [tags.search(name) for name in names] if play.rounds < self._searches else []
        return searches + [tags.answer(name) for name in names]


def _refused(said: tags.Said) -> str:
    if said.kind == "nothing":
        return "neither <search>…</search> nor <answer>…</answer> in the completion"
    if not said.text:
        return "the query is empty"
    return f"a query has at most {LONGEST_QUERY} characters" if len(said.text) > LONGEST_QUERY else ""


def _holds_one(hits: Sequence[Hit], answers: Sequence[str]) -> bool:
    """Whether a golden answer is in the documents, as whole words."""
    shown = [f" {score.normalise(hit.contents)} " for hit in hits]
    wanted = [f" {score.normalise(answer)} " for answer in answers]
    return any(answer in text for text in shown for answer in wanted if answer.strip())


def _path(path: Path | None) -> Path | None:
    return None if path is None else Path(path)


def _check(questions: Mapping[str, Path] | None, corpus: Path | None, retriever: str, document_chars: int) -> None:
    """Raises ConfigError with what to change."""
    if questions is not None and not questions:
        raise agentrl.ConfigError('questions names no split: give split = file, as in { train = "nq/train.jsonl" }')
    if corpus is not None and not questions:
        raise agentrl.ConfigError("a corpus needs questions about it: give questions = { split = file } too")
    if questions and corpus is None and retriever != "remote":
        raise agentrl.ConfigError(
            "questions of files need documents to search: give corpus = … too, or retriever = 'remote' with a url"
        )
    if document_chars < 1:
        raise agentrl.ConfigError(f"document_chars = {document_chars}: allowed are whole numbers from 1")


def _check_numbers(searches: int, top_k: int, hops: int) -> None:
    """Raises ConfigError with what to change."""
    if searches < 0 or top_k < 1:
        raise agentrl.ConfigError(f"max_searches = {searches}, top_k = {top_k}: allowed are numbers from 0 and from 1")
    if searches < hops:
        raise agentrl.ConfigError(
            f"max_searches = {searches} is too few for questions of {hops} hops: allow {hops}, or set hops = [1, {searches or 1}]"
        )
