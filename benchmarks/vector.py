"""Vectorised play against the plain loop over the same worlds: what `auto` picks, and how much faster that is."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from agentrl import Environment, Spec, default_host
from agentrl.worlds.vector import cores, make

COUNT, ROUNDS = 16, 9


class Waiting(Environment):
    """A world that waits, as one does that asks a server."""

    blocks = True

    def __init__(self, wait_s: float = 0.002) -> None:
        self.wait_s = wait_s

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.left = 20
        return "go on", {"admissible": ("go",)}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        time.sleep(self.wait_s)
        self.left -= 1
        return "go on", 0.0, self.left == 0, False, {"admissible": ("go",)}


class Computing(Waiting):
    """A world that keeps one core busy."""

    blocks = False

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        digest = b""
        for _ in range(8_000):
            digest = hashlib.blake2b(digest).digest()
        self.left -= 1
        return digest.hex(), 0.0, self.left == 0, False, {"admissible": ("go",)}


def pick(info: Any, turn: int) -> str:
    """The same choice in both loops."""
    return str(info["admissible"][turn % len(info["admissible"])])


def plain(factory: Callable[[], Any], turns: int) -> float:
    """Steps per second of a loop that steps one world after the other, begins anew what is over, gives the same."""
    envs = [factory() for _ in range(COUNT)]
    infos = [env.reset(seed=i)[1] for i, env in enumerate(envs)]
    over = [False] * COUNT
    started = time.perf_counter()
    for turn in range(turns):
        observations, rewards, ended, cut = [], [], [], []
        for i, env in enumerate(envs):
            if over[i]:
                (observation, infos[i]), reward, terminated, truncated = env.reset(), 0.0, False, False
            else:
                observation, reward, terminated, truncated, infos[i] = env.step(pick(infos[i], turn))
            observations.append(observation)
            rewards.append(reward)
            ended.append(terminated)
            cut.append(truncated)
            over[i] = terminated or truncated
        _ = tuple(observations), np.array(rewards), np.array(ended), np.array(cut), list(infos)
    seconds = time.perf_counter() - started
    for env in envs:
        env.close()
    return COUNT * turns / seconds


def vectorised(vector: Any, turns: int) -> float:
    """Steps per second of the same play by a vector environment."""
    _, infos = vector.reset(seed=list(range(COUNT)))
    started = time.perf_counter()
    for turn in range(turns):
        _, _, _, _, infos = vector.step([pick(info, turn) for info in infos.each])
    return COUNT * turns / (time.perf_counter() - started)


def bare(factory: Callable[[], Any], turns: int) -> float:
    """Steps per second of the least there can be: every result is thrown away but the infos."""
    envs = [factory() for _ in range(COUNT)]
    infos = [env.reset(seed=i)[1] for i, env in enumerate(envs)]
    started = time.perf_counter()
    for turn in range(turns):
        for i, env in enumerate(envs):
            _, _, terminated, truncated, infos[i] = env.step(pick(infos[i], turn))
            if terminated or truncated:
                _, infos[i] = env.reset()
    seconds = time.perf_counter() - started
    for env in envs:
        env.close()
    return COUNT * turns / seconds


def gymnasiums(factory: Callable[[], Any], turns: int) -> float:
    """Steps per second of Gymnasium's own SyncVectorEnv."""
    vector = gymnasium.vector.SyncVectorEnv([factory] * COUNT)
    _, infos = vector.reset(seed=list(range(COUNT)))
    started = time.perf_counter()
    for turn in range(turns):
        _, _, _, _, infos = vector.step([str(a[turn % len(a)]) for a in infos["admissible"]])
    seconds = time.perf_counter() - started
    vector.close()
    return COUNT * turns / seconds


def installed(name: str) -> Callable[[], Any]:
    return lambda: default_host().build(Spec("environment", name))


WORLDS: dict[str, tuple[Callable[[], Any], int]] = {
    "corridor (cheap)": (installed("corridor"), 3_000),
    "household (cheap)": (installed("household"), 1_500),
    "waiting 2 ms": (Waiting, 20),
    "waiting 10 µs": (lambda: Waiting(1e-5), 1_000),
    "computing 5 ms": (Computing, 12),
}


def main() -> None:
    print(f"{COUNT} worlds, {cores()} cores; steps per second, medians of {ROUNDS} pairs; ratio to the plain loop >= 1")
    for name, (factory, turns) in WORLDS.items():
        vector: Any = make(factory, COUNT)
        rows = [(vectorised(vector, turns), plain(factory, turns)) for _ in range(ROUNDS)]
        vector.close()
        ratios = sorted(ours / loop for ours, loop in rows)
        ours, loop = (statistics.median(column) for column in zip(*rows, strict=True))
        least, own = (statistics.median(run(factory, turns) for _ in range(3)) for run in (bare, gymnasiums))
        print(
            f"{name:<18} {vector.mode:<10}{ours:>8.0f}   plain {loop:>7.0f}   ratio {statistics.median(ratios):5.2f} "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f})   bare loop {least:>7.0f}   SyncVectorEnv {own:>7.0f}"
        )


if __name__ == "__main__":
    main()
