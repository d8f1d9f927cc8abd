"""Reminds of the instructions after what is observed now."""

from agentrl import Message
from agentrl.testing.samples import whole_history


def reminding(instructions, turns, observation, previous):
    return (*whole_history(instructions, turns, observation, previous), Message("user", instructions))


def make():
    return reminding
