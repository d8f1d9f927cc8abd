"""The learning curve of a run as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby
from typing import TYPE_CHECKING

from agentrl.data.record import Commit, Run
from agentrl.evaluation.store import DURING, read_evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SMOOTH = 5  # updates that the thick line averages over


def draw_curve(run: Run, summary: Mapping[str, object]) -> bytes | None:
    """A PNG of success over minutes of training; None where matplotlib is not installed, or nothing was learnt yet."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    history = run.history()
    if not history:
        return None
    commits, metrics = [commit for commit, _ in history], [metrics for _, metrics in history]
    minutes = [seconds / 60 for seconds in accumulate(one.get("seconds", 0.0) for one in metrics)]
    played = [one.get("success", float("nan")) for one in metrics]
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    start = 0
    for number, (stage, members) in enumerate(groupby(commits, key=lambda commit: commit.stage)):
        own = range(start, start := start + len(list(members)))
        begin = minutes[own[0] - 1] if own[0] else 0.0
        axes.axvspan(begin, minutes[own[-1]], color="0.94" if number % 2 else "0.98", zorder=0)
        axes.text((begin + minutes[own[-1]]) / 2, 1.045, stage, ha="center", fontsize=9, color="0.35")
        x, y = [minutes[i] for i in own], [played[i] for i in own]
        scripted = not any(metrics[i].get("policy/tokens_sampled") for i in own)
        label = {True: "demonstrations", False: "training tasks, as played"}[scripted]
        axes.plot(x, y, color="0.7", linewidth=0.8, linestyle=":" if scripted else "-", label=label)
        if not scripted:
            axes.plot(x, _smoothed(y), color="tab:blue", linewidth=2.2, label=f"mean of {_SMOOTH} updates")
    _mark_evaluations(axes, run, commits, minutes, summary)
    axes.set(xlabel="minutes of training", ylabel="success", ylim=(0, 1.03), xlim=(0, max(minutes)))
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes.legend(unique.values(), unique.keys(), loc="lower right", fontsize=8)
    axes.set_title(f"{summary['name']}, seed {summary['seed']}", fontsize=10, pad=18)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110)
    return image.getvalue()


def _mark_evaluations(
    axes: Axes, run: Run, commits: Sequence[Commit], minutes: Sequence[float], summary: Mapping[str, object]
) -> None:
    played = [
        (at, read_evaluation(run, commit.update + 1, DURING)) for at, commit in zip(minutes, commits, strict=True)
    ]
    during = [(at, result.success.value) for at, result in played if result is not None]
    if during:
        axes.plot(
            *zip(*during, strict=True), "o", color="tab:green", markersize=4, clip_on=False, label="during training"
        )
    first = next((i for i, commit in enumerate(commits) if commit.stage == commits[-1].stage), 0)
    for name, at in (("before", minutes[first - 1] if first else 0.0), ("after", minutes[-1])):
        if name in summary:
            value: dict[str, float] = summary[name]  # type: ignore[assignment]
            spread = [[value["success"] - value["low"]], [value["high"] - value["success"]]]
            axes.errorbar(
                [at], [value["success"]], spread, fmt="s", color="tab:red", capsize=4, label="held-out, 95 % interval"
            )


def _smoothed(values: Sequence[float]) -> list[float]:
    return [
        sum(values[max(0, i - _SMOOTH + 1) : i + 1]) / len(values[max(0, i - _SMOOTH + 1) : i + 1])
        for i in range(len(values))
    ]
