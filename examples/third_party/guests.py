"""Worlds whose user is a policy, such as the run's own engine: once as a speaker, once asked in the middle of a step."""

import agentrl
from agentrl import Message, Scene, Task, Voice

DRINKS = ("tea", "milk", "juice", "water")


@agentrl.hookimpl
def register_environments(register: agentrl.Register) -> None:
    register("guest", Guest)
    register("guest_by_voice", GuestByVoice)


class Guest(agentrl.TextWorld):
    """Ask the guest what to bring, then bring it. The guest speaks for itself: `[policies] guest = "policies.agent"`."""

    instructions = "Ask the guest what to bring, or bring tea, milk, juice or water."
    max_turns = 6
    success_above = 0.0

    def begin(self, task: Task) -> Scene:
        self.wish, self.asked = DRINKS[task.index % len(DRINKS)], False
        return Scene("A guest sits down.")

    def act(self, action: str) -> Scene:
        if self.asked:
            self.asked = False
            return Scene(f"The guest says: {action}")
        if action in DRINKS:
            return Scene(f"You bring {action}.", float(action == self.wish), done=True)
        self.asked = True
        return Scene(self.to_the_guest(action), info={"speaker": "guest"})

    def to_the_guest(self, action: str) -> str:
        return f"You would like {self.wish}. The waiter says: {action}"


class GuestByVoice(Guest):
    """The same, for code that must have the answer before its step is over; such a world is stepped in a thread."""

    resources = ("voice",)

    def __init__(self, *, voice: Voice) -> None:
        self.voice = voice

    def act(self, action: str) -> Scene:
        if action in DRINKS:
            return super().act(action)
        seed = int(self.np_random.integers(2**31))
        return Scene(f"The guest says: {self.voice.say([Message('user', self.to_the_guest(action))], seed=seed)}")
