"""What a run says about itself: the metrics of one update, and the summary of all."""

from __future__ import annotations

import json
import resource
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agentrl.parts.run_file import RunConfig
from agentrl.evaluation.protocol import Evaluation, compare
from agentrl.data.record import Run
from agentrl.data.rows import relation
from agentrl.data.types import Outcome, Trajectory


def collected_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Means over the trajectories that count, and counts of what happened to all of them."""
    played = [t for t in trajectories if not t.outcome.failed and t.turns]
    turns = sum(len(t.turns) for t in played)
    metrics = {
        "trajectories": float(len(played)),
        "failed": float(len(trajectories) - len(played)),
        "success": float(np.mean([t.success for t in played])) if played else 0.0,
        "return": float(np.mean([t.episode_return for t in played])) if played else 0.0,
        "turns": turns / max(1, len(played)),
        "tokens": float(sum(t.tokens for t in played)),
        "invalid": sum(bool(turn.invalid) for t in played for turn in t.turns) / max(1, turns),
    }
    ended = Counter(t.outcome for t in trajectories)
    metrics |= {f"outcome/{outcome.value}": float(ended[outcome]) for outcome in Outcome if ended[outcome]}
    kinds: Counter[str] = Counter()
    for trajectory in played:
        completions = [None, *(turn.completion for turn in trajectory.turns)]
        kinds.update(
            relation(before, turn.completion.prompt_ids)
            for before, turn in zip(completions, trajectory.turns, strict=False)
            if len(turn.completion.ids)
        )
    return metrics | {f"prompt/{kind}": float(count) for kind, count in kinds.items() if kind != "start"}


def summarise(run: Run, config: RunConfig, seconds: float) -> dict[str, Any]:
    """`before` and `after` (held-out success before the last stage and at the end), their paired difference, costs."""
    commits = run.commits()
    last_stage = [commit.metrics for commit in commits if commit.stage == config.stages[-1].name]
    summary: dict[str, Any] = {
        "name": config.name,
        "seed": config.seed,
        "seconds": round(seconds, 1),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "updates": {stage.name: stage.updates for stage in config.stages},
    }
    first = sum(stage.updates for stage in config.stages[:-1])
    before, after = (_evaluation(run, update) for update in (first, first + config.stages[-1].updates))
    for name, result in (("before", before), ("after", after)):
        if result is not None:
            summary[name] = result.summary() | {"return": result.mean_return.value, "turns": result.mean_turns.value}
    if before is not None and after is not None:
        summary["difference"] = compare(before, after)
    return summary | {
        "collecting": _collecting(last_stage),
        "training": _training(last_stage),
        "time": _shares(last_stage),
    }


def _evaluation(run: Run, update: int) -> Evaluation | None:
    path = run.folder / f"evaluations/{update:06d}.json"
    return Evaluation.from_json(json.loads(path.read_text())) if path.exists() else None


def _total(updates: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(metrics.get(name, 0.0) for metrics in updates)


def _collecting(updates: Sequence[Mapping[str, float]]) -> dict[str, float]:
    seconds = _total(updates, "collect_seconds") or 1e-9
    sampled, prefilled = _total(updates, "policy/tokens_sampled"), _total(updates, "policy/tokens_prefilled")
    return {"tokens_per_second": (sampled + prefilled) / seconds, "sampled_tokens_per_second": sampled / seconds}


def _training(updates: Sequence[Mapping[str, float]]) -> dict[str, float]:
    tokens, seconds = _total(updates, "train/tokens"), _total(updates, "train/seconds") or 1e-9
    padding = _total(
        [{"pads": m.get("train/padding_share", 0.0) * m.get("train/tokens", 0.0)} for m in updates], "pads"
    )
    return {"tokens_per_second": tokens / seconds, "padding_share": padding / max(1.0, tokens)}


def _shares(updates: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Shares of the wall clock of the last stage's updates: model (sampling and training), world, framework (the rest)."""
    total = _total(updates, "seconds") or 1e-9
    model = _total(updates, "policy/seconds") + _total(updates, "train/seconds")
    world = _total(updates, "world_seconds")
    return {"model": model / total, "world": world / total, "framework": max(0.0, 1 - (model + world) / total)}
