"""The kit for policies: what is said depends on the dialogue, its seed and the weights, and on nobody else."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

import numpy as np

from agentrl.data.types import Completion, Message
from agentrl.errors import ContextOverflow
from agentrl.parts.playing import Policy, Speaker
from agentrl.parts.weights import Model, Scorer, Version
from agentrl.testing.demonstrators import DemonstratorKit, demonstrates
from agentrl.testing.report import CheckFailed, CheckSkipped, Report, checks_of, gate, require, run_checks
from agentrl.testing.serving import MANY, WAYS, Served, close, largest_gap, names_of_ways, same_answers


def check_policy(
    make: Callable[[], Speaker], *, name: str = "?", model: Model | None = None, other: Model | None = None
) -> Report:
    """Put a policy or a demonstrator through the kit.

    `model`: whose weights the policy is made with, if it has any; `other`: one like it with other weights.
    """
    if demonstrates(make()):
        return run_checks("policy", name, checks_of(DemonstratorKit(make)))  # type: ignore[arg-type]
    return run_checks("policy", name, checks_of(_PolicyKit(make, model, other)))  # type: ignore[arg-type]


class _PolicyKit(Served):
    @gate
    def it_says_what_it_can_do(self) -> str:
        policy = self._make()
        close(policy)
        require(isinstance(policy, Policy), f"{policy!r} lacks members of agentrl.Policy")
        known = isinstance(policy.accepts, frozenset) and policy.accepts <= set(WAYS)
        require(known, f"accepts = {policy.accepts!r}; it is a frozenset of Shared, Folder, Stream")
        require(policy.exact in (True, False, None), f"exact = {policy.exact!r}; it is True, False or None")
        require(policy.repeatable in (True, False), f"repeatable = {policy.repeatable!r}; it is True or False")
        versioned = isinstance(policy.version, Version) or (policy.version is None and not policy.accepts)
        require(versioned, f"version = {policy.version!r}; who takes weights says which ones it has")
        return f"accepts {names_of_ways(policy) or 'nothing'}, exact {policy.exact}, repeatable {policy.repeatable}"

    @gate
    def it_answers_with_a_completion(self) -> str:
        dialogue = self._dialogues(1)[0]

        async def work(policy: Policy) -> tuple[Completion, Version | None, bool | None]:
            return await policy.act(dialogue), policy.version, policy.exact

        completion, version, exact = self._with(work)
        require(isinstance(completion, Completion), f"act gave {completion!r}; it gives an agentrl.Completion")
        require(len(completion.ids) > 0 or not exact, "exact = True, and a completion without ids")
        types = [str(array.dtype) for array in (completion.ids, completion.logprobs, completion.versions)]
        fits = types == ["int32", "float32", "int32"]
        require(fits, f"ids, log-probs and versions are of the types {types}; int32, float32, int32")
        sound = bool(np.isfinite(completion.logprobs).all() and (completion.logprobs <= 1e-5).all())
        require(sound, f"log-probs are {completion.logprobs}; they are finite and at most 0")
        if version is not None:
            require(
                bool((completion.versions == version.update).all()),
                f"weights {version.update} sampled {completion.versions}",
            )
        return f"{completion.text[:30]!r}"

    def the_seed_decides_what_is_said(self) -> None:
        dialogues = self._dialogues()
        self._require_repeatable()
        once = self._answers(dialogues)
        again = self._answers([dataclasses.replace(d, key=f"again {d.key}") for d in dialogues])
        require(same_answers(once, again), "the same dialogue and seed give another completion the second time")
        if any(completion.sampling.temperature == 0 for completion in once):
            return
        seeds = self._at_once([dataclasses.replace(dialogues[0], key=f"k{n}", seed=n) for n in range(2 * MANY)])
        require(
            len({(c.text, c.ids.tobytes()) for c in seeds}) > 1,
            "32 seeds give one completion: it does not use the seed",
        )

    def prompts_come_back_as_they_were(self) -> None:
        dialogues = self._dialogues()
        for dialogue, completion in zip(dialogues, self._answers(dialogues), strict=True):
            if not len(completion.ids) or dialogue.prompt is None:
                raise CheckSkipped("it gives no ids")
            same = np.array_equal(completion.prompt_ids, dialogue.prompt.ids)
            require(same, "the ids of the prompt come back changed, so what is trained is not what was read")

    def text_is_what_the_ids_say(self) -> None:
        codec = self._codec
        for completion in self._answers(self._dialogues()):
            if codec is None or not len(completion.ids):
                raise CheckSkipped("it gives no ids, or no codec reads them")
            read = codec.decode(completion.ids)
            require(read == completion.text, f"the ids say {read!r}, and the text is {completion.text!r}")

    def log_probs_are_those_of_its_model(self) -> str:
        scorer = self._model
        if not isinstance(scorer, Scorer):
            raise CheckSkipped("its model does not score, or none was given")
        gap = largest_gap(scorer, self._answers(self._dialogues()))
        return f"largest difference {gap:.2g}"

    def a_stop_string_ends_it(self) -> str:
        codec = self._codec
        self._require_repeatable()
        for dialogue, completion in ((d, self._answers([d])[0]) for d in self._dialogues()):
            word = codec.decode(completion.ids[:2]) if codec is not None and len(completion.ids) > 2 else ""
            if not word or not completion.text.startswith(word) or word == completion.text:
                continue
            [stopped] = self._answers([dataclasses.replace(dialogue, key="stopped", stop=("no such", word))])
            require(
                stopped.text == word,
                f"with the stop string {word!r} it said {stopped.text!r} instead of {completion.text!r}",
            )
            return f"after {word!r}"
        raise CheckSkipped("it says no more than two tokens at a time")

    def max_tokens_is_kept(self) -> None:
        for completion in self._answers([dataclasses.replace(d, max_tokens=1) for d in self._dialogues(4)]):
            require(len(completion.ids) <= 1, f"with max_tokens = 1 it said {len(completion.ids)} tokens")

    def many_at_once_are_answered_as_one_by_one(self) -> None:
        dialogues = self._dialogues()
        together = self._at_once(dialogues)
        self._require_repeatable()
        require(
            same_answers(together, self._answers(dialogues)),
            f"{MANY} dialogues at once are answered in another way than alone",
        )

    def a_dialogue_goes_on_as_if_it_were_new(self) -> None:
        dialogue = self._dialogues(1)[0]
        self._require_repeatable()

        async def work(policy: Policy) -> tuple[Completion, Completion]:
            said = await policy.act(dialogue)
            following = self._following(dialogue, said)
            return await policy.act(following), await policy.act(dataclasses.replace(following, key="new"))

        require(
            same_answers(*([c] for c in self._with(work))),
            "asked for a second turn, it says something else than if that were new",
        )

    def cancelling_one_leaves_the_others(self) -> None:
        dialogues = self._dialogues()

        async def work(policy: Policy) -> list[Completion]:
            tasks = [asyncio.create_task(policy.act(dialogue)) for dialogue in dialogues]
            for _ in range(2):
                await asyncio.sleep(0)
            tasks[3].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            answers = [result for i, result in enumerate(results) if i != 3 and isinstance(result, Completion)]
            require(
                len(answers) == len(tasks) - 1,
                f"one dialogue was cancelled, and {len(tasks) - len(answers)} were not answered",
            )
            return [*answers, await policy.act(dialogues[3])]

        answers = self._with(work)
        self._require_repeatable()
        wanted = self._at_once([*dialogues[:3], *dialogues[4:], dialogues[3]])
        if not same_answers(wanted, self._answers([*dialogues[:3], *dialogues[4:], dialogues[3]])):
            raise CheckSkipped("dialogues that are answered at once disturb one another anyway")
        require(same_answers(answers, wanted), "after one dialogue was cancelled, others are answered in another way")

    def a_prompt_that_does_not_fit_is_refused(self) -> None:
        codec, dialogue = self._codec, self._dialogues(1)[0]
        text = "You are on floor 3. "
        while codec is not None and len(codec.prompt((Message("user", text),)).ids) <= codec.max_context:
            if len(text) > 2_000_000:
                codec = None
            text += text
        if codec is None:
            raise CheckSkipped("no prompt is too long for it")
        messages = (Message("user", text),)
        try:
            self._answers([dataclasses.replace(dialogue, messages=messages, prompt=codec.prompt(messages))])
        except ContextOverflow:
            return
        raise CheckFailed(f"a prompt of more than {codec.max_context} tokens was answered; raise ContextOverflow")

    def refreshing_takes_the_version_over(self) -> None:
        policy = self._make()
        weights = self._published(policy, self._model)
        dialogue = self._dialogues(1)[0]

        async def work(policy: Policy) -> tuple[Version | None, Completion]:
            await policy.refresh(weights)
            return policy.version, await policy.act(dialogue)

        version, completion = self._with(work, policy)
        require(version == weights.version, f"refreshed with {weights.version}, it says that it has {version}")
        update = weights.version.update
        said = bool((completion.versions == update).all())
        require(said, f"refreshed with update {update}, it says that {completion.versions} sampled")

    def refreshed_weights_are_played_with(self) -> str:
        other, policy, dialogue = self._other, self._make(), self._dialogues(1)[0]
        weights = self._published(policy, other)
        if not isinstance(other, Scorer):
            raise CheckSkipped("its model does not score")

        async def work(policy: Policy) -> list[Completion]:
            before = await policy.act(dialogue)
            await policy.refresh(weights)
            return [await policy.act(self._following(dialogue, before)), await policy.act(dialogue)]

        gap = largest_gap(other, self._with(work, policy))
        return f"largest difference {gap:.2g}"

    def it_can_be_refreshed_while_it_answers(self) -> None:
        policy = self._make()
        weights = self._published(policy, self._model)
        dialogues = self._dialogues()

        async def work(policy: Policy) -> Version | None:
            tasks = [asyncio.create_task(policy.act(dialogue)) for dialogue in dialogues]
            await asyncio.sleep(0)
            await policy.refresh(weights)
            for completion in await asyncio.gather(*tasks):
                require(
                    isinstance(completion, Completion), f"refreshed in the middle of a turn, it gave {completion!r}"
                )
            return policy.version

        version = self._with(work, policy)
        require(version == weights.version, f"refreshed in the middle of a turn, it has the weights {version}")

    def unknown_keys_can_be_forgotten(self) -> None:
        dialogue = self._dialogues(1)[0]

        async def work(policy: Policy) -> list[Completion]:
            policy.forget("nobody")
            answers = [await policy.act(dialogue)]
            for _ in range(2):
                policy.forget(dialogue.key)
            return [*answers, await policy.act(dialogue)]

        self._with(work)

    def closing_twice_is_safe(self) -> None:
        policy = self._make()
        close(policy)
        close(policy)
