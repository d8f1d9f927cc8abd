"""Who the agent talks to: a scripted visitor, or one that a policy plays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from agentrl import Message, Voice
from agentrl_envs.tools.tasks import Job

GOODBYE = "###DONE###"
"""What a policy that plays the visitor says when it wants nothing more."""

_ASKS = re.compile(r"\?|\bplease (give|tell|provide|confirm|share|send|let me know)\b|\bi need your\b", re.IGNORECASE)
_SURE = re.compile(
    r"\b(sure|confirm|shall i|should i|do you want|would you like|proceed|go ahead|correct|right)\b", re.I
)
_SLOTS: Mapping[str, re.Pattern[str]] = {
    "card": re.compile(r"\bcard\b", re.IGNORECASE),
    "name": re.compile(r"\bname\b|\bwho are you\b", re.IGNORECASE),
    "postcode": re.compile(r"\b(postcode|post code|postal|zip)\b", re.IGNORECASE),
    "title": re.compile(r"\b(title|book|which|item)\b", re.IGNORECASE),
    "branch": re.compile(r"\b(branch|where|location)\b", re.IGNORECASE),
    "day": re.compile(r"\b(day|date|when)\b", re.IGNORECASE),
    "hour": re.compile(r"\b(hour|time|when)\b", re.IGNORECASE),
    "people": re.compile(r"\b(people|persons|seats|many)\b", re.IGNORECASE),
    "email": re.compile(r"\be-?mail\b", re.IGNORECASE),
    "copy": re.compile(r"\bcopy\b", re.IGNORECASE),
}


class User(Protocol):
    """A visitor."""

    def open(self) -> str:
        """The first thing they say."""
        ...

    def hear(self, message: str) -> str | None:
        """Their answer; None when they leave."""
        ...

    def state(self) -> object:
        """How far they are, in a value that nobody changes."""
        ...


def visitor(job: Job, voice: Voice | None, random: np.random.Generator, state: Any = None) -> User:
    """The visitor of a task, played by a policy with this `voice` where there is one; `state`: that of an earlier one."""
    if voice is None:
        return ScriptedUser(job, state or 0)
    seed, messages = state or (int(random.integers(2**62)), ())
    return PolicyUser(job, voice, seed, list(messages))


@dataclass
class ScriptedUser:
    """Answers questions with what they know, takes anything else as the end of a request, and goes on to the next."""

    job: Job
    request: int = 0

    def open(self) -> str:
        return self.job.opening

    def hear(self, message: str) -> str | None:
        if _ASKS.search(message):
            return self._answer(message)
        self.request += 1
        return self.job.requests[self.request].says if self.request < len(self.job.requests) else None

    def state(self) -> int:
        return self.request

    def _answer(self, message: str) -> str:
        facts = {**self.job.identity, **self.job.requests[self.request].facts}
        told = [facts[slot] for slot, pattern in _SLOTS.items() if slot in facts and pattern.search(message)]
        if told:
            return " ".join(told)
        return "Yes, please." if _SURE.search(message) else "I am sorry, I do not know that."


@dataclass
class PolicyUser:
    """A visitor that a policy plays: it is told who it is and what it wants, and sees only what the agent says."""

    job: Job
    voice: Voice
    seed: int
    messages: list[Message] = field(default_factory=list)

    def open(self) -> str:
        self.messages.append(Message("system", _part(self.job)))
        self.messages.append(Message("user", "Good morning. What can I do for you?"))
        return self._speak()

    def hear(self, message: str) -> str | None:
        self.messages.append(Message("user", message))
        said = self._speak()
        return None if GOODBYE in said else said

    def state(self) -> tuple[int, tuple[Message, ...]]:
        return self.seed, tuple(self.messages)

    def _speak(self) -> str:
        text = self.voice.say(self.messages, seed=(self.seed + len(self.messages)) % 2**63)
        self.messages.append(Message("assistant", text))
        return text


def _part(job: Job) -> str:
    known = " ".join(dict.fromkeys((*job.identity.values(), *(f for r in job.requests for f in r.facts.values()))))
    wishes = "\n".join(f"{number}. {request.says}" for number, request in enumerate(job.requests, 1))
    return (
        "You play a visitor at the desk of a library. Say one thing at a time, in one or two sentences, and nothing "
        f"that you do not know. You know: {known}\nYou want, one after the other:\n{wishes}\n"
        f"If you are refused, accept it and go on. When all is settled, say only {GOODBYE}"
    )
