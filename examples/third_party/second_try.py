"""A collector that plays on from just after what went wrong first, and compares those second tries with one another."""

from typing import Annotated

import agentrl
from agentrl import ConfigError, Draw, Group, Play, Player, Speakers, Start, Trajectory, seed_of


@agentrl.hookimpl
def register_collectors(register: agentrl.Register) -> None:
    register("second_try", SecondTry)


class SecondTry:
    """One group per draw; then, for members that failed, groups of continuations (after Fission-GRPO, 2601.15625).

    A failed trajectory is cut behind its first invalid turn, or, where it has none, `back` turns before its end. From
    there the task is played on `tries` times, by the same policy and with luck of its own: group "12/7" holds those
    that share the turns up to turn 7. One trajectory stands for all that are cut behind the same turn. The published
    method is not released; it also puts a diagnosis into the prompt, which here is the context's business.
    """

    def __init__(
        self,
        player: Player,
        *,
        group_size: Annotated[int, "trajectories per task, where the task asks for none"] = 8,
        tries: Annotated[int, "continuations of a failed trajectory"] = 4,
        cuts: Annotated[int, "failed trajectories that are continued, at most"] = 1,
        back: Annotated[int, "turns that are played anew where none was invalid"] = 2,
    ) -> None:
        if min(group_size, tries, cuts, back) < 1:
            raise ConfigError("collector 'second_try': group_size, tries, cuts and back must be positive")
        self._player, self._group_size, self._tries, self._cuts, self._back = player, group_size, tries, cuts, back

    async def collect(self, draw: Draw, speakers: Speakers) -> list[Group]:
        """The group of the draw, then those of second tries, by the turn they begin with."""
        key, members = str(draw.number), range(draw.copies or self._group_size)
        plays = [Play(draw.task, key, n, seed_of(draw.seed, n), snapshots="invalid") for n in members]
        first = Group(key, draw.number, tuple(await self._player.play(speakers, plays)))
        failed = [trajectory for trajectory in agentrl.trainable(first.trajectories) if not trajectory.success]
        parents = {last: parent for parent in reversed(failed) if (last := self._last_kept(parent)) >= 0}
        plays = [
            self._play(draw, parents[last], last, n)
            for last in sorted(parents)[: self._cuts]
            for n in range(self._tries)
        ]
        again = await self._player.play(speakers, plays)
        return [
            first,
            *(Group(key, draw.number, tuple(again[i] for i in own)) for key, own in agentrl.groups(again).items()),
        ]

    def _last_kept(self, parent: Trajectory) -> int:
        """The turn behind which a trajectory is cut; negative where nothing would be left to keep or to play."""
        end = len(parent.turns) - 1
        wrong = (turn for turn, said in enumerate(parent.turns) if said.invalid)
        return min(next(wrong, end - self._back), end - 1)

    def _play(self, draw: Draw, parent: Trajectory, last: int, number: int) -> Play:
        seed, kept = seed_of(draw.seed, parent.id, last, "second try", number), parent.turns[: last + 1]
        start = Start(kept, self._player.snapshot(parent, last), f"{parent.id}@{last}", number, seed)
        return Play(draw.task, f"{draw.number}/{last}", number, seed, start, labels={"stage": "second try"})
