"""The rules of the household world: texts, admissible commands, goals and milestones, as ALFWorld has them."""

from typing import Any

import pytest

from agentrl_envs.household.admissible import admissible
from agentrl_envs.household.catalogue import CLEAN, COOL, HEAT, KNIVES, LOOK, PICK, SLICEABLE, TASK_TYPES, TWO
from agentrl_envs.household.commands import reading
from agentrl_envs.household.engine import Machine
from agentrl_envs.household.game import Game, Goal, Layout
from agentrl_envs.household.reasons import why
from agentrl_envs.household.world import Household

SMALL: dict[str, Any] = {"rooms": ("kitchen",), "receptacles": (6, 8), "object_types": (8, 8), "max_turns": 30}
PLACES = (
    *("cabinet 2", "cabinet 1", "countertop 1", "drawer 1", "fridge 1", "microwave 1", "sidetable 1", "sinkbasin 1"),
)
WAYS = tuple(f"go to {place}" for place in sorted(PLACES))


def room(goal: Goal) -> Game:
    """The room that the transcript of the official engine was taken in, with another goal."""
    things = ("apple 3", "apple 2", "apple 1", "book 1", "desklamp 1", "fork 1", "knife 1", "mug 1")
    start = ((), (7,), (1, 2, 6), (5,), (0,), (), (3, 4), ())
    return Game(Layout("kitchen", PLACES, (), (), ()), things, start, goal, "key")


def machine(kind: str = PICK, thing: str = "mug", place: str = "fridge", lamp: str = "") -> Machine:
    return Machine(room(Goal(kind, thing, place, lamp, "…")))  # type: ignore[arg-type]


def run(played: Machine, *commands: str) -> list[str]:
    return [played.apply(command)[0] for command in commands]


# Texts and rules. The expected texts were printed by ALFWorld 0.4.2 in this very room.


def test_receptacles_are_described_as_the_official_engine_does() -> None:
    assert run(
        machine(),
        "look",
        "go to countertop 1",
        "look",
        "examine countertop 1",
        "go to fridge 1",
        "examine fridge 1",
        "open fridge 1",
        "close fridge 1",
        "open fridge 1",
        "go to drawer 1",
        "go to fridge 1",
        "go to sinkbasin 1",
    ) == [
        "You are in the middle of a room. Looking quickly around you, you see nothing.",
        "You arrive at countertop 1. On the countertop 1, you see a apple 2, a apple 1, and a knife 1.",
        "You are facing the countertop 1. Next to it, you see nothing.",
        "On the countertop 1, you see a apple 2, a apple 1, and a knife 1.",
        "You arrive at fridge 1. The fridge 1 is closed.",
        "The fridge 1 is closed.",
        "You open the fridge 1. The fridge 1 is open. In it, you see a apple 3.",
        "You close the fridge 1.",
        "You open the fridge 1. The fridge 1 is open. In it, you see a apple 3.",
        "You arrive at drawer 1. The drawer 1 is closed.",
        "You arrive at fridge 1. The fridge 1 is open. In it, you see a apple 3.",
        "You arrive at sinkbasin 1. On the sinkbasin 1, you see nothing.",
    ]


def test_objects_are_handled_as_in_the_official_engine() -> None:
    assert run(
        machine(),
        "inventory",
        "go to countertop 1",
        "take apple 1 from countertop 1",
        "inventory",
        "examine apple 1",
        "go to fridge 1",
        "cool apple 1 with fridge 1",
        "examine apple 1",
        "go to microwave 1",
        "heat apple 1 with microwave 1",
        "examine apple 1",
        "go to sinkbasin 1",
        "clean apple 1 with sinkbasin 1",
        "examine apple 1",
        "go to fridge 1",
        "cool apple 1 with fridge 1",
        "examine apple 1",
        "open fridge 1",
        "move apple 1 to fridge 1",
        "examine fridge 1",
    ) == [
        "You are not carrying anything.",
        "You arrive at countertop 1. On the countertop 1, you see a apple 2, a apple 1, and a knife 1.",
        "You pick up the apple 1 from the countertop 1.",
        "You are carrying: a apple 1.",
        "There's nothing special about apple 1.",
        "You arrive at fridge 1. The fridge 1 is closed.",
        "You cool the apple 1 using the fridge 1.",
        "This is a cold apple 1.",
        "You arrive at microwave 1. The microwave 1 is closed.",
        "You heat the apple 1 using the microwave 1.",
        "This is a hot apple 1.",
        "You arrive at sinkbasin 1. On the sinkbasin 1, you see nothing.",
        "You clean the apple 1 using the sinkbasin 1.",
        "This is a hot and clean apple 1.",
        "You arrive at fridge 1. The fridge 1 is closed.",
        "You cool the apple 1 using the fridge 1.",
        "This is a cool and clean apple 1.",
        "You open the fridge 1. The fridge 1 is open. In it, you see a apple 3.",
        "You move the apple 1 to the fridge 1.",
        "The fridge 1 is open. In it, you see a apple 3, and a apple 1.",
    ]


def test_lamps_and_knives_work_as_in_the_official_engine() -> None:
    assert run(
        machine(),
        "go to sidetable 1",
        "use desklamp 1",
        "use desklamp 1",
        "go to countertop 1",
        "take knife 1 from countertop 1",
        "slice apple 2 with knife 1",
        "move knife 1 to countertop 1",
        "take apple 2 from countertop 1",
        "examine apple 2",
    ) == [
        "You arrive at sidetable 1. On the sidetable 1, you see a book 1, and a desklamp 1.",
        "You turn on the desklamp 1.",
        "You turn on the desklamp 1.",
        "You arrive at countertop 1. On the countertop 1, you see a apple 2, a apple 1, and a knife 1.",
        "You pick up the knife 1 from the countertop 1.",
        "You sliced the apple 2 with the knife 1.",
        "You move the knife 1 to the countertop 1.",
        "You pick up the apple 2 from the countertop 1.",
        "This is a sliced apple 2.",
    ]


@pytest.mark.parametrize(
    ("before", "command"),
    [
        ([], "examine sidetable 1"),
        ([], "open fridge 1"),
        (["go to countertop 1"], "go to countertop 1"),
        (["go to countertop 1"], "examine apple 1"),
        (["go to countertop 1"], "Take apple 1 from countertop 1"),
        (["go to countertop 1"], "take apple 1 from countertop 1 now"),
        (["go to countertop 1"], "take apple  1 from countertop 1"),
        (["go to countertop 1"], "put apple 1 in/on countertop 1"),
        (["go to countertop 1"], "take apple 3 from countertop 1"),
        (["go to countertop 1"], "open countertop 1"),
        (["go to countertop 1"], "clean apple 1 with sinkbasin 1"),
        (["go to countertop 1", "take apple 1 from countertop 1"], "take apple 2 from countertop 1"),
        (["go to countertop 1", "take apple 1 from countertop 1"], "slice apple 2 with apple 1"),
        (["go to countertop 1", "take apple 1 from countertop 1", "go to fridge 1"], "heat apple 1 with fridge 1"),
        (["go to countertop 1", "take apple 1 from countertop 1", "go to fridge 1"], "move apple 1 to fridge 1"),
        (
            ["go to countertop 1", "take knife 1 from countertop 1", "go to microwave 1"],
            "heat knife 1 with microwave 1",
        ),
        (
            ["go to countertop 1", "take knife 1 from countertop 1", "go to fridge 1", "open fridge 1"],
            "move knife 1 to fridge 1",
        ),
        (["go to fridge 1"], "take apple 3 from fridge 1"),
        (["go to fridge 1"], "close fridge 1"),
        (["go to sidetable 1"], "take desklamp 1 from sidetable 1"),
        (["go to sidetable 1"], "examine desklamp 1"),
        (["go to countertop 1"], "use desklamp 1"),
        (["go to countertop 1"], "use apple 1"),
    ],
)
def test_what_is_impossible_changes_nothing(before: list[str], command: str) -> None:
    played = machine()
    run(played, *before)
    state = played.state()
    text, invalid = played.apply(command)
    assert (text, bool(invalid), played.state()) == ("Nothing happens.", True, state)


def test_admissible_commands_are_those_of_the_official_engine() -> None:
    played = machine()
    assert admissible(played, True) == (*WAYS, "help", "inventory", "look")
    run(played, "go to countertop 1")
    ways = tuple(way for way in WAYS if way != "go to countertop 1")
    takes = tuple(f"take {thing} from countertop 1" for thing in ("apple 1", "apple 2", "knife 1"))
    assert admissible(played, True) == ("examine countertop 1", *ways, "help", "inventory", "look", *takes)
    run(played, "take knife 1 from countertop 1")
    assert admissible(played, True) == (
        *("examine countertop 1", "examine knife 1", *ways, "help", "inventory", "look"),
        *("move knife 1 to countertop 1", "slice apple 1 with knife 1", "slice apple 2 with knife 1"),
    )
    run(played, "move knife 1 to countertop 1", "take apple 1 from countertop 1", "go to fridge 1", "open fridge 1")
    ways = tuple(way for way in WAYS if way != "go to fridge 1")
    assert admissible(played, True) == (
        *("close fridge 1", "cool apple 1 with fridge 1", "examine apple 1", "examine fridge 1"),
        *(*ways, "help", "inventory", "look", "move apple 1 to fridge 1"),
    )
    assert "help" not in admissible(played, False)


# Goals, rewards, milestones.

FETCH_APPLE = ("go to countertop 1", "take apple 1 from countertop 1")
WAYS_TO_WIN: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    PICK: (
        (PICK, "mug", "sinkbasin"),
        (
            "go to cabinet 1",
            "open cabinet 1",
            "take mug 1 from cabinet 1",
            "go to sinkbasin 1",
            "move mug 1 to sinkbasin 1",
        ),
        ("found", "taken", "placed"),
    ),
    LOOK: (
        (LOOK, "apple", "", "desklamp"),
        (*FETCH_APPLE, "go to sidetable 1", "use desklamp 1"),
        ("found", "taken", "lit", "examined"),
    ),
    CLEAN: (
        (CLEAN, "apple", "sidetable"),
        (
            *FETCH_APPLE,
            "go to sinkbasin 1",
            "clean apple 1 with sinkbasin 1",
            "go to sidetable 1",
            "move apple 1 to sidetable 1",
        ),
        ("found", "taken", "cleaned", "placed"),
    ),
    HEAT: (
        (HEAT, "apple", "sidetable"),
        (
            *FETCH_APPLE,
            "go to microwave 1",
            "heat apple 1 with microwave 1",
            "go to sidetable 1",
            "move apple 1 to sidetable 1",
        ),
        ("found", "taken", "heated", "placed"),
    ),
    COOL: (
        (COOL, "apple", "sidetable"),
        (
            *FETCH_APPLE,
            "go to fridge 1",
            "cool apple 1 with fridge 1",
            "go to sidetable 1",
            "move apple 1 to sidetable 1",
        ),
        ("found", "taken", "cooled", "placed"),
    ),
    TWO: (
        (TWO, "apple", "sidetable"),
        (
            *(*FETCH_APPLE, "go to sidetable 1", "move apple 1 to sidetable 1", "go to countertop 1"),
            *("take apple 2 from countertop 1", "go to sidetable 1", "move apple 2 to sidetable 1"),
        ),
        ("found", "taken", "placed", "second_taken", "second_placed"),
    ),
}


@pytest.mark.parametrize("kind", TASK_TYPES)
def test_the_goal_is_reached_by_the_last_step_and_not_before(kind: str) -> None:
    goal, commands, milestones = WAYS_TO_WIN[kind]
    played = machine(*goal)
    won = []
    for command in commands:
        assert not played.apply(command)[1]
        won.append(played.won)
    assert won == [False] * (len(commands) - 1) + [True]
    assert played.milestones == milestones


def test_a_chore_undone_does_not_count() -> None:
    played = machine(HEAT, "apple", "fridge")
    run(played, *FETCH_APPLE, "go to microwave 1", "heat apple 1 with microwave 1", "go to fridge 1", "open fridge 1")
    run(played, "cool apple 1 with fridge 1", "move apple 1 to fridge 1")
    assert not played.won


def test_two_objects_count_only_in_one_receptacle() -> None:
    layout = Layout("kitchen", ("sidetable 2", "sidetable 1", "sinkbasin 1"), (), (), ())
    goal = Goal(TWO, "apple", "sidetable", "", "…")
    played = Machine(Game(layout, ("apple 2", "apple 1"), ((), (), (0, 1)), goal, "key"))
    for apple, table in (("apple 1", "sidetable 1"), ("apple 2", "sidetable 2")):
        run(played, "go to sinkbasin 1", f"take {apple} from sinkbasin 1", f"go to {table}", f"move {apple} to {table}")
    assert not played.won
    run(played, "take apple 2 from sidetable 2", "go to sidetable 1", "move apple 2 to sidetable 1")
    assert played.won


def test_taking_the_object_where_the_lamp_burns_counts_as_examining() -> None:
    played = machine(LOOK, "book", "", "desklamp")
    run(played, "go to sidetable 1", "use desklamp 1")
    assert not played.won
    run(played, "take book 1 from sidetable 1")
    assert played.won


def test_the_reward_is_paid_once_at_the_goal() -> None:
    env = Household(**SMALL, reward=10.0)
    env.reset(options={"split": "train", "index": 1})
    total, terminated = 0.0, False
    while not terminated:
        _, reward, terminated, truncated, info = env.step(env.expert_action())
        assert info["rewards"] == {"goal": reward}
        assert not truncated
        total += reward
    assert (total, info["success"], info["invalid"]) == (10.0, True, "")
    assert env.step("look")[:4] == ("Nothing happens.", 0.0, True, False)


def test_the_last_turn_truncates() -> None:
    env = Household(**{**SMALL, "max_turns": 3})
    env.reset(seed=1)
    assert [env.step("look")[2:4] for _ in range(4)] == [(False, False), (False, False), (False, True), (False, True)]


def test_the_anchor_is_the_observation_or_the_true_state() -> None:
    seen, true = Household(**SMALL), Household(**SMALL, anchor="state")
    first = [env.reset(options={"split": "train", "index": 5})[1]["anchor"] for env in (seen, true)]
    later = [env.step("no such command")[4]["anchor"] for env in (seen, true)]
    assert first[0].startswith("-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room.")
    assert later == ["Nothing happens.", first[1]]
    assert true.step("go to fridge 1")[4]["anchor"] != first[1]
    assert true.step("open fridge 1")[4]["anchor"] != true.step("close fridge 1")[4]["anchor"]


def test_commands_are_read_strictly() -> None:
    game = room(Goal(PICK, "mug", "fridge", "", "…"))
    assert reading(game, "go to fridge 1") == ("go", 4, -1)
    assert reading(game, "go to fridge 1 ") is None
    assert reading(game, "go from fridge 1") is None


def test_a_knife_slices_through_a_closed_door_as_in_the_official_domain() -> None:
    env = Household(rooms=("kitchen",))
    for index in range(400):
        env.reset(options={"split": "train", "index": index})
        machine = env.machine
        game, types = machine.game, machine.game.types
        fridge = game.layout.types.index("fridge")
        food = [thing for thing in machine.contents[fridge] if types[thing] in SLICEABLE]
        knives = [thing for thing, kind in enumerate(types) if kind in KNIVES]
        if food and knives:
            break
    knife, place = game.objects[knives[0]], machine.places[knives[0]]
    home = game.layout.receptacles[place]
    for action in (f"go to {home}", f"open {home}", f"take {knife} from {home}", "go to fridge 1"):
        info = env.step(action)[4]
    command = f"slice {game.objects[food[0]]} with {knife}"
    assert "open fridge 1" in info["admissible"]
    assert command in info["admissible"]
    assert not env.step(command)[4]["invalid"]


@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        (["dance"], "'dance' is no command, or names something that is not in this room."),
        (["open countertop 1"], "You are not at the countertop 1; go there first."),
        (["go to countertop 1", "go to countertop 1"], "You are at the countertop 1 already."),
        (["go to countertop 1", "open countertop 1"], "The countertop 1 has no door that you could open now."),
        (["go to fridge 1", "take apple 1 from fridge 1"], "The fridge 1 is closed; open it first."),
    ],
)
def test_feedback_says_why_nothing_happened(commands: list[str], reason: str) -> None:
    played = machine()
    assert [bool(played.apply(command)[1]) for command in commands] == [False] * (len(commands) - 1) + [True]
    assert why(played, commands[-1]) == reason


def test_feedback_is_given_only_where_nothing_happened() -> None:
    env = Household()
    env.reset(seed=0)
    assert env.step("dance")[4]["feedback"]
    assert "feedback" not in env.step("look")[4]
