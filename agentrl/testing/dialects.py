"""The kit for dialects: what is written is read back, and whatever a model may say is survived."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from agentrl.parts.words import Dialect, Reading
from agentrl.testing.effort import cost, require_linear
from agentrl.testing.plays import HOSTILE
from agentrl.testing.report import Report, checks_of, gate, require, run_checks
from agentrl.worlds.thoughts import CLOSE

ACTIONS = ("go to shelf 1", "search[red shoe]", "ü ∑ 🤖", "{}")


def check_dialect(make: Callable[[], Dialect], *, name: str = "?", actions: Sequence[str] = ACTIONS) -> Report:
    """Put a dialect through the kit. `actions` are written and read back."""
    return run_checks("dialect", name, checks_of(_DialectKit(make, actions)))


class _DialectKit:
    def __init__(self, make: Callable[[], Dialect], actions: Sequence[str]) -> None:
        self._make, self._actions = make, actions

    def _texts(self) -> tuple[str, ...]:
        """Texts that it wrote, those cut in the middle, and hostile ones."""
        dialect = self._make()
        whole = [dialect.write(action) for action in self._actions]
        return (*whole, *(text[:end] for text in whole for end in range(len(text))), *HOSTILE)

    @gate
    def it_gives_readings_and_words(self) -> None:
        dialect = self._make()
        require(isinstance(dialect.instructions, str), f"instructions are {dialect.instructions!r}, not text")
        stop = dialect.stop
        fits = isinstance(stop, tuple) and all(isinstance(word, str) and word for word in stop)
        require(fits, f"stop = {stop!r}; it is a tuple of texts that are not empty")
        text = dialect.write(self._actions[0])
        require(isinstance(text, str), f"write gave {text!r}, not text")
        reading = dialect.read(text)
        require(isinstance(reading, Reading), f"read gave {reading!r}, not an agentrl.Reading")
        require(isinstance(reading.action, str), f"the action is {reading.action!r}, not text")

    def what_is_written_is_read_back(self) -> None:
        dialect = self._make()
        for action in self._actions:
            reading = dialect.read(dialect.write(action))
            require(reading.action == action and not reading.invalid, f"{action!r} was read back as {reading}")

    def the_stop_string_ends_what_is_written_and_stands_nowhere_else(self) -> None:
        dialect = self._make()
        for stop in dialect.stop:
            for action in self._actions:
                text = dialect.write(action)
                require(
                    text.find(stop) == len(text) - len(stop), f"the stop string {stop!r} is not the end of {text!r}"
                )

    def hostile_text_is_read_or_refused_with_a_reason(self) -> None:
        dialect = self._make()
        for text in HOSTILE:
            reading = dialect.read(text)
            require(reading.action or reading.invalid, f"{text[:20]!r} gave neither an action nor a reason")

    def an_action_that_a_thought_names_is_not_taken(self) -> None:
        dialect = self._make()
        for named, said in pairwise((*self._actions, self._actions[0])):
            text = f"<think>Shall I {dialect.write(named).replace(CLOSE, '')}? No.</think>{dialect.write(said)}"
            reading, alone = dialect.read(text), dialect.read(dialect.write(said))
            require(
                (reading.action, reading.invalid) == (alone.action, alone.invalid),
                f"of {text!r} it read {reading}; look for the action in agentrl.after_thought(text) only",
            )

    def a_thought_that_was_cut_short_is_no_action(self) -> None:
        dialect = self._make()
        for action in self._actions:
            text = f"<think>Shall I {dialect.write(action).replace(CLOSE, '')}"
            reading = dialect.read(text)
            require(
                reading.invalid,
                f"{text!r} ends inside a thought, and it read {reading}; agentrl.after_thought(text).error says why",
            )

    def text_that_was_cut_is_survived(self) -> None:
        for text in self._texts():
            self._make().read(text)

    def what_is_invalid_has_no_action(self) -> None:
        for text in self._texts():
            reading = self._try(text)
            if reading is not None and reading.invalid:
                require(
                    not reading.action,
                    f"{text[:40]!r} is invalid ({reading.invalid}), and the action {reading.action!r}",
                )

    def spans_lie_inside_the_text(self) -> None:
        for text in self._texts():
            reading = self._try(text)
            for name, start, stop in reading.spans if reading is not None else ():
                inside = isinstance(name, str) and 0 <= start <= stop <= len(text)
                require(inside, f"the span {(name, start, stop)} of {text[:40]!r}, which has {len(text)} characters")

    def reading_twice_gives_the_same(self) -> None:
        dialect = self._make()
        texts = [dialect.write(action) for action in self._actions]
        first = [dialect.read(text) for text in texts]
        require(
            first == [dialect.read(text) for text in texts], "the same texts are read in another way the second time"
        )

    def long_text_is_read_in_time(self) -> str:
        opening, _, closing = self._make().write("x").partition("x")
        return require_linear(lambda text: cost(lambda: self._try(text)), (opening, closing))

    def _try(self, text: str) -> Reading | None:
        """What is read; None where it fails, which other checks tell."""
        try:
            return self._make().read(text)
        except Exception:  # whatever a stranger's dialect may raise is found by `text_that_was_cut_is_survived`
            return None
