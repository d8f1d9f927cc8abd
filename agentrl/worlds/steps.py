"""What a world gave in one step, checked: a stranger's world may give anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from agentrl.data.types import Info
from agentrl.parts.words import Answer

_NO_PARTS: Mapping[str, float] = {}


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
        """The world was not stepped; an answer may carry named rewards."""
        kept = {key: info[key] for key in ("success",) if key in info}
        if answer is None:
            return cls("", 0.0, _NO_PARTS, False, False, kept)
        return cls(answer.observation, math.fsum(answer.rewards.values()), answer.rewards, False, False, kept)


def checked_reset(result: object) -> tuple[str, Info]:
    """Observation and info of a reset. Raises TypeError that says what was given."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(f"reset gave {_short(result)}; Gymnasium's reset gives (observation, info)")
    observation, info = result
    if not isinstance(observation, str) or not isinstance(info, Mapping):
        raise TypeError(f"reset gave {_short(result)}; the observation is text, the info a mapping")
    return observation, info


def checked_mapping(value: object) -> Info:
    """`info["hidden"]`. Raises TypeError for anything but a mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"reset gave info['hidden'] = {_short(value)}; it is a mapping")
    return value


def checked_step(result: object) -> Step:
    """A step's five values as a Step. Raises TypeError or ValueError that says what was given."""
    if not isinstance(result, tuple) or len(result) != 5:
        raise TypeError(
            f"step gave {_short(result)}; Gymnasium's step gives (observation, reward, terminated, truncated, info)"
        )
    observation, reward, terminated, truncated, info = result
    if type(reward) is not float:
        reward = _number(reward)
    if not math.isfinite(reward):
        raise ValueError(f"step gave the reward {reward}; rewards are finite numbers")
    if not isinstance(observation, str) or not (type(info) is dict or isinstance(info, Mapping)):
        raise TypeError(f"step gave {_short(result)}; the observation is text, the info a mapping")
    return Step(
        observation, reward, info.get("rewards") or _NO_PARTS, bool(terminated), bool(truncated), info
    )  # fmt: skip


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


def _number(reward: object) -> float:
    try:
        return float(reward)  # type: ignore[arg-type]  # whatever it is, it is tried
    except (TypeError, ValueError):
        raise TypeError(f"step gave the reward {_short(reward)}; a reward is one number") from None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + " …"
