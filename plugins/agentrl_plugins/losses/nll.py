"""Cloning: the negative log-likelihood of the tokens in a trajectory."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import agentrl


@agentrl.hookimpl
def register_losses(register: agentrl.Register) -> None:
    register("nll", NLL)


class NLL:
    """−Σ w log π over sampled tokens, plus `observations` times the same sum over tokens nobody sampled.

    Weighted by advantages it is advantage-weighted cloning, or, with the advantages of a credit, REINFORCE without an
    importance ratio. Losses on observations teach a small model to copy names from its context; the mean is then over
    all tokens of a row but its first.

    By hand: probabilities 1/2 (sampled) and 1/4 (observed), `observations=0.5`, weights 1/2 each give
    (log 2 + 0.5 · log 4) / 2 = log 2 = 0.693.
    """

    needs: frozenset[str] = frozenset()
    unit: Literal["token", "row", "trajectory"] = "token"

    def __init__(
        self,
        *,
        observations: Annotated[float, "weight of tokens that nobody sampled; 0 leaves them out"] = 0.0,
        weighting: Annotated[
            Literal["uniform", "advantage"], "whether each sampled token is multiplied by its advantage"
        ] = "uniform",
        aggregation: Annotated[
            Literal["token", "trajectory", "task"], "what weighs the same in the mean, however many tokens it has"
        ] = "token",
    ) -> None:
        """Raises ConfigError for a negative weight on observations."""
        if observations < 0:
            raise agentrl.ConfigError(f"loss 'nll': observations = {observations} would unlearn them; give 0 or more")
        self.observations, self.weighting = observations, weighting
        self.aggregation: Literal["token", "trajectory", "task"] = aggregation
        self.scope: Literal["sampled", "all"] = "all" if observations else "sampled"
        self.skips_zero = weighting == "advantage" and not observations

    def __call__(self, batch: agentrl.LossBatch) -> tuple[Any, dict[str, float]]:
        """The scalar to minimise; `nll_sampled` and `nll_observed` are its parts before their factors."""
        sampled = batch.sampled.to(batch.logprobs.dtype)
        factor = sampled + self.observations * (1 - sampled)
        if self.weighting == "advantage":
            factor = factor * batch.advantages.where(batch.sampled, 1.0)
        nll = -batch.weight * batch.logprobs
        metrics = {"nll_sampled": float((nll.detach() * sampled).sum())}
        if self.scope == "all":
            metrics["nll_observed"] = float((nll.detach() * (1 - sampled)).sum())
        return (nll * factor).sum(), metrics
