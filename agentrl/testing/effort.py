"""What a text costs: processor time for one, and for another of its kind that is four times as long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from agentrl.testing.report import require

SHORT, TIMES = 4_000, 4
"""Characters of the shorter text, and how many times as long the other is."""
MOST = 8.0
"""How many times as much the longer one may cost: 4 is honest, 16 is what a search from every start takes."""
UNNOTICED_S = 0.003
TRIES = 5

_UNITS = (
    *("[", "]", "{", "(", '"', "'", "\\", "/", "`", "<", ">", "-", "9", "٣", "a", "é", "e\u0301", "🤖", "a.", "a b "),
    *(" ", "\n", "\t", " \n", "```\n", "\n```x\n", "[[]", '\\"', '{"a": ', "[1, ", '{"a": 1}; ', "line 1: x\n", "a[b]"),
    *("<think>", "</think>", "<action>", "<answer>", "</answer>", "<search>", "<tool_call>", "<tool_call>{", "1e9 "),
)
_FRAMES = (("", ""), ("search[", "]"), ("```", "x"), ("<answer>", "</search>"), ('{"name": "x', ""))
_VALUES = ("9", "[", '{"a": ', '"', "1, ")


def require_linear(seconds: Callable[[str], float], own: Sequence[str] = ()) -> str:
    """Raise CheckFailed where `seconds`, what a text costs, grows faster than its length; the best of some tries.

    `own`: words of the part itself, repeated too.
    """
    dearest = 0.0
    for before, unit, after in _kinds(own):
        short = long = float("inf")
        for _ in range(TRIES):
            long = min(long, seconds(before + unit * (SHORT * TIMES // len(unit)) + after))
            if long <= UNNOTICED_S:
                break
            short = min(short, seconds(before + unit * (SHORT // len(unit)) + after))
            if long <= MOST * short:
                break
        dearest = max(dearest, long)
        require(
            long <= max(UNNOTICED_S, MOST * short),
            f"{SHORT * TIMES} characters like {f'{before}{unit}{unit}…{after}'!r} took {long:.2g} s of processor time, "
            f"{SHORT} took {short:.2g} s: that is more than their length. A regular expression that looks for an end "
            "from every start, or a limit that comes after the work, does that",
        )
    return f"dearest {dearest * 1000:.1f} ms"


def cost(work: Callable[[], object]) -> float:
    """Processor time of this process, in seconds."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _kinds(own: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """What stands before, what is repeated, what stands after."""
    yield from ((before, unit, after) for before, after in _FRAMES for unit in _UNITS)
    yield from (('{"name": "x", "arguments": {"y": ', unit, "}}") for unit in _VALUES)
    yield from (("", unit, "") for unit in own if unit)
