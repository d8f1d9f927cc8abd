"""Reading: what an agent's message asks the world to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

import agentrl

PROTOCOL = """You write a program in several turns. In each turn send one of these:
- a ``` block with the whole solution: it replaces the old one, and the public tests are run on it;
- `line 3: return a + b`: line 3 of the solution becomes this, indented as it was, and the public tests are run;
- `run` on a line of its own and a ``` block: {run};
- `test`: the public tests once more;
- `submit` (after a block, or alone): hidden tests decide how good the solution is, and it is over."""
IN_PYTHON = "this code is run after the solution, and you see what it prints"
IN_OTHERS = "the program reads this as its input, and you see what it writes"

IN_REPOSITORY = """You repair a folder of files in several turns. In each turn send one of these:
- a ```sh block: it is run by the shell in the folder, and you see what it writes;
- a ```diff block: it is applied to the files;
- `write path/of/file` on a line of its own and a ``` block: the file becomes this;
- `submit` (after a block, or alone): hidden tests decide how good the files are, and it is over."""

_BLOCK = re.compile(r"^[ \t]*(`{3,})([^\n`]*)\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_LINE = re.compile(r"line (\d{1,6}): ?(.*)")
_WRITE = re.compile(r"write (\S.*)")


@dataclass(frozen=True)
class Command:
    """`kind` is write, edit, run, test, patch, shell, or "" for nothing but what `submit` says."""

    kind: str = ""
    text: str = ""  # code, a patch, or the new line
    line: int = 0
    path: str = ""
    submit: bool = False


def read(message: str) -> Command | str:
    """What to do, or why it is not clear. The dialect takes a thought off; one that is still there is no command.

    >>> read("line 2: return a")
    Command(kind='edit', text='return a', line=2, path='', submit=False)
    """
    if message.lstrip().startswith("<think>"):
        spoken = agentrl.after_thought(message)
        if spoken.error:
            return spoken.error
        message = spoken.text
    blocks = [(found.group(2).strip().lower(), found.group(3)) for found in _BLOCK.finditer(message)]
    words = [line.strip() for line in _BLOCK.sub("\n", message).split("\n")]
    submit = "submit" in words
    if blocks:
        tag, text = blocks[-1]
        paths = [found.group(1).strip().strip("`") for word in words if (found := _WRITE.fullmatch(word))]
        return Command(_kind(tag, words), text, path=paths[-1] if paths else "", submit=submit)
    edits = [found for word in words if (found := _LINE.fullmatch(word))]
    if edits:
        return Command("edit", edits[-1].group(2), line=int(edits[-1].group(1)), submit=submit)
    if submit:
        return Command(submit=True)
    if "test" in words:
        return Command("test")
    return "send a ``` block with code, `line N: new line`, `test` or `submit`"


def _kind(tag: str, words: list[str]) -> str:
    if tag in ("diff", "patch"):
        return "patch"
    if "run" in words:
        return "run"
    return "shell" if tag in ("sh", "bash", "shell") else "write"
