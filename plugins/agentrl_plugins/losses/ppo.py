"""PPO: the clipped policy loss, per token."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import agentrl

_LARGEST_LOG_RATIO = 20.0  # beyond it a float32 ratio times an advantage means nothing, and its gradient overflows
LARGEST_K3 = 10.0
"""At most this much of a divergence is estimated from one token, as in verl's and SkyRL's `low_var_kl`."""
_LOG_QUOTIENT_THERE = 2.610868638  # log q with q - 1 - log q = LARGEST_K3


@agentrl.hookimpl
def register_losses(register: agentrl.Register) -> None:
    register("ppo", PPO)


class PPO:
    """Clipped policy gradient: −Σ w min(ρ A, clip(ρ, 1 − clip_low, 1 + clip_high) A), ρ = π / π_behaviour per token.

    Schulman et al. 2017 (1707.06347, equation 7); a higher `clip_high` is DAPO's clip-higher (2503.14476). The dual
    clip is equation 5 of Ye et al. 2020 (1912.09729). The reference term is the k3 estimate of KL(π ‖ reference),
    q − 1 − log q with q = π_reference / π (Schulman, "Approximating KL divergence"; equation 4 of DeepSeekMath,
    2402.03300), bounded as `k3` says. Defaults as in verl-agent's GiGPO recipes, but for its KL and entropy terms.

    By hand: A = 1 and a ratio of 1.5 give min(1.5, 1.2) = 1.2. A = −1 and a ratio of 4 give min(−4, −1.2) = −4, which
    the dual clip raises to −3. With the weights 0.5 and 0.5 the loss is −(0.6 − 1.5) = 0.9.
    """

    scope: Literal["sampled", "all"] = "sampled"
    unit: Literal["token", "row", "trajectory"] = "token"

    def __init__(
        self,
        *,
        clip_low: Annotated[float, "how far below 1 the ratio counts, from 0 to 1"] = 0.2,
        clip_high: Annotated[float, "how far above 1 the ratio counts"] = 0.2,
        dual_clip: Annotated[
            float | None, "where the advantage A is negative, the objective is at least so many times A; None: no bound"
        ] = 3.0,
        reference_weight: Annotated[float, "weight of the divergence from the reference model"] = 0.0,
        entropy_weight: Annotated[
            agentrl.Scheduled[float], "weight of the entropy, which is rewarded; may be a schedule"
        ] = agentrl.Scheduled(0.0),
        aggregation: Annotated[
            Literal["token", "trajectory", "task"], "what weighs the same in the mean, however many tokens it has"
        ] = "token",
    ) -> None:
        """Raises ConfigError for a setting out of range."""
        if not 0 <= clip_low <= 1 or clip_high < 0:
            raise agentrl.ConfigError(
                f"loss 'ppo': clip_low = {clip_low}, clip_high = {clip_high}; the ratio is clipped to "
                "[1 − clip_low, 1 + clip_high], so clip_low is from 0 to 1 and clip_high at least 0"
            )
        if dual_clip is not None and dual_clip <= 1 + clip_high:
            raise agentrl.ConfigError(
                f"loss 'ppo': dual_clip = {dual_clip} must be above 1 + clip_high = {1 + clip_high}; give a larger number or omit it"
            )
        if reference_weight < 0:
            raise agentrl.ConfigError(f"loss 'ppo': reference_weight = {reference_weight} would reward drifting away")
        self.clip_low, self.clip_high, self.dual_clip = clip_low, clip_high, dual_clip
        self.reference_weight, self.entropy_weight = reference_weight, entropy_weight
        self.aggregation: Literal["token", "trajectory", "task"] = aggregation
        wanted = {"reference": reference_weight, "entropy": any(entropy_weight.values)}
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
            "approximate_kl": k3(batch.behaviour, batch.logprobs),
        }
        token_loss = -objective
        if batch.reference is not None:
            divergence = k3(batch.logprobs, batch.reference)
            token_loss = token_loss + self.reference_weight * divergence
            metrics["reference_kl"] = divergence
        if batch.entropy is not None:
            token_loss = token_loss - self.entropy_weight.now * batch.entropy
            metrics["entropy"] = batch.entropy
        sums = {name: float((batch.weight * value.detach()).sum()) for name, value in metrics.items()}
        return (batch.weight * token_loss).sum(), sums | {"ratio_max": float(ratio.detach().max())}


def k3(logprobs: Any, reference: Any) -> Any:
    """q − 1 − log q with q = reference / π per token: never negative, 0 only where both agree, at most `LARGEST_K3`.

    Without a bound one token that the policy has all but given up (log q = 15) adds three million to the sum. The value
    is cut as verl and SkyRL cut it, so the mean over tokens is no longer unbiased: it is too low where q > 13.6 occurs.
    The gradient with respect to log π, 1 − q, stays what it is where the value is cut (1 − 13.6 for a token given up,
    nearly 1 for a token taken up), so that such a token is still pulled back: theirs is 0 there. Ours is where
    |log q| > 20.
    """
    log_quotient = (reference - logprobs).clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO)
    near = log_quotient.clamp(max=_LOG_QUOTIENT_THERE)
    tangent = LARGEST_K3 + math.expm1(_LOG_QUOTIENT_THERE) * (log_quotient - _LOG_QUOTIENT_THERE)
    estimate = tangent.where(log_quotient > _LOG_QUOTIENT_THERE, near.expm1() - near)
    return estimate + (estimate.clamp(max=LARGEST_K3) - estimate).detach()  # cuts the value, and not the gradient
