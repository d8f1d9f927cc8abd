"""Keeps the notes of all trajectories in one list."""

from planted_support import History

from agentrl import Message


class SharedNotes(History):
    def __init__(self):
        self.notes = []

    def shown(self, turns, observation):
        self.notes.append(observation)
        return (Message("system", f"notes: {' '.join(self.notes[-3:])}"), Message("user", observation))


make = SharedNotes
