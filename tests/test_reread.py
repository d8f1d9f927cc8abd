"""A stranger's judge that reads turns again under another prompt, and the loss that distils towards it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from strangers import SEEDS, TINY, assert_ahead, metrics_of, plugin, success_at_the_end, train
from words import WordCodec

import agentrl
from agentrl import (
    Completion,
    LossBatch,
    Message,
    Outcome,
    Question,
    Scene,
    Scores,
    Task,
    Trajectory,
    Turn,
    seed_of,
)
from agentrl.data.record import Run

Reread, Distill = plugin("reread").Reread, plugin("reread").Distill
jensen_shannon = plugin("reread").jensen_shannon


CODEC = WordCodec(max_context=30)


class Hears:
    """A scorer that keeps what it is asked; log-prob -1, -2 … of the tokens of each question."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.weights: list[str] = []

    async def score(self, questions: Sequence[Question], *, weights: str = "current", top: int = 0, **_: Any) -> Any:
        self.questions += questions
        self.weights.append(weights)
        counts = [len(question.ids) for question in questions]
        falling = [-np.arange(1, count + 1, dtype=np.float32) for count in counts]
        return [
            Scores(one, None, None, np.zeros((len(one), top), np.int32), np.stack([one] * top, 1))
            if top
            else Scores(one)
            for one in falling
        ]


def told(observation: str, said: str, feedback: str = "", **more: Any) -> Turn:
    ids = CODEC.say(said)
    prompt = CODEC.prompt([Message("user", observation)]).ids
    completion = Completion(said, prompt, ids, np.zeros(len(ids), np.float32), versions=np.zeros(len(ids), np.int32))
    info = {"feedback": feedback} if feedback else {}
    return Turn(observation, completion, said, 0.0, observation, info=info, **more)


def judged(*turns: Turn, inherited: int = 0, **settings: Any) -> tuple[Any, Hears]:
    scorer = Hears()
    judge = Reread(scorer, CODEC, **settings)
    asyncio.run(judge.annotate([Trajectory(turns, Task("train", 0), "g", Outcome.TERMINATED, inherited=inherited)]))
    return judge, scorer


def test_a_turn_is_read_again_with_what_the_world_said_to_it() -> None:
    first, second = told("a box", "open it", "it is locked"), told("still a box", "use the key")
    _, scorer = judged(first, second, weights="initial")
    (question,) = scorer.questions
    assert CODEC.decode(question.prompt_ids) == "<user> it is locked a box <assistant>"
    assert question.ids is first.completion.ids
    assert first.columns["reread"].tolist() == [-1, -2, -3]  # type: ignore[attr-defined]
    assert second.columns["reread"].tolist() == [1, 1, 1, 1]  # type: ignore[attr-defined]
    assert scorer.weights == ["initial"]


def test_the_past_stands_before_it_and_turns_of_others_do_not() -> None:
    mine, other, spoken = told("one", "two"), told("x", "y", "z", agent="other"), told("s", "note", "z", kind="speak")
    last = told("three", "four", "wrong")
    _, scorer = judged(mine, other, spoken, last, top=2)
    (question,) = scorer.questions
    assert CODEC.decode(question.prompt_ids) == "<user> one <assistant> two <user> wrong three <assistant>"
    assert np.shape(last.columns["teacher_ids"]) == np.shape(last.columns["teacher_logprobs"]) == (2, 2)


def test_inherited_turns_are_not_asked_about_again_and_what_is_too_long_is_counted() -> None:
    inherited, long = told("one", "two", "wrong"), told("very " * 20, "four", "wrong " * 9)
    judge, scorer = judged(inherited, told("three", "four", "no"), long, inherited=1)
    assert len(scorer.questions) == 1
    assert judge.metrics() == {"too_long": 1.0}
    assert judge.metrics() == {"too_long": 0.0}


STUDENT, TEACHER = (0.7, 0.2, 0.1), (0.5, 0.3, 0.2)


def loss_batch(logprobs: torch.Tensor, weight: Sequence[float], **more: Any) -> LossBatch:
    nothing, index = torch.zeros_like(logprobs.detach()), torch.zeros(len(logprobs), dtype=torch.int64)
    return LossBatch(
        logprobs=logprobs, behaviour=nothing, reference=None, entropy=None, advantages=nothing,
        weight=torch.tensor(weight, dtype=torch.float64), sampled=torch.ones(len(logprobs), dtype=torch.bool),
        trajectory=index, turn=index, row=index, group=index, **more,
    )  # fmt: skip


def test_the_estimate_and_its_gradient_are_those_of_the_divergence_in_expectation() -> None:
    """Every token once, weighted by its chance: then the mean over tokens is the expectation itself."""
    logits = torch.tensor(STUDENT, dtype=torch.float64).log().requires_grad_()
    logprobs, teacher = logits.log_softmax(0), torch.tensor(TEACHER, dtype=torch.float64).log()
    loss, metrics = Distill()(loss_batch(logprobs, STUDENT, columns={"reread": teacher}))
    assert metrics["divergence"] == pytest.approx(0.085123, abs=1e-6)
    divergence = (logprobs.exp() * (logprobs - teacher)).sum()
    (ours,), (exact,) = (torch.autograd.grad(value, logits, retain_graph=True) for value in (loss, divergence))
    torch.testing.assert_close(ours, exact)


def test_tokens_without_a_teacher_count_nothing() -> None:
    logprobs = torch.tensor(STUDENT, dtype=torch.float64).log().requires_grad_()
    reread = torch.tensor([math.log(0.5), 1.0, 1.0], dtype=torch.float64)
    loss, _ = Distill()(loss_batch(logprobs, [1 / 3] * 3, columns={"reread": reread}))
    (gradient,) = torch.autograd.grad(loss, logprobs)
    assert gradient[1:].tolist() == [0.0, 0.0]
    assert gradient[0] == pytest.approx(math.log(0.7 / 0.5) / 3)


@pytest.mark.parametrize("listed", [2, 3])
def test_what_is_not_listed_is_one_bucket_of_the_jensen_shannon_divergence(listed: int) -> None:
    student, teacher = (torch.tensor([one[:listed]], dtype=torch.float64).log() for one in (STUDENT, TEACHER))
    assert float(jensen_shannon(student, teacher)) == pytest.approx(0.021901, abs=1e-5)
    unknown = torch.zeros_like(teacher)
    assert float(jensen_shannon(student, unknown)) == 0.0


@pytest.mark.parametrize("top", [0, 3])
def test_where_nobody_was_corrected_nothing_is_learned_and_the_run_goes_on(top: int, tmp_path: Path) -> None:
    """Such an update comes in every run: the one in which all succeed."""
    form = "jensen_shannon" if top else "reverse_kl"
    run = train(
        {
            "name": "silent",
            "runs": str(tmp_path),
            "environment": {"name": "corridor", "max_turns": 3},
            "model": {**TINY, "max_context": 256},
            "policy": {"name": "transformers", "max_tokens": 4, "workers": 1},
            "trainer": {"name": "packed", "workers": 1},
            "loss": {"name": "distill", "form": form},
            "sampler": {"name": "uniform", "tasks": 1},
            "collector": {"name": "asynchronous", "group_size": 2},
            "stages": [{"updates": 2, "judges": [{"name": "reread", "top": top}]}],
        }
    )
    for metrics in metrics_of(run):
        assert metrics["tokens_untrained"] == metrics["train/divergence"] == metrics["train/loss"] == 0


COLOURS = ("red", "blue", "green", "white")


class Boxes(agentrl.TextWorld):
    """Say the colour in one of eight boxes. With `taught` half of the tasks say it first, and colours are drawn anew.

    Feedback names the colour; where it is `shuffled`, any colour.
    """

    success_above = 0.0

    splits = {"train": 4096}

    def __init__(self, *, taught: bool = False, shuffled: bool = False) -> None:
        self.taught, self.shuffled = taught, shuffled

    def begin(self, task: Task) -> Scene:
        box, luck = task.index % 8, seed_of("boxes", task.index)
        drawn = COLOURS[luck % 4]
        self.answer = drawn if self.taught else COLOURS[(3 * box + box // 4) % 4]
        self.feedback = f"Box {box} holds {drawn if self.shuffled else self.answer}."
        question = f"Box {box}. What colour does it hold?"
        return Scene(f"{self.feedback}\n{question}" if self.taught and luck // 4 % 2 else question, admissible=COLOURS)

    def act(self, action: str) -> Scene:
        return Scene("So be it.", float(action == self.answer), done=True, feedback=self.feedback)

    def expert_action(self) -> str:
        return self.answer


def boxes(runs: Path, name: str, stage: Mapping[str, Any], **changes: Any) -> Run:
    size = {"layers": 2, "width": 32, "head_width": 16, "vocabulary": 320, "max_context": 64, "init_std": 0.1}
    tables = {
        "name": name, "seed": 0, "runs": str(runs), "environment": {"name": "boxes"}, "checkpoint_every": 99,
        "context": {"name": "full", "system": False}, "model": {**TINY, **size, "keep_initial": True},
        "policy": {"name": "transformers", "max_tokens": 4, "workers": 1},
        "trainer": {"name": "packed", "workers": 1, "learning_rate": 3e-3}, **changes,
    }  # fmt: skip
    return train({**tables, "stages": [{"name": "stage", **stage}]}, environment=Boxes)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model says the colour that it reads, and any colour where it reads none."""
    stage = {"updates": 16, "policy": "expert", "loss": "nll", "trainer": {"minibatches": 8, "workers": 1},
             "sampler": {"name": "uniform", "tasks": 256}}  # fmt: skip
    return boxes(
        tmp_path_factory.mktemp("reader"), "reader", stage, environment={"name": "boxes", "taught": True}
    ).folder


FORMS: Mapping[str, Mapping[str, Any]] = {
    "reverse_kl": {"loss": "distill", "judges": [{"name": "reread", "weights": "initial"}]},
    "jensen_shannon": {
        "loss": {"name": "distill", "form": "jensen_shannon"},
        "judges": [{"name": "reread", "weights": "initial", "top": 8}],
    },
    "grpo": {"loss": "ppo", "credit": "grpo"},
}


def learned(runs: Path, reader: Path, seed: int, form: str, shuffled: bool = False) -> float:
    """Success in the last three updates of 24, without feedback in any prompt."""
    plays = {"sampler": {"name": "uniform", "tasks": 16}, "collector": {"name": "asynchronous", "group_size": 4}}
    world = {"name": "boxes", "shuffled": shuffled}
    stage = {"updates": 24, **plays, **FORMS[form]}
    run = boxes(runs, f"{form}{seed}{shuffled}", stage, start_from=str(reader), seed=seed, environment=world)
    last = metrics_of(run)[-1]
    assert last["tokens_untrained"] == 0
    assert last.get("judges.0/too_long", 0.0) == 0
    return success_at_the_end(run, 3)


@pytest.mark.parametrize(("form", "margin"), [("reverse_kl", 0.25), ("jensen_shannon", 0.33)])
def test_what_feedback_said_is_learned_and_nothing_where_it_was_shuffled(
    form: str, margin: float, reader: Path, tmp_path: Path
) -> None:
    """Chance is 0.25. Other seeds: reverse_kl 0.69 to 0.84, shuffled 0.22 to 0.24 (difference 0.510, standard error 0.035);
    jensen_shannon 0.88 to 0.97, shuffled 0.21 to 0.28 (0.680, 0.017).

    GRPO, which is paid for what it guesses, came to 0.54 to 0.85 from as many plays: `jensen_shannon` was ahead of it with
    each seed (0.254, 0.054), `reverse_kl` with four of five (0.064, 0.062), which is too little to be tested.
    """
    heard = [learned(tmp_path, reader, seed, form) for seed in SEEDS]
    misled = [learned(tmp_path, reader, seed, form, shuffled=True) for seed in SEEDS]
    assert_ahead(heard, misled, margin)
    assert max(misled) < 0.45
