"""Models: the tiny one, folders, LoRA, the ragged forward and the distribution tokens are drawn from."""

import asyncio
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from agentrl import (
    ConfigError,
    DataError,
    Folder,
    Host,
    Message,
    Question,
    Sampling,
    SavedCodec,
    Scope,
    Seed,
    Shared,
    Spec,
    Stream,
    Texts,
    Version,
)
from agentrl_plugins.models import pretrained as pretrained_plugin
from agentrl_plugins.models.questions import answer
from agentrl_plugins.models.ragged import ragged_logits, use_ragged_attention
from agentrl_plugins.models.sampling import draw, entropy, log_distribution
from agentrl_plugins.models.tiny import tiny

TEXTS = [
    f"You arrive at {place} {i}. On the {place} {i}, you see a {thing} {j}, and a {thing} {j + 1}."
    for place in ("cabinet", "fridge", "shelf")
    for thing in ("mug", "apple", "knife")
    for i in range(1, 4)
    for j in range(1, 3)
] + [f"take {thing} {j} from cabinet {j}" for thing in ("mug", "apple", "knife") for j in range(1, 4)]
SMALL = {"layers": 2, "width": 32, "heads": 2, "kv_heads": 1, "head_width": 16, "vocabulary": 400, "max_context": 256}


def _small(seed=0, saved=None, texts=TEXTS, **settings):
    return tiny(texts, seed, SavedCodec(saved), **(SMALL | settings))


def pretrained(seed=0, saved=None, **settings):
    return pretrained_plugin.pretrained(seed, SavedCodec(saved), **settings)


def _weights(model):
    return model.module.state_dict()


def _equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_seed_alone_decides_the_weights_of_a_tiny_model():
    before = torch.random.get_rng_state()
    first, again, other = _small(3), _small(3), _small(4)
    assert _equal(_weights(first), _weights(again))
    assert not _equal(_weights(first), _weights(other))
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.tokenizer.get_vocab() == again.tokenizer.get_vocab()


@pytest.mark.parametrize("pieces", ["phrases", "words"])
def test_a_name_is_one_token_and_any_text_comes_back(pieces):
    tokenizer = _small(pieces=pieces).tokenizer
    encode = tokenizer.backend_tokenizer.encode
    assert " cabinet 3" in [tokenizer.decode([i]) for i in encode("go to cabinet 3", add_special_tokens=False).ids]
    for text in (*TEXTS, "Ünï \n\n 12 ok\tx", "put a mug in cabinet."):
        assert tokenizer.decode(encode(text, add_special_tokens=False).ids) == text


def test_phrases_cost_fewer_tokens_than_words():
    lengths = [
        sum(len(_small(pieces=pieces).tokenizer.backend_tokenizer.encode(text).ids) for text in TEXTS)
        for pieces in ("phrases", "words")
    ]
    assert lengths[0] < 0.7 * lengths[1]


def test_a_role_costs_one_token_and_the_end_of_an_answer_one_more():
    tokenizer = _small().tokenizer
    talk = [{"role": "user", "content": "mug 1"}, {"role": "assistant", "content": "mug 1"}]
    ids = tokenizer.apply_chat_template(talk, tokenize=True, add_generation_prompt=True, return_dict=False)
    text = len(tokenizer.backend_tokenizer.encode("mug 1", add_special_tokens=False).ids)
    assert len(ids) == 2 * text + 4
    assert tokenizer.eos_token_id == ids[-2]


def test_a_tiny_model_says_what_is_wrong_with_its_settings():
    with pytest.raises(ConfigError, match="too small"):
        _small(vocabulary=100)
    with pytest.raises(ConfigError, match="multiple"):
        _small(heads=3, kv_heads=2)
    with pytest.raises(ConfigError, match="given none"):
        _small(texts=[])


@pytest.mark.parametrize("tied", [False, True])
def test_weights_and_version_come_back_exactly(tmp_path, tied):
    written, read = _small(1, tied=tied), _small(2, tied=tied)
    written.version = Version(update=7)
    asyncio.run(written.save(tmp_path / "model"))
    place = next(read.module.parameters()).data_ptr()
    read.version = Version("run", "b", "model", 0)
    asyncio.run(read.load(tmp_path / "model"))
    assert _equal(_weights(written), _weights(read))
    assert read.version == Version("run", "b", "model", 7)
    assert next(read.module.parameters()).data_ptr() == place  # in place: an optimiser keeps its parameters


def test_a_damaged_or_foreign_checkpoint_is_refused_and_changes_nothing(tmp_path):
    model, before = _small(1), {name: value.clone() for name, value in _small(1).module.state_dict().items()}
    _small(2, width=48).write(tmp_path / "other")
    _small(2).write(tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    for folder in ("other", "cut", "missing"):
        with pytest.raises(DataError, match=folder):
            model.read(tmp_path / folder)
    assert _equal(_weights(model), before)


def test_a_saved_tiny_model_is_an_ordinary_folder_that_pretrained_reads(tmp_path):
    model = _small(1)
    model.write(tmp_path / "model")
    read = pretrained(path=str(tmp_path / "model"), device="cpu")
    assert _equal(_weights(model), _weights(read))
    assert read.tokenizer.chat_template == model.tokenizer.chat_template
    assert read.stop_ids == model.stop_ids == {model.tokenizer.eos_token_id}
    assert read.max_context == 256
    assert "ragged" not in (tmp_path / "model" / "config.json").read_text()


def test_only_the_adapter_is_trained_and_saved_with_lora(tmp_path):
    _small(1).write(tmp_path / "base")
    settings = {"path": str(tmp_path / "base"), "device": "cpu", "lora_rank": 4}
    model = pretrained(3, **settings)
    trained = [parameter for parameter in model.module.parameters() if parameter.requires_grad]
    assert 0 < sum(map(torch.numel, trained)) < 0.5 * sum(map(torch.numel, model.module.parameters()))
    with torch.no_grad():
        for parameter in trained:
            parameter.add_(0.1)
    model.version = Version(update=2)
    model.write(tmp_path / "adapter")
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    again = pretrained(4, **settings)
    again.read(tmp_path / "adapter")
    assert _equal(_weights(model), _weights(again))
    assert again.version.update == 2
    assert _equal(_weights(model), _weights(pretrained(path=str(tmp_path / "adapter"), device="cpu")))


def test_the_seed_decides_a_fresh_adapter(tmp_path):
    _small(1).write(tmp_path / "base")
    first, again, other = (
        pretrained(seed, path=str(tmp_path / "base"), device="cpu", lora_rank=4) for seed in (3, 3, 4)
    )
    assert _equal(_weights(first), _weights(again))
    assert not _equal(_weights(first), _weights(other))


@pytest.mark.parametrize("path", ["no-such-folder", "./no", "/no/such/folder", "runs/a/model", "~/nothing-here"])
def test_a_missing_folder_is_one_clear_sentence(path):
    with pytest.raises(ConfigError, match="there is no folder") as raised:
        pretrained(path=path)
    assert path in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_folder_without_or_with_broken_weights_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no config\.json"):
        pretrained(path=str(tmp_path / "empty"))
    _small(1).write(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="complete") as raised:
        pretrained(path=str(tmp_path / "model"))
    assert raised.value.__cause__ is None  # the library's traceback helps nobody


def test_a_wrong_lora_target_or_a_missing_template_says_so(tmp_path):
    _small(1).write(tmp_path / "model")
    with pytest.raises(ConfigError, match="lora_targets"):
        pretrained(path=str(tmp_path / "model"), lora_rank=2, lora_targets=("nothing",))
    (tmp_path / "model" / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match="chat template"):
        pretrained(path=str(tmp_path / "model"))


def test_listing_and_naming_models_and_policies_imports_no_torch():
    code = (
        "import sys; from agentrl import Host; host = Host(); "
        "names = [e.name for k in ('model', 'policy') for e in host.registry(k)]; "
        "assert {'tiny', 'pretrained', 'transformers'} <= set(names), (names, host.broken); "
        "assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_models_are_built_by_name_with_checked_settings():
    host = Host()
    scope = Scope({Texts: Texts(TEXTS), Seed: Seed(1), SavedCodec: SavedCodec()})
    model = host.build(Spec("model", "tiny", SMALL), scope)
    assert _equal(_weights(model), _weights(_small(1)))
    with pytest.raises(ConfigError, match="layers"):
        host.build(Spec("model", "tiny", {"layer": 2}), scope)
    with pytest.raises(ConfigError, match="lora_rank"):
        host.build(Spec("model", "pretrained", {"path": "x", "lora_rank": "big"}), scope)


def test_a_kept_codec_stands_for_the_words_of_the_world(tmp_path):
    model = _small(1)
    model.codec.save(tmp_path / "codec")

    class Unread:
        def __iter__(self):
            raise AssertionError("texts are played for nothing")

    again = _small(1, saved=tmp_path / "codec", texts=Unread())
    assert again.codec.name == model.codec.name
    assert _equal(_weights(model), _weights(again))
    assert again.module.config.vocab_size == model.module.config.vocab_size


def test_a_pretrained_model_keeps_the_codec_that_the_run_kept(tmp_path):
    model = _small(1, history="as_sampled")
    model.write(tmp_path / "model")
    model.codec.save(tmp_path / "codec")
    plain = pretrained(path=str(tmp_path / "model"), device="cpu")
    kept = pretrained(path=str(tmp_path / "model"), device="cpu", saved=tmp_path / "codec")
    assert (plain.codec.history, kept.codec.history) == ("template", "as_sampled")
    assert kept.codec.name == model.codec.name != plain.codec.name


def test_weights_are_handed_out_under_the_number_of_their_update(tmp_path):
    model = _small(1)
    model.version = Version("run", "a", "model", 3)
    weights = asyncio.run(model.publish(4, Shared))
    assert weights.version == model.version == Version("run", "a", "model", 4)
    assert weights.handle.model is model
    first = asyncio.run(model.publish(5, Folder)).handle.path
    assert _equal(_weights(pretrained(path=str(first), device="cpu")), _weights(model))
    assert json.loads((first / "agentrl.json").read_text()) == {"version": 5}
    second = asyncio.run(model.publish(6, Folder)).handle.path
    assert (first.exists(), second.exists()) == (False, True)  # they would fill the memory
    model.close()
    model.close()
    assert not second.exists()
    with pytest.raises(ConfigError, match="hands its weights out as Shared or Folder, not as Stream"):
        asyncio.run(model.publish(6, Stream))


def _moved(model, by=0.05):
    with torch.no_grad():
        for parameter in model.module.parameters():
            if parameter.requires_grad:
                parameter.add_(by)


def _asked(model, weights="current", text="take mug 1"):
    prompt = model.codec.prompt((Message("user", "You see a mug 1."),)).ids
    return asyncio.run(model.score([Question(prompt, model.codec.say(text))], weights=weights))[0].logprobs


def test_the_weights_a_model_began_with_are_kept_on_demand_and_across_a_resume(tmp_path):
    model = _small(1, keep_initial=True)
    before = _asked(model)
    _moved(model)
    assert np.array_equal(_asked(model, "initial"), before)
    assert not np.allclose(_asked(model), before, atol=1e-3)
    model.write(tmp_path / "checkpoint")
    again = _small(2, keep_initial=True)
    again.read(tmp_path / "checkpoint")
    assert np.array_equal(_asked(again, "initial"), before)
    assert np.array_equal(_asked(again), _asked(model))
    for name in ("initial", "average"):
        with pytest.raises(ConfigError, match=f'keeps no weights "{name}"'):
            _asked(_small(1), name)


def test_under_a_fresh_adapter_the_initial_weights_are_the_base_model(tmp_path):
    base = _small(1)
    base.write(tmp_path / "base")
    model = pretrained(3, path=str(tmp_path / "base"), device="cpu", lora_rank=4, keep_initial=True)
    _moved(model)
    np.testing.assert_allclose(_asked(model, "initial"), _asked(base), atol=1e-6)
    assert not np.allclose(_asked(model), _asked(base), atol=1e-3)


def test_a_run_that_starts_from_another_has_its_weights_as_the_initial_ones(tmp_path):
    other = _small(1, keep_initial=True)
    _moved(other)
    other.write(tmp_path / "other")  # with the initial weights of that run beside its own
    model = _small(2, keep_initial=True)
    asyncio.run(model.begin(tmp_path / "other"))
    _moved(model)
    assert np.array_equal(_asked(model, "initial"), _asked(other))
    forgetful = _small(2)
    asyncio.run(forgetful.begin(tmp_path / "other"))
    with pytest.raises(ConfigError, match="keep_initial"):
        _asked(forgetful, "initial")


def test_an_adapter_that_was_trained_before_is_part_of_the_initial_weights(tmp_path):
    _small(1).write(tmp_path / "base")
    lora = {"path": str(tmp_path / "base"), "device": "cpu", "lora_rank": 4, "keep_initial": True}
    other, model = pretrained(3, **lora), pretrained(4, **lora)
    _moved(other)
    other.write(tmp_path / "other")
    asyncio.run(model.begin(tmp_path / "other"))
    _moved(model)
    assert np.array_equal(_asked(model, "initial"), _asked(other))
    model.write(tmp_path / "checkpoint")
    again = pretrained(5, **lora)
    again.read(tmp_path / "checkpoint")
    assert np.array_equal(_asked(again, "initial"), _asked(other))


FAMILIES = {
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
}


def _family(name):
    config, cls = FAMILIES[name]
    torch.manual_seed(0)
    made = config(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=128,
        initializer_range=0.2,
    )
    return cls(made).eval()


def _sequences(*lengths):
    random = np.random.default_rng(0)
    sequences = [random.integers(0, 60, length).astype(np.int32) for length in lengths]
    return sequences, [random.random(length) < 0.6 for length in lengths]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_ragged_forward_is_the_plain_one_without_padding(name):
    module = _family(name)
    sequences, keep = _sequences(5, 60, 1, 17, 55, 16)
    plain = torch.cat(
        [module(torch.from_numpy(s)[None].long()).logits[0][k] for s, k in zip(sequences, keep, strict=True)]
    )
    expected = torch.autograd.grad(plain.square().mean(), list(module.parameters()))
    use_ragged_attention(module)
    logits = ragged_logits(module, sequences, keep)
    gradients = torch.autograd.grad(logits.square().mean(), list(module.parameters()))
    torch.testing.assert_close(logits, plain, atol=2e-5, rtol=1e-5)
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-4, rtol=1e-3)


def _questions(count, sampling=None):
    random = np.random.default_rng(0)
    return [
        Question(
            random.integers(0, 60, 1 + int(random.integers(20))).astype(np.int32),
            random.integers(0, 60, int(random.integers(9))).astype(np.int32),
            sampling or Sampling(),
        )
        for _ in range(count)
    ]


def _plain(module, question):
    """Log-probs [C, V] of the ids of a question and last hidden states [C, D], by a forward pass of the library."""
    ids = torch.from_numpy(np.concatenate([question.prompt_ids, question.ids]))[None].long()
    places = slice(len(question.prompt_ids) - 1, len(question.prompt_ids) + len(question.ids) - 1)
    result = module(ids, output_hidden_states=True)
    logits = result.logits[0][places]
    settings = question.sampling
    return log_distribution(logits, settings.temperature, settings.top_p, settings.top_k), result.hidden_states[-1][0][
        places
    ]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.7, 0.9, 20)])
def test_scores_are_those_of_a_plain_forward_pass(name, sampling):
    module = _family(name)
    questions = [*_questions(7, sampling), *_questions(3, Sampling(1.5))]
    with torch.no_grad():
        expected = [_plain(module, question) for question in questions]
    use_ragged_attention(module)
    scores = answer(module, questions, top=5, moments=True, features=True)
    for question, score, (logprobs, hidden) in zip(questions, scores, expected, strict=True):
        taken = logprobs[torch.arange(len(question.ids)), torch.from_numpy(question.ids).long()].numpy()
        np.testing.assert_allclose(score.logprobs, taken, atol=2e-5)
        probs = logprobs.exp()
        np.testing.assert_allclose(score.square, (probs**2).sum(-1).numpy(), atol=1e-5)
        np.testing.assert_allclose(score.entropy, entropy(logprobs, probs).numpy(), atol=1e-4)
        values, _ = logprobs.topk(5)
        np.testing.assert_allclose(score.top_logprobs, values.numpy(), atol=2e-5)
        if len(question.ids):
            np.testing.assert_allclose(
                np.take_along_axis(logprobs.numpy(), score.top_ids.astype(np.int64), 1), values.numpy(), atol=2e-5
            )
        assert score.features.shape == (len(question.ids), 32)
        np.testing.assert_allclose(score.features, hidden.numpy(), atol=2e-5)


def test_scores_equal_those_of_the_trainers_forward_pass():
    module = _family("qwen3")
    use_ragged_attention(module)
    questions = [question for question in _questions(9) if len(question.ids)]
    sequences = [np.concatenate([question.prompt_ids, question.ids]) for question in questions]
    keep = [np.arange(len(s)) >= len(q.prompt_ids) - 1 for s, q in zip(sequences, questions, strict=True)]
    for mask in keep:
        mask[-1] = False  # what the last token is followed by is not asked
    with torch.no_grad():
        logprobs = torch.log_softmax(ragged_logits(module, sequences, keep), -1)
    labels = torch.from_numpy(np.concatenate([question.ids for question in questions])).long()
    wanted = logprobs[torch.arange(len(labels)), labels].numpy()
    got = np.concatenate([score.logprobs for score in answer(module, questions)])
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_many_questions_are_answered_in_order_whatever_they_are_packed_with(monkeypatch):
    module = _family("llama")
    use_ragged_attention(module)
    questions = [q for pair in zip(_questions(12), _questions(12, Sampling(0.5)), strict=True) for q in pair]
    together = answer(module, questions)
    monkeypatch.setattr("agentrl_plugins.models.questions._TOKENS", 1)  # each in a pass of its own
    for one, other in zip(together, answer(module, questions), strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=2e-5)
    assert answer(module, []) == []


def test_scores_hold_only_what_was_asked_for():
    module = _family("llama")
    use_ragged_attention(module)
    (score,) = answer(module, _questions(1))
    assert {f.name for f in dataclasses.fields(score) if getattr(score, f.name) is not None} == {"logprobs"}


def test_a_question_without_a_prompt_is_refused():
    with pytest.raises(DataError, match="question 1 has no prompt"):
        answer(_family("llama"), [*_questions(1), Question(np.zeros(0, np.int32), np.array([1], np.int32))])


def test_a_module_with_ragged_attention_still_generates_with_padding():
    module = _family("qwen3")
    use_ragged_attention(module)
    ids = torch.randint(1, 60, (1, 6), generator=torch.Generator().manual_seed(0))
    padded, mask = torch.nn.functional.pad(ids, (4, 0)), torch.tensor([[0] * 4 + [1] * 6])
    settings = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    alone = module.generate(ids, attention_mask=mask[:, 4:], **settings)
    assert torch.equal(module.generate(padded, attention_mask=mask, **settings)[0, 10:], alone[0, 6:])


def test_gradient_checkpointing_changes_nothing():
    module = _family("llama").train()
    use_ragged_attention(module)
    sequences, keep = _sequences(9, 30)
    one = torch.autograd.grad(ragged_logits(module, sequences, keep).square().mean(), list(module.parameters()))
    module.gradient_checkpointing_enable()
    two = torch.autograd.grad(ragged_logits(module, sequences, keep).square().mean(), list(module.parameters()))
    for first, second in zip(one, two, strict=True):
        torch.testing.assert_close(first, second)


def test_masks_and_sequences_of_wrong_length_are_refused():
    module = _family("qwen3")
    use_ragged_attention(module)
    sequences, keep = _sequences(4, 5)
    with pytest.raises(DataError, match="keep mask"):
        ragged_logits(module, sequences, [keep[0], keep[1][:-1]])
    with pytest.raises(DataError, match="at least one token"):
        ragged_logits(module, [sequences[0], sequences[1][:0]], [keep[0], keep[1][:0]])


def test_a_sequence_longer_than_the_sliding_window_is_refused_instead_of_being_wrong():
    torch.manual_seed(0)
    config = MistralConfig(vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
                           num_attention_heads=4, num_key_value_heads=2, sliding_window=16)  # fmt: skip
    module = MistralForCausalLM(config)
    use_ragged_attention(module)
    sequences, keep = _sequences(12)
    ragged_logits(module, sequences, keep)
    sequences, keep = _sequences(20)
    with pytest.raises(ConfigError, match="sliding window of 16"):
        ragged_logits(module, sequences, keep)


def test_filters_keep_what_they_promise_and_renormalise():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    probs = lambda *settings: log_distribution(logits, *settings).exp()[0].tolist()  # noqa: E731
    assert probs(1.0) == pytest.approx([0.5, 0.3, 0.15, 0.05])
    assert probs(1.0, 1.0, 2) == pytest.approx([0.625, 0.375, 0, 0])
    assert probs(1.0, 0.7) == pytest.approx([0.625, 0.375, 0, 0])
    assert probs(1.0, 0.5) == pytest.approx([1, 0, 0, 0])
    assert probs(0.5)[0] == pytest.approx(0.25 / (0.25 + 0.09 + 0.0225 + 0.0025))
    assert probs(0.0) == [1, 0, 0, 0]


def test_entropy_is_of_the_filtered_distribution():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.5, 1e-9]]))
    logprobs = log_distribution(logits, 1.0, top_k=2)
    assert entropy(logprobs, logprobs.exp())[1].item() == pytest.approx(np.log(2), abs=1e-5)
    greedy = log_distribution(logits, 0.0)
    assert entropy(greedy, greedy.exp()).tolist() == [0, 0]


def test_draws_follow_the_distribution_and_never_a_removed_token():
    probs = torch.tensor([[0.0, 0.5, 0.0, 0.2, 0.3, 0.0]]).expand(3000, -1)
    uniforms = torch.from_numpy(np.random.default_rng(0).random(3000))
    tokens = draw(probs, uniforms)
    counts = torch.bincount(tokens, minlength=6) / 3000
    torch.testing.assert_close(counts, probs[0], atol=0.03, rtol=0)
    edges = draw(probs[:3], torch.tensor([0.0, 0.5, 1 - 1e-16], dtype=torch.float64))
    assert edges.tolist() == [1, 3, 4]
