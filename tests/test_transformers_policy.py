"""The in-process policy: exact tokens, log-probs that equal the trainer's, nothing computed twice, no dependence on others."""

import asyncio
import copy
import dataclasses
import itertools

import numpy as np
import pytest
import torch

from agentrl import (
    ConfigError,
    ContextOverflow,
    Dialogue,
    Host,
    Message,
    Model,
    Policy,
    PolicyFault,
    SavedCodec,
    Scope,
    Shared,
    Spec,
    Stream,
    Version,
    Weights,
    relation,
)
from agentrl_plugins.models import pretrained as pretrained_plugin
from agentrl_plugins.models.ragged import ragged_logits
from agentrl_plugins.models.sampling import entropy, log_distribution
from agentrl_plugins.models.tiny import tiny
from agentrl_plugins.policies.transformers_policy import TransformersPolicy

PLACES = [f"{place} {i}" for place in ("cabinet", "fridge", "shelf", "drawer") for i in range(1, 6)]
TEXTS = [f"You arrive at {place}. On the {place}, you see nothing." for place in PLACES] + [
    f"go to {place}" for place in PLACES
]
LENGTH = 512


def fresh(**settings):
    size = {"layers": 2, "width": 32, "heads": 4, "kv_heads": 2, "head_width": 8, "vocabulary": 300, "init_std": 0.3}
    return tiny(TEXTS, 1, SavedCodec(), **size | {"max_context": LENGTH} | settings)


def pretrained(**settings):
    return pretrained_plugin.pretrained(0, SavedCodec(), device="cpu", **settings)


@pytest.fixture(scope="module")
def model():
    return fresh()


def observation(member, turn):
    """Texts of very different lengths, the same for the same member and turn."""
    random = np.random.default_rng([member, turn])
    return " ".join(TEXTS[i] for i in random.integers(0, len(TEXTS), int(random.integers(1, 4))))


async def play(policy, member, turns, *, window=None, stop=(), pause=0):
    """One dialogue as a collector plays it; its completions."""
    messages, said = (Message("user", observation(member, 0)),), []
    for turn in range(turns):
        shown = messages if window is None else messages[-2 * window - 1 :]
        completion = await policy.act(Dialogue(shown, f"k{member}", 1000 * member + turn, stop=stop))
        said.append(completion)
        reply = Message("user", observation(member, turn + 1))
        messages = (*messages, Message("assistant", completion.text, completion), reply)
        for _ in range(pause):  # a slow world
            await asyncio.sleep(0)
    policy.forget(f"k{member}")
    return said


def play_all(policy, members, turns, **how):
    async def everyone():
        return await asyncio.gather(*(play(policy, member, turns, **how) for member in members))

    return asyncio.run(everyone())


def whole(said):
    return np.concatenate([said[-1].prompt_ids, said[-1].ids])


def plain_logits(model, ids):
    """The library's own forward pass over one sequence; [L, V]."""
    with torch.no_grad():
        return model.module(torch.from_numpy(ids)[None].long()).logits[0]


def assert_same(one, other, tolerance=0.0):
    assert len(one) == len(other)
    for first, second in zip(one, other, strict=True):
        assert np.array_equal(first.prompt_ids, second.prompt_ids)
        assert np.array_equal(first.ids, second.ids)
        assert np.abs(first.logprobs - second.logprobs).max(initial=0) <= tolerance
        assert np.abs(first.entropy - second.entropy).max(initial=0) <= 10 * tolerance


@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 0.7}, {"top_k": 20}, {"top_p": 0.8}, {"temperature": 1.3, "top_p": 0.9, "top_k": 50}],
)
def test_logprobs_and_entropy_are_those_of_a_plain_forward_pass(model, settings):
    policy = TransformersPolicy(model, max_tokens=8, **settings)
    for said in play_all(policy, range(12), 4):
        logits = plain_logits(model, whole(said))
        for completion in said:
            begin, count = len(completion.prompt_ids), len(completion.ids)
            sampling = completion.sampling
            logprobs = log_distribution(
                logits[begin - 1 : begin - 1 + count], sampling.temperature, sampling.top_p, sampling.top_k
            )
            chosen = logprobs.gather(-1, torch.from_numpy(completion.ids)[:, None].long())[:, 0].numpy()
            np.testing.assert_allclose(completion.logprobs, chosen, atol=1e-4)
            np.testing.assert_allclose(completion.entropy, entropy(logprobs, logprobs.exp()).numpy(), atol=1e-3)


def test_engine_and_trainer_agree_on_multi_turn_trajectories(model):
    trajectories = play_all(TransformersPolicy(model, max_tokens=8), range(16), 5)
    sequences = [whole(said) for said in trajectories]
    keep = [np.zeros(len(sequence), bool) for sequence in sequences]
    for mask, said in zip(keep, trajectories, strict=True):
        for completion in said:
            begin = len(completion.prompt_ids)
            mask[begin - 1 : begin - 1 + len(completion.ids)] = True
    with torch.no_grad():
        logprobs = torch.log_softmax(ragged_logits(model.module, sequences, keep), -1)
    ids = np.concatenate([completion.ids for said in trajectories for completion in said])
    behaviour = np.concatenate([completion.logprobs for said in trajectories for completion in said])
    assert np.abs(logprobs[np.arange(len(ids)), ids].numpy() - behaviour).max() < 1e-5


def test_every_prompt_appends_and_what_is_sampled_ends_with_a_stop_or_is_cut(model):
    for said in play_all(TransformersPolicy(model, max_tokens=8), range(20), 4):
        assert [relation(a, b.prompt_ids)[0] for a, b in itertools.pairwise(said)] == ["append"] * 3
        for completion in said:
            assert (completion.stop == "stop") == (completion.ids[-1] == model.tokenizer.eos_token_id)
            assert completion.stop == "stop" or len(completion.ids) == 8
            assert model.tokenizer.eos_token_id not in completion.ids[:-1]
            assert completion.text == model.tokenizer.decode(completion.ids).removesuffix("<|end|>")
            assert completion.ids.dtype == completion.prompt_ids.dtype == completion.versions.dtype == np.int32


def test_nothing_is_computed_twice(model):
    policy = TransformersPolicy(model, max_tokens=8)
    trajectories = play_all(policy, range(20), 6)
    metrics = policy.metrics()
    tokens = sum(len(whole(said)) for said in trajectories)
    assert metrics["tokens_prefilled"] + metrics["tokens_sampled"] == tokens
    assert metrics["tokens_computed"] == tokens - len(trajectories)  # nobody needs the keys of the very last token
    assert metrics["tokens_sampled"] == sum(len(completion.ids) for said in trajectories for completion in said)
    assert policy.metrics()["tokens_sampled"] == 0


def test_logprobs_do_not_depend_on_who_else_is_in_the_batch(model):
    policy = TransformersPolicy(model, max_tokens=8)
    crowd = play_all(policy, range(40), 4)
    for member in (0, 17, 39):
        assert_same(play_all(policy, [member], 4)[0], crowd[member], 1e-5)
    assert_same(play_all(policy, range(15, 20), 4)[2], crowd[17], 1e-5)


def test_the_same_play_gives_the_same_bits(model):
    first = play_all(TransformersPolicy(model, max_tokens=8), range(30), 3)
    torch.manual_seed(99)
    np.random.seed(99)
    state = torch.random.get_rng_state()
    second = play_all(TransformersPolicy(model, max_tokens=8), range(30), 3)
    assert torch.equal(state, torch.random.get_rng_state())
    for one, other in zip(first, second, strict=True):
        assert_same(one, other)


def test_the_seed_of_the_turn_decides(model):
    policy, messages = TransformersPolicy(model, max_tokens=8), (Message("user", observation(0, 0)),)

    async def twice(seed):
        return (await policy.act(Dialogue(messages, "k", seed))).ids.tolist()

    drawn = [asyncio.run(twice(seed)) for seed in (1, 1, 2, 2**64 - 1)]
    assert drawn[0] == drawn[1]
    assert len({tuple(ids) for ids in drawn}) == 3


def test_greedy_is_what_generate_says(model):
    policy = TransformersPolicy(model, max_tokens=12, temperature=0.0)
    for said in play_all(policy, range(6), 3):
        for completion in said:
            prompt = torch.from_numpy(completion.prompt_ids.copy())[None].long()
            out = model.module.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12, do_sample=False
            )
            assert out[0, prompt.shape[1] :].tolist() == completion.ids.tolist()
            assert completion.logprobs.tolist() == completion.entropy.tolist() == [0] * len(completion.ids)


@pytest.mark.parametrize(
    "settings", [{"prefill_tokens": 16}, {"rows": 3}, {"min_rows": 1}, {"rows": 7, "prefill_tokens": 1}]
)
def test_limits_of_the_engine_change_when_but_not_what(model, settings):
    expected = play_all(TransformersPolicy(model, max_tokens=8), range(10), 3)
    for one, other in zip(
        play_all(TransformersPolicy(model, max_tokens=8, **settings), range(10), 3), expected, strict=True
    ):
        assert_same(one, other, 1e-5)


def test_three_hundred_dialogues_share_sixty_four_slots(model):
    policy = TransformersPolicy(model, max_tokens=4, rows=64)
    trajectories = play_all(policy, range(300), 3)
    metrics = policy.metrics()
    assert (
        metrics["tokens_computed"] == sum(len(whole(said)) for said in trajectories) - 300
    )  # no slot was lost between turns
    assert metrics["rows"] > 40
    assert_same(play_all(TransformersPolicy(model, max_tokens=4), [299], 3)[0], trajectories[299], 1e-5)


def test_slow_worlds_lose_no_slot_while_others_keep_the_rows_busy(model):
    policy = TransformersPolicy(model, max_tokens=20, rows=16)
    trajectories = play_all(policy, range(24), 4, pause=8, stop=("a",))
    assert policy.metrics()["tokens_computed"] == sum(len(whole(said)) for said in trajectories) - 24


def test_a_slot_is_taken_from_the_dialogue_that_rested_longest(model):
    policy = TransformersPolicy(model, max_tokens=4, rows=2)

    async def interleaved():
        said = {0: [], 1: [], 2: []}
        messages = {member: (Message("user", observation(member, 0)),) for member in said}
        for turn in range(3):
            for member, turns in said.items():  # nobody forgets: three dialogues, two slots
                completion = await policy.act(Dialogue(messages[member], f"k{member}", 1000 * member + turn))
                turns.append(completion)
                reply = Message("user", observation(member, turn + 1))
                messages[member] += (Message("assistant", completion.text, completion), reply)
        return said

    said = asyncio.run(interleaved())
    for member, turns in said.items():
        assert_same(play_all(TransformersPolicy(model, max_tokens=4), [member], 3)[0], turns, 1e-5)


def test_a_window_gives_new_prompts_and_is_still_exact(model):
    for said in play_all(TransformersPolicy(model, max_tokens=8), range(6), 5, window=1):
        how, kept = relation(said[2], said[3].prompt_ids)
        assert how == "new"
        assert kept < len(said[2].prompt_ids)
        for completion in said:
            ids = np.concatenate([completion.prompt_ids, completion.ids])
            logprobs = torch.log_softmax(plain_logits(model, ids), -1)[len(completion.prompt_ids) - 1 : -1]
            chosen = logprobs[np.arange(len(completion.ids)), completion.ids].numpy()
            np.testing.assert_allclose(completion.logprobs, chosen, atol=1e-4)


def test_a_prompt_asked_twice_is_reused(model):
    policy, messages = TransformersPolicy(model, max_tokens=4), (Message("user", observation(0, 0)),)

    async def ask(seed):
        return await policy.act(Dialogue(messages, "k", seed))

    first, again = asyncio.run(ask(1)), asyncio.run(ask(1))
    assert_same([first], [again], 1e-5)
    assert policy.metrics()["tokens_reused"] == len(first.prompt_ids)


def test_two_requests_of_one_dialogue_wait_for_each_other(model):
    policy, messages = TransformersPolicy(model, max_tokens=4), (Message("user", observation(0, 0)),)

    async def both():
        return await asyncio.gather(*(policy.act(Dialogue(messages, "k", seed)) for seed in (1, 2, 1)))

    one, two, three = asyncio.run(both())
    assert_same([one], [three], 1e-5)
    assert two.ids.tolist() != one.ids.tolist()


def test_the_number_of_engines_changes_nothing(model):
    one, many = (play_all(TransformersPolicy(model, max_tokens=8, workers=n), range(24), 4) for n in (1, 3))
    for said, same in zip(one, many, strict=True):
        assert_same(said, same, 1e-5)


def test_a_cancelled_turn_gives_its_row_back(model):
    policy = TransformersPolicy(model, max_tokens=200, rows=1, temperature=0.9)

    async def impatient():
        waiting = asyncio.create_task(policy.act(Dialogue((Message("user", "a"),), "a", 1)))
        for _ in range(5):
            await asyncio.sleep(0)
        waiting.cancel()
        completion = await policy.act(Dialogue((Message("user", observation(0, 0)),), "b", 1))
        assert waiting.cancelled()
        assert policy.metrics()["tokens_sampled"] < 6 + len(completion.ids)
        return completion

    assert len(asyncio.run(policy.act(Dialogue((Message("user", "a"),), "a", 1))).ids) > 20
    policy.metrics()

    alone = asyncio.run(TransformersPolicy(model, max_tokens=200, temperature=0.9).act(
        Dialogue((Message("user", observation(0, 0)),), "b", 1)))  # fmt: skip
    assert_same([asyncio.run(impatient())], [alone], 1e-5)


@pytest.mark.parametrize("workers", [1, 3])
def test_an_event_loop_that_died_midway_does_no_harm(model, workers):
    policy = TransformersPolicy(model, max_tokens=100, workers=workers)

    async def left_behind():
        task = asyncio.create_task(policy.act(Dialogue((Message("user", "a"),), "k0", 1)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task

    loop = asyncio.new_event_loop()
    kept = loop.run_until_complete(left_behind())
    loop.close()  # nobody cancels what still waits
    begun = workers > 1  # a step of a thread cannot be taken back
    policy.metrics()
    said = play_all(policy, [0], 2)[0]
    sampled = sum(len(completion.ids) for completion in said)
    assert sampled <= policy.metrics()["tokens_sampled"] <= sampled + begun
    assert_same(said, play_all(TransformersPolicy(model, max_tokens=100), [0], 2)[0], 1e-5)
    assert not kept.done()


def test_new_weights_void_the_caches_and_stamp_the_tokens():
    model = fresh()
    policy = TransformersPolicy(model, max_tokens=30, workers=1)

    async def changing():
        first = await policy.act(Dialogue((Message("user", "a"),), "k", 1))
        messages = (Message("user", "a"), Message("assistant", first.text, first), Message("user", observation(0, 0)))
        task = asyncio.create_task(policy.act(Dialogue(messages, "k", 2)))
        for _ in range(6):
            await asyncio.sleep(0)
        _train_a_little(model)
        await policy.refresh(await model.publish(1, Shared))
        return await task

    completion = asyncio.run(changing())
    split = int(np.argmax(completion.versions))
    assert sorted(set(completion.versions.tolist())) == [0, 1]
    assert (np.diff(completion.versions) >= 0).all()
    ids = np.concatenate([completion.prompt_ids, completion.ids])
    logprobs = torch.log_softmax(plain_logits(model, ids), -1)[len(completion.prompt_ids) - 1 : -1]
    chosen = logprobs[np.arange(len(completion.ids)), completion.ids].numpy()
    np.testing.assert_allclose(completion.logprobs[split:], chosen[split:], atol=1e-4)
    assert np.abs(completion.logprobs[:split] - chosen[:split]).max() > 1e-2


def _train_a_little(model):
    with torch.no_grad():
        for index, parameter in enumerate(model.module.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)), alpha=0.02)
    model.version = dataclasses.replace(model.version, update=model.version.update + 1)


def test_changed_weights_are_noticed_even_without_refresh(model):
    model = copy.deepcopy(model)
    policy = TransformersPolicy(model, max_tokens=8, rows=4)
    dialogue = Dialogue((Message("user", observation(0, 0)),), "k", 1)
    before = asyncio.run(policy.act(dialogue))
    _train_a_little(model)
    after = asyncio.run(policy.act(dialogue))
    fresh = asyncio.run(TransformersPolicy(model, max_tokens=8).act(dialogue))
    assert_same([after], [fresh], 1e-5)
    assert before.logprobs[0] != after.logprobs[0]
    assert set(after.versions) == {1}


def test_a_string_ends_the_completion_and_its_tokens_stay(model):
    policy = TransformersPolicy(model, max_tokens=60)
    found = 0
    for said in play_all(policy, range(20), 2, stop=("a", "zzz")):
        for completion in said:
            assert "a" not in model.tokenizer.decode(completion.ids[:-1])
            if "a" in completion.text:
                found += 1
                assert completion.stop == "stop"
                assert completion.ids[-1] != model.tokenizer.eos_token_id
        assert relation(said[0], said[1].prompt_ids)[0] == "append"
    assert found > 5


def test_the_context_limit_cuts_and_then_overflows(model):
    policy = TransformersPolicy(model, max_tokens=40, max_context=60)
    message = Message("user", observation(0, 0))
    first = asyncio.run(policy.act(Dialogue((message,), "k", 5)))
    assert len(first.prompt_ids) + len(first.ids) <= 60
    long = (message, Message("assistant", first.text, first), Message("user", observation(1, 1) * 4))
    with pytest.raises(ContextOverflow, match="max_context = 60"):
        asyncio.run(policy.act(Dialogue(long, "k", 6)))


def test_out_of_memory_fails_the_turns_under_way_with_one_clear_line_and_the_next_turn_is_well(model):
    policy = TransformersPolicy(model, max_tokens=4)
    dialogue = Dialogue((Message("user", observation(0, 0)),), "k", 5)
    hook = model.base.model.register_forward_pre_hook(lambda module, inputs: torch.empty(1 << 50))
    try:
        with pytest.raises(PolicyFault, match="out of memory while sampling; torch asked for .* bytes: lower rows"):
            asyncio.run(policy.act(dialogue))
    finally:
        hook.remove()
    assert len(asyncio.run(policy.act(dialogue)).ids)


def test_a_prompt_that_was_made_is_taken_as_it_is(model):
    policy = TransformersPolicy(model, max_tokens=8)
    asked = (Message("user", observation(0, 0)),)
    prompt = model.codec.prompt(asked)
    made = asyncio.run(policy.act(Dialogue((), "k", 1, prompt)))
    assert made.prompt_ids is prompt.ids
    assert_same([made], [asyncio.run(policy.act(Dialogue(asked, "k", 1)))], 1e-5)


def test_a_dialogue_may_ask_for_fewer_tokens(model):
    policy = TransformersPolicy(model, max_tokens=8)
    asked = (Message("user", observation(0, 0)),)
    short, whole_, long = (
        asyncio.run(policy.act(Dialogue(asked, "k", 3, max_tokens=limit))) for limit in (2, None, 99)
    )
    assert len(short.ids) == 2
    assert short.stop == "length"
    assert whole_.ids[:2].tolist() == short.ids.tolist()
    assert long.ids.tolist() == whole_.ids.tolist()


def test_a_policy_says_what_it_can_do(model):
    policy = TransformersPolicy(model)
    assert isinstance(policy, Policy)
    assert (policy.accepts, policy.exact, policy.repeatable) == ({Shared}, True, True)
    assert policy.version == model.version
    assert policy.codec is model.codec


def test_a_refresh_takes_over_version_and_weights_of_another_model(model):
    policy = TransformersPolicy(model, max_tokens=8)
    other = copy.deepcopy(model)
    other.version = Version("run", "b", "model", 0)
    _train_a_little(other)
    dialogue = Dialogue((Message("user", observation(0, 0)),), "k", 1)
    before = asyncio.run(policy.act(dialogue))
    asyncio.run(policy.refresh(asyncio.run(other.publish(3, Shared))))
    assert policy.version == Version("run", "b", "model", 3)
    after = asyncio.run(policy.act(dialogue))
    assert_same([after], [asyncio.run(TransformersPolicy(other, max_tokens=8).act(dialogue))], 1e-5)
    assert before.logprobs[0] != after.logprobs[0]
    assert set(after.versions) == {3}


def test_weights_of_another_kind_or_for_other_words_are_refused(model):
    policy = TransformersPolicy(model, max_tokens=8)
    with pytest.raises(PolicyFault, match="shares a language model of its process"):
        asyncio.run(policy.refresh(Weights(Version(), Stream("x"))))
    other = fresh(vocabulary=310)
    with pytest.raises(ConfigError, match="the new model has another codec"):
        asyncio.run(policy.refresh(asyncio.run(other.publish(1, Shared))))


def test_broken_weights_are_a_policy_fault_and_mended_ones_work_again(model):
    model = copy.deepcopy(model)
    policy = TransformersPolicy(model, max_tokens=8)
    dialogue = Dialogue((Message("user", observation(0, 0)),), "k", 1)
    expected = asyncio.run(policy.act(dialogue))
    head = model.module.lm_head.weight.data
    kept = head.clone()
    head.fill_(float("nan"))
    with pytest.raises(PolicyFault, match="not finite"):
        asyncio.run(policy.act(dialogue))
    head.copy_(kept)
    assert_same([asyncio.run(policy.act(dialogue))], [expected], 1e-5)


def test_a_closed_policy_is_closed_twice_and_still_answers(model):
    policy = TransformersPolicy(model, max_tokens=8)
    first = play_all(policy, [0], 2)[0]
    policy.close()
    policy.close()
    policy.forget("unknown")
    assert_same(play_all(policy, [0], 2)[0], first, 1e-5)


def test_an_adapter_is_sampled_from_and_scored_alike(model, tmp_path):
    model.write(tmp_path / "base")
    adapted = pretrained(path=str(tmp_path / "base"), lora_rank=4)
    with torch.no_grad():
        for parameter in adapted.module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
    said = play_all(TransformersPolicy(adapted, max_tokens=8), range(9), 2)[4]
    logprobs = torch.log_softmax(plain_logits(adapted, whole(said)), -1)
    for completion in said:
        begin = len(completion.prompt_ids) - 1
        chosen = logprobs[begin + np.arange(len(completion.ids)), completion.ids].numpy()
        np.testing.assert_allclose(completion.logprobs, chosen, atol=1e-4)
    assert (plain_logits(adapted, whole(said)) - plain_logits(model, whole(said))).abs().max() > 1e-3


def test_half_precision_runs_and_stays_near(model, tmp_path):
    model.write(tmp_path / "base")
    half = pretrained(path=str(tmp_path / "base"), dtype="bfloat16")
    for said in play_all(TransformersPolicy(half, max_tokens=8), range(9), 3):
        logprobs = torch.log_softmax(plain_logits(half, whole(said)).float(), -1)
        for completion in said:
            begin = len(completion.prompt_ids) - 1
            chosen = logprobs[begin + np.arange(len(completion.ids)), completion.ids].numpy()
            assert np.abs(completion.logprobs - chosen).mean() < 0.2


def test_settings_out_of_range_and_models_without_tokens_are_refused(model):
    host = Host()
    for settings in (
        {"max_context": LENGTH + 1},
        {"max_tokens": 0},
        {"temperature": -1.0},
        {"top_p": 0.0},
        {"rows": 0},
    ):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            host.build(Spec("policy", "transformers", settings), Scope({Model: model}))
    with pytest.raises(ConfigError, match="language model"):
        host.build(Spec("policy", "transformers", {}), Scope({Model: object()}))
