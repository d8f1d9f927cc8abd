"""Rendering: chat templates of real model families, restated in a few lines, over a tokenizer trained here."""

import time

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from agentrl import Completion, ConfigError, Dialogue, Message, relation
from agentrl_plugins.policies.rendering import Renderer

CHATML = (  # Qwen2.5: a default system message, tool replies gathered into one user message
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}"
    "{% if m['role'] == 'tool' %}"
    "{% if not loop.previtem or loop.previtem['role'] != 'tool' %}{{ '<|im_start|>user' }}{% endif %}"
    "{{ '\n<tool_response>\n' + m['content'] + '\n</tool_response>' }}"
    "{% if loop.last or loop.nextitem['role'] != 'tool' %}{{ '<|im_end|>\n' }}{% endif %}"
    "{% else %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN3 = (  # thoughts are kept behind the last user message and dropped before it
    "{% set ns = namespace(last=0) %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% set text = m['content'] %}{% set thought = '' %}"
    "{% if m['role'] == 'assistant' and '</think>' in text %}"
    "{% set thought = text.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{% set text = text.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{{ '<|im_start|>' + ('user' if m['role'] == 'tool' else m['role']) + '\n' }}"
    "{% if m['role'] == 'assistant' and loop.index0 > ns.last and (loop.last or thought) %}"
    "{{ '<think>\n' + thought.strip('\n') + '\n</think>\n\n' }}{% endif %}"
    "{{ text + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (  # contents are trimmed
    "{% for m in messages %}{% if loop.first %}{{ '<|begin_of_text|>' }}{% endif %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (  # no header for the assistant, a blank before what it said, roles must alternate
    "{{ '<s>' }}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + (system if loop.first else '') + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + '</s>' }}{% endif %}{% endfor %}"
)
FAMILIES = {
    "chatml": (CHATML, "<|im_end|>"),
    "qwen3": (QWEN3, "<|im_end|>"),
    "llama3": (LLAMA3, "<|eot_id|>"),
    "mistral": (MISTRAL, "</s>"),
}
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
           "<s>", "</s>", "[INST]", "[/INST]"]  # fmt: skip
TEXTS = [
    "go to cabinet 3",
    "take the mug 1 from shelf 2",
    "You see nothing.",
    "You open the fridge 1.",
    "assistant user",
]


def _tokenizer(template, end):
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end, chat_template=template)


class Game:
    """Plays a dialogue with words given to it, and keeps completions as a policy would."""

    def __init__(self, family, system="Play."):
        template, end = FAMILIES[family]
        self.tokenizer = _tokenizer(template, end)
        self.stop = self.tokenizer.eos_token_id
        self.renderer = Renderer(self.tokenizer, frozenset([self.stop]))
        self.messages = (Message("system", system),) if system else ()
        self.relations, self.said = [], []

    def turn(self, observation, text, ids=None, stopped=True, role="user"):
        self.messages += (Message(role, observation),)
        prompt = self.renderer.prompt(Dialogue(self.messages, "key", 0))
        self.relations.append(relation(self.said[-1] if self.said else None, prompt))
        ids = list(self.renderer.ids_of(text) if ids is None else ids)
        ids = np.array(ids + [self.stop] * stopped, np.int32)
        zeros = np.zeros(len(ids), np.float32)
        self.said.append(Completion(text, prompt, ids, zeros, versions=zeros.astype(np.int32)))
        self.messages += (Message("assistant", text, self.said[-1]),)
        return prompt

    def text(self, prompt):
        return self.tokenizer.decode(prompt, skip_special_tokens=False)


def _letters(game, text):
    """The same words in ids the tokenizer would never choose: one per byte."""
    return [i for c in text for i in game.renderer.ids_of(c)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("system", ["Play.", ""])
def test_a_growing_dialogue_appends_whatever_ids_were_sampled(family, system):
    game = Game(family, system)
    for turn in range(5):
        text = f"go to cabinet {turn}"
        game.turn(f"You see {turn}.", text, _letters(game, text))
    assert game.relations == ["start", "append", "append", "append", "append"]
    last = game.said[-1]
    for earlier in game.said[:-1]:
        begin = len(earlier.prompt_ids)
        assert np.array_equal(last.prompt_ids[begin : begin + len(earlier.ids)], earlier.ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_prompt_reads_as_the_template_writes_it(family):
    game = Game(family)
    for turn in range(3):
        prompt = game.turn(f"You see {turn}.", f"go to shelf {turn}")
    plain = [{"role": message.role, "content": message.content} for message in game.messages[:-1]]
    expected = game.tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
    assert game.text(prompt).replace(" ", "") == expected.replace(" ", "")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_stop_token_is_not_repeated_and_after_a_cut_it_belongs_to_the_prompt(family):
    game = Game(family)
    game.turn("You see 1.", "go to cabinet 1")
    game.turn("You see 2.", "go to cabi", stopped=False)
    prompt = game.turn("You see 3.", "look")
    assert game.relations == ["start", "append", "append"]
    said = game.said[1]
    assert prompt[len(said.prompt_ids) + len(said.ids)] == game.stop
    assert np.count_nonzero(prompt == game.stop) == np.count_nonzero(prompt[: len(said.prompt_ids)] == game.stop) + (
        2 if family in ("chatml", "qwen3", "llama3") else 1
    )


def test_blanks_around_what_was_sampled_do_not_break_the_appending():
    for family in FAMILIES:
        game = Game(family)
        for text in (" go to cabinet 1", "look \n", "\n\nlook", ""):
            game.turn("You see nothing.", text)
        assert game.relations == ["start", "append", "append", "append"], family


def test_thoughts_that_the_template_drops_make_the_prompt_realign():
    game = Game("qwen3")
    for turn in range(3):
        game.turn(f"You see {turn}.", f"<think>\nwhere is {turn}\n</think>\n\ngo to cabinet {turn}")
    assert game.relations == ["start", "realign", "realign"]
    assert "where is" not in game.text(game.said[-1].prompt_ids)
    assert "go to cabinet 0" in game.text(game.said[-1].prompt_ids)


def test_thoughts_are_kept_verbatim_while_tools_answer():
    game = Game("qwen3")
    game.turn("Find the mug.", "<think>\nlook\n</think>\n\nopen", _letters(game, "<think>\nlook\n</think>\n\nopen"))
    game.turn("a mug", "<think>\nthere\n</think>\n\ntake", role="tool")
    game.turn("taken", "done", role="tool")
    assert game.relations == ["start", "append", "append"]
    game.turn("Now the knife.", "open")
    assert game.relations[-1] == "fork"  # the first answer, too, lost its thought


def test_a_changed_past_forks():
    for family in FAMILIES:
        game = Game(family, "")
        for turn in range(3):
            game.turn(f"You see {turn}.", f"go to cabinet {turn}")
        game.messages = game.messages[2:]  # a window
        prompt = game.turn("You see 9.", "look")
        assert game.relations[-1] == "fork"
        assert all(list(said.ids) == list(_inside(prompt, said.ids)) for said in game.said[1:3])


def _inside(prompt, ids):
    for begin in range(len(prompt)):
        if np.array_equal(prompt[begin : begin + len(ids)], ids):
            return prompt[begin : begin + len(ids)]
    return []


def test_a_past_that_was_edited_is_rendered_again():
    game = Game("chatml")
    game.turn("You see a mug.", "take")
    game.turn("You see a cup.", "take")
    game.messages = (game.messages[0], Message("user", "You see a pan."), *game.messages[2:])
    prompt = game.turn("You see 2.", "look")
    assert "pan" in game.text(prompt)
    assert "mug" not in game.text(prompt)


def test_words_that_were_changed_after_sampling_are_tokenised_anew():
    game = Game("chatml")
    game.turn("You see 1.", "think then go", _letters(game, "think then go"))
    said = game.messages[-1]
    game.messages = (*game.messages[:-1], Message("assistant", "go", said.completion))
    prompt = game.turn("You see 2.", "look")
    assert game.relations[-1] == "realign"
    assert "think then" not in game.text(prompt)


def test_only_templates_that_never_look_back_are_extended_without_rendering():
    found = {family: Game(family).renderer.append_only for family in FAMILIES}
    assert found == {"chatml": True, "qwen3": False, "llama3": False, "mistral": False}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_short_way_and_the_long_way_give_the_same_ids(family):
    game = Game(family)
    for text in (" lead", "<think>\nx\n</think>\n\ny", "trail ", "", "a\n\nb"):
        prompt = game.turn(text, text)
        fresh = Renderer(game.tokenizer, frozenset([game.stop]))
        assert np.array_equal(fresh.prompt(Dialogue(game.messages[:-1], "key", 0)), prompt)


def test_tool_schemas_and_tool_messages_reach_the_template():
    template = "{% if tools %}{{ tools[0]['name'] }}{% endif %}" + CHATML
    renderer = Renderer(_tokenizer(template, "<|im_end|>"), frozenset([1]))
    messages = (Message("user", "q"), Message("assistant", "call"), Message("tool", "r1"), Message("tool", "r2"))
    prompt = renderer.prompt(Dialogue(messages, "k", 0, tools=({"name": "search"},)))
    text = renderer._tokenizer.decode(prompt)
    assert text.startswith("search")
    assert text.count("<tool_response>") == 2
    assert text.count("<|im_start|>user") == 2


def test_a_dialogue_the_template_refuses_is_one_clear_sentence():
    game = Game("mistral", "")
    with pytest.raises(ConfigError, match=r"user, user.*alternate"):
        game.renderer.prompt(Dialogue((Message("user", "a"), Message("user", "b")), "k", 0))


@pytest.mark.parametrize("write", ["m | tojson", "m['content'] | urlencode", "m['content'] + m['content']"])
def test_templates_that_quote_escape_or_repeat_messages_still_give_a_clean_prompt(write):
    renderer = Renderer(_tokenizer("{% for m in messages %}{{ " + write + " }}{% endfor %}", "</s>"), frozenset())
    ids = renderer.ids_of('say "go"')
    zeros = np.zeros(len(ids), np.float32)
    said = Completion('say "go"', np.zeros(1, np.int32), ids, zeros, versions=zeros.astype(np.int32))
    prompt = renderer.prompt(Dialogue((Message("user", "q"), Message("assistant", said.text, said)), "k", 0))
    text = renderer._tokenizer.decode(prompt)
    assert "go" in text
    assert not any(mark in text.lower() for mark in ("f8f0", "%f3", "\U000f8f00"))


def test_a_turn_is_rendered_in_microseconds():
    game = Game("chatml")
    for _turn in range(20):  # caches warm, as in a long cloning stage
        game.turn("You open the fridge 1.", "go to cabinet 3")
    started = time.process_time()
    for _turn in range(400):
        game.turn("You open the fridge 1.", "go to cabinet 3")
    assert (time.process_time() - started) / 400 < 200e-6  # 15 to 30 on an idle core
