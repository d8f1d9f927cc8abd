"""Takes words that are no text for a fault of its own."""

from agentrl import SandboxFault
from agentrl_sandboxes.local import Local, LocalSandbox


class OnlyText(LocalSandbox):
    def run(self, command, *, on_output=None):
        try:
            "".join(command.argv).encode()
        except UnicodeEncodeError as error:
            raise SandboxFault(str(error)) from error
        return super().run(command, on_output=on_output)


class Strict(Local):
    def create(self, spec=None):
        sandbox = super().create(spec)
        sandbox.__class__ = OnlyText
        return sandbox


def make():
    return Strict(trusted=True)
