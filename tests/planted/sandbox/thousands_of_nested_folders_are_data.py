"""Walks through folders by calling itself, and takes it for a fault of its own when that goes too deep."""

import os

from agentrl import SandboxFault
from agentrl_sandboxes.local import Local, LocalSandbox


def depth(folder):
    return 1 + max(
        (depth(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)), default=0
    )


class Recursive(LocalSandbox):
    def get_tree(self, *paths, **options):
        try:
            depth(self._folder)
        except (RecursionError, OSError) as error:
            raise SandboxFault(f"files could not be read: {error}") from error
        return super().get_tree(*paths, **options)


class Walks(Local):
    def create(self, spec=None):
        sandbox = super().create(spec)
        sandbox.__class__ = Recursive
        return sandbox


def make():
    return Walks(trusted=True)
