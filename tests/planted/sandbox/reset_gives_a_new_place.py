"""Leaves hidden files where they are when it is reset."""

from agentrl_sandboxes.local import Local, LocalSandbox


class KeepsSecrets(LocalSandbox):
    def reset(self):
        hidden = {path.name: path.read_bytes() for path in self._folder.glob(".*")}
        super().reset()
        for name, data in hidden.items():
            (self._folder / name).write_bytes(data)


class Secretive(Local):
    def create(self, spec=None):
        sandbox = super().create(spec)
        sandbox.__class__ = KeepsSecrets
        return sandbox


def make():
    return Secretive(trusted=True)
