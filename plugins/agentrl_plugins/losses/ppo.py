"""PPO: the clipped policy loss, per token."""

from __future__ import annotations

from typing import Any, Literal

import agentrl

_LARGEST_LOG_RATIO = 20.0  # beyond it a float32 ratio times an advantage means nothing, and its gradient overflows


@agentrl.hookimpl
def register_losses(register: Any) -> None:
    register("ppo", PPO)


class PPO:
    """Clipped policy gradient: −Σ w min(ρ A, clip(ρ, 1 − clip_low, 1 + clip_high) A), ρ = π / π_behaviour per token.

    Schulman et al. 2017 (1707.06347, equation 7); a higher `clip_high` is DAPO's clip-higher (2503.14476). Where
    A < 0 the objective is at least `dual_clip` · A (Ye et al. 2020, 1912.09729, equation 5; None switches it off).
    `reference_weight` adds the k3 estimate of KL(π ‖ reference), q − 1 − log q with q = π_reference / π (Schulman,
    "Approximating KL divergence"; equation 4 of DeepSeekMath, 2402.03300); `entropy_weight` subtracts the entropy.
    Defaults as in verl-agent's GiGPO recipes, but for its KL and entropy terms.

    By hand: A = 1 and a ratio of 1.5 give min(1.5, 1.2) = 1.2. A = −1 and a ratio of 4 give min(−4, −1.2) = −4, which
    the dual clip raises to −3. With the weights 0.5 and 0.5 the loss is −(0.6 − 1.5) = 0.9.
    """

    scope: Literal["sampled", "all"] = "sampled"
    unit: Literal["token", "row", "trajectory"] = "token"

    def __init__(
        self,
        *,
        clip_low: float = 0.2,
        clip_high: float = 0.2,
        dual_clip: float | None = 3.0,
        reference_weight: float = 0.0,
        entropy_weight: float = 0.0,
        aggregation: Literal["token", "trajectory", "task"] = "token",
    ) -> None:
        """Raises ConfigError for a setting out of range."""
        if not 0 <= clip_low <= 1 or clip_high < 0:
            raise agentrl.ConfigError(
                f"loss 'ppo': clip_low = {clip_low}, clip_high = {clip_high}; the ratio is clipped to "
                "[1 − clip_low, 1 + clip_high], so clip_low is from 0 to 1 and clip_high at least 0"
            )
        if dual_clip is not None and dual_clip <= 1 + clip_high:
            raise agentrl.ConfigError(
                f"loss 'ppo': dual_clip = {dual_clip} must be above 1 + clip_high = {1 + clip_high}; omit it for none"
            )
        if reference_weight < 0:
            raise agentrl.ConfigError(f"loss 'ppo': reference_weight = {reference_weight} would reward drifting away")
        self.clip_low, self.clip_high, self.dual_clip = clip_low, clip_high, dual_clip
        self.reference_weight, self.entropy_weight = reference_weight, entropy_weight
        self.aggregation: Literal["token", "trajectory", "task"] = aggregation
        wanted = {"reference": reference_weight, "entropy": entropy_weight}
        terms = frozenset(name for name, weight in wanted.items() if weight)
        self.needs = terms | {"behaviour"}
        self.skips_zero = not terms

    def __call__(self, batch: agentrl.LossBatch) -> tuple[Any, dict[str, float]]:
        """The scalar to minimise, and `clip_fraction`, `ratio`, `ratio_max`, `approximate_kl` (k3 of KL(behaviour ‖ π))."""
        log_ratio = (batch.logprobs - batch.behaviour).clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO)
        ratio = log_ratio.exp()
        free = ratio * batch.advantages
        objective = free.minimum(ratio.clamp(1 - self.clip_low, 1 + self.clip_high) * batch.advantages)
        if self.dual_clip is not None:
            floor = self.dual_clip * batch.advantages
            objective = objective.maximum(floor).where(batch.advantages < 0, objective)
        metrics = {
            "clip_fraction": (objective != free).to(ratio.dtype),
            "ratio": ratio,
            "approximate_kl": log_ratio.expm1() - log_ratio,
        }
        token_loss = -objective
        if batch.reference is not None:
            divergence = k3(batch.logprobs, batch.reference)
            token_loss = token_loss + self.reference_weight * divergence
            metrics["reference_kl"] = divergence
        if batch.entropy is not None:
            token_loss = token_loss - self.entropy_weight * batch.entropy
            metrics["entropy"] = batch.entropy
        sums = {name: float((batch.weight * value.detach()).sum()) for name, value in metrics.items()}
        return (batch.weight * token_loss).sum(), sums | {"ratio_max": float(ratio.detach().max())}


def k3(logprobs: Any, reference: Any) -> Any:
    """q − 1 − log q with q = reference / π per token: never negative, and 0 only where both agree."""
    log_quotient = (reference - logprobs).clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO)
    return log_quotient.expm1() - log_quotient
