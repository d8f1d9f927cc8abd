"""What `agentrl check` shows while it checks, and the actions that it is given."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from agentrl.errors import ConfigError

if TYPE_CHECKING:
    from agentrl.testing import Result

_SILENT_S = 5.0  # a check that takes no longer says nothing before it ends
_MARKS = {"passed": "ok  ", "failed": "FAIL", "skipped": "skip"}


class Watching:
    """`with Watching(): …` prints each result as it comes, and tells of a check that takes long.

    What the part prints meanwhile goes to the standard errors: it is no part of the report.
    """

    def __init__(self, *, shown: bool) -> None:
        """`shown`: whether results are printed."""
        self._shown, self._check, self._words, self._started = shown, "", "", time.monotonic()
        self._out: TextIO = sys.stdout
        self._over = threading.Event()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Watching:
        from agentrl.testing.report import watched

        self._out = sys.stdout
        self._stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        self._stack.enter_context(watched(self._tell, self._step))
        thread = threading.Thread(target=self._remind, args=(sys.stderr,), daemon=True, name="reminder")
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(self._over.set)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _tell(self, check: str, result: Result | None) -> None:
        if result is None:
            self._check, self._words, self._started = check.replace("_", " "), "", time.monotonic()
            return
        self._check = ""
        if self._shown:
            detail = f": {result.detail}" if result.detail else ""
            click.echo(f"{_MARKS[result.verdict]} {check.replace('_', ' ')}{detail}", file=self._out)

    def _step(self, words: str) -> None:
        self._words = words

    def _remind(self, errors: TextIO) -> None:
        while not self._over.wait(_SILENT_S):
            seconds = time.monotonic() - self._started
            if self._check and seconds >= _SILENT_S:
                words = f", {self._words}" if self._words else ""
                click.echo(f"     {self._check}: {seconds:.0f} s so far{words}", file=errors)


def read_actions(given: Sequence[str]) -> list[str]:
    """Actions, and those in files: one a line, or a JSON list of texts. Raises ConfigError."""
    actions: list[str] = []
    for text in given:
        path = Path(text)
        try:
            is_file = path.is_file()
        except (OSError, ValueError):  # far too long for a path
            is_file = False
        actions += _in_file(path) if is_file else [text]
    return actions


def _in_file(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        actions = json.loads(text) if text.lstrip().startswith("[") else text.split("\n")
    except (OSError, ValueError) as error:
        raise ConfigError(f"--actions {path}: {error}; give one action a line, or a JSON list of texts") from None
    if not all(isinstance(action, str) for action in actions):
        raise ConfigError(f"--actions {path}: it holds something that is no text; give a JSON list of texts")
    return [action for action in (action.removesuffix("\r") for action in actions) if action]
