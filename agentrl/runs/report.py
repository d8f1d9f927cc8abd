"""What a run says about itself: the metrics of one update, and the summary of all."""

from __future__ import annotations

import contextlib
import resource
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from agentrl.data.record import Run
from agentrl.data.types import AGENT, Batch, Metrics, Outcome, Trajectory, trainable
from agentrl.errors import DataError
from agentrl.evaluation.protocol import compare
from agentrl.evaluation.store import read_evaluation
from agentrl.parts.run_file import RunFile


def collected_metrics(trajectories: Sequence[Trajectory], trains: Sequence[str] = (AGENT,)) -> Metrics:
    """Means over the trajectories that count, and counts of what happened to all of them; no success where none is told.

    Branches enter tokens, costs and prompts with their own turns, and no mean over episodes.
    """
    usable = trainable(trajectories)
    played = [t for t in usable if t.parent is None]
    turns = sum(len(t.turns) for t in played)
    said = [t.success for t in played]
    known = {"success": float(np.mean(list(map(bool, said))))} if any(s is not None for s in said) else {}
    metrics = {
        "trajectories": float(len(played)),
        "failed": float(sum(t.outcome.failed or not t.turns for t in trajectories)),
        **known,
        "return": float(np.mean([t.episode_return for t in played])) if played else 0.0,
        "turns": turns / max(1, len(played)),
        "tokens": float(sum(t.tokens for t in usable)),
        "invalid": sum(bool(turn.invalid) for t in played for turn in t.turns) / max(1, turns),
    }
    if len(usable) > len(played):
        metrics["branches"] = float(len(usable) - len(played))
    ended = Counter(t.outcome for t in trajectories)
    metrics |= {f"outcome/{outcome.value}": float(ended[outcome]) for outcome in Outcome if ended[outcome]}
    return metrics | _prompts(usable, trains) | _costs(usable)


def _prompts(trajectories: Sequence[Trajectory], trains: Sequence[str]) -> Metrics:
    """How prompts went on from the ones before: `realign` kept that one's prompt, `fork` did not."""
    kinds: Counter[str] = Counter()
    for trajectory in trajectories:
        before: dict[str, int] = {}
        for position, turn in enumerate(trajectory.turns):
            prompt = len(turn.completion.prompt_ids)
            if position >= trajectory.inherited and turn.agent in trains and len(turn.completion.ids):
                if turn.relation == "append":
                    kinds["append"] += 1
                elif turn.relation == "new":
                    kinds["realign" if turn.kept >= before.get(turn.agent, 0) else "fork"] += 1
            before[turn.agent] = prompt
    return {f"prompt/{kind}": float(count) for kind, count in kinds.items()}


def _costs(trajectories: Sequence[Trajectory]) -> Metrics:
    """Seconds of worlds, sampled tokens, calls and money of all own turns."""
    total: Counter[str] = Counter()
    for trajectory in trajectories:
        for turn in trajectory.turns[trajectory.inherited :]:
            cost = turn.info.get("cost")
            if isinstance(cost, Mapping):
                total.update({str(name): float(value) for name, value in cost.items()})
    return {f"cost/{name}": float(value) for name, value in total.items() if value}


def token_metrics(batch: Batch, trains: Sequence[str], metrics: Mapping[str, float]) -> Metrics:
    """`tokens_untrained`: sampled tokens of trained speakers that were meant to be trained, and that no trainer scored.

    `age_max`: by how many updates the oldest of them is older than the weights that learn from it.
    """
    sampled, oldest = 0, batch.update
    for trajectory in batch.usable:
        for turn in trajectory.turns[trajectory.inherited :]:
            if turn.agent in trains:
                mask = turn.columns.get("mask")
                sampled += len(turn.completion.ids) - (int(np.sum(mask)) if mask is not None else 0)  # type: ignore[call-overload]
                oldest = min(oldest, int(turn.completion.versions.min(initial=oldest)))
    ages = {"age_max": float(batch.update - oldest)}
    if "train/tokens_scored" not in metrics:
        return ages
    return ages | {
        "tokens_untrained": sampled - metrics.get("train/tokens_not_drawn", 0.0) - metrics["train/tokens_scored"]
    }


def summarise(run: Run, config: RunFile, seconds: float) -> dict[str, object]:
    """`before` and `after` (held-out success before the last stage and at the end), their paired difference, costs."""
    plan = config.plan
    last_stage = [metrics for commit, metrics in run.history() if commit.stage == plan[-1].name]
    summary: dict[str, object] = {
        "name": config.name,
        "seed": config.seed,
        "seconds": round(seconds, 1),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "updates": {stage.name: sum(s.updates for s in plan if s.name == stage.name) for stage in plan},
    }
    first = sum(stage.updates for stage in plan[:-1])
    before, after = (read_evaluation(run, update) for update in (first, first + plan[-1].updates))
    for name, result in (("before", before), ("after", after)):
        if result is not None:
            summary[name] = result.summary() | {"return": result.mean_return.value, "turns": result.mean_turns.value}
        if result is not None and (notes := result.notes()):
            summary[f"notes_{name}"] = list(notes.values())
    if before is not None and after is not None:
        with contextlib.suppress(DataError):  # nothing says what success is, or no task counts in both
            summary["difference"] = compare(before, after)
    if "lengthened" in run.manifest:
        summary["lengthened"] = run.manifest["lengthened"]
    return summary | {
        "collecting": _collecting(last_stage),
        "training": _training(last_stage),
        "time": _shares(last_stage),
    }


def _total(updates: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(metrics.get(name, 0.0) for metrics in updates)


def _collecting(updates: Sequence[Mapping[str, float]]) -> dict[str, float]:
    seconds = _total(updates, "collect_seconds") or 1e-9
    sampled, prefilled = _total(updates, "policy/tokens_sampled"), _total(updates, "policy/tokens_prefilled")
    return {"tokens_per_second": (sampled + prefilled) / seconds, "sampled_tokens_per_second": sampled / seconds}


def _training(updates: Sequence[Mapping[str, float]]) -> dict[str, float]:
    tokens, seconds = _total(updates, "train/tokens"), _total(updates, "train/seconds") or 1e-9
    padding = sum(m.get("train/padding_share", 0.0) * m.get("train/tokens", 0.0) for m in updates)
    return {"tokens_per_second": tokens / seconds, "padding_share": padding / max(1.0, tokens)}


def _shares(updates: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Shares of the wall clock of the last stage's updates: model (sampling and training), world, framework (the rest).

    Worlds that wait side by side took longer together than the clock ran: then theirs is all that the model left.
    """
    total = _total(updates, "seconds") or 1e-9
    model = min(1.0, (_total(updates, "policy/seconds") + _total(updates, "train/seconds")) / total)
    world = min(_total(updates, "world_seconds") / total, 1 - model)
    return {"model": model, "world": world, "framework": 1 - model - world}
