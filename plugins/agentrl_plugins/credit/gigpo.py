"""GiGPO: the episode against its group, plus the turn against the turns taken in the same state."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np

import agentrl
from agentrl_plugins.credit.anchors import anchor_groups
from agentrl_plugins.credit.statistics import Convention, Lone, relative, returns_to_go, sizes_of
from agentrl_plugins.credit.turns import FlatTurns, read_turns


@agentrl.hookimpl
def register_credits(register: agentrl.Register) -> None:
    register("gigpo", gigpo)


def gigpo(
    trajectories: Sequence[agentrl.Trajectory],
    *,
    gamma: Annotated[float, "discount of a turn, from 0 to 1"] = 0.95,
    step_weight: Annotated[float, "weight of the step term A^S; the paper's ω"] = 1.0,
    std: Annotated[bool, "divide both terms by the standard deviation; else they are only centred"] = False,
    statistics: Annotated[
        Literal["trajectory", "turn"], "what the mean of the episode term is taken over"
    ] = "trajectory",
    invalid_penalty: Annotated[float, "reward that an invalid turn loses; 0: none"] = 0.1,
    similarity: Annotated[
        float | None, "anchors whose texts are so much alike (0 to 1) count as equal; None: only equal ones"
    ] = None,
    ddof: Annotated[Literal[0, 1], "1: standard deviation of a sample, 0: of a population"] = 1,
    epsilon: Annotated[float, "added to the standard deviation"] = 1e-6,
    lone: Annotated[Lone, "episode term of a trajectory alone in its group: 0, or its raw score"] = "zero",
    reward_weights: Annotated[
        dict[str, float] | None, "named parts of the reward → weight; `turn.reward` unless given"
    ] = None,
) -> agentrl.Advantages:
    """Turn t of trajectory i gets A^E + step_weight · A^S (Feng et al., 2505.10978, equations 3, 6, 7 and 8).

    1. G_t = r_t + gamma · G_{t+1} over the rewards of the world (eq. 6; 0.95 in the authors' recipes).
    2. Invalid turns (`turn.invalid`) lose `invalid_penalty` in their own episode score and their own G_t, after
       step 1, so that no other turn hears of it (authors' code, 0.1 beside a success reward of 10).
    3. A^E (eq. 3): the episode score R_i against the group. `statistics="trajectory"` takes mean and deviation over
       the trajectories' R as the paper does; `"turn"` over the scores of all turns, as the authors' code does, so
       that long trajectories weigh more.
    4. A^S (eq. 7): G_t against all turns of the group with an equal anchor. The anchor is `Turn.anchor`: what the
       world gives as `info["anchor"]` before the action, else the observation. `similarity` (0.95 in the authors'
       code) merges anchors by greedy first fit. A lone anchor gets 0.
    5. A `step_weight` from 0.4 to 1.2 does about as well in the paper.

    Defaults are those of the authors' code, but for `lone` (there "raw"). Scores or returns without variance, but
    for rounding, give exactly 0, and with `std=True` an invalid turn costs nothing in the episode term of such a group, because no scale
    exists there. Raises DataError for failed trajectories, ConfigError for a gamma or similarity out of range.

    By hand, gamma 0.5: from x, one trajectory reaches the goal through y and one stops. R = 1, 0 gives A^E = ±0.5; at
    x, G = 0.5 and 0 gives A^S = ±0.25; y is a lone anchor:

    >>> def play(*pairs):
    ...     turns = [agentrl.Turn(at, agentrl.Completion("go"), "go", reward, at) for at, reward in pairs]
    ...     return agentrl.Trajectory(tuple(turns), agentrl.Task("train", 0), "g", agentrl.Outcome.TERMINATED)
    >>> [a.tolist() for a in gigpo([play(("x", 0), ("y", 1)), play(("x", 0))], gamma=0.5)]
    [[0.75, 0.5], [-0.75]]
    """
    turns = read_turns(trajectories, reward_weights)
    penalty = np.array([invalid_penalty if turn.invalid else 0.0 for turn in turns.turns])
    convention = Convention(std, ddof, epsilon, lone)
    episode = (_per_trajectory if statistics == "trajectory" else _per_turn)(turns, penalty, convention)
    later, sizes = returns_to_go(turns, gamma)
    anchors = anchor_groups(turns, similarity)
    step, _ = relative(later - penalty, anchors, Convention(std, ddof, epsilon), sizes + np.abs(penalty))
    return turns.split(episode + step_weight * step)


def _per_trajectory(turns: FlatTurns, penalty: agentrl.Floats, convention: Convention) -> agentrl.Floats:
    episode, divisor = relative(turns.returns, turns.group, convention, sizes_of(turns).returns)
    return episode[turns.trajectory] - penalty / divisor[turns.group][turns.trajectory]


def _per_turn(turns: FlatTurns, penalty: agentrl.Floats, convention: Convention) -> agentrl.Floats:
    scores = turns.returns[turns.trajectory] - penalty
    sizes = sizes_of(turns).returns[turns.trajectory] + np.abs(penalty)
    group = turns.group[turns.trajectory]
    alone = np.bincount(turns.group)[group] == 1  # one trajectory, though it may have many turns
    counted = turns.counted
    _, codes = np.unique(group[counted], return_inverse=True)
    episode = np.zeros(len(scores))
    episode[counted] = relative(scores[counted], codes, convention, sizes[counted])[0]
    return np.where(alone & (convention.lone == "zero"), 0.0, episode)
