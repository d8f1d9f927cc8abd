"""The benchmark's stateful objects: calls go to their methods, and their states are compared."""

from __future__ import annotations

import copy
import decimal
import importlib
import inspect
import json
from collections.abc import Callable, Sequence

from agentrl import ToolCall
from agentrl_envs.bfcl.data import Entry, module_of

FAILED = "Error during execution: "
_STATELESS = "MathAPI"
_GREEDY = {"power": "exponent", "logarithm": "precision", "square_root": "precision", "round_number": "decimal_places"}
_GREEDY_LIMIT = 10_000


class Backend:
    """One object of every involved class, as the task sets it up."""

    def __init__(self, entry: Entry) -> None:
        self._objects: dict[str, object] = {}
        for name in entry.classes:
            made = getattr(importlib.import_module(module_of(name)), name)()
            if name != _STATELESS:
                made._load_scenario(copy.deepcopy(entry.config.get(name, {})), long_context=entry.long_context)
            self._objects[name] = made

    def call(self, call: ToolCall) -> str:
        """The result as the benchmark writes it. Never raises: what goes wrong is a result that starts with FAILED."""
        try:
            method = self._method(call.name)
            _check_effort(call)
            with decimal.localcontext():  # one method changes the precision of the whole thread
                return _written(method(**{name: _apart(value) for name, value in call.arguments.items()}))
        except Exception as error:  # the benchmark's methods raise anything, and it too makes a result of it
            return f"{FAILED}{error}"

    def calls(self, calls: Sequence[ToolCall]) -> list[str]:
        return [self.call(call) for call in calls]

    def same_state(self, other: Backend) -> bool:
        """Whether every public attribute of every object equals the other's."""
        return all(_same(mine, other._objects[name]) for name, mine in self._objects.items())

    def _method(self, name: str) -> Callable[..., object]:
        if not name.startswith("_"):
            for made in reversed(self._objects.values()):  # of two classes with one function the later counts
                method: Callable[..., object] | None = getattr(made, name, None)
                if inspect.ismethod(method):
                    return method
        raise NameError(f"name {name!r} is not defined")


def _check_effort(call: ToolCall) -> None:
    """Raises ValueError for arithmetic that would take hours, which the benchmark would start."""
    size = call.arguments.get(_GREEDY.get(call.name, ""), 0)
    if isinstance(size, (int, float)) and abs(size) > _GREEDY_LIMIT:
        raise ValueError(f"{_GREEDY[call.name]} may be at most {_GREEDY_LIMIT}")


def _apart(value: object) -> object:
    """An argument of its own for a method, which may keep and change it."""
    return value if type(value) in (str, int, float, bool) else copy.deepcopy(value)


def _written(result: object) -> str:
    if isinstance(result, str):
        return result
    if isinstance(result, dict):
        try:
            return json.dumps(result)
        except (TypeError, ValueError):
            return str(result)
    return str(result)


def _same(mine: object, other: object) -> bool:
    return all(getattr(mine, name) == value for name, value in vars(other).items() if not name.startswith("_"))
