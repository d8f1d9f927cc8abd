"""Commands, read from text."""

from __future__ import annotations

from agentrl_envs.household.game import Game

LONGEST = 80  # characters; every real command is shorter
_ALONE = ("look", "inventory", "help")
_OF_RECEPTACLE = {"open": "open", "close": "close", "examine": "examine_receptacle"}
_OF_OBJECT = {"use": "use", "examine": "examine_object"}
_OF_BOTH = {("take", "from"), ("move", "to"), ("clean", "with"), ("heat", "with"), ("cool", "with")}


def reading(game: Game, command: str) -> tuple[str, int, int] | None:
    """The rule that a command means and what it names (−1 for nothing); None where it makes no sense in this game."""
    if (aim := game.layout.aims.get(command)) is not None:  # first, as most commands are ways to go
        return "go", aim, -1
    if len(command) > LONGEST:
        return None
    words = command.split(" ")
    verb, receptacles, objects = words[0], game.layout.numbers, game.numbers
    match len(words):
        case 1 if verb in _ALONE:
            return verb, -1, -1
        case 3:
            name = f"{words[1]} {words[2]}"
            if verb in _OF_RECEPTACLE and name in receptacles:
                return _OF_RECEPTACLE[verb], receptacles[name], -1
            if verb in _OF_OBJECT and name in objects:
                return _OF_OBJECT[verb], objects[name], -1
        case 6 if f"{words[1]} {words[2]}" in objects:
            thing, other = objects[f"{words[1]} {words[2]}"], f"{words[4]} {words[5]}"
            if (verb, words[3]) in _OF_BOTH and other in receptacles:
                return verb, thing, receptacles[other]
            if (verb, words[3]) == ("slice", "with") and other in objects:
                return "slice", thing, objects[other]
    return None
