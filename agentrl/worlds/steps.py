"""What a world gave in one step, checked: a stranger's world may give anything."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from agentrl.data.types import Info
from agentrl.parts.faults import short
from agentrl.parts.words import Answer, Tool

_NO_PARTS: Mapping[str, float] = {}
_TEXTS = ("task", "anchor", "speaker", "invalid")
_LISTS = ("admissible", "calls")


@dataclass(slots=True, eq=False)  # not frozen: one is made in every turn, and that costs three times as much
class Step:
    """One step of a world, or what stands for it where a context spoke or answered."""

    observation: str
    reward: float
    rewards: Mapping[str, float]
    terminated: bool
    truncated: bool
    info: Info

    @property
    def anchor(self) -> str:
        """What a credit may take as the same state after this step."""
        return str(self.info.get("anchor", self.observation))

    @classmethod
    def unmoved(cls, info: Info, answer: Answer | None = None) -> Step:
        """The world was not stepped; an answer may carry named rewards. Raises TypeError or ValueError for other ones."""
        kept = {key: info[key] for key in ("success",) if key in info}
        if answer is None:
            return cls("", 0.0, _NO_PARTS, False, False, kept)
        rewards = _numbers("an answer's rewards", answer.rewards)
        return cls(_text(answer.observation), math.fsum(rewards.values()), rewards, False, False, kept)


def checked_reset(result: object) -> tuple[str, Info, Info]:
    """Observation, info without what is hidden, and that. Raises TypeError or ValueError that says what was given."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(f"reset gave {short(result)}; Gymnasium's reset gives (observation, info)")
    observation, info = result
    if not isinstance(observation, str) or not isinstance(info, Mapping):
        raise TypeError(f"reset gave {short(result)}; the observation is text, the info a mapping")
    info = {**_checked(info)}
    hidden = info.pop("hidden", {})
    if not isinstance(hidden, Mapping):
        raise TypeError(f"reset gave info['hidden'] = {short(hidden)}; it is a mapping")
    return observation, info, hidden


def checked_step(result: object) -> Step:
    """A step's five values as a Step. Raises TypeError or ValueError that says what was given."""
    if not isinstance(result, tuple) or len(result) != 5:
        raise TypeError(
            f"step gave {short(result)}; Gymnasium's step gives (observation, reward, terminated, truncated, info)"
        )
    observation, reward, terminated, truncated, info = result
    if type(reward) is not float or not math.isfinite(reward):
        reward = _number("the reward of a step", reward)
    if not isinstance(observation, str) or not (type(info) is dict or isinstance(info, Mapping)):
        raise TypeError(f"step gave {short(result)}; the observation is text, the info a mapping")
    if type(terminated) is not bool or type(truncated) is not bool:
        terminated, truncated = _flag("terminated", terminated), _flag("truncated", truncated)
    rewards = info.get("rewards")
    rewards = _NO_PARTS if rewards is None else _numbers("info['rewards']", rewards)
    return Step(observation, reward, rewards, terminated, truncated, _checked(info))


def checked_words(told: tuple[object, object]) -> tuple[str, tuple[Tool, ...]]:
    """A world's instructions and tools. Raises TypeError that says what was given."""
    instructions, tools = told
    if instructions is not None and not isinstance(instructions, str):
        raise TypeError(f"its instructions are {short(instructions)}; they are text")
    tools = () if tools is None else tools
    if isinstance(tools, (str, bytes, Mapping)) or not isinstance(tools, Iterable):
        raise TypeError(f"its tool_schemas are {short(tools)}; they are a list of mappings")
    tools = tuple(tools)
    for tool in tools:
        if not isinstance(tool, Mapping):
            raise TypeError(f"its tool_schemas hold {short(tool)}; each is a mapping")
    return instructions or "", tools


def cost_of(info: Info, seconds: float, tokens: int) -> dict[str, float]:
    """Seconds of the world, sampled tokens and calls of a turn, and what the world adds to them (money)."""
    calls = info.get("calls")
    cost = {
        "seconds": round(seconds, 6),
        "tokens": tokens,
        "calls": len(calls) if isinstance(calls, (list, tuple)) else 0,
    }
    own = info.get("cost")
    return cost if own is None or not isinstance(own, Mapping) else {**cost, **own}


def _checked(info: Info) -> Info:  # noqa: C901
    """The info, with plain values where other rooms count on them. Long and flat, because every step runs it."""
    if not info:
        return info
    for name in _TEXTS:
        value = info.get(name, "")
        if type(value) is not str:
            info = {key: other for key, other in info.items() if key != name}  # None is nothing said
            if value is not None and (name != "invalid" or value):
                info[name] = str(value)
    success = info.get("success")
    if success is not None and type(success) is not bool:
        info = {**info, "success": _flag("info['success']", success)}
    for name in _LISTS:
        value = info.get(name, ())
        if type(value) is not tuple and type(value) is not list:
            info = {**info, name: (value := _listed(f"info[{name!r}]", value))}
        if name == "admissible" and value and type(value[0]) is not str:
            info = {**info, name: tuple(_action(action) for action in value)}
    for name in ("rewards_by", "cost"):
        if name in info:
            info = {**info, name: _numbers(f"info[{name!r}]", info[name])}
    return info


def _flag(where: str, value: object) -> bool:
    """A truth value: False and True, or 0 and 1, of Python or NumPy."""
    if not isinstance(value, (bool, int, float, np.bool_, np.number)) or value not in (0, 1):
        raise TypeError(f"{where} is {short(value)}; it is True or False")
    return bool(value)


def _listed(where: str, value: object) -> tuple[object, ...] | None:
    if value is None:
        return None
    if isinstance(value, (str, bytes, Mapping, set, frozenset)) or not isinstance(value, Iterable):
        raise TypeError(f"{where} is {short(value)}; it is a list, or None")
    return tuple(value)


def _action(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"info['admissible'] holds {short(value)}; actions are text")
    return str(value)


def _numbers(where: str, parts: object) -> Mapping[str, float]:
    """The same mapping where all is well."""
    if not isinstance(parts, Mapping):
        raise TypeError(f"{where} is {short(parts)}; it is a mapping, name → number")
    for name, value in parts.items():
        if type(value) is not float or type(name) is not str or not math.isfinite(value):
            return {str(name): _number(f"{where}[{name!r}]", value) for name, value in parts.items()}
    return parts


def _number(where: str, value: object) -> float:
    try:
        if isinstance(value, (str, bytes)) or np.ndim(value):  # type: ignore[arg-type]
            raise TypeError
        number = float(value)  # type: ignore[arg-type]  # whatever it is, it is tried
    except (TypeError, ValueError, OverflowError):  # no number, or one beyond all of ours
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{where} is {short(value)}; it is one finite number")
    return number


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"an answer's observation is {short(value)}, not text")
    return value
