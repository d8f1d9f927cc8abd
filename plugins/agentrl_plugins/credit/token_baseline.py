"""Token baseline: a baseline for every token, in which trajectories weigh as much as they moved the weights so far."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np

import agentrl
from agentrl_plugins.credit.turns import read_turns


@agentrl.hookimpl
def register_credits(register: agentrl.Register) -> None:
    register("token_baseline", token_baseline)


def token_baseline(
    trajectories: Sequence[agentrl.Trajectory],
    *,
    gamma: Annotated[float, "discount of a turn, from 0 to 1"] = 1.0,
    reward_weights: Annotated[
        dict[str, float] | None, "named parts of the reward → weight; `turn.reward` unless given"
    ] = None,
) -> agentrl.Advantages:
    """Token j gets G - Σ G W_j / Σ W_j over the trajectories of the group that have a token at the same place.

    Source: OTB (authors' code). G is the return-to-go of the token's turn. A token moves the logits by
    w = 1 - 2 π + Σ π² (the squared norm of the gradient), W_j is the sum of w up to it; π is what the token was sampled
    with. Where no other trajectory has a token the baseline is 0. Tokens of inherited turns take no part. Comparing by
    place is biased where the policy decides when to stop. Raises DataError for failed trajectories, and for
    completions without `square` (the engine's Σ π²).

    By hand: π = 0.5 of two tokens each time, Σ π² = 0.5, so w = 0.5 for all: the mean of 1 and 0:

    >>> def play(reward):
    ...     ids, half = np.zeros(1, np.int32), np.full(1, np.log(0.5), np.float32)
    ...     said = agentrl.Completion("go", ids, ids, half, None, ids, square=np.full(1, 0.5, np.float32))
    ...     turn = agentrl.Turn("", said, "go", reward, "")
    ...     return agentrl.Trajectory((turn,), agentrl.Task("train", 0), "g", agentrl.Outcome.TERMINATED)
    >>> [[part.round(3).tolist() for part in each] for each in token_baseline([play(1), play(0)])]
    [[[0.5]], [[-0.5]]]
    """
    turns = read_turns(trajectories, reward_weights)
    later = turns.split(turns.returns_to_go(gamma))
    moved = [_moved(trajectory) for trajectory in trajectories]
    own = [
        np.repeat(g, [len(t.completion.ids) for t in each.turns]) for g, each in zip(later, trajectories, strict=True)
    ]
    values: list[agentrl.Floats] = [g.copy() for g in own]
    for members in agentrl.groups(trajectories).values():
        for place in range(max(len(moved[i]) for i in members)):
            there = sorted(
                (i for i in members if place < len(moved[i])), key=lambda i: (own[i][place], moved[i][place])
            )
            weights = np.array([moved[i][place] for i in there])
            if len(there) > 1 and weights.sum() > 0:
                baseline = float((np.array([own[i][place] for i in there]) * weights).sum() / weights.sum())
                for i in there:
                    values[i][place] -= baseline
    ends = [np.cumsum([len(turn.completion.ids) for turn in each.turns])[:-1] for each in trajectories]
    return [np.split(value, end) for value, end in zip(values, ends, strict=True)]


def _moved(trajectory: agentrl.Trajectory) -> agentrl.Floats:
    """[tokens], W of each token; 0 for those of inherited turns."""
    moves: list[agentrl.Floats] = []
    for position, turn in enumerate(trajectory.turns):
        said = turn.completion
        if said.square is None:
            raise agentrl.DataError(
                f"credit 'token_baseline' needs Σ π² of every token, and turn {position} of trajectory {trajectory.id} "
                "has none; play with an engine that gives it"
            )
        move = 1 - 2 * np.exp(said.logprobs.astype(np.float64)) + said.square.astype(np.float64)
        moves.append(move * (position >= trajectory.inherited))
    return np.cumsum(np.concatenate(moves))
