"""Gives every sandbox the same folder."""

import tempfile
from pathlib import Path

from agentrl_sandboxes.local import Local


class OneFolder(Local):
    def create(self, spec=None):
        sandbox = super().create(spec)
        sandbox._folder.rmdir()
        sandbox._folder = Path(tempfile.gettempdir()) / "agentrl-planted-sandbox"
        sandbox._folder.mkdir(exist_ok=True)
        return sandbox


def make():
    return OneFolder(trusted=True)
