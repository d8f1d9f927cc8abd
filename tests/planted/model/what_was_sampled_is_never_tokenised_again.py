"""Writes old answers into a prompt as its tokenizer would, not as they were sampled."""

import dataclasses

import numpy as np

from agentrl.testing.sample_model import END, VOCABULARY, SampleCodec, SampleModel

UP = VOCABULARY  # one token for "up"


class Merges(SampleCodec):
    def prompt(self, messages, *, tools=(), after=None):
        said = [m if m.completion is None else self._again(m) for m in messages]
        return super().prompt(said, tools=tools, after=after)

    def say(self, text, *, stop=()):
        parts = [super(Merges, self).say(part, stop=(part,) if part else ()) for part in text.split("up")]
        ends = [word for word in stop if word in text]
        if ends:
            return super().say(text, stop=stop)
        ids = np.array([], np.int32)
        for number, part in enumerate(parts):
            ids = np.concatenate([ids, [UP] if number else [], part[part != END]])
        return np.append(ids, END).astype(np.int32)

    def decode(self, ids):
        data = b"".join(b"up" if token == UP else bytes([token]) for token in ids if token < 256 or token == UP)
        return data.decode("utf-8", "surrogatepass")

    def _again(self, message):
        return dataclasses.replace(
            message, completion=dataclasses.replace(message.completion, **_fitting(self, message))
        )


def _fitting(codec, message):
    ids = codec.say(message.content)
    return {"ids": ids, "logprobs": np.zeros(len(ids), np.float32), "versions": np.zeros(len(ids), np.int32)}


class WithMerges(SampleModel):
    def __init__(self, seed=0):
        super().__init__(seed)
        self.codec = Merges()
        self.logits = self._initial = np.pad(self.logits, (0, 1))


make = WithMerges
