"""Shows a run while it goes: a live panel in a terminal, one line per update in a plain log."""

from __future__ import annotations

import sys
import threading
from typing import Any

from agentrl.runs.progress import Progress

_COLUMNS = {
    "success": ("success", "{:.0%}"),
    "return": ("return", "{:.2f}"),
    "turns": ("turns", "{:.1f}"),
    "invalid": ("invalid", "{:.1%}"),
    "during/success": ("held-out", "{:.0%}"),
    "train/entropy": ("entropy", "{:.2f}"),
}
_PLAIN_EVERY_S = 5.0
_PLAIN_AT_LEAST_EVERY_S = 60.0


class Display:
    """`with Display(progress): …` shows it until the block ends."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._advised: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True, name="display")

    def __enter__(self) -> Display:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join(timeout=5)

    def _show(self) -> None:
        if sys.stderr.isatty():
            self._show_live()
        else:
            self._show_plain()

    def _show_live(self) -> None:
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), refresh_per_second=4, transient=False) as live:
            while not self._over.wait(0.25):
                live.update(_panel(self._progress))
            live.update(_panel(self._progress))

    def _show_plain(self) -> None:
        said, silent_s = ("", 0), 0.0
        while not self._over.wait(_PLAIN_EVERY_S):
            silent_s += _PLAIN_EVERY_S
            self._advise()
            now = (self._progress.stage, self._progress.done)
            if now != said or silent_s >= _PLAIN_AT_LEAST_EVERY_S:
                sys.stderr.write(_line(self._progress) + "\n")
                sys.stderr.flush()
                said, silent_s = now, 0.0
        self._advise()
        if said[0] or self._progress.total:  # else it ended before anything was begun
            sys.stderr.write(_line(self._progress) + "\n")

    def _advise(self) -> None:
        advice = dict(self._progress.advice)
        sys.stderr.write("".join(f"agentrl: {advice[about]}\n" for about in advice if about not in self._advised))
        self._advised |= advice.keys()


def _line(progress: Progress) -> str:
    numbers = "  ".join(f"{name} {value}" for name, value in _numbers(progress))
    phase = f" ({progress.phase})" if progress.phase else ""
    return f"{progress.stage:<12} {progress.update:>4}/{progress.updates:<4}{phase} {numbers}  left {_left(progress)}"


def _numbers(progress: Progress) -> list[tuple[str, str]]:
    metrics = progress.metrics
    shown = [(name, form.format(metrics[key])) for key, (name, form) in _COLUMNS.items() if key in metrics]
    if metrics.get("collect_seconds"):
        collected = metrics.get("policy/tokens_sampled", 0.0) + metrics.get("policy/tokens_prefilled", 0.0)
        shown.append(("collect tok/s", f"{collected / metrics['collect_seconds']:,.0f}"))
    if "train/tokens_per_second" in metrics:
        shown.append(("train tok/s", f"{metrics['train/tokens_per_second']:,.0f}"))
    return shown


def _left(progress: Progress) -> str:
    seconds = progress.stage_seconds_left
    if seconds is None:
        return "?"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _panel(progress: Progress) -> Any:
    from rich.markup import escape
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    body = Table.grid(padding=(0, 2))
    body.add_row("stage", f"[bold]{progress.stage}[/]  {progress.phase}")
    if progress.updates:
        body.add_row(
            f"update {progress.update}/{progress.updates}", ProgressBar(progress.updates, progress.update, width=40)
        )
        body.add_row("left in this stage", _left(progress))
    for name, value in _numbers(progress):
        body.add_row(name, value)
    for text in list(progress.advice.values()):
        body.add_row("[bold yellow]note[/]", escape(text))
    return Panel(body, title=progress.run, subtitle=progress.folder, expand=False)
