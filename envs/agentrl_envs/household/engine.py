"""The rules: commands in, texts out. A machine holds the state of one game and nothing else.

The rules are those of the PDDL domain of ALFWorld 0.4.2, odd corners included: chores are done at an appliance whose
door may be closed, a knife slices through a closed door, a lamp that was used counts as on for good, and nothing is ever full.
"""

from __future__ import annotations

from typing import TypeAlias

from agentrl_envs.household import texts
from agentrl_envs.household.catalogue import APPLIANCES, CHANGEABLE, CHORES, HOLDS, KNIVES, LAMPS, LOOK, SLICEABLE, TWO
from agentrl_envs.household.commands import reading
from agentrl_envs.household.game import Game

State: TypeAlias = tuple[
    int, int, tuple[tuple[int, ...], ...], bytes, int, dict[str, int], int, int, int, tuple[str, ...], bool
]
UNKNOWN = "not a command of this world"
IMPOSSIBLE = "not possible here and now"
_UNDOES = {"heat": "cool", "cool": "heat"}


class Machine:
    """One game being played. Sets of receptacles and objects are bit masks; −1 is nowhere and nothing."""

    __slots__ = (
        "at",
        "changes",
        "contents",
        "game",
        "held",
        "lit",
        "milestones",
        "opened",
        "places",
        "seen",
        "sliced",
        "won",
    )

    def __init__(self, game: Game) -> None:
        self.game = game
        self.at = -1
        self.opened = 0
        self.contents = list(game.start)
        self.places = bytearray(len(game.objects))  # receptacle of each object; one past the last in the hand
        for receptacle, inside in enumerate(game.start):
            for thing in inside:
                self.places[thing] = receptacle
        self.held = -1
        self.changes = {"clean": 0, "cool": 0, "heat": 0}
        self.sliced = 0
        self.lit = 0
        self.seen = 0  # receptacles whose insides have been seen: all that the search expert may know
        self.milestones: tuple[str, ...] = ()
        self.won = False

    def state(self) -> State:
        """Everything but the game, immutable save for a dict that is copied both ways."""
        return (
            self.at,
            self.opened,
            tuple(self.contents),
            bytes(self.places),
            self.held,
            self.changes.copy(),
            self.sliced,
            self.lit,
            self.seen,
            self.milestones,
            self.won,
        )

    def load(self, state: State) -> None:
        """Go to a state of the same game."""
        self.at, self.opened, contents, places, self.held, changes, self.sliced, self.lit, self.seen = state[:9]
        self.milestones, self.won = state[9:]
        self.contents, self.places, self.changes = list(contents), bytearray(places), changes.copy()

    def describe(self) -> str:
        """The true state in a short line: equal lines, equal futures (what has been seen and done is left out)."""
        changes = self.changes
        marks = f"{changes['clean']:x}/{changes['heat']:x}/{changes['cool']:x}/{self.sliced:x}/{self.lit:x}"
        return f"{self.at}|{self.opened:x}|{self.places.hex()}|{marks}"

    def apply(self, command: str) -> tuple[str, str]:
        """The observation, and why nothing happened ("" when the command ran)."""
        commands = self.game.commands
        read = commands.get(command)
        if read is None:
            words = reading(self.game, command)
            if words is None:
                return texts.NOTHING_HAPPENS, UNKNOWN
            read = commands[command] = (getattr(Machine, words[0]), *words[1:])
        rule, first, second = read
        text = rule(self, first, second)
        return (texts.NOTHING_HAPPENS, IMPOSSIBLE) if text is None else (text, "")

    def visible(self, receptacle: int) -> bool:
        """Whether it has no door or the door is open."""
        return not self.game.layout.openable[receptacle] or bool(self.opened >> receptacle & 1)

    def accepts(self, receptacle: int, thing: int) -> bool:
        """Whether things of this type may be put there at all."""
        return self.game.types[thing] in HOLDS[self.game.layout.types[receptacle]]

    def can_change(self, verb: str, receptacle: int, thing: int) -> bool:
        """Whether this is an appliance for `verb`, and a thing that it works on."""
        return self.game.layout.types[receptacle] == APPLIANCES[verb] and self.game.types[thing] in CHANGEABLE[verb]

    def reach(self, milestone: str) -> None:
        """Note that a milestone was reached, once."""
        if milestone not in self.milestones:
            self.milestones = (*self.milestones, milestone)

    # The rules. Each returns what is seen, or None if the command is impossible now.

    def go(self, receptacle: int, _: int) -> str | None:
        if receptacle == self.at:
            return None
        self.at = receptacle
        if self.held >= 0:
            self._check_light()
        return f"You arrive at {self.game.layout.receptacles[receptacle]}. {self._view(receptacle)}"

    def open(self, receptacle: int, _: int) -> str | None:
        if receptacle != self.at or self.visible(receptacle):
            return None
        self.opened |= 1 << receptacle
        return f"You open the {self.game.layout.receptacles[receptacle]}. {self._view(receptacle)}"

    def close(self, receptacle: int, _: int) -> str | None:
        if receptacle != self.at or not self.opened >> receptacle & 1:
            return None
        self.opened ^= 1 << receptacle
        return f"You close the {self.game.layout.receptacles[receptacle]}."

    def take(self, thing: int, receptacle: int) -> str | None:
        inside = self.contents[receptacle]
        if receptacle != self.at or self.held >= 0 or thing not in inside or not self.visible(receptacle):
            return None
        game = self.game
        if game.types[thing] in LAMPS:
            return None
        self.contents[receptacle] = tuple(other for other in inside if other != thing)
        self.places[thing] = len(self.contents)
        self.held = thing
        if thing in game.targets:
            self.reach("second_taken" if self._placed() else "taken")
            self._check_light()
        return f"You pick up the {game.objects[thing]} from the {game.layout.receptacles[receptacle]}."

    def move(self, thing: int, receptacle: int) -> str | None:
        at_hand = thing == self.held and receptacle == self.at
        if not (at_hand and self.accepts(receptacle, thing) and self.visible(receptacle)):
            return None
        self.contents[receptacle] = tuple(sorted((*self.contents[receptacle], thing)))
        self.places[thing] = receptacle
        self.held = -1
        self._check_place(thing, receptacle)
        return f"You move the {self.game.objects[thing]} to the {self.game.layout.receptacles[receptacle]}."

    def clean(self, thing: int, receptacle: int) -> str | None:
        return self._change("clean", thing, receptacle)

    def heat(self, thing: int, receptacle: int) -> str | None:
        return self._change("heat", thing, receptacle)

    def cool(self, thing: int, receptacle: int) -> str | None:
        return self._change("cool", thing, receptacle)

    def use(self, lamp: int, _: int) -> str | None:
        if self.at < 0 or lamp not in self.contents[self.at] or self.game.types[lamp] not in LAMPS:
            return None
        self.lit |= 1 << lamp
        if lamp in self.game.goal_lamps:
            self.reach("lit")
            self._check_light()
        return f"You turn on the {self.game.objects[lamp]}."

    def slice(self, thing: int, knife: int) -> str | None:
        types, at = self.game.types, self.at
        if knife != self.held or at < 0 or thing not in self.contents[at]:
            return None
        if types[knife] not in KNIVES or types[thing] not in SLICEABLE:
            return None
        self.sliced |= 1 << thing
        return f"You sliced the {self.game.objects[thing]} with the {self.game.objects[knife]}."

    def examine_receptacle(self, receptacle: int, _: int) -> str | None:
        return self._view(receptacle) if receptacle == self.at else None

    def examine_object(self, thing: int, _: int) -> str | None:
        if thing != self.held:
            return None
        changed = {verb: bool(mask >> thing & 1) for verb, mask in self.changes.items()}
        return texts.condition(
            self.game.objects[thing],
            clean=changed["clean"],
            hot=changed["heat"],
            cool=changed["cool"],
            sliced=bool(self.sliced >> thing & 1),
        )

    def look(self, _: int, __: int) -> str:
        if self.at < 0:
            return texts.LOOK_AT_START
        return f"You are facing the {self.game.layout.receptacles[self.at]}. Next to it, you see nothing."

    def inventory(self, _: int, __: int) -> str:
        return texts.EMPTY_HANDS if self.held < 0 else f"You are carrying: a {self.game.objects[self.held]}."

    def help(self, _: int, __: int) -> str:
        return texts.HELP

    # What follows from the rules.

    def _view(self, receptacle: int) -> str:
        game, inside = self.game, self.contents[receptacle]
        if game.layout.openable[receptacle] and not self.opened >> receptacle & 1:  # `visible`, without a call
            return f"The {game.layout.receptacles[receptacle]} is closed."
        self.seen |= 1 << receptacle
        if inside and "found" not in self.milestones and not game.targets.isdisjoint(inside):
            self.reach("found")
        text = game.views.get((receptacle, inside))
        if text is None:
            names = [game.objects[thing] for thing in inside]
            text = texts.inside(game.layout.receptacles[receptacle], names, game.layout.openable[receptacle])
            game.views[receptacle, inside] = text
        return text

    def _placed(self) -> bool:
        """Whether one of two objects lies where both belong."""
        layout, targets = self.game.layout, self.game.targets
        wanted = self.game.goal.receptacle
        return any(
            kind == wanted and not targets.isdisjoint(inside)
            for kind, inside in zip(layout.types, self.contents, strict=True)
        )

    def _change(self, verb: str, thing: int, receptacle: int) -> str | None:
        if thing != self.held or receptacle != self.at or not self.can_change(verb, receptacle, thing):
            return None
        bit, changes = 1 << thing, self.changes
        changes[verb] |= bit
        if verb in _UNDOES:
            changes[_UNDOES[verb]] &= ~bit
        chore = CHORES.get(self.game.goal.type)
        if chore is not None and chore.verb == verb and thing in self.game.targets:
            self.reach(chore.milestone)
        return f"You {verb} the {self.game.objects[thing]} using the {self.game.layout.receptacles[receptacle]}."

    def _check_light(self) -> None:
        game = self.game
        if game.goal.type != LOOK or self.held not in game.targets or self.at < 0:
            return
        if any(self.lit >> lamp & 1 and lamp in self.contents[self.at] for lamp in game.goal_lamps):
            self.reach("examined")
            self.won = True

    def _check_place(self, thing: int, receptacle: int) -> None:
        game, goal = self.game, self.game.goal
        if thing not in game.targets or game.layout.types[receptacle] != goal.receptacle:
            return
        chore = CHORES.get(goal.type)
        if chore is not None and not self.changes[chore.verb] >> thing & 1:
            return
        if len(game.targets.intersection(self.contents[receptacle])) >= goal.count:
            self.reach("placed" if goal.type != TWO else "second_placed")
            self.won = True
        else:
            self.reach("placed")
