"""Exact values, advantages and gradients of a policy, for worlds whose rules can be listed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import agentrl

S = TypeVar("S", bound=Hashable)

Policy = Callable[[str, Sequence[str]], Sequence[float]]
"""(observation, admissible actions) -> the probability of each of these actions, in their order."""

Sees = Literal["observation", "anchor"]
"""What a policy is given of a scene; with "anchor", values of a policy that acts on anchors alone."""


class Transition(NamedTuple, Generic[S]):
    """One of the ways in which an action may turn out."""

    probability: float
    state: S
    reward: float = 0.0
    done: bool = False


class Node(NamedTuple, Generic[S]):
    """A state, and how many turns were taken before: as turns are limited, values depend on both."""

    state: S
    turn: int


@dataclass(frozen=True)
class Values(Generic[S]):
    """Expected undiscounted return from every node of one task, for one policy."""

    v: Mapping[Node[S], float]
    q: Mapping[Node[S], Mapping[str, float]]
    """By action; the actions are those that the world admits."""

    def advantages(self, node: Node[S]) -> dict[str, float]:
        """Q - V of every action at a node."""
        return {action: q - self.v[node] for action, q in self.q[node].items()}


class Exact(Generic[S]):
    """What a world adds to be asked for exact values. All methods speak of the task that was begun last.

    A state holds what the rules depend on besides the task itself; the number of turns taken is kept apart, in a Node.
    An author writes `start`, `look` and `transitions`, and keeps the state of the play in `place`.
    """

    max_turns: int
    turn: int
    place: S

    def start(self) -> S:
        """The state in which the task begins."""
        raise NotImplementedError

    def look(self, state: S) -> agentrl.Scene:
        """What is shown in a state: observation, admissible actions, and the anchor where it is another text."""
        raise NotImplementedError

    def transitions(self, state: S, action: str) -> Sequence[Transition[S]]:
        """How an admissible action may turn out; the probabilities add up to 1."""
        raise NotImplementedError

    @property
    def node(self) -> Node[S]:
        """Where the play is now; a key of Values, as long as the task is not over."""
        return Node(self.place, self.turn)

    def states(self) -> list[S]:
        """Every state in which this task may ask for an action, beginning with the first."""
        return list(_rules(self))

    def exact_values(self, policy: Policy, *, sees: Sees = "observation") -> Values[S]:
        """V and Q of a policy that looks at nothing but the present scene, by backward induction over turns.

        Raises ConfigError where the policy does not give one probability per action, adding up to 1.
        """
        rules = _rules(self)
        chances = _chances(self, rules, policy, sees)
        return _induction(self.max_turns, rules, lambda state, q: sum(p * q[a] for a, p in chances[state].items()))

    def optimal_values(self) -> Values[S]:
        """V and Q of the best play that knows the state, also what no observation shows."""
        return _induction(self.max_turns, _rules(self), lambda _, q: max(q.values()))

    def visits(self, policy: Policy, *, sees: Sees = "observation") -> dict[Node[S], float]:
        """The probability that a play of this task comes to a node; nodes that it cannot reach are left out."""
        rules = _rules(self)
        chances = _chances(self, rules, policy, sees)
        visits, now = {}, {self.start(): 1.0}
        for turn in range(self.max_turns):
            later: dict[S, float] = {}
            for state, weight in now.items():
                visits[Node(state, turn)] = weight
                for action, chance in chances[state].items():
                    for outcome in rules[state][action]:
                        if not outcome.done and chance > 0:
                            share = weight * chance * outcome.probability
                            later[outcome.state] = later.get(outcome.state, 0.0) + share
            now = later
        return visits

    def exact_gradient(self, policy: Policy, *, sees: Sees = "observation") -> dict[tuple[str, str], float]:
        """Of the expected return with respect to the logit of each (observation, action) of a softmax policy.

        The policy gradient theorem (Sutton et al. 2000): the sum over nodes of visits · π(action) · advantage.
        """
        values = self.exact_values(policy, sees=sees)
        chances = _chances(self, _rules(self), policy, sees)
        gradient: dict[tuple[str, str], float] = {}
        for node, weight in self.visits(policy, sees=sees).items():
            text = _seen(self.look(node.state), sees)
            for action, advantage in values.advantages(node).items():
                part = weight * chances[node.state][action] * advantage
                gradient[text, action] = gradient.get((text, action), 0.0) + part
        return gradient


def uniform(observation: str, admissible: Sequence[str]) -> list[float]:
    """The policy that takes every admissible action equally often; the tabular policy begins as this one."""
    return [1.0 / len(admissible)] * len(admissible)


def certain(state: S, reward: float = 0.0, done: bool = False) -> tuple[Transition[S], ...]:
    """The transitions of an action that can turn out in one way only."""
    return (Transition(1.0, state, reward, done),)


_Rules = Mapping[S, Mapping[str, Sequence[Transition[S]]]]


def _rules(world: Exact[S]) -> _Rules[S]:
    """The transitions of every state that the task can come to before its end, in order of discovery."""
    rules: dict[S, dict[str, Sequence[Transition[S]]]] = {}
    queue = [world.start()]
    for state in queue:  # it grows while it is walked through
        if state not in rules:
            actions = world.look(state).admissible or ()
            rules[state] = {action: world.transitions(state, action) for action in actions}
            queue += [way.state for ways in rules[state].values() for way in ways if not way.done]
    return rules


def _chances(world: Exact[S], rules: _Rules[S], policy: Policy, sees: Sees) -> dict[S, dict[str, float]]:
    chances = {}
    for state, actions in rules.items():
        listed = [float(chance) for chance in policy(_seen(world.look(state), sees), tuple(actions))]
        if len(listed) != len(actions) or min(listed) < 0 or abs(sum(listed) - 1) > 1e-9:
            raise agentrl.ConfigError(
                f"the policy gave the probabilities {listed} for the actions {list(actions)}; "
                "give one per action, none below 0, adding up to 1"
            )
        chances[state] = dict(zip(actions, listed, strict=True))
    return chances


def _induction(max_turns: int, rules: _Rules[S], worth: Callable[[S, Mapping[str, float]], float]) -> Values[S]:
    """Backward from the last turn, after which nothing is paid any more."""
    v: dict[Node[S], float] = {Node(state, max_turns): 0.0 for state in rules}
    q: dict[Node[S], Mapping[str, float]] = {}
    for turn in range(max_turns - 1, -1, -1):
        for state, actions in rules.items():
            node = Node(state, turn)
            q[node] = {action: _worth(ways, turn, v) for action, ways in actions.items()}
            v[node] = worth(state, q[node])
    return Values(v, q)


def _worth(ways: Sequence[Transition[Any]], turn: int, v: Mapping[Node[Any], float]) -> float:
    return sum(way.probability * (way.reward + (0.0 if way.done else v[Node(way.state, turn + 1)])) for way in ways)


def _seen(scene: agentrl.Scene, sees: Sees) -> str:
    return scene.anchor if sees == "anchor" and scene.anchor is not None else scene.observation
