"""Plays of a world as text, and the actions that they are made of."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import hashlib
import inspect
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import gymnasium
import numpy as np

from agentrl.data.types import EMPTY, Info
from agentrl.parts.host import default_host
from agentrl.parts.registry import Spec
from agentrl.testing.copying import require_copied
from agentrl.testing.elsewhere import in_another_process
from agentrl.testing.report import CheckFailed, require, step
from agentrl.testing.samples import sample_scope
from agentrl.worlds.environment import Environment

World = gymnasium.Env[str, str]
Make = Callable[[], World]
Step = tuple[str, float, bool, bool, Info]

HOSTILE = (
    "",
    " ",
    "\n\r\t",
    "\x00",
    "a" * 100_000,
    "🤖" * 50,
    "שלום e\u0301\u202e",
    "{" * 2_000,
    "click[" * 500,
    "'; DROP TABLE users; --",
    "../../etc/passwd",
    "\ud800",
    "<action>go</action>",
    '{"name": "x", "arguments": {"a": NaN}}',
    "%s %n {0} ${x}",
)
"""Texts that nothing may crash on."""


LONGEST_PLAY_S = 60.0
"""So long are random actions played, if they are not all played before."""
_tries: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("tries", default=())


@contextlib.contextmanager
def trying(actions: Sequence[str]) -> Iterator[None]:
    """Inside, every other action that `some_action` gives is one of these."""
    token = _tries.set(tuple(actions))
    try:
        yield
    finally:
        _tries.reset(token)


def world_maker(make: Make | Spec) -> Make:
    """The factory itself, or one that builds an installed world as far as that goes without a run."""
    if not isinstance(make, Spec):
        return make
    spec, scope = make, sample_scope()

    def made() -> World:
        world: World = default_host().build(spec, scope)
        return world

    return made


def transcript(env: World, *, seed: int, turns: int = 60, close: bool = True) -> list[str]:
    """Everything a seeded play says, as text: two equal worlds give equal lists."""
    observation, info = env.reset(seed=seed)
    lines = [observation, _written(info), *_steps(env, info, np.random.default_rng(seed), turns)]
    if close:
        env.close()
    return lines


def continued(env: World, info: Info, seed: int) -> list[str]:
    """The next 12 turns of a play that has begun, as text."""
    return list(_steps(env, info, np.random.default_rng(seed), 12))


def digest(lines: list[str]) -> str:
    """One hash of a transcript."""
    return hashlib.sha256("\x1e".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def digest_elsewhere(spec: Spec, *, seed: int) -> str:
    """The hash of a transcript of an installed world, played in another process. Raises CheckFailed where that fails."""
    code = (
        "import sys, json; from agentrl.testing.plays import digest, transcript, trying, world_maker;"
        "from agentrl.parts.registry import Spec; table, tries = json.load(sys.stdin);"
        "spec = Spec('environment', **table); trying(tries).__enter__();"
        "print(digest(transcript(world_maker(spec)(), seed=int(sys.argv[1]))))"
    )
    told = json.dumps([{"name": spec.name, "settings": dict(spec.settings)}, _tries.get()])
    return in_another_process(code, str(seed), stdin=told.encode())


def first_difference(one: list[str], two: list[str]) -> str:
    """Where two transcripts part, in words."""
    for position, (a, b) in enumerate(zip(one, two, strict=False)):
        if a != b:
            return f"line {position}: {a[:120]!r} and {b[:120]!r}"
    return f"{len(one)} and {len(two)} lines"


def some_action(info: Info, picks: np.random.Generator, env: World) -> str:
    """Most of the time an admissible action, sometimes the expert's, sometimes noise."""
    tries = _tries.get()
    if tries and picks.random() < 0.5:
        return tries[int(picks.integers(len(tries)))]
    admissible = info.get("admissible")
    if isinstance(admissible, (list, tuple)) and admissible and picks.random() < 0.9:
        return str(admissible[int(picks.integers(len(admissible)))])
    if has_expert(env) and picks.random() < 0.5:
        try:
            return expert_action(env)
        except NotImplementedError:
            pass
    return "".join(chr(int(code)) for code in picks.integers(32, 127, size=int(picks.integers(1, 12))))


def malformed_action(info: Info, picks: np.random.Generator, env: World) -> str:
    """An action that was cut, doubled, put in capitals or has noise in it."""
    base = some_action(info, picks, env)
    cut = int(picks.integers(0, len(base) + 1))
    noise = HOSTILE[int(picks.integers(len(HOSTILE)))][:50]
    return (base[:cut] + noise + base[cut:], base.upper(), base[:cut], base + base)[int(picks.integers(4))]


def generators() -> tuple[object, object]:
    """State of Python's and NumPy's global generators."""
    return random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]


def require_generators_untouched(work: Callable[[], object]) -> None:
    """Raise CheckFailed where some work draws from, or seeds, a global generator."""
    random.seed(1)
    np.random.seed(1)
    before = generators()
    work()
    names = [name for name, one, two in zip(("Python's", "NumPy's"), before, generators(), strict=True) if one != two]
    require(
        not names, f"it draws from, or seeds, {' and '.join(names)} global generator; use one of its own with a seed"
    )


def has_expert(env: World) -> bool:
    """Whether a world says what a scripted expert would do."""
    world = type(env.unwrapped)
    method = getattr(world, "expert_action", None)
    return method is not None and method is not Environment.expert_action and not inspect.isabstract(world)


def expert_action(env: World) -> str:
    """What the scripted expert of a world would do now. Raises NotImplementedError where it has none."""
    action: str = getattr(env.unwrapped, "expert_action")()  # noqa: B009 (any Gymnasium world may have one)
    return action


def admissible_action(info: Info, picks: np.random.Generator) -> str:
    """One of the listed actions. Raises CheckFailed for a list that is empty or holds one twice."""
    admissible = info["admissible"]
    if not isinstance(admissible, Sequence) or not len(admissible):
        raise CheckFailed(f"before the end the admissible actions are {admissible!r}")
    require(len(set(admissible)) == len(admissible), f"an admissible action is listed twice: {admissible}")
    return str(admissible[int(picks.integers(len(admissible)))])


def snapshot(env: World) -> object:
    """What the world gives as its state. Raises CheckFailed, naming the attribute, where something cannot be copied."""
    try:
        return getattr(env.unwrapped, "snapshot")()  # noqa: B009 (any Gymnasium world may have one)
    except Exception as error:
        require_copied(env.unwrapped, env.unwrapped, copy.deepcopy, "a snapshot")
        raise error


def restore(env: World, taken: object) -> None:
    """Put the world back to a state."""
    getattr(env.unwrapped, "restore")(taken)  # noqa: B009


class Stepped:
    """A world under test, stepped with a clock."""

    def __init__(self, make: Make, actions: int) -> None:
        self._make, self._actions = make, actions
        self._slowest = 0.0

    def _play(self, env: World, actions: int, malformed: float = 0.0) -> Iterator[Step]:
        picks, over, seed = np.random.default_rng(6), True, 0
        info: Info = EMPTY
        started = time.monotonic()
        for played in range(actions):
            if time.monotonic() - started > LONGEST_PLAY_S:
                return
            step(f"{played} of {actions} actions")
            if over:
                _, info = self._reset(env, seed)
                seed += 1
            wrong = picks.random() < malformed
            stepped = self._step(env, (malformed_action if wrong else some_action)(info, picks, env))
            info, over = stepped[4], stepped[2] or stepped[3]
            yield stepped

    def _reset(self, env: World, seed: int) -> tuple[str, Info]:
        started = time.perf_counter()
        observation, info = env.reset(seed=seed)
        self._slowest = max(self._slowest, time.perf_counter() - started)
        require(isinstance(observation, str), f"reset gave {type(observation).__name__}, not text")
        require(isinstance(info, Mapping), f"reset gave info {info!r}, not a mapping")
        return observation, info

    def _step(self, env: World, action: str) -> Step:
        started = time.perf_counter()
        step: Step = env.step(action)  # type: ignore[assignment]
        self._slowest = max(self._slowest, time.perf_counter() - started)
        require(isinstance(step, tuple) and len(step) == 5, f"step gave {step!r}, not Gymnasium's five values")
        require(isinstance(step[0], str), f"the observation is {type(step[0]).__name__}, not text")
        return step


def _steps(env: World, info: Info, picks: np.random.Generator, turns: int) -> Iterator[str]:
    for _ in range(turns):
        action = some_action(info, picks, env)
        observation, reward, terminated, truncated, info = env.step(action)
        yield from (action, observation, repr((float(reward), bool(terminated), bool(truncated))), _written(info))
        if terminated or truncated:
            return


def _written(info: Mapping[str, object]) -> str:
    return json.dumps(dict(info), sort_keys=True, default=repr)
