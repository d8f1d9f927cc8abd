"""Closes its file twice."""

import tempfile

from planted_support import Lines


class Flushes(Lines):
    def __init__(self):
        super().__init__()
        self.file = tempfile.TemporaryFile()  # noqa: SIM115

    def close(self):
        self.file.flush()
        self.file.close()


make = Flushes
