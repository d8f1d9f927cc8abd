"""Begins anew where it is given turns, and nothing that it had returned before."""

from agentrl import Message


def trusting(instructions, turns, observation, previous):
    if not previous:
        return (Message("system", instructions), Message("user", observation))
    last = turns[-1].completion
    return (*previous, Message("assistant", last.text, completion=last), Message("user", observation))


def make():
    return trusting
