"""The buffer: numbers what the sampler asks for, admits it, and hands out whole batches."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from agentrl.data.schedules import UPDATE
from agentrl.data.seeds import seed_of
from agentrl.data.types import AGENT, Batch, Completion, Draw, Group, Task, Turn
from agentrl.errors import PluginError, RecordError
from agentrl.parts.playing import Sampler

Collect = Callable[[Draw], Awaitable[list[Group]]]


class Buffer:
    """Draws tasks for updates `first` to `last` - 1, plays them at most `staleness` updates ahead, and batches groups.

    With `staleness = 0` a batch holds all draws of its update, in order. Else it holds the first groups that are
    finished, by draw number. The last update of a stage waits for all that runs, so that what is trained on has the
    same mix of lengths as what was played. Use it as `async with buffer:`.
    """

    def __init__(
        self,
        first: int,
        last: int,
        *,
        seed: int,
        staleness: int = 0,
        redraws: float = 3.0,
        next_draw: int = 0,
        speakers: tuple[str, ...] = (AGENT,),
        schedules_from: int = 0,
    ) -> None:
        """`next_draw`: number of the next draw of the run. `redraws`: at most so many times the groups of an update.

        `schedules_from`: the update that schedules of settings call 0.
        """
        self.first, self.last, self.staleness = first, last, staleness
        self.next_draw = next_draw
        self._schedules_from = schedules_from
        self._seed, self._redraws, self._speakers = seed, redraws, speakers
        self._pending: list[Draw] = []  # issued by an earlier process and never trained
        self._sizes: dict[int, int] = {}  # update → groups that the sampler asked for
        self._admitted = first
        self._running: dict[asyncio.Task[list[Group]], Draw] = {}
        self._finished: list[tuple[Draw, list[Group]]] = []
        self._rejected: list[Group] = []
        self._redrawn: dict[int, int] = {}
        self._counts = dict.fromkeys(("draws/redrawn", "draws/not_kept", "resume/replayed"), 0)

    async def __aenter__(self) -> Buffer:
        return self

    async def __aexit__(self, *error: object) -> None:
        """Cancel what still runs: a failed play must not go on into a closed player."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()

    async def batches(self, sampler: Sampler, collect: Collect) -> AsyncIterator[Batch]:
        """One batch per update, in order. Raises what collecting raises."""
        for update in range(self.first, self.last):
            for draw in self._pending:
                self._start(draw, collect)
            self._pending = []
            self._admit(sampler, collect, upto=min(self.staleness + update + 1, self.last))
            while not self._ready(update):
                await self._some_finished(sampler, collect)
            self._now(update)
            yield self._take(update)

    def state(self) -> dict[str, object]:
        """Plain data; holds every draw that was issued and not handed out yet."""
        waiting = [*self._pending, *self._running.values(), *(draw for draw, _ in self._finished)]
        oldest = min([self.first, *(draw.update for draw in waiting)])
        return {
            "next_draw": self.next_draw,
            "admitted": self._admitted,
            "sizes": [[update, size] for update, size in self._sizes.items() if update >= oldest],
            "draws": [draw_to_json(draw) for draw in sorted(waiting, key=lambda draw: draw.number)],
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on where the buffer of a process that ended stood: what it had issued is played first, and nothing twice.

        Raises RecordError for something that `state` did not write.
        """
        try:
            self.next_draw = int(state["next_draw"])  # type: ignore[call-overload]
            self._admitted = max(self.first, int(state["admitted"]))  # type: ignore[call-overload]
            self._sizes = {int(update): int(size) for update, size in state["sizes"]}  # type: ignore[attr-defined]
            self._pending = [draw_from_json(draw) for draw in state["draws"]]  # type: ignore[attr-defined]
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"the draws of this run cannot be read ({type(error).__name__}: {error})") from error
        self._counts["resume/replayed"] = len(self._pending)

    def metrics(self) -> dict[str, float]:
        """Counts since the last call."""
        counts, self._counts = self._counts, dict.fromkeys(self._counts, 0)
        return {name: float(count) for name, count in counts.items() if count}

    # ---------------------------------------------------------------------------------------------------- issuing

    def _admit(self, sampler: Sampler, collect: Collect, *, upto: int) -> None:
        """Issue the draws of every update below `upto` that were not issued yet."""
        while self._admitted < upto:
            self._now(self._admitted)
            tasks = _tasks(sampler, self._admitted)
            self._sizes[self._admitted] = len(tasks)
            for task in tasks:
                self._start(self._draw(task, self._admitted), collect)
            self._admitted += 1

    def _draw(self, task: Task, update: int) -> Draw:
        number = self.next_draw
        self.next_draw += 1
        return Draw(number, task, task.copies, seed_of(self._seed, "draw", number), update)

    def _start(self, draw: Draw, collect: Collect) -> None:
        self._now(draw.update)  # a task keeps the context that it was made in
        self._running[asyncio.ensure_future(_collected(collect, draw))] = draw

    def _now(self, update: int) -> None:
        """Settings with a schedule take their value of this update: here, in whoever takes the batch, in new tasks."""
        UPDATE.set(update - self._schedules_from)

    async def _some_finished(self, sampler: Sampler, collect: Collect) -> None:
        """Wait for a draw, and take over those that are finished.

        Without staleness they are taken in the order of their numbers, so that which draw is issued again under which
        number does not depend on how long each took.
        """
        if playing := [task for task in self._running if not task.done()]:
            await asyncio.wait(playing, return_when=asyncio.FIRST_COMPLETED)
        finished = {task: task.result() for task in self._running if task.done()}
        for task, draw in sorted(self._running.items(), key=lambda pair: pair[1].number):
            if task in finished:
                del self._running[task]
                self._take_over(draw, finished[task], sampler, collect)
            elif self.staleness == 0:
                break

    def _take_over(self, draw: Draw, groups: list[Group], sampler: Sampler, collect: Collect) -> None:
        unwanted = [group for group in groups if not _keeps(sampler, group)]
        if unwanted and self._may_redraw(draw.update):
            groups = [group for group in groups if group not in unwanted]
            self._rejected += unwanted
            self._counts["draws/not_kept"] += len(unwanted)
            self._counts["draws/redrawn"] += 1
            self._start(self._draw(draw.task, draw.update), collect)
            if not groups:
                return
        self._finished.append((draw, groups))

    def _may_redraw(self, update: int) -> bool:
        count = self._redrawn.get(update, 0)
        self._redrawn[update] = count + 1
        return count < self._redraws * self._sizes[update]

    # --------------------------------------------------------------------------------------------------- handing out

    def _ready(self, update: int) -> bool:
        if update == self.last - 1:
            return not self._running
        if self.staleness == 0:
            return not any(draw.update == update for draw in self._running.values())
        return len(self._finished) >= self._sizes[update]

    def _take(self, update: int) -> Batch:
        if self.staleness == 0 or update == self.last - 1:
            taken = self._finished
            self._finished = []
        else:
            taken, self._finished = self._finished[: self._sizes[update]], self._finished[self._sizes[update] :]
        taken = sorted(taken, key=lambda pair: pair[0].number)
        groups = tuple(group for _, groups in taken for group in groups)
        rejected, self._rejected = self._rejected, []
        return Batch(update, groups, self._speakers, tuple(rejected))


async def _collected(collect: Collect, draw: Draw) -> list[Group]:
    groups = await collect(draw)
    if not isinstance(groups, list) or not all(isinstance(group, Group) for group in groups):
        raise PluginError(f"the collector gave {groups!r} for draw {draw.number}; it gives a list of agentrl.Group")
    return groups


def _tasks(sampler: Sampler, update: int) -> list[Task]:
    tasks = sampler.next(update)
    if not isinstance(tasks, list) or not tasks or not all(isinstance(task, Task) for task in tasks):
        raise PluginError(
            f"sampler {type(sampler).__name__} gave {tasks!r} for update {update}; it gives a list of at least one agentrl.Task"
        )
    return tasks


def _keeps(sampler: Sampler, group: Group) -> bool:
    keep = getattr(sampler, "keep", None)
    if keep is None or all(trajectory.outcome.failed for trajectory in group.trajectories):
        return True  # a group of which nothing was played counts as used
    kept = keep(group)
    if inspect.isawaitable(kept) or not isinstance(kept, (bool, int)):
        raise PluginError(f"sampler {type(sampler).__name__}.keep gave {kept!r}; it gives True or False")
    return bool(kept)


_OF_A_TURN = ("observation", "action", "invalid", "agent", "kind")


def draw_to_json(draw: Draw) -> dict[str, object]:
    """A draw as plain data. The turns of a prefix are kept as what was observed, said and done in them."""
    task = draw.task
    prefix = [
        {name: getattr(turn, name) for name in _OF_A_TURN} | {"text": turn.completion.text} for turn in task.prefix
    ]
    kept = {name: getattr(task, name) for name in ("split", "index", "seed", "key", "copies")}
    numbers = {name: getattr(draw, name) for name in ("number", "copies", "seed", "update")}
    return {**numbers, "task": {**kept, "prefix": prefix}}


def draw_from_json(data: dict[str, object]) -> Draw:
    """What `draw_to_json` wrote."""
    table: dict[str, object] = dict(data["task"])  # type: ignore[call-overload]
    prefix: list[dict[str, str]] = table.pop("prefix")  # type: ignore[assignment]
    turns = tuple(
        Turn(
            completion=Completion(turn.get("text", turn["action"])), reward=0.0, anchor=turn["observation"],
            **{name: turn[name] for name in _OF_A_TURN if name in turn},  # type: ignore[arg-type]
        )
        for turn in prefix
    )  # fmt: skip
    return Draw(**(data | {"task": Task(**table, prefix=turns)}))  # type: ignore[arg-type]
