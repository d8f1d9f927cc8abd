"""A training loop written from nothing but the contracts: one trajectory after the other, no buffer, no player, no collector."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import agentrl
from agentrl import Completion, Dialogue, Final, Outcome, Task, Trajectory, Turn


def seed(*parts: object) -> int:
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def train(
    *,
    make_world: Callable[[], Any],
    model: Any,
    policy: Any,
    trainer: Any,
    sampler: Any,
    credit: Callable[[Any], Any],
    run_seed: int,
    updates: int,
    group_size: int,
) -> list[list[Trajectory]]:
    """The trajectories of every update."""
    return asyncio.run(
        _train(make_world, model, policy, trainer, sampler, credit, run_seed, updates, group_size)
    )  # fmt: skip


async def _train(
    make_world: Any, model: Any, policy: Any, trainer: Any, sampler: Any, credit: Any, run_seed: int, updates: int,
    group_size: int,
) -> list[list[Trajectory]]:  # fmt: skip
    played, draw = [], 0
    for update in range(updates):
        trajectories = []
        for task in sampler.next(update):
            for member in range(group_size):
                own = seed(seed(run_seed, "draw", draw), member)
                trajectories.append(await _play(make_world(), model.codec, policy, task, str(draw), member, own))
            draw += 1
        batch = agentrl.Batch(update, (agentrl.Group("all", 0, tuple(trajectories)),))
        await trainer.update(batch, credit(trajectories))
        await policy.refresh(await model.publish(update + 1, via=agentrl.Shared))
        played.append(trajectories)
    return played


async def _play(
    world: Any, codec: Any, policy: Any, task: Task, group: str, member: int, own_seed: int
) -> Trajectory:  # fmt: skip
    observation, info = world.reset(seed=task.seed, options={"split": task.split, "index": task.index})
    task = dataclasses.replace(task, key=info["task"])
    messages: list[Any] = []
    turns: list[Turn] = []
    said: Completion | None = None
    key = f"{group}.{member}-0"
    while True:
        messages.append(agentrl.Message("user", observation))
        prompt = codec.prompt(messages, after=said)
        turn_seed = (own_seed + 0x9E3779B97F4A7C15 * (len(turns) + 1)) & (2**63 - 1)
        said = await policy.act(Dialogue(tuple(messages), key, turn_seed, prompt, info=info))
        action = said.text.strip()
        after, reward, terminated, truncated, info_after = world.step(action)
        kept = {name: value for name, value in info_after.items() if name not in ("anchor", "rewards", "invalid")}
        turns.append(
            Turn(
                observation, said, action, reward, info.get("anchor", observation), info_after.get("rewards", {}),
                info_after.get("invalid", ""), kept | {"admissible": info["admissible"]},
                relation=prompt.relation, kept=prompt.kept,
            )
        )  # fmt: skip
        messages.append(agentrl.Message("assistant", said.text, completion=said))
        observation, info = after, info_after
        if terminated or truncated:
            break
    policy.forget(key)
    world.close()
    return Trajectory(
        tuple(turns), task, group, Outcome.TERMINATED if terminated else Outcome.TURN_LIMIT, member, seed=own_seed,
        final=Final(observation, info.get("anchor", observation), info),
    )  # fmt: skip
