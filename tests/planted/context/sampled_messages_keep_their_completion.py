"""Shows what was said as text, so that its ids have to be made again."""

from agentrl import Message


def words_only(instructions, turns, observation, previous):
    messages = []
    for turn in turns:
        messages += [Message("user", turn.observation), Message("assistant", turn.completion.text)]
    return (*messages, Message("user", observation))


def make():
    return words_only
