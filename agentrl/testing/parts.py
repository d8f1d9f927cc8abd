"""Checks for credits, contexts, dialects and samplers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agentrl.data.types import Advantage, Advantages, Batch, Floats, Group, Message, Trajectory
from agentrl.parts.contracts import Context, Credit, Credited, Dialect, Session
from agentrl.parts.live import checked_advantages
from agentrl.testing.report import Report, require, run_checks
from agentrl.testing.samples import sample_trajectories
from agentrl.worlds.sessions import View, begin_session


def check_credit(make: Callable[[], Credit], *, name: str = "?") -> Report:
    """Shapes, order, duplicates elsewhere, groups without variance, lone trajectories."""
    trajectories = sample_trajectories()
    part = make()

    def credit(trajectories: Sequence[Trajectory]) -> Advantages:
        result = part(trajectories)
        return checked_advantages(
            result.advantages if isinstance(result, Credited) else result, trajectories, f"credit {name!r}"
        )

    base = _flat(credit(trajectories))

    def one_number_per_turn_or_token() -> None:
        for trajectory, advantage in zip(trajectories, credit(trajectories), strict=True):
            require(
                len(advantage) == len(trajectory.turns),
                f"{len(advantage)} advantages for {len(trajectory.turns)} turns",
            )
        require(np.isfinite(base).all(), "an advantage is not finite")

    def the_order_of_trajectories_changes_nothing() -> None:
        order = np.random.default_rng(1).permutation(len(trajectories))
        shuffled = credit([trajectories[i] for i in order])
        restored: Advantages = [np.zeros(0)] * len(trajectories)
        for place, advantage in zip(order, shuffled, strict=True):
            restored[place] = advantage
        require(np.allclose(_flat(restored), base, rtol=0, atol=1e-12), "another order gives other advantages")

    def other_groups_change_nothing() -> None:
        alone = [t for t in trajectories if t.group == "g1"]
        copies = [dataclasses.replace(t, group="copy") for t in trajectories if t.group == "g2"]
        got = credit([*alone, *copies])[: len(alone)]
        wanted = [a for t, a in zip(trajectories, credit(trajectories), strict=True) if t.group == "g1"]
        require(
            np.allclose(_flat(got), _flat(wanted), rtol=0, atol=1e-12),
            "trajectories of other groups change a group's advantages",
        )

    def equal_trajectories_get_equal_and_finite_advantages() -> None:
        first = trajectories[0]
        same = [dataclasses.replace(first, member=member) for member in range(4)]  # a group without any variance
        got = [_flat([advantage]) for advantage in credit(same)]
        require(all(np.isfinite(one).all() for one in got), "a group without variance gets one that is not finite")
        require(
            all(np.array_equal(one, got[0]) for one in got), "equal trajectories of a group get different advantages"
        )

    def one_trajectory_alone_is_finite() -> None:
        require(
            np.isfinite(_flat(credit(trajectories[-1:]))).all(),
            "a lone trajectory gets an advantage that is not finite",
        )

    def inputs_stay_as_they_were() -> None:
        before = [t.rewards.tolist() for t in trajectories]
        credit(trajectories)
        require(before == [t.rewards.tolist() for t in trajectories], "the credit changes the trajectories it is given")

    return run_checks(
        "credit",
        name,
        _named(
            one_number_per_turn_or_token,
            the_order_of_trajectories_changes_nothing,
            other_groups_change_nothing,
            equal_trajectories_get_equal_and_finite_advantages,
            one_trajectory_alone_is_finite,
            inputs_stay_as_they_were,
        ),
    )


def check_dialect(
    make: Callable[[], Dialect],
    *,
    name: str = "?",
    actions: tuple[str, ...] = ("go to shelf 1", "search[red shoe]", "ü ∑ 🤖", "{}"),
) -> Report:
    """An action that is written is read back; hostile text is read without an exception."""
    dialect = make()

    def what_is_written_is_read_back() -> None:
        for action in actions:
            got = dialect.read(dialect.write(action))
            require(got.action == action and not got.invalid, f"{action!r} was read back as {got}")

    def the_stop_string_ends_what_is_written() -> None:
        for stop in dialect.stop:
            require(
                dialect.write(actions[0]).endswith(stop),
                f"stop string {stop!r} does not end {dialect.write(actions[0])!r}",
            )

    def hostile_text_is_read_or_refused_with_a_reason() -> None:
        from agentrl.testing.environment import HOSTILE

        for text in HOSTILE:
            reading = dialect.read(text)
            require(reading.action or reading.invalid, f"{text[:20]!r} gave neither an action nor a reason")

    return run_checks(
        "dialect",
        name,
        _named(
            what_is_written_is_read_back,
            the_stop_string_ends_what_is_written,
            hostile_text_is_read_or_refused_with_a_reason,
        ),
    )


def check_context(make: Callable[[], Context | View], *, name: str = "?") -> Report:
    """The current observation comes last, sampled messages keep their completion, the same input gives the same."""
    turns = sample_trajectories(3)[-1].turns[:1] * 5

    def session() -> Session:
        return begin_session(
            make(), instructions="rules", key="k", seed=0, speaker="agent", count=lambda messages: 10 * len(messages)
        )

    def seen(own: Session, count: int) -> tuple[Message, ...]:
        view = own.view(turns[:count], f"now {count}")
        return view if isinstance(view, tuple) else view.messages

    def the_current_observation_comes_last() -> None:
        own = session()
        for count in range(len(turns) + 1):
            last = seen(own, count)[-1]
            require(last.role in ("user", "tool") and f"now {count}" in last.content, f"the last message is {last}")

    def sampled_messages_keep_their_completion() -> None:
        own = session()
        for count in range(len(turns) + 1):
            for message in seen(own, count):
                require(
                    message.role != "assistant" or message.completion is not None,
                    "an assistant message lost its completion",
                )

    return run_checks(
        "context", name, _named(the_current_observation_comes_last, sampled_messages_keep_their_completion)
    )


def check_sampler(make: Callable[[], Any], *, name: str = "?") -> Report:
    """The same update gives the same tasks, and a restored sampler goes on as the first would have."""

    def the_same_history_gives_the_same_tasks() -> None:
        one, two = make(), make()
        for update in range(3):
            require(one.next(update) == two.next(update), f"two equal samplers differ at update {update}")

    def a_restored_sampler_goes_on() -> None:
        one = make()
        one.next(0)
        if hasattr(one, "observe"):
            one.observe(Batch(0, (Group("g0", 0, tuple(sample_trajectories())),)))
        two = make()
        two.restore(one.state())
        require(one.next(1) == two.next(1), "a restored sampler draws other tasks")

    return run_checks("sampler", name, _named(the_same_history_gives_the_same_tasks, a_restored_sampler_goes_on))


def _flat(advantages: Sequence[Advantage]) -> Floats:
    return np.concatenate(
        [
            np.concatenate([np.ravel(a) for a in advantage]) if len(advantage) else np.zeros(0)
            for advantage in advantages
        ]
    )


def _named(*checks: Callable[[], Any]) -> dict[str, Callable[[], Any]]:
    return {check.__name__: check for check in checks}
