"""Vectorised play of text worlds: inline, in threads or in processes, by the measured cost of a step."""

from __future__ import annotations

import functools
import math
import os
import pickle
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from agentrl.errors import ConfigError, did_you_mean
from agentrl.parts.host import default_host
from agentrl.parts.registry import Spec
from agentrl.worlds.infos import Infos

Factory: TypeAlias = Callable[[], gymnasium.Env[str, str]]
Mode: TypeAlias = Literal["inline", "threads", "processes"]
MODES = ("auto", "inline", "threads", "processes")

HAND_OVER_S = 100e-6
"""What one step in another thread costs on top, on a machine that is busy."""
MESSAGE_S = 300e-6
"""What one step in another process costs on top, without its pickling."""
GAIN = 0.8
"""Only a mode that needs at most this share of the inline time is tried at all."""
PER_CORE = 16
"""More processes than this for each core are never chosen."""


@dataclass(frozen=True)
class StepCost:
    """What one step takes (a share of the resets included), by the clock and of a core, and to pickle what it gives."""

    seconds: float
    cpu_seconds: float
    pickle_seconds: float
    blocks: bool


def make(
    environment: str | Factory,
    count: int,
    *,
    settings: Mapping[str, Any] | None = None,
    mode: Literal["auto", "inline", "threads", "processes"] = "auto",
    probe_s: float = 0.1,
) -> InlineVector | ProcessesVector:
    """`count` worlds as one Gymnasium VectorEnv; its attribute `mode` says how they are run.

    `environment` is the name of an installed world (with its `settings`) or a factory. `auto` plays one more world for
    about `probe_s` seconds, and takes threads (where the world declares `blocks = True`) or processes only if they are
    then seen to be faster than stepping one world after the other. Actions and observations are tuples of whole
    strings. `infos` follows Gymnasium's form and is only built as far as it is read; `infos.each` are the infos
    themselves. A world that is over is begun anew by the next step, whatever the action (Gymnasium's NEXT_STEP), with
    the options of its last reset, but for `index`.
    Processes start as Python's default says (`multiprocessing.set_start_method`).
    Raises ConfigError for an unknown name, mode or setting, and for worlds whose observations are not text.
    """
    if count < 1 or mode not in MODES:
        wrong = f"count = {count}: give at least 1" if count < 1 else f"mode = {mode!r}. {did_you_mean(mode, MODES)}"
        raise ConfigError(f"vectorised play: {wrong}")
    factory = _factory(environment, settings)
    factories = [functools.partial(Remembering, factory)] * count
    if mode != "auto":
        return _VECTORS[mode](factories)
    cost = measure(factory, probe_s=probe_s)
    chosen = choose(cost, count, cores=cores())
    vector = _VECTORS[chosen](factories)
    if chosen == "inline" or _seconds_per_round(vector, probe_s) < count * cost.seconds:
        return vector
    vector.close()  # this machine is busier than the estimate knows
    return _VECTORS["inline"](factories)


def measure(factory: Factory, *, probe_s: float = 0.1) -> StepCost:
    """Play a world of its own for about `probe_s` seconds, at least two steps, by admissible or sampled actions."""
    env = factory()
    kind = env.observation_space.dtype
    if kind is None or kind.kind != "U":  # no text
        env.close()
        raise ConfigError(f"vectorised play takes worlds of text, not {env.observation_space}; try gymnasium.make_vec")
    try:
        step: Any = env.reset(seed=0)
        picks, over, steps = np.random.default_rng(0), False, 0
        started, started_cpu = time.perf_counter(), time.thread_time()
        while steps < 2 or (time.perf_counter() - started < probe_s and steps < 2_000):
            step = env.reset() if over else env.step(_action(step[-1], env.action_space, picks))
            over = not over and (step[2] or step[3])
            steps += 1
        seconds, cpu_seconds = time.perf_counter() - started, time.thread_time() - started_cpu
        started = time.perf_counter()
        pickle.loads(pickle.dumps(step))
        pickling = time.perf_counter() - started
        return StepCost(
            seconds / steps, min(cpu_seconds, seconds) / steps, pickling, bool(getattr(env.unwrapped, "blocks", False))
        )
    finally:
        env.close()


def choose(cost: StepCost, count: int, *, cores: int) -> Mode:
    """The mode with the shortest expected round of `count` steps; `inline` unless another gains a fifth.

    >>> choose(StepCost(5e-6, 5e-6, 1e-5, blocks=False), 8, cores=8)
    'inline'
    >>> choose(StepCost(0.01, 1e-4, 1e-5, blocks=True), 8, cores=8)
    'threads'
    >>> choose(StepCost(0.01, 0.01, 1e-5, blocks=False), 8, cores=8)
    'processes'
    """
    waiting = cost.seconds - cost.cpu_seconds
    rounds: dict[Mode, float] = {"inline": count * cost.seconds}
    if cost.blocks:  # Python runs one thread at a time: only waiting overlaps
        rounds["threads"] = max(waiting, 0.0) + count * (cost.cpu_seconds + HAND_OVER_S)
    if count <= PER_CORE * cores:
        messages = count * (MESSAGE_S + cost.pickle_seconds)
        rounds["processes"] = waiting + math.ceil(count / cores) * cost.cpu_seconds + messages
    best = min(rounds, key=rounds.__getitem__)
    return best if rounds[best] <= GAIN * rounds["inline"] else "inline"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _LazyInfos:
    """Keeps what each world said, instead of filling arrays that nobody may read."""

    num_envs: int

    def _add_info(self, vector_infos: dict[str, Any], env_info: dict[str, Any], env_num: int) -> dict[str, Any]:
        infos = vector_infos if isinstance(vector_infos, Infos) else Infos([{}] * self.num_envs)
        infos.each[env_num] = env_info
        return infos


class InlineVector(_LazyInfos, SyncVectorEnv):
    """One world after the other, with as little around each step as there can be."""

    mode: Mode = "inline"

    def __init__(self, factories: Sequence[Factory]) -> None:
        super().__init__(factories, copy=False)
        self._some_over = False  # asked at every step, and cheaper than to look into the array

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Begin all worlds, or those of `options["reset_mask"]`, as Gymnasium does."""
        self._env_obs = list(self._observations or [None] * self.num_envs)  # those that the mask leaves as they are
        begun = super().reset(seed=seed, options=options)
        self._some_over = bool(self._autoreset_envs.any())
        return begun

    def step(self, actions: Iterable[str]) -> Any:
        """One step of each world; one that is over is begun anew instead."""
        if not self._some_over:
            return self._joined([env.step(action) for env, action in zip(self.envs, actions, strict=True)])
        over = self._autoreset_envs.tolist()
        return self._joined(
            [
                _begin(env) if ended else env.step(action)
                for env, action, ended in zip(self.envs, actions, over, strict=True)
            ]
        )

    def _joined(self, steps: Sequence[Any]) -> Any:
        observations, rewards, terminated, truncated, infos = zip(*steps)  # noqa: B905 (strict costs a fifth of it)
        self._observations = observations
        ended, cut = np.zeros(self.num_envs, np.bool_), np.zeros(self.num_envs, np.bool_)
        if any(terminated) or any(truncated):
            ended[:], cut[:] = terminated, truncated
            self._autoreset_envs, self._some_over = ended | cut, True
        elif self._some_over:
            self._autoreset_envs, self._some_over = np.zeros(self.num_envs, np.bool_), False
        return observations, np.array(rewards, np.float64), ended, cut, Infos(infos)


class ThreadsVector(InlineVector):
    """Each world in a thread of its own, always the same, so that worlds which wait do so together."""

    mode: Mode = "threads"
    envs: list[Any]

    def __init__(self, factories: Sequence[Factory]) -> None:
        super().__init__([functools.partial(_InThread, factory) for factory in factories])

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Begin all worlds at once; with a `reset_mask`, the named ones after each other."""
        if options is not None and "reset_mask" in options:
            return super().reset(seed=seed, options=options)
        seeds = [None] * self.num_envs if seed is None else seed
        seeds = [seeds + i for i in range(self.num_envs)] if isinstance(seeds, int) else seeds
        begun = _together(
            env.submit(functools.partial(env.env.reset, seed=own, options=options))
            for env, own in zip(self.envs, seeds, strict=True)
        )
        self._autoreset_envs, self._some_over = np.zeros(self.num_envs, np.bool_), False
        self._observations, infos = zip(*begun, strict=True)
        return self._observations, Infos(infos)

    def step(self, actions: Iterable[str]) -> Any:
        """One step of each world, all at once; one that is over is begun anew instead."""
        over = self._autoreset_envs.tolist()
        return self._joined(
            _together(
                env.submit(_begin, env.env) if ended else env.submit(env.env.step, action)
                for env, action, ended in zip(self.envs, actions, over, strict=True)
            )
        )


class ProcessesVector(_LazyInfos, AsyncVectorEnv):
    """Each world in a process of its own; texts travel whole, not through fixed shared memory."""

    mode: Mode = "processes"

    def __init__(self, factories: Sequence[Factory]) -> None:
        super().__init__(factories, shared_memory=False, copy=False)


class Remembering(gymnasium.Wrapper[str, str, str, str]):
    """A world that a vector begins anew, by a bare `reset()`, with the options of its last reset, but for `index`."""

    def __init__(self, factory: Factory) -> None:
        super().__init__(factory())
        self.step = self.env.step  # type: ignore[method-assign]  # asked at every step, and cheaper than to pass it on
        self._options: dict[str, Any] = {}

    def reset(self, **given: Any) -> Any:
        if not given:
            return self.env.reset(options=self._options) if self._options else self.env.reset()
        self._options = {name: value for name, value in (given.get("options") or {}).items() if name != "index"}
        return self.env.reset(**given)


class _InThread(gymnasium.Wrapper[str, str, str, str]):
    """A world that is only touched by its own thread, once it is made."""

    def __init__(self, factory: Factory) -> None:
        super().__init__(factory())
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="world")

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        return self._executor.submit(function, *args)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self.submit(functools.partial(self.env.reset, seed=seed, options=options)).result()

    def step(self, action: str) -> Any:
        return self.submit(self.env.step, action).result()

    def close(self) -> None:
        self.submit(self.env.close).result()
        self._executor.shutdown()


_VECTORS: dict[str, type[InlineVector | ProcessesVector]] = {
    "inline": InlineVector,
    "threads": ThreadsVector,
    "processes": ProcessesVector,
}


def _factory(environment: str | Factory, settings: Mapping[str, Any] | None) -> Factory:
    if isinstance(environment, str):
        return functools.partial(_build, Spec("environment", environment, dict(settings or {})))
    if settings:
        raise ConfigError("vectorised play: settings belong to an installed world; bind them to the factory instead")
    return environment


def _build(spec: Spec) -> Any:
    return default_host().build(spec)


def _begin(env: Any) -> tuple[str, float, bool, bool, Any]:
    observation, info = env.reset()
    return observation, 0.0, False, False, info


def _together(futures: Iterable[Future[Any]]) -> list[Any]:
    """What each future gives; all have ended when the first error is raised, so that no step is left behind."""
    begun = list(futures)
    wait(begun)
    return [future.result() for future in begun]


def _seconds_per_round(vector: Any, probe_s: float) -> float:
    """Seconds of one step of all worlds, after one round to warm up."""
    picks, rounds, started = np.random.default_rng(0), -1, 0.0
    _, infos = vector.reset(seed=0)
    while rounds < 2 or time.perf_counter() - started < probe_s:
        if rounds == 0:
            started = time.perf_counter()
        actions = [_action(info, vector.single_action_space, picks) for info in infos.each]
        infos = vector.step(actions)[-1]
        rounds += 1
    return (time.perf_counter() - started) / rounds


def _action(info: Mapping[str, Any], space: gymnasium.Space[str], picks: np.random.Generator) -> str:
    admissible = info.get("admissible")
    return str(admissible[int(picks.integers(len(admissible)))] if admissible else space.sample())
