"""The kit for codecs: what was sampled keeps its ids, and what is said is read back."""

from __future__ import annotations

import json
import pickle
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from agentrl.data.rows import relation
from agentrl.data.types import Completion, Ids, Message, no_ids
from agentrl.parts.words import Codec, Prompt, Tool
from agentrl.testing.compare import written
from agentrl.testing.elsewhere import in_another_process
from agentrl.testing.plays import digest
from agentrl.testing.report import CheckSkipped, require
from agentrl.worlds.thoughts import CLOSE, OPEN

TEXTS = ("up", "go to shelf 1", "a  b\n\n c ", "ü ∑ 🤖 שלום", '{"name": "x"}', "<|end|> </s>")
_DIALOGUE = (Message("system", "Find the party."), Message("user", "You are on floor 0."))
_PROMPTS = (_DIALOGUE, (*_DIALOGUE, Message("assistant", "up"), Message("user", "You are on floor 1.")))


class CodecKit:
    """Checks of a codec, for the kit of models."""

    def __init__(self, make: Callable[[], Codec], saved: Callable[[Path], Codec] | None = None) -> None:
        self._make, self._saved = make, saved

    def its_facts_are_facts(self) -> None:
        codec = self._make()
        require(isinstance(codec.name, str) and codec.name, f"its name is {codec.name!r}")
        stops = isinstance(codec.stop_ids, frozenset) and all(isinstance(token, int) for token in codec.stop_ids)
        require(stops, f"stop_ids = {codec.stop_ids!r}; it is a frozenset of numbers")
        require(type(codec.max_context) is int and codec.max_context > 1, f"max_context = {codec.max_context!r}")
        require({"user", "assistant"} <= set(codec.roles), f"roles = {codec.roles!r} lack user or assistant")
        require(codec.thoughts in ("none", "kept", "dropped"), f"thoughts = {codec.thoughts!r}")

    def ids_are_int32_and_read_only(self) -> None:
        codec = self._make()
        for ids, frozen in ((codec.prompt(_DIALOGUE).ids, True), (codec.say("up"), False)):
            fits = isinstance(ids, np.ndarray) and ids.dtype == np.int32 and ids.ndim == 1 and len(ids) > 0
            require(fits, f"ids are {ids!r}; they are an int32 array [N]")
            require(
                not (frozen and ids.flags.writeable),
                "the ids of a prompt can be written to; set flags.writeable = False",
            )

    def a_prompt_says_how_it_goes_on(self) -> None:
        codec = self._make()
        start = codec.prompt(_DIALOGUE)
        require(
            (start.relation, start.kept) == ("start", 0), f"without `after` a prompt is {start.relation}, {start.kept}"
        )
        for messages in (_DIALOGUE, _DIALOGUE[1:], (Message("user", "Something else."),)):
            said = _said(codec, start, "up")
            for following in (_continued(messages, said), messages, _continued(messages, said)[1:]):
                prompt = codec.prompt(following, after=said)
                wanted = relation(said, prompt.ids)
                seen = (prompt.relation, prompt.kept)
                require(seen == wanted, f"a prompt says {seen}, and its ids say {wanted} (relation, kept)")

    def what_was_sampled_is_never_tokenised_again(self) -> str:
        codec = self._make()
        start = codec.prompt(_DIALOGUE)
        usual = _said(codec, start, "up in")
        if codec.prompt(_continued(_DIALOGUE, usual), after=usual).relation != "append":
            raise CheckSkipped("its prompts never append")
        letters = [codec.say(letter) for letter in "up in"]
        ended = int(letters[0][-1]) in codec.stop_ids
        ids = np.concatenate([*(ids[:-1] if ended else ids for ids in letters), letters[0][-1:] if ended else no_ids()])
        unusual = _completion(start.ids, ids, "up in")
        prompt = codec.prompt(_continued(_DIALOGUE, unusual), after=unusual)
        require(
            prompt.relation == "append",
            "ids that were sampled, but that its tokenizer would not have chosen, are changed",
        )
        return "the ids were its tokenizer's own" if np.array_equal(ids, usual.ids) else ""

    def what_is_said_is_read_back(self) -> None:
        codec = self._make()
        for text in TEXTS[:-1]:
            back = codec.decode(codec.say(text))
            require(back == text, f"{text!r} was said, and {back!r} read back")

    def what_is_said_ends_as_sampling_would(self) -> None:
        codec = self._make()
        ids = codec.say("go up")
        require(
            not codec.stop_ids or int(ids[-1]) in codec.stop_ids,
            f"said without a stop string, the last id is {ids[-1]}",
        )
        for text, stop, wanted in (("go</a> up", ("</a>",), "go</a>"), ("go]</a>", ("</a>", "]"), "go]")):
            back = codec.decode(codec.say(text, stop=stop))
            require(
                back == wanted,
                f"{text!r} with the stop strings {stop} was said as {back!r}; sampling ends with {wanted!r}",
            )

    def it_can_be_pickled_and_keeps_no_dialogue(self) -> None:
        codec = self._make()
        fresh = pickle.loads(pickle.dumps(codec))
        require(fresh.name == codec.name, f"pickled, {codec.name!r} is called {fresh.name!r}")
        for text in TEXTS:
            said = _said(codec, codec.prompt(_DIALOGUE), text)
            messages = _continued(_DIALOGUE, said)
            one, two = (written(each.prompt(messages, after=said)) for each in (codec, fresh))
            require(one == two, "a copy that never saw the dialogue before writes another prompt")

    def the_same_name_gives_the_same_ids(self) -> None:
        one, two = self._make(), self._make()
        require(one.name == two.name, f"two equal models have codecs called {one.name!r} and {two.name!r}")
        for text in TEXTS:
            same = np.array_equal(one.say(text), two.say(text))
            require(same, f"two codecs with the name {one.name!r} write {text!r} with different ids")

    def every_role_and_tool_is_taken(self) -> None:
        codec = self._make()
        said = _said(codec, codec.prompt(_DIALOGUE), "up")
        messages = (*_continued(_DIALOGUE, said), Message("assistant", "I remember."), Message("tool", "42"))
        tool = {
            "type": "function",
            "function": {"name": "look", "description": "See.", "parameters": {"type": "object"}},
        }
        for shown in (messages, messages[:2], messages[1:], messages[-1:]):
            plain, tools = codec.prompt(shown), codec.prompt(shown, tools=(tool,))
            require(len(plain.ids) > 0 and len(tools.ids) > 0, f"{[m.role for m in shown]} gave a prompt without ids")
        differs = not np.array_equal(codec.prompt(messages).ids, codec.prompt(messages, tools=(tool,)).ids)
        require(differs or not codec.tools, "tools = True, and a prompt with a tool is the same as one without")

    def a_control_token_that_is_only_spelled_is_words(self) -> str:
        codec = self._make()
        marks = _marks(codec)
        if not marks:
            raise CheckSkipped("its control tokens have no names that anybody could spell")
        spelled = f"x {' '.join(marks.values())} y"
        for where, messages, tools in _spoken_by_others(spelled):
            _, before, offered = next(each for each in _spoken_by_others("x y") if each[0] == where)
            more = _counted(codec.prompt(messages, tools=tools).ids, marks) - _counted(
                codec.prompt(before, tools=offered).ids, marks
            )
            require(not more, f"{where} that spells {', '.join(more)} forges it; encode what others say as words")
        start = codec.prompt(_DIALOGUE)
        said, usual = _said(codec, start, spelled), _said(codec, start, "x y")
        more = _counted(said.ids, marks) - _counted(usual.ids, marks)
        require(not more, f"`say` turns {', '.join(more)} that a demonstrator spells into the real one")
        for messages in (_continued(_DIALOGUE, said), (*_continued(_DIALOGUE, said), *_continued((), usual))):
            plain = tuple(
                Message(m.role, usual.text, completion=usual) if m.completion is said else m for m in messages
            )
            more = _counted(codec.prompt(messages).ids, marks) - _counted(codec.prompt(plain).ids, marks)
            require(
                not more, f"an old answer that spelled {', '.join(more)} holds the real one when it is written again"
            )
        return f"tried {', '.join(marks.values())}"

    def another_process_gives_the_same_ids(self) -> None:
        codec = self._make()
        if type(codec).__module__ == "__main__":
            raise CheckSkipped("its class is defined in the program that runs, where no other process can find it")
        code = (
            "import json, pickle, sys; from agentrl.testing.codec import fingerprint;"
            "print(json.dumps(fingerprint(pickle.load(sys.stdin.buffer))))"
        )
        there = json.loads(in_another_process(code, stdin=pickle.dumps(codec)))
        _require_equal(fingerprint(codec), there, "pickled, and read in another process,")

    def it_can_be_saved(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            self._make().save(Path(name) / "codec")
            require((Path(name) / "codec").is_dir(), "save made no folder")

    def what_was_saved_gives_the_same_ids(self) -> None:
        codec = self._make()
        if self._saved is None:
            raise CheckSkipped("it is made without a parameter of the type SavedCodec, anew in every process")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "codec"
            codec.save(folder)
            fresh = self._saved(folder)
        _require_equal(fingerprint(codec), fingerprint(fresh), "saved, and made again from its folder,")


def _marks(codec: Codec) -> dict[int, str]:
    """Tokens of stops and of the frame of a prompt that read like marks (`<…>` or `[…]`), with what they read.

    Those of thoughts are left out: wherever they stand, they end no turn.
    """
    x = codec.say("x")[:1]
    tail, marks = codec.decode(x), dict[int, str]()
    for token in sorted(codec.stop_ids.union(codec.prompt(_DIALOGUE).ids.tolist())):
        name = codec.decode(np.concatenate([np.array([token], np.int32), x])).removesuffix(tail).strip()
        if re.fullmatch(r"<.*\w.*>|\[.*\w.*\]", name) and name not in (OPEN, CLOSE):
            marks[token] = name
    return marks


def _counted(ids: Ids, marks: Mapping[int, str]) -> Counter[str]:
    return Counter(marks[token] for token in ids.tolist() if token in marks)


def _spoken_by_others(words: str) -> list[tuple[str, tuple[Message, ...], tuple[Tool, ...]]]:
    """Every place where a prompt holds words that the model did not sample."""
    system, user = _DIALOGUE
    schema = {"type": "object", "properties": {words: {"type": "string", "description": words}}}
    tool: Tool = {"type": "function", "function": {"name": words, "description": words, "parameters": schema}}
    call = {"type": "function", "function": {"name": words, "arguments": {words: words}}}
    called = Message("assistant", "", tool_calls=(call,))
    return [
        ("a system message", (Message("system", words), user), ()),
        ("an observation", (system, Message("user", words)), ()),
        ("a later observation", (*_PROMPTS[1][:-1], Message("user", words)), ()),
        ("a result of a tool", (*_PROMPTS[1][:-1], Message("tool", words)), ()),
        ("an answer that was not sampled", (*_DIALOGUE, Message("assistant", words), user), ()),
        ("a tool", _DIALOGUE, (tool,)),
        ("a call", (*_DIALOGUE, called, Message("tool", "x")), ()),
    ]


def fingerprint(codec: Codec) -> dict[str, str]:
    """The name of a codec, and a hash of the ids that it gives some texts and prompts."""
    ids = {text: codec.say(text) for text in TEXTS}
    ids |= {f"a prompt of {len(messages)} messages": codec.prompt(messages).ids for messages in _PROMPTS}
    return {"its name": codec.name} | {text: digest([written(value)]) for text, value in ids.items()}


def _require_equal(here: Mapping[str, str], there: Mapping[str, str], where: str) -> None:
    """Raise CheckFailed where two fingerprints differ; another name may have other ids, and says so."""
    for what, value in here.items():
        seen = f"{value!r} and {there[what]!r}" if what == "its name" else "the ids are others"
        require(there[what] == value, f"{where} it is no longer the same codec: {what!r}: {seen}")


def _completion(prompt: Ids, ids: Ids, text: str) -> Completion:
    zeros = np.zeros(len(ids), np.float32)
    return Completion(text, prompt, ids, zeros, versions=np.zeros(len(ids), np.int32))


def _said(codec: Codec, prompt: Prompt, text: str) -> Completion:
    return _completion(prompt.ids, codec.say(text), text)


def _continued(messages: tuple[Message, ...], said: Completion) -> tuple[Message, ...]:
    return (*messages, Message("assistant", said.text, completion=said), Message("user", "You are on floor 1."))
