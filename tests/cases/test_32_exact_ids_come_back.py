"""Case 32: tokens that were sampled came back retokenised, or not at all, in the next prompt.

They did not from the first form on: whatever ids a policy samples (special ones inside, none at all, cut ones), the
next prompt begins with all that was there, where the template keeps old answers.
"""

from __future__ import annotations

import numpy as np
import pytest
from cases.tinyhf import CHATML, STRICT, THINK, tiny_tokenizer

from agentrl import Completion, Message
from agentrl_plugins.models.template_codec import TemplateCodec

CUT, EMPTY = 3, 7
"""Every third completion lacks its end, every seventh its words."""


@pytest.mark.parametrize(
    ("template", "history"),
    [(CHATML, "template"), (STRICT, "template"), (CHATML, "as_sampled"), (THINK, "as_sampled")],
    ids=["chatml", "strict", "chatml as sampled", "opened as sampled"],
)
def test_forty_turns_of_random_ids_append(template: str, history: str) -> None:
    tokenizer = tiny_tokenizer(template)
    codec = TemplateCodec(tokenizer, frozenset([tokenizer.eos_token_id]), 10**6, history)  # type: ignore[arg-type]
    draw = np.random.default_rng(0)
    messages: tuple[Message, ...] = ()
    last: Completion | None = None
    for turn in range(40):
        messages += (Message("user", f"You see {turn} <|im_end|>."),)
        prompt = codec.prompt(messages, after=last)
        if last is not None:
            assert prompt.relation == "append"
            whole = np.concatenate([last.prompt_ids, last.ids])
            assert np.array_equal(prompt.ids[: len(whole)], whole)
        ids = draw.integers(0, len(tokenizer), 0 if turn % EMPTY == 0 else int(draw.integers(1, 20))).astype(np.int32)
        ids = ids[~np.isin(ids, [*codec.stop_ids])]
        if turn % CUT or not len(ids):
            ids = np.append(ids, np.int32(codec.end_id))
        zeros = np.zeros(len(ids), np.float32)
        last = Completion(codec.decode(ids), prompt.ids, ids, zeros, versions=zeros.astype(np.int32))
        messages += (Message("assistant", last.text, last),)
