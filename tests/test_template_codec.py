"""The codec over chat templates: those of real model families, restated in a few lines, over a tokenizer trained here."""

from __future__ import annotations

import datetime
import functools
import pickle
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from agentrl import Completion, ConfigError, Message, RecordError, relation
from agentrl_plugins.models.template_codec import FILE, TemplateCodec

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
GEMMA = (  # no role for instructions or tools, roles must alternate, contents are trimmed
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' }}"
    "{{ m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
OPENED = CHATML.replace("<|im_start|>assistant\n' }}{% endif %}", "<|im_start|>assistant\n<think>\n' }}{% endif %}")
"""The prompt opens the thought, so that what is sampled only closes it."""
FAMILIES = {
    "chatml": (CHATML, "<|im_end|>"),
    "qwen3": (QWEN3, "<|im_end|>"),
    "llama3": (LLAMA3, "<|eot_id|>"),
    "mistral": (MISTRAL, "</s>"),
    "gemma": (GEMMA, "<end_of_turn>"),
    "opened": (OPENED, "<|im_end|>"),
}
APPENDING = [family for family in FAMILIES if family != "opened"]
"""Templates that, thoughts aside, write old answers as they were prompted for."""
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
           "<s>", "</s>", "[INST]", "[/INST]", "<start_of_turn>", "<end_of_turn>", "<|endoftext|>"]  # fmt: skip
TEXTS = [
    "go to cabinet 3",
    "take the mug 1 from shelf 2",
    "You see nothing.",
    "You open the fridge 1.",
    "assistant user",
]
FLIP = {
    "type": "function",
    "function": {"name": "flip", "description": "flips", "parameters": {"type": "object", "properties": {}}},
}


def _tokenizer(template: str, end: str) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end, chat_template=template)


def codec_of(family: str, history: str = "template") -> TemplateCodec:
    template, end = FAMILIES[family]
    tokenizer = _tokenizer(template, end)
    return TemplateCodec(tokenizer, frozenset([tokenizer.eos_token_id]), 2048, history)  # type: ignore[arg-type]


def said(codec: TemplateCodec, text: str, prompt: Sequence[int] = (0,), ids: Sequence[int] | None = None) -> Completion:
    """What a policy sampled: other ids than the tokenizer's where they are given."""
    sampled = np.array(codec.ids_of(text) if ids is None else ids, np.int32)
    zeros = np.zeros(len(sampled), np.float32)
    return Completion(text, np.asarray(prompt, np.int32), sampled, zeros, versions=zeros.astype(np.int32))


class Game:
    """Plays a dialogue with words given to it, and keeps completions as a policy would."""

    def __init__(self, family: str, system: str = "Play.", history: str = "template") -> None:
        self.codec = codec_of(family, history)
        self.tokenizer = self.codec.tokenizer
        self.stop = self.tokenizer.eos_token_id
        self.messages: tuple[Message, ...] = (Message("system", system),) if system else ()
        self.relations: list[str] = []
        self.said: list[Completion] = []
        self.kept: list[int] = []

    def turn(self, observation, text, ids=None, stopped=True, role="user"):  # type: ignore[no-untyped-def]
        self.messages += (Message(role, observation),)
        after = self.said[-1] if self.said else None
        prompt = self.codec.prompt(self.messages, after=after)
        assert (prompt.relation, prompt.kept) == relation(after, prompt.ids), "the codec says what is not so"
        assert not prompt.ids.flags.writeable
        self.relations.append(prompt.relation)
        self.kept.append(prompt.kept)
        ids = list(self.codec.ids_of(text) if ids is None else ids) + [self.stop] * stopped
        self.said.append(said(self.codec, text, prompt.ids, ids))
        self.messages += (Message("assistant", text, self.said[-1]),)
        return prompt.ids

    def text(self, prompt):  # type: ignore[no-untyped-def]
        return self.tokenizer.decode(prompt, skip_special_tokens=False)


def _letters(game: Game, text: str) -> list[int]:
    """The same words in ids the tokenizer would never choose: one per byte."""
    return [int(i) for c in text for i in game.codec.ids_of(c)]


@pytest.mark.parametrize("family", APPENDING)
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


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 339), max_size=6), st.booleans(), st.text(st.sampled_from("ab \n<>é"), max_size=6)
        ),
        min_size=2,
        max_size=5,
    ),
    st.sampled_from(["chatml", "llama3", "mistral", "gemma"]),
)
@settings(max_examples=60, deadline=None)
def test_any_sampled_ids_stand_verbatim_in_the_next_prompt(turns, family):
    game = Game(family)
    for ids, stopped, observation in turns:
        sampled = [i for i in ids if i != game.stop]
        text = game.codec.decode(np.array(sampled, np.int32))
        game.turn(observation, text, sampled, stopped=stopped)
    for before, after in zip(game.said, game.said[1:], strict=False):
        if len(before.ids):
            begin = len(before.prompt_ids)
            assert np.array_equal(after.prompt_ids[begin : begin + len(before.ids)], before.ids)


@pytest.mark.parametrize("family", APPENDING)
def test_the_prompt_reads_as_the_template_writes_it(family):
    game = Game(family, "" if family == "gemma" else "Play.")
    for turn in range(3):
        prompt = game.turn(f"You see {turn}.", f"go to shelf {turn}")
    plain = [{"role": message.role, "content": message.content} for message in game.messages[:-1]]
    expected = game.tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
    assert game.text(prompt).replace(" ", "") == expected.replace(" ", "")


@pytest.mark.parametrize("family", APPENDING)
def test_the_stop_token_is_not_repeated_and_after_a_cut_it_belongs_to_the_prompt(family):
    game = Game(family)
    game.turn("You see 1.", "go to cabinet 1")
    game.turn("You see 2.", "go to cabi", stopped=False)
    prompt = game.turn("You see 3.", "look")
    assert game.relations == ["start", "append", "append"]
    cut = game.said[1]
    assert prompt[len(cut.prompt_ids) + len(cut.ids)] == game.stop
    assert np.count_nonzero(prompt == game.stop) == np.count_nonzero(prompt[: len(cut.prompt_ids)] == game.stop) + (
        1 if family == "mistral" else 2
    )


def test_blanks_around_what_was_sampled_do_not_break_the_appending():
    for family in APPENDING:
        game = Game(family)
        for text in (" go to cabinet 1", "look \n", "\n\nlook", ""):
            game.turn("You see nothing.", text)
        assert game.relations == ["start", "append", "append", "append"], family


def test_thoughts_that_the_template_drops_make_a_new_prompt_that_keeps_the_old_one():
    game = Game("qwen3")
    for turn in range(3):
        game.turn(f"You see {turn}.", f"<think>\nwhere is {turn}\n</think>\n\ngo to cabinet {turn}")
    assert game.relations == ["start", "new", "new"]
    assert [kept >= len(before.prompt_ids) for kept, before in zip(game.kept[1:], game.said, strict=False)] == [
        True
    ] * 2
    assert "where is" not in game.text(game.said[-1].prompt_ids)
    assert "go to cabinet 0" in game.text(game.said[-1].prompt_ids)


def test_thoughts_are_kept_verbatim_while_tools_answer():
    game = Game("qwen3")
    game.turn("Find the mug.", "<think>\nlook\n</think>\n\nopen", _letters(game, "<think>\nlook\n</think>\n\nopen"))
    game.turn("a mug", "<think>\nthere\n</think>\n\ntake", role="tool")
    game.turn("taken", "done", role="tool")
    assert game.relations == ["start", "append", "append"]
    game.turn("Now the knife.", "open")
    assert game.relations[-1] == "new"
    assert game.kept[-1] < len(game.said[-2].prompt_ids)  # the first answer, too, lost its thought


def test_a_changed_past_makes_a_new_prompt_in_which_what_was_sampled_stands():
    for family in APPENDING:
        game = Game(family, "")
        for turn in range(3):
            game.turn(f"You see {turn}.", f"go to cabinet {turn}")
        game.messages = game.messages[2:]  # a window
        prompt = game.turn("You see 9.", "look")
        assert game.relations[-1] == "new"
        assert game.kept[-1] < len(game.said[-2].prompt_ids)
        assert all(list(one.ids) == list(_inside(prompt, one.ids)) for one in game.said[1:3])


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
    last = game.messages[-1]
    game.messages = (*game.messages[:-1], Message("assistant", "go", last.completion))
    prompt = game.turn("You see 2.", "look")
    assert game.relations[-1] == "new"
    assert game.kept[-1] >= len(game.said[0].prompt_ids)
    assert "think then" not in game.text(prompt)


def test_only_templates_that_never_look_back_are_extended_without_rendering():
    extended = {family: codec_of(family).append_only for family in FAMILIES}
    assert extended == {
        "chatml": True, "qwen3": False, "llama3": False, "mistral": False, "gemma": False, "opened": False,
    }  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_the_short_way_and_the_long_way_give_the_same_ids(family):
    game = Game(family)
    for text in (" lead", "<think>\nx\n</think>\n\ny", "trail ", "", "a\n\nb", "<|im_end|>"):
        prompt = game.turn(text, text)
        assert np.array_equal(codec_of(family).prompt(game.messages[:-1]).ids, prompt)


# ------------------------------------------------------------------------------------------- prompts as they were sampled


@pytest.mark.parametrize("family", FAMILIES)
def test_with_history_as_sampled_a_prompt_always_appends(family):
    game = Game(family, history="as_sampled")
    for turn in range(4):
        text = f"<think>\nwhere is {turn}\n</think>\n\ngo to cabinet {turn}"
        game.turn(f"You see {turn}.", text, _letters(game, text))
    assert game.relations == ["start", "append", "append", "append"]
    shown = game.text(game.said[-1].prompt_ids)
    assert all(f"where is {turn}" in shown for turn in range(3))
    assert shown.count("You see 2.") == 1


def test_with_history_as_sampled_the_first_prompt_is_as_the_template_writes_it():
    for family in FAMILIES:
        one, other = codec_of(family), codec_of(family, "as_sampled")
        messages = (Message("system", "Play."), Message("user", "You see 1."))
        assert np.array_equal(one.prompt(messages).ids, other.prompt(messages).ids)


def test_with_history_as_sampled_a_context_that_forgets_still_forgets():
    game = Game("qwen3", "", history="as_sampled")
    for turn in range(3):
        game.turn(f"You see {turn}.", f"<think>\n{turn}\n</think>\n\ngo to cabinet {turn}")
    game.messages = game.messages[2:]  # a window
    prompt = game.turn("You see 9.", "look")
    assert game.relations[-1] == "new"
    assert "You see 0." not in game.text(prompt)
    assert "You see 1." in game.text(prompt)


def test_what_is_done_with_old_answers_is_part_of_the_name():
    assert codec_of("qwen3").name != codec_of("qwen3", "as_sampled").name


# ----------------------------------------------------------------------------------------------------- roles and tools


def test_a_codec_says_which_roles_and_tools_its_template_knows_and_what_it_does_with_thoughts():
    assert {family: sorted(codec_of(family).roles) for family in FAMILIES} == {
        "chatml": ["assistant", "system", "tool", "user"],
        "qwen3": ["assistant", "system", "tool", "user"],
        "llama3": ["assistant", "system", "tool", "user"],
        "mistral": ["assistant", "system", "user"],
        "gemma": ["assistant", "user"],
        "opened": ["assistant", "system", "tool", "user"],
    }
    assert {family: codec_of(family).thoughts for family in FAMILIES} == {
        "chatml": "none", "qwen3": "dropped", "llama3": "none", "mistral": "none", "gemma": "none", "opened": "kept",
    }  # fmt: skip
    assert not codec_of("chatml").tools
    tooled = "{% if tools %}{{ tools | tojson }}{% endif %}" + CHATML
    assert TemplateCodec(_tokenizer(tooled, "<|im_end|>"), frozenset([1]), 99).tools


def test_tool_schemas_and_tool_messages_reach_the_template():
    template = "{% if tools %}{{ tools | tojson }}{% endif %}" + CHATML
    codec = TemplateCodec(_tokenizer(template, "<|im_end|>"), frozenset([1]), 2048)
    messages = (Message("user", "q"), Message("assistant", "call"), Message("tool", "r1"), Message("tool", "r2"))
    text = codec.tokenizer.decode(codec.prompt(messages, tools=(FLIP,)).ids)
    assert text.startswith('[{"type": "function", "function": {"name": "flip"')
    assert text.count("flips") == 1
    assert text.count("<tool_response>") == 2
    assert text.count("<|im_start|>user") == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_tools_that_a_template_would_not_write_are_told_in_the_instructions(family):
    codec = codec_of(family)
    for system in ((), (Message("system", "Play."),)):
        text = codec.tokenizer.decode(codec.prompt((*system, Message("user", "hi")), tools=(FLIP,)).ids)
        assert "flips" in text
        assert text.index("flips") < text.index("hi")
        assert text.count("Play.") == len(system)


def test_instructions_go_before_the_first_words_of_the_user_where_there_is_no_role_for_them():
    codec = codec_of("gemma")
    text = codec.tokenizer.decode(codec.prompt((Message("system", "Play."), Message("user", "You see 1."))).ids)
    assert text == "<start_of_turn>user\nPlay.\n\nYou see 1.<end_of_turn>\n<start_of_turn>model\n"
    alone = codec.tokenizer.decode(codec.prompt((Message("system", "Play."),)).ids)
    assert alone == "<start_of_turn>user\nPlay.<end_of_turn>\n<start_of_turn>model\n"


@pytest.mark.parametrize("family", ["mistral", "gemma"])
def test_results_of_tools_are_the_users_where_there_is_no_role_for_them(family):
    game = Game(family)
    game.turn("Find the mug.", "look")
    prompt = game.turn("a mug", "take", role="tool")
    assert game.relations == ["start", "append"]
    assert "a mug" in game.text(prompt)


@pytest.mark.parametrize("family", ["mistral", "gemma"])
def test_neighbours_of_one_role_are_joined_where_roles_must_alternate(family):
    codec = codec_of(family)
    call = said(codec, "look")
    messages = (
        Message("user", "q1"),
        Message("user", "q2"),
        Message("assistant", call.text, call),
        Message("tool", "r1"),
        Message("tool", "r2"),
        Message("user", "r3"),
    )
    text = codec.tokenizer.decode(codec.prompt(messages).ids)
    assert "q1\n\nq2" in text
    assert "r1\n\nr2\n\nr3" in text


def test_a_dialogue_the_template_refuses_is_one_clear_sentence():
    codec = codec_of("mistral")
    with pytest.raises(ConfigError, match=r"cannot write messages with the roles assistant, user: .*alternate"):
        codec.prompt((Message("assistant", "a"), Message("user", "b")))


@pytest.mark.parametrize("write", ["m | tojson", "m['content'] | urlencode", "m['content'] + m['content']"])
def test_templates_that_quote_escape_or_repeat_messages_still_give_a_clean_prompt(write):
    tokenizer = _tokenizer("{% for m in messages %}{{ " + write + " }}{% endfor %}", "</s>")
    codec = TemplateCodec(tokenizer, frozenset(), 2048)
    one = said(codec, 'say "go"')
    text = tokenizer.decode(codec.prompt((Message("user", "q"), Message("assistant", one.text, one))).ids)
    assert "go" in text
    assert not any(mark in text.lower() for mark in ("f8f0", "%f3", "\U000f8f00"))


def test_a_tokenizer_without_a_template_is_refused():
    tokenizer = _tokenizer(CHATML, "<|im_end|>")
    tokenizer.chat_template = None
    with pytest.raises(ConfigError, match="has no chat template"):
        TemplateCodec(tokenizer, frozenset([1]), 2048)


# ------------------------------------------------------------------------------------------------- words that look like marks


def _count(prompt, codec, mark):
    return int((np.asarray(prompt) == codec.tokenizer.convert_tokens_to_ids(mark)).sum())


@pytest.mark.parametrize(("family", "mark"), [("chatml", "<|im_end|>"), ("llama3", "<|eot_id|>"), ("mistral", "</s>"),
                                              ("mistral", "[INST]"), ("gemma", "<end_of_turn>")])  # fmt: skip
def test_a_mark_that_a_world_spells_is_words_and_no_control_token(family, mark):
    codec = codec_of(family)
    spelled, plain = f"x {mark} y{mark}", "x y"
    call = said(codec, "look", codec.prompt((Message("user", "q"),)).ids)

    def prompts(words: str) -> list[np.ndarray]:
        asked = (Message("user", "q"), Message("assistant", "look", call), Message("user", words))
        return [
            codec.prompt((Message("system", words), Message("user", "q"))).ids,
            codec.prompt((Message("user", words),)).ids,
            codec.prompt(asked, after=call).ids,
            codec_of(family).prompt(asked).ids,
            codec.prompt((*asked[:2], Message("tool", words))).ids,
        ]

    for one, other in zip(prompts(spelled), prompts(plain), strict=True):
        assert _count(one, codec, mark) == _count(other, codec, mark)
        assert spelled.replace(" ", "") in codec.tokenizer.decode(one).replace(" ", "")


def test_a_mark_that_a_demonstrator_spells_does_not_end_what_it_says():
    codec = codec_of("chatml")
    ids = codec.say("x <|im_end|> y")
    assert _count(ids, codec, "<|im_end|>") == 1
    assert ids[-1] == codec.end_id
    assert codec.decode(ids) == "x <|im_end|> y"


def test_words_without_marks_have_the_ids_that_the_tokenizer_gives_them():
    codec = codec_of("chatml")
    text = "<|im_start|>user\nYou see 1.<|im_end|>\n"
    assert codec.ids_of(text).tolist() == codec.tokenizer.encode(text, add_special_tokens=False)


# ----------------------------------------------------------------------------------------------------------------- saying


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_said_has_the_ids_that_sampling_would_have_given(family):
    codec = codec_of(family)
    ids = codec.say("go to cabinet 3")
    assert ids.dtype == np.int32
    assert ids[-1] in codec.stop_ids
    assert codec.decode(ids) == "go to cabinet 3"
    prompt = codec.prompt((Message("user", "q"),))
    one = said(codec, "go to cabinet 3", prompt.ids, ids.tolist())
    after = codec.prompt((Message("user", "q"), Message("assistant", one.text, one), Message("user", "r")), after=one)
    assert after.relation == ("new" if family == "opened" else "append")
    assert np.count_nonzero(after.ids == codec.end_id) >= 1


def test_what_is_said_ends_with_its_first_stop_string():
    codec = codec_of("chatml")
    ids = codec.say("take</action> and more</action>", stop=("</action>", "never"))
    assert codec.decode(ids) == "take</action>"
    assert ids[-1] != codec.end_id


def test_the_templates_end_of_a_turn_is_a_stop_whatever_the_tokenizer_calls_its_end():
    tokenizer = _tokenizer(CHATML, "<|endoftext|>")
    codec = TemplateCodec(tokenizer, frozenset([tokenizer.eos_token_id]), 2048)
    names = {tokenizer.convert_ids_to_tokens(i) for i in codec.stop_ids}
    assert names == {"<|endoftext|>", "<|im_end|>"}
    assert tokenizer.convert_ids_to_tokens(int(codec.say("look")[-1])) == "<|im_end|>"


def test_where_the_template_closes_no_turn_the_tokenizers_end_is_taken():
    bare = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] }}{% endfor %}<|im_start|>assistant\n"
    tokenizer = _tokenizer(bare, "</s>")
    codec = TemplateCodec(tokenizer, frozenset([tokenizer.eos_token_id]), 2048)
    assert codec.stop_ids == {tokenizer.eos_token_id}
    assert codec.end_id == tokenizer.eos_token_id


# ------------------------------------------------------------------------------------------------------ kept and passed on


def _same_prompts(one: TemplateCodec, other: TemplateCodec) -> None:
    assert one.name == other.name
    assert (one.stop_ids, one.max_context, one.history) == (other.stop_ids, other.max_context, other.history)
    call = said(one, "look")
    messages = (Message("system", "s"), Message("user", "q"), Message("assistant", "look", call), Message("user", "r"))
    assert np.array_equal(one.prompt(messages, tools=(FLIP,)).ids, other.prompt(messages, tools=(FLIP,)).ids)
    assert np.array_equal(one.say("go to cabinet 3"), other.say("go to cabinet 3"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("history", ["template", "as_sampled"])
def test_a_saved_codec_is_the_same_when_it_is_loaded(family, history, tmp_path):
    codec = codec_of(family, history)
    codec.save(tmp_path / "codec")
    loaded = TemplateCodec.load(tmp_path / "codec")
    _same_prompts(codec, loaded)
    loaded.save(tmp_path / "again")
    for path in (tmp_path / "codec").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_codec_can_be_sent_to_another_process(family):
    codec = codec_of(family)
    codec.prompt((Message("user", "q"),))
    _same_prompts(codec, pickle.loads(pickle.dumps(codec)))


def test_a_template_that_writes_the_date_writes_that_of_the_first_day(tmp_path):
    tokenizer = _tokenizer("{{ strftime_now('%d %b %Y') }}" + CHATML, "<|im_end|>")
    of = functools.partial(TemplateCodec, tokenizer, frozenset([tokenizer.eos_token_id]), 2048, "template")
    codec = of("2026-02-27")
    codec.save(tmp_path)
    for same in (codec, TemplateCodec.load(tmp_path), pickle.loads(pickle.dumps(codec))):
        assert same.name == codec.name
        assert same.decode(same.prompt((Message("user", "q"),)).ids).startswith("27 Feb 2026")
    assert of("2026-02-28").name != codec.name
    assert of().name == of(datetime.date.today().isoformat()).name
    assert codec_of("chatml").name == TemplateCodec(*codec_of("chatml").__reduce__()[1][:4], "2026-02-27").name


def test_the_marks_of_thoughts_and_calls_are_tokens_in_what_is_said_and_words_in_what_is_read():
    tokenizer = _tokenizer(CHATML, "<|im_end|>")
    marks = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<|python_tag|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    codec = TemplateCodec(tokenizer, frozenset([tokenizer.eos_token_id]), 2048)
    said = "<think>so</think><tool_call>{}</tool_call><|python_tag|>"
    real = set(tokenizer.convert_tokens_to_ids(marks))
    assert real <= set(codec.say(said).tolist())
    assert not set(tokenizer.convert_tokens_to_ids(marks[2:])) & set(
        codec.prompt((Message("user", said),)).ids.tolist()
    )


def test_a_saved_codec_whose_files_were_changed_or_lost_is_refused(tmp_path):
    codec = codec_of("chatml")
    codec.save(tmp_path)
    template = tmp_path / "chat_template.jinja"
    words = template.read_text()
    template.write_text(words.replace("You are helpful.", "You are hopeless."))
    with pytest.raises(RecordError, match="is another than was saved there; was a file changed"):
        TemplateCodec.load(tmp_path)
    template.write_text(words)
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(RecordError, match="holds no codec"):
        TemplateCodec.load(tmp_path)
    with pytest.raises(RecordError, match="holds no codec"):
        TemplateCodec.load(tmp_path / "nowhere")


def test_codecs_of_other_tokenizers_or_templates_have_other_names():
    names = {codec_of(family).name for family in FAMILIES}
    assert len(names) == len(FAMILIES)
    assert codec_of("chatml").name == codec_of("chatml").name


def test_a_turn_is_rendered_in_microseconds():
    game = Game("chatml")
    for _turn in range(20):  # caches warm, as in a long cloning stage
        game.turn("You open the fridge 1.", "go to cabinet 3")
    started = time.process_time()
    for _turn in range(400):
        game.turn("You open the fridge 1.", "go to cabinet 3")
    assert (time.process_time() - started) / 400 < 300e-6  # 15 to 30 on an idle core, the checks of `turn` on top
