"""Reads the names of its control tokens in whatever is said."""

import re

import numpy as np

from agentrl.testing.sample_model import END, ROLES, SampleCodec, SampleModel

NAMES = {f"<{role}>": token for role, token in ROLES.items()} | {"<end>": END}
READS = {token: name.encode() for name, token in NAMES.items()}


class Gullible(SampleCodec):
    def decode(self, ids):
        ids = ids[:-1] if len(ids) and ids[-1] == END else ids
        data = b"".join(READS.get(token) or bytes([token]) for token in ids.tolist())
        return data.decode("utf-8", "surrogatepass" if data.isascii() or b"\xff" not in data else "replace")

    def _piece(self, message):
        ids = super()._piece(message)
        if message.completion is not None or message.role != "tool":
            return ids
        parts = re.split("(<[a-z]+>)", message.content)
        said = [[NAMES[part]] if part in NAMES else list(part.encode("utf-8", "surrogatepass")) for part in parts]
        return np.array([ids[0], *(token for part in said for token in part), END], np.int32)


class WithNames(SampleModel):
    def __init__(self, seed=0):
        super().__init__(seed)
        self.codec = Gullible()


make = WithNames
