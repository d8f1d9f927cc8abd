"""What is read and written: ids of words, actions in text, and what of the past is seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from agentrl.data.types import AGENT, Completion, Ids, Message, Relation, Turn

Tool: TypeAlias = Mapping[str, object]
"""A tool as chat templates take it: {"type": "function", "function": {"name", "description", "parameters"}}."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Ids that a policy is to continue, and how they relate to this speaker's last completion.

    `append`: that one's prompt, then its ids, then more. `new`: anything else. `kept` counts the leading ids that
    both share.
    """

    ids: Ids  # [P], read-only
    relation: Relation = "start"
    kept: int = 0


class Codec(Protocol):
    """Words to ids and back, for one model: stateless (but for caches), without weights, picklable.

    A control token that a message only spells stays words: nobody forges a turn. A codec whose prompts end inside a
    thought has the attribute `opens_thought = True`; the dialect then reads `<think>` before what was sampled. One with
    `notes`, texts that a person should know (what its template lacks), has them shown and logged once.
    """

    @property
    def name(self) -> str: ...  # hash of tokenizer and template: same name, same ids
    @property
    def stop_ids(self) -> frozenset[int]: ...
    @property
    def max_context(self) -> int: ...
    @property
    def roles(self) -> frozenset[str]: ...  # roles that the template knows; `prompt` folds others into those
    @property
    def tools(self) -> bool: ...  # whether the template writes tools
    @property
    def thoughts(self) -> Literal["none", "kept", "dropped"]: ...  # what becomes of thoughts in old answers

    def prompt(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), after: Completion | None = None
    ) -> Prompt:
        """What the model reads before it speaks. `after`: this speaker's last completion; sampled ids stay as they are."""

    def say(self, text: str, *, stop: Sequence[str] = ()) -> Ids:
        """int32 [C], the ids that sampling would have given for this text, the end included."""

    def decode(self, ids: Ids) -> str: ...

    def save(self, folder: Path) -> None:
        """Write everything from which the same codec can be loaded."""


@dataclass(frozen=True, slots=True)
class Reading:
    """An action read from a completion; `invalid` says why it could not be read (the action is then `""`).

    `spans`: (name, start, stop) over characters of the text, such as ("think", 0, 40).
    """

    action: str
    invalid: str = ""
    spans: tuple[tuple[str, int, int], ...] = ()


class Dialect(Protocol):
    """How an action is written in text, and read back: `read(write(action)).action == action`.

    The dialect, and nobody else, takes the thought off: `agentrl.after_thought(text)` gives what is said after it, and
    only there is an action. A thought that never ends (the length limit) is `invalid`.
    """

    @property
    def instructions(self) -> str: ...
    @property
    def stop(self) -> tuple[str, ...]: ...  # strings that end a completion

    def write(self, action: str) -> str: ...
    def read(self, text: str) -> Reading: ...


@dataclass(frozen=True, slots=True)
class Speak:
    """Let the policy say something before it acts: a summary, a memory. Recorded as a turn of its own and trained.

    What it says may begin with a thought: `agentrl.after_thought(turn.completion.text).text` leaves that out.
    """

    messages: tuple[Message, ...]
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a context answers to an action that it keeps for itself; the world is not stepped."""

    observation: str
    rewards: Mapping[str, float] = field(default_factory=dict)


class Session(Protocol):
    """One trajectory's view of its past; a function of seed, turns and observations, so that a branch can replay it.

    Derive from it, and only `view` has to be written.
    """

    instructions: str = ""
    """What the context adds to the world's own, already shown by `view`."""
    tools: tuple[Tool, ...] = ()
    """Tools of the context's own."""

    def view(self, turns: Sequence[Turn], observation: str) -> tuple[Message, ...] | Speak:
        """What the policy reads now, or what it is asked first. `turns` holds spoken turns too.

        Raises ContextOverflow where nothing that would fit is left to be shown; the trajectory ends at its context limit.
        """

    def answer(self, reading: Reading) -> Answer | None:
        """The answer to an action that is the context's, None for one that is the world's."""
        return None


class Context(Protocol):
    """What of the past the policy sees. A function `f(instructions, turns, observation, previous) -> messages` is one
    too: `previous` is what it returned one turn earlier (empty at first).

    A setting or attribute `budget` is the most tokens of a prompt for an action, by `count`; the kit holds it to that.
    """

    def begin(
        self,
        *,
        instructions: str,
        key: str,
        seed: int,
        speaker: str = AGENT,
        count: Callable[[Sequence[Message]], int],
    ) -> Session:
        """The session of one trajectory. `count` gives the prompt's length in tokens (0 where there is no codec)."""
