"""Models: the tiny one, folders, LoRA, the ragged forward and the distribution tokens are drawn from."""

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

from agentrl import ConfigError, DataError, Host, Spec
from agentrl_plugins.models.pretrained import pretrained
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


def _small(seed=0, **settings):
    return tiny(TEXTS, seed, **(SMALL | settings))


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
        tiny([], 0)


@pytest.mark.parametrize("tied", [False, True])
def test_weights_and_version_come_back_exactly(tmp_path, tied):
    written, read = _small(1, tied=tied), _small(2, tied=tied)
    written.version = 7
    written.save(tmp_path / "model")
    place = next(read.module.parameters()).data_ptr()
    read.load(tmp_path / "model")
    assert _equal(_weights(written), _weights(read))
    assert read.version == 7
    assert next(read.module.parameters()).data_ptr() == place  # in place: an optimiser keeps its parameters


def test_a_damaged_or_foreign_checkpoint_is_refused_and_changes_nothing(tmp_path):
    model, before = _small(1), {name: value.clone() for name, value in _small(1).module.state_dict().items()}
    _small(2, width=48).save(tmp_path / "other")
    _small(2).save(tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    for folder in ("other", "cut", "missing"):
        with pytest.raises(DataError, match=folder):
            model.load(tmp_path / folder)
    assert _equal(_weights(model), before)


def test_a_saved_tiny_model_is_an_ordinary_folder_that_pretrained_reads(tmp_path):
    model = _small(1)
    model.save(tmp_path / "model")
    read = pretrained(path=str(tmp_path / "model"), device="cpu")
    assert _equal(_weights(model), _weights(read))
    assert read.tokenizer.chat_template == model.tokenizer.chat_template
    assert read.stop_ids == model.stop_ids == {model.tokenizer.eos_token_id}
    assert read.max_context == 256
    assert "ragged" not in (tmp_path / "model" / "config.json").read_text()


def test_only_the_adapter_is_trained_and_saved_with_lora(tmp_path):
    _small(1).save(tmp_path / "base")
    settings = {"path": str(tmp_path / "base"), "device": "cpu", "lora_rank": 4}
    model = pretrained(3, **settings)
    trained = [parameter for parameter in model.module.parameters() if parameter.requires_grad]
    assert 0 < sum(map(torch.numel, trained)) < 0.5 * sum(map(torch.numel, model.module.parameters()))
    with torch.no_grad():
        for parameter in trained:
            parameter.add_(0.1)
    model.version = 2
    model.save(tmp_path / "adapter")
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    again = pretrained(4, **settings)
    again.load(tmp_path / "adapter")
    assert _equal(_weights(model), _weights(again))
    assert again.version == 2
    assert _equal(_weights(model), _weights(pretrained(path=str(tmp_path / "adapter"), device="cpu")))


def test_the_seed_decides_a_fresh_adapter(tmp_path):
    _small(1).save(tmp_path / "base")
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
    _small(1).save(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="complete") as raised:
        pretrained(path=str(tmp_path / "model"))
    assert raised.value.__cause__ is None  # the library's traceback helps nobody


def test_a_wrong_lora_target_or_a_missing_template_says_so(tmp_path):
    _small(1).save(tmp_path / "model")
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
    model = host.build(Spec("model", "tiny", SMALL), texts=TEXTS, seed=1)
    assert _equal(_weights(model), _weights(_small(1)))
    with pytest.raises(ConfigError, match="layers"):
        host.build(Spec("model", "tiny", {"layer": 2}), texts=TEXTS, seed=1)
    with pytest.raises(ConfigError, match="lora_rank"):
        host.build(Spec("model", "pretrained", {"path": "x", "lora_rank": "big"}), seed=1)


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
