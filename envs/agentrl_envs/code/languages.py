"""Languages: how a file of source is run."""

from __future__ import annotations

from agentrl import ConfigError, did_you_mean
from agentrl_envs.code.trials import Language

LANGUAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "python": ("solution.py", ()),
    "bash": ("solution.sh", ("bash", "solution.sh")),
    "c": ("solution.c", ("sh", "-c", "gcc -O1 -w -o /tmp/solution solution.c -lm && exec /tmp/solution")),
    "javascript": ("solution.js", ("node", "solution.js")),
    "perl": ("solution.pl", ("perl", "solution.pl")),
}
"""File, and what runs it (empty: a warm Python). The sandbox's image has to have the program."""


def language_of(name: str, command: tuple[str, ...], file: str, timeout_s: float, total_s: float) -> Language:
    """Raises ConfigError for a language that is not known and comes without a command."""
    if name not in LANGUAGES and not command:
        raise ConfigError(
            f"the language {name!r} is not known. {did_you_mean(name, LANGUAGES)} For another one say how a file is run: "
            '`command = ["ruby", "solution.rb"]` and `file = "solution.rb"`.'
        )
    usual_file, usual_command = LANGUAGES.get(name, ("", ()))
    if not (file or usual_file):
        raise ConfigError(f"the language {name!r} needs `file`, the name of the file that `command` runs")
    return Language(command or usual_command, file or usual_file, timeout_s, total_s)
