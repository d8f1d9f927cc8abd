"""Numbers that follow the updates of a stage."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, get_args

from agentrl.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

UPDATE: ContextVar[float] = ContextVar("UPDATE", default=math.inf)
"""Number of the update that this task plays or trains for, counted in the stage; infinite outside of updates."""

Number_co = TypeVar("Number_co", bound=float, covariant=True)
EXAMPLES = {
    "constant": '{ schedule = "constant", value = 0.1 }',
    "linear": '{ schedule = "linear", from = 0.1, to = 0.0, over = 100 }',
    "cosine": '{ schedule = "cosine", from = 0.1, to = 0.0, over = 100 }',
    "steps": '{ schedule = "steps", at = [0, 50, 100], values = [10, 20, 30] }',
}
"""Each schedule as a run file writes it."""


class Scheduled(Generic[Number_co]):
    """A setting that a run file may give as a number or as a schedule over the updates of a stage; read it as `.now`.

    "steps" takes each of `values` from its update in `at` on; "linear" and "cosine" go from value to value. Outside of
    updates (in an evaluation, or in a thread that was not given the context) `.now` is the last value.

    >>> Scheduled(10, 20, 30, at=(0, 50, 100)).value(60), Scheduled(1.0, 0.0, at=(0, 10), shape="linear").value(4)
    (20, 0.6)
    """

    def __init__(
        self, *values: Number_co, at: tuple[int, ...] = (0,), shape: Literal["steps", "linear", "cosine"] = "steps"
    ) -> None:
        """Every value lies between two of `values`. Raises ConfigError unless `at` holds one update for each of them."""
        later = all(type(two) is int and one < two for one, two in itertools.pairwise((-1, *at)))
        if not values or len(at) != len(values) or not later or at[0] != 0:
            raise ConfigError(
                f"a schedule of {len(values)} values with updates {list(at)}; it needs one update for each value, 0 "
                "first and then always a later one"
            )
        self.values, self.at, self.shape = values, at, shape

    @property
    def now(self) -> Number_co:
        """The value in the update that is played or trained."""
        return self.value(UPDATE.get())

    def value(self, update: float) -> Number_co:
        """The value in an update, counted from 0 in the stage."""
        place = bisect.bisect_right(self.at, update) - 1
        if self.shape == "steps" or place + 1 == len(self.values):
            return self.values[max(place, 0)]
        share = (update - self.at[place]) / (self.at[place + 1] - self.at[place])
        share = share if self.shape == "linear" else (1 - math.cos(math.pi * share)) / 2
        low, high = self.values[place], self.values[place + 1]
        value = low + (high - low) * share
        return type(low)(value if isinstance(low, float) else round(value))

    def __repr__(self) -> str:
        if len(self.values) == 1:
            return repr(self.values[0])
        return f"Scheduled({', '.join(map(repr, self.values))}, at={self.at}, shape={self.shape!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic reads it: a number of the type in brackets, or a table."""
        from pydantic_core import core_schema

        (number,) = get_args(source) or (float,)
        return core_schema.no_info_wrap_validator_function(_read, core_schema.list_schema(handler(number)))


def _read(value: object, numbers: Callable[[object], list[float]]) -> Scheduled[float]:
    """Raises ValueError, as pydantic wants it; `numbers` checks the values themselves."""
    if isinstance(value, Scheduled):
        return value
    if not isinstance(value, Mapping):
        return Scheduled(*numbers([value]))
    kind, size = value.get("schedule"), len(value) - 1
    if kind not in tuple(EXAMPLES):  # what is no word has perhaps no hash
        raise ValueError(f"schedule = {kind!r}. {did_you_mean(str(kind), EXAMPLES)}")
    reason = ""
    try:
        match value:
            case {"value": only} if kind == "constant" and size == 1:
                return Scheduled(*numbers([only]))
            case {"from": first, "to": last, "over": over} if kind in ("linear", "cosine") and size == 3:
                return Scheduled(*numbers([first, last]), at=(0, over), shape=kind)
            case {"at": [*at], "values": [*values]} if kind == "steps" and size == 2:
                return Scheduled(*numbers(values), at=tuple(at))
    except ConfigError as error:
        reason = f"{error}; "
    raise ValueError(f"{reason}write it as {EXAMPLES[kind]}")
