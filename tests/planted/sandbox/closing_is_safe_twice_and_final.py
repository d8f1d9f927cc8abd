"""Runs programs after it was closed."""

from agentrl_sandboxes.local import Local, LocalSandbox


class NeverOver(LocalSandbox):
    def run(self, command, *, on_output=None):
        closed, self._closed = self._closed, False
        self._folder.mkdir(exist_ok=True)
        try:
            return super().run(command, on_output=on_output)
        finally:
            self._closed = closed
            if closed:
                self._folder.rmdir()


class StaysOpen(Local):
    def create(self, spec=None):
        sandbox = super().create(spec)
        sandbox.__class__ = NeverOver
        return sandbox


def make():
    return StaysOpen(trusted=True)
