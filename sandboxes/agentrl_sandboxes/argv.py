"""What `exec` was asked to run, as a program with its arguments."""

from collections.abc import Sequence

from agentrl import ConfigError


def argv_of(command: Sequence[str] | str) -> list[str]:
    """A text is a line for the shell; raises ConfigError for an empty command.

    >>> argv_of("ls | wc"), argv_of(["ls", "-l"])
    (['sh', '-c', 'ls | wc'], ['ls', '-l'])
    """
    argv = ["sh", "-c", command] if isinstance(command, str) else [str(part) for part in command]
    if not argv:
        raise ConfigError("an empty command; give a program and its arguments, or a line for the shell")
    return argv
