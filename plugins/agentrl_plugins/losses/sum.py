"""Sum: several losses on the same tokens, each with its weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import agentrl
from agentrl import ConfigError, Loss

Choice = TypeVar("Choice")
UNITS: tuple[Literal["token", "row", "trajectory"], ...] = (
    "token",
    "row",
    "trajectory",
)  # what is cut, the finest first


@agentrl.hookimpl
def register_losses(register: agentrl.Register) -> None:
    register("sum", Sum)


class Sum:
    """Σ weight · loss: `parts = [{ name = "ppo" }, { name = "nll", weight = 0.1 }]`.

    It needs whatever a part needs, and cuts micro-batches as the coarsest of them. All parts share one aggregation and
    one scope, because the weight of a token holds both; a part with another one is refused. Metrics keep their names;
    where two parts give the same one, that of the later has its position in front (`1/ratio`).
    """

    def __init__(self, *, parts: Annotated[Sequence[tuple[Loss, float]], "losses, each with a `weight` (1)"]) -> None:
        if not parts:
            raise ConfigError(
                'loss \'sum\' needs parts, such as parts = [{ name = "ppo" }, { name = "nll", weight = 0.1 }]'
            )
        self._parts = tuple(parts)
        losses = [loss for loss, _ in parts]
        self.aggregation = _common("aggregation", [loss.aggregation for loss in losses])
        self.scope = _common("scope", [loss.scope for loss in losses])
        self.unit = max((loss.unit for loss in losses), key=UNITS.index)
        self.needs: frozenset[str] = frozenset().union(*(loss.needs for loss in losses))
        self.skips_zero = all(loss.skips_zero for loss in losses)
        _common("top", [need for need in self.needs if need.startswith("top:")] or [""])

    def __call__(self, batch: agentrl.LossBatch) -> tuple[Any, dict[str, float]]:
        """The scalar to minimise, and the metrics of all parts."""
        total: Any = 0.0
        metrics: dict[str, float] = {}
        for position, (loss, weight) in enumerate(self._parts):
            value, own = loss(batch)
            total = total + weight * value
            metrics |= {f"{position}/{name}" if name in metrics else name: number for name, number in own.items()}
        return total, metrics


def _common(name: str, values: Sequence[Choice]) -> Choice:
    if len(set(values)) > 1:
        raise ConfigError(
            f"loss 'sum': its parts differ in {name} ({', '.join(map(str, dict.fromkeys(values)))}), which one sum "
            "cannot have; give all parts the same"
        )
    return values[0]
