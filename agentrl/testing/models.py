"""The kit for models: versions, weights that are kept exactly, and scores; that for its codec is in `codec`."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from agentrl.data.types import Message, Sampling
from agentrl.errors import AgentRLError, ConfigError
from agentrl.parts.weights import Folder, Model, Question, Scorer, Scores, Shared, Stream, Weights
from agentrl.parts.words import Prompt
from agentrl.testing.codec import CodecKit
from agentrl.testing.compare import written
from agentrl.testing.report import CheckFailed, CheckSkipped, Report, checks_of, finish, gate, require, run_checks
from agentrl.testing.trainers import weights_digest

WAYS = (Shared, Folder, Stream)
ROUNDING = 1e-4
"""By so much may the log-prob of one question depend on what else is asked: sums round differently."""


def check_model(
    make: Callable[[], Model],
    *,
    name: str = "?",
    other: Callable[[], Model] | None = None,
    saved: Callable[[Path], Model] | None = None,
) -> Report:
    """Put a model and its codec through the kit.

    `make` gives equal models; `other` one with other weights, `saved` one with the codec of a folder, if it can.
    """
    kept = None if saved is None else lambda folder: saved(folder).codec
    checks = {
        **checks_of(_ModelKit(make, other)),
        **checks_of(CodecKit(lambda: make().codec, kept)),
        **checks_of(_ScorerKit(make)),
    }
    return run_checks("model", name, checks)


class _ModelKit:
    def __init__(self, make: Callable[[], Model], other: Callable[[], Model] | None) -> None:
        self._make, self._other = make, other or make

    @gate
    def it_has_a_codec_and_a_version(self) -> str:
        model = self._make()
        require(isinstance(model, Model), f"{model!r} lacks members of agentrl.Model")
        prompt = model.codec.prompt((Message("user", "You see a lamp."),))
        require(isinstance(prompt, Prompt), f"codec.prompt gave {prompt!r}; it gives an agentrl.Prompt")
        ways = [way.__name__ for way in WAYS if _published(model, way, 0) is not None]
        require(ways, "it can be handed out in no way: neither Shared nor Folder nor Stream")
        return f"codec {model.codec.name}; handed out as {', '.join(ways)}"

    def publishing_gives_its_version(self) -> None:
        model = self._make()
        model.version = dataclasses.replace(model.version, run="a run", incarnation="one", model="mine")
        for update, way in enumerate(WAYS, start=3):
            weights = _published(model, way, update)
            if weights is None:
                continue
            wanted = dataclasses.replace(model.version, run="a run", incarnation="one", model="mine", update=update)
            require(weights.version == wanted, f"published as update {update}, the weights say {weights.version}")
            require(model.version == wanted, f"published as update {update}, the model says {model.version}")
            require(isinstance(weights.handle, way), f"published via {way.__name__}, the handle is {weights.handle!r}")

    def a_way_that_it_refuses_changes_nothing(self) -> str:
        model = self._make()
        before, refused = model.version, []
        for way in WAYS:
            if _published(model, way, before.update) is None:
                refused.append(way.__name__)
                _published(model, way, 9)
                require(
                    model.version == before, f"it refused to publish via {way.__name__}, and now says {model.version}"
                )
        return f"refuses {', '.join(refused)}" if refused else ""

    def what_was_saved_is_loaded_exactly(self) -> None:
        model, target = self._other(), self._make()
        finish(model.publish(7, next(way for way in WAYS if _published(model, way, 7) is not None)))
        with tempfile.TemporaryDirectory() as name:
            finish(model.save(Path(name) / "model"))
            finish(target.load(Path(name) / "model"))
        require(weights_digest(target) == weights_digest(model), "saved and loaded elsewhere, it saves other weights")
        if isinstance(model, Scorer) and isinstance(target, Scorer):
            questions = _questions(model)
            same = written(finish(model.score(questions))) == written(finish(target.score(questions)))
            require(same, "saved and loaded elsewhere, it scores the same tokens in another way")

    def a_folder_without_weights_is_refused(self) -> None:
        model = self._make()
        before = weights_digest(model)
        with tempfile.TemporaryDirectory() as name:
            try:
                finish(model.load(Path(name)))
            except AgentRLError:
                require(weights_digest(model) == before, "it refused an empty folder, and has other weights since")
                return
        raise CheckFailed(
            "it loaded an empty folder; raise a RecordError or DataError, or a run goes on with old weights"
        )


class _ScorerKit:
    def __init__(self, make: Callable[[], Model]) -> None:
        self._make = make

    def _scorer(self) -> tuple[Scorer, list[Question]]:
        model = self._make()
        if not isinstance(model, Scorer):
            raise CheckSkipped("it does not score")
        return model, _questions(model)

    def scores_do_not_depend_on_other_questions(self) -> None:
        scorer, questions = self._scorer()
        together = finish(scorer.score(questions))
        require(len(together) == len(questions), f"{len(together)} answers to {len(questions)} questions")
        for question, score in zip(questions, together, strict=True):
            [alone] = finish(scorer.score([question]))
            largest = float(np.abs(alone.logprobs - score.logprobs).max())
            require(largest <= ROUNDING, f"asked alone, a log-prob differs by {largest:.3g}")

    def scores_are_log_probabilities(self) -> None:
        scorer, questions = self._scorer()
        for question, score in zip(questions, finish(scorer.score(questions, moments=True, top=3)), strict=True):
            _require_sound(score, len(question.ids))

    def probabilities_add_up(self) -> None:
        scorer, questions = self._scorer()
        prompt = questions[0].prompt_ids
        [one] = finish(scorer.score([questions[0]], top=10**6))
        require(one.top_ids is not None, "asked for the likeliest tokens, it gave none")
        assert one.top_ids is not None
        singles = [Question(prompt, np.array([token], np.int32)) for token in one.top_ids[0][:200]]
        chances = np.exp([score.logprobs[0] for score in finish(scorer.score(singles))])
        listed = np.exp(one.top_logprobs[0][:200]) if one.top_logprobs is not None else chances
        require(
            np.allclose(chances, listed, atol=1e-4), "the likeliest tokens have other log-probs when they are asked for"
        )
        require(chances.sum() <= 1 + 1e-3, f"the chances of {len(singles)} tokens sum to {chances.sum():.4g}")

    def the_temperature_is_applied(self) -> None:
        scorer, questions = self._scorer()
        warm = [dataclasses.replace(question, sampling=Sampling(temperature=2.0)) for question in questions]
        one, two = finish(scorer.score(questions, moments=True)), finish(scorer.score(warm, moments=True))
        for cold, hot in zip(one, two, strict=True):
            assert cold.entropy is not None
            assert hot.entropy is not None
            more = bool((hot.entropy >= cold.entropy - 1e-4).all()) and not np.array_equal(hot.logprobs, cold.logprobs)
            require(more, "at temperature 2 a question is answered as at temperature 1")

    def weights_that_it_does_not_keep_are_refused(self) -> None:
        scorer, questions = self._scorer()
        try:
            finish(scorer.score(questions, weights="no such weights"))
        except ConfigError:
            return
        raise CheckFailed('it scored with "no such weights"; raise a ConfigError')


def _published(model: Model, way: type[Shared] | type[Folder] | type[Stream], update: int) -> Weights | None:
    """What it hands out in this way; None where it refuses."""
    try:
        weights = finish(model.publish(update, way))
    except ConfigError:
        return None
    if isinstance(weights.handle, Folder):
        whole = weights.handle.path.is_dir() and any(weights.handle.path.iterdir())
        shutil.rmtree(weights.handle.path, ignore_errors=True)
        require(whole, f"the folder {weights.handle.path} was handed out with nothing in it")
    return weights


def _questions(model: Model) -> list[Question]:
    """Questions of different lengths, in the ids of the model."""
    codec = model.codec
    prompts = [
        codec.prompt((Message("user", text),)).ids for text in ("You see a lamp.", "x", "You are on floor 3. " * 9)
    ]
    return [Question(prompt, codec.say(text)) for prompt in prompts for text in ("up", "go to the lamp")]


def _require_sound(score: Scores, tokens: int) -> None:
    fits = (
        score.logprobs.shape == (tokens,) and bool((score.logprobs <= 1e-5).all()) and np.isfinite(score.logprobs).all()
    )
    require(fits, f"log-probs of {tokens} tokens are {score.logprobs!r}; they are [{tokens}], finite and at most 0")
    if score.entropy is None or score.square is None or score.top_ids is None or score.top_logprobs is None:
        raise CheckFailed("asked for moments and the 3 likeliest tokens, some are missing")
    moments = score.entropy.shape == score.square.shape == (tokens,)
    require(moments, f"entropy has the shape {score.entropy.shape}, Σ π² {score.square.shape}, for {tokens} tokens")
    bounds = bool((score.entropy >= -1e-5).all() and (score.square > 0).all() and (score.square <= 1 + 1e-5).all())
    require(bounds, "an entropy is below 0, or a Σ π² not between 0 and 1")
    shapes = (score.top_ids.shape, score.top_logprobs.shape)
    require(shapes == ((tokens, 3), (tokens, 3)), f"the 3 likeliest tokens have the shapes {shapes}")
    falling = bool((np.diff(score.top_logprobs, axis=1) <= 1e-5).all())
    require(falling, "the likeliest tokens do not come first")
