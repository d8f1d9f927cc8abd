"""Everything that happens around the loop: evaluation, pruning, loggers, hooks, progress."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from agentrl.data.record import Run
from agentrl.data.types import Outcome
from agentrl.errors import ConfigError, PluginError
from agentrl.evaluation.store import best_update
from agentrl.parts.faults import in_words
from agentrl.parts.host import Host
from agentrl.parts.run_file import RunFile, Stage
from agentrl.runs.evaluations import Evaluations
from agentrl.runs.loggers import Outlet
from agentrl.runs.parts import RunParts
from agentrl.runs.progress import Progress
from agentrl.runs.recorder import Committed

log = logging.getLogger(__name__)


class EvaluatesDuring:
    """Plays `during_split` when it is due, in a commit of its own, and tells parts and loggers."""

    def __init__(
        self, evaluations: Evaluations, parts: RunParts, progress: Progress, loggers: Sequence[Outlet]
    ) -> None:
        self._evaluations, self._parts, self._progress, self._loggers = evaluations, parts, progress, loggers

    async def committed(self, event: Committed) -> None:
        await self.after(event.update, event.stage)

    async def after(self, update: int, stage: Stage) -> None:
        """Also for a resumed run, whose parts have not heard what was played, or was to be played, after its last commit."""
        result = await self._evaluations.during(update + 1, stage)
        if result is None:
            return
        metrics = {"during/return": result.mean_return.value} if result.plays else {}
        metrics |= {"during/success": result.success.value} if result.says_success else {}
        self._progress.metrics |= metrics
        live = self._parts.live.get(stage.name)
        for part in live.observers.values() if live is not None else ():
            observe = getattr(part, "observe_evaluation", None)
            if observe is not None:
                observe(result)
        for logger in self._loggers:
            await logger.log(update, metrics)


class Prunes:
    """Keeps the last checkpoint, one more should it be damaged, and the best; of trajectories what the run file says."""

    def __init__(self, run: Run, config: RunFile) -> None:
        self._run, self._keep, self._plan = run, config.keep_trajectories, config.evaluation
        self._best: int | None = None

    async def committed(self, event: Committed) -> None:
        if self._plan is not None and (self._best is None or self._plan.plays_after(event.update + 1)):
            self._best = best_update(self._run, -1)
        checkpoints = [commit.update for commit in self._run.commits() if commit.has_checkpoint]
        self._run.prune(keep={*checkpoints[-2:], -1 if self._best is None else self._best})
        if isinstance(self._keep, int):
            self._run.prune_trajectories(self._keep)


class Logs:
    """Gives every update's metrics to the loggers of the run file."""

    def __init__(self, loggers: Sequence[Outlet]) -> None:
        self._loggers = loggers

    async def committed(self, event: Committed) -> None:
        for logger in self._loggers:
            await logger.log(event.update, event.metrics)


class CallsHooks:
    """Calls `on_update` of every plugin."""

    def __init__(self, host: Host, failures: Counter[str]) -> None:
        self._host, self._failures = host, failures

    async def committed(self, event: Committed) -> None:
        tell(self._host, self._failures, "on_update", {"update": event.update, "metrics": event.metrics})


def tell(host: Host, failures: Counter[str], hook: str, told: Mapping[str, object]) -> None:
    """Call a hook of every plugin that watches. One that raises is counted and named; ConfigError and PluginError pass."""
    manager = host.manager
    for impl in reversed(getattr(manager.hook, hook).get_hookimpls()):  # the order in which pluggy calls them
        others = [plugin for plugin in manager.get_plugins() if plugin is not impl.plugin]
        try:
            manager.subset_hook_caller(hook, others)(**told)
        except (ConfigError, PluginError, KeyboardInterrupt):
            raise
        except BaseException as error:  # what a watcher raises is its own affair
            failures[f"plugins.{impl.plugin_name}"] += 1
            log.warning("%s of plugin %s failed: %s", hook, impl.plugin_name, in_words(error))


class ShowsProgress:
    """Tells a display of the update, and a person of what keeps it from learning or makes it dear."""

    def __init__(self, progress: Progress, first: int) -> None:
        self._progress, self._first, self._idle = progress, first, 0

    async def committed(self, event: Committed) -> None:
        self._progress.metrics = dict(event.metrics)
        self._progress.update = event.update - self._first + 1
        name, trajectories = event.stage.name, event.batch.usable
        for part in (key for key in event.metrics if key.endswith("/failed")):
            self._progress.advise(part, f"{part.removesuffix('/failed')} failed; the run goes on, and run.log says why")
        ratio = event.metrics.get("train/row_tokens_ratio", 0.0)
        if ratio > 3:
            self._progress.advise(f"rows of {name}", _ROWS.format(ratio))
        if trajectories and all(t.outcome is Outcome.CONTEXT_LIMIT for t in trajectories):
            self._progress.advise(
                f"context of {name}",
                f"stage {name!r}: all {len(trajectories)} trajectories of update {event.update} ended at the context "
                f"limit: {trajectories[0].error}",
            )
        stuck = trajectories and all(t.outcome is Outcome.TURN_LIMIT and not t.episode_return for t in trajectories)
        self._idle = self._idle + 1 if stuck else 0
        if self._idle == _IDLE:
            self._progress.advise(f"turns of {name}", f"stage {name!r}: {_STUCK}")


_ROWS = (
    "rows hold {:.1f} tokens for each distinct one: this chat template rewrites old answers, so every turn is a row of its "
    'own. Cheaper: history = "as_sampled" in [model] (prompts keep what was sampled, which a chat server would not show), '
    "or turns = 4 in the trainer (so many turns of a trajectory, weighted)"
)
_IDLE = 3  # updates
_STUCK = (
    f"in {_IDLE} updates on end every trajectory ran out of turns with return 0, so there is nothing to learn from yet. "
    "Give it more turns or easier tasks, or begin with a stage that clones demonstrations"
)
