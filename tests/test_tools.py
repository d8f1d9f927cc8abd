"""Tool worlds: the base class that strangers build on, and the library desk."""

from __future__ import annotations

import copy
import datetime as dt
import importlib
import itertools
import json
import pickle
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from agentrl import (
    ConfigError,
    Message,
    PluginError,
    Spec,
    Task,
    ToolAction,
    ToolCall,
    ToolEnvironment,
    ToolError,
    default_host,
    tool,
)
from agentrl.testing import check_environment
from agentrl_envs.tools import rules, tiny
from agentrl_envs.tools.database import Database
from agentrl_envs.tools.stock import FULL, library
from agentrl_envs.tools.tasks import WHO, job, splits_of
from agentrl_envs.tools.users import GOODBYE, ScriptedUser
from agentrl_envs.tools.world import LibraryDesk

EXAMPLE = Path(__file__).parents[1] / "examples/tool_world.py"


class Lamp(ToolEnvironment):
    """Turn the lamp to the level that is asked for."""

    splits = {"train": 10}
    max_turns = 4

    def begin(self, task: Task) -> str:
        self.level = 0
        return f"Set it to {task.index}."

    def hear(self, message: str) -> str | None:
        return "Go on." if message == "wait" else None

    def score(self) -> dict[str, float]:
        return {"level": 0.75 * (self.level == self.task.index), "calm": 0.25}

    @tool
    def turn(self, level: Annotated[int, Field(ge=0, le=9)], mode: Literal["slow", "fast"] = "slow") -> dict[str, Any]:
        """Turn the lamp.

        Args:
            level (int): how bright,
                from 0 to 9
            mode: how quickly
        """
        self.level = level
        return {"level": level, "mode": mode}

    @tool
    def burn(self, copy: str, schema: float = 1) -> str:
        """A tool whose arguments have names that pydantic keeps for itself."""
        raise ToolError(f"it will not burn {copy} {schema}")

    @tool
    def leave(self) -> str:
        """Ends the episode."""
        self.finish()
        return "good night"


def lamp(index: int = 3) -> Lamp:
    env = Lamp()
    env.reset(seed=0, options={"split": "train", "index": index})
    return env


def call(tool: str, /, **arguments: Any) -> str:
    return ToolAction((ToolCall(tool, arguments),)).write()


def test_the_schema_comes_from_annotations_and_docstring() -> None:
    turn = Lamp().tool_schemas[0]["function"]
    assert (turn["name"], turn["description"]) == ("turn", "Turn the lamp.")
    assert turn["parameters"]["required"] == ["level"]
    level, mode = turn["parameters"]["properties"]["level"], turn["parameters"]["properties"]["mode"]
    assert level == {"type": "integer", "minimum": 0, "maximum": 9, "description": "how bright, from 0 to 9"}
    assert mode == {"type": "string", "enum": ["slow", "fast"], "default": "slow", "description": "how quickly"}
    assert [schema["function"]["name"] for schema in Lamp().tool_schemas] == ["turn", "burn", "leave"]


def test_a_call_runs_and_the_score_is_asked_at_the_end() -> None:
    env = lamp()
    assert json.loads(env.step(call("turn", level=3))[0]) == {"level": 3, "mode": "slow"}
    _, reward, terminated, truncated, info = env.step("It is done.")
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)
    assert info["rewards"] == {"level": 0.75, "calm": 0.25}


def test_a_partial_score_is_no_success() -> None:
    env = lamp()
    _, reward, terminated, _, info = env.step("It is done.")
    assert (reward, terminated, info["success"]) == (0.25, True, False)


def test_several_calls_run_in_order_and_errors_stay_their_own() -> None:
    env = lamp()
    action = f"[{call('turn', level=1)}, {call('turn', level=99)}, {call('turn', level=2, mode='fast')}]"
    observation, *_, info = env.step(action)
    first, second, third = map(json.loads, observation.splitlines())
    assert first["level"] == 1
    assert "less than or equal to 9" in second["error"]
    assert third == {"level": 2, "mode": "fast"}
    assert info["invalid"] == second["error"]
    assert env.level == 2


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ('{"name": "turn", "arguments": {"level": 1}', ["not valid JSON", "character"]),
        (call("trun", level=1), ["Did you mean 'turn'"]),
        (call("turn"), ["'level' is missing"]),
        (call("turn", level="1"), ["'level'", "valid integer", "given '1'"]),
        (call("turn", level=1, mod="slow"), ["no argument 'mod'", "Did you mean 'mode'"]),
        (call("turn", level=True), ["'level'"]),
        (call("burn", copy="paper"), ["it will not burn paper 1"]),
        (call("__init__"), ["there is no tool '__init__'"]),
        (call("reset"), ["there is no tool 'reset'"]),
        ("[]", ["0 calls"]),
        (f"[{', '.join([call('leave')] * 65)}]", ["65 calls"]),
        ('{"tool": "turn"}', ["a call is written as"]),
        ('{"name": "turn", "args": {}}', ["no 'args'"]),
        ('{"name": "turn", "arguments": [1]}', ['"arguments" must be an object']),
        ('{"name": "turn", "arguments": {"level": 1e999}}', ["too large"]),
        (f'{{"name": "turn", "arguments": {{"level": {"9" * 5000}}}}}', ["64 bits"]),
        ('{"name": "turn", "arguments": {"level": NaN}}', ["NaN"]),
        ('{"name": "\\ud800"}', ["surrogate"]),
        ("[" * 200_000, ["nested deeper than 64"]),
        ('{"name": "turn", "arguments": {"level": ' + "[" * 70 + "]" * 70 + "}}", ["nested deeper than 64"]),
        ("", ["the action is empty"]),
    ],
)
def test_what_an_agent_gets_wrong_is_an_error_it_can_read(action: str, words: list[str]) -> None:
    env = lamp()
    observation, reward, terminated, truncated, info = env.step(action)
    error = json.loads(observation)["error"]
    assert all(word in error for word in words), error
    assert info["invalid"] == error
    assert (reward, terminated, truncated, env.level) == (0.0, False, False, 0)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text() | st.text('{}[]",:namegut1 \\u').map(lambda text: "{" + text))
def test_no_text_is_an_exception(text: str) -> None:
    observation, *_ = lamp().step(text)
    assert isinstance(observation, str)


def test_a_user_may_answer_and_a_tool_may_end_it() -> None:
    env = lamp()
    assert env.step("wait")[:3] == ("Go on.", 0.0, False)
    observation, _, terminated, _, _ = env.step(call("leave"))
    assert (observation, terminated) == ("good night", True)
    assert env.step("more")[1:4] == (0.0, True, False)


def test_the_turn_limit_truncates_without_a_reward() -> None:
    env = lamp()
    for _ in range(3):
        assert not env.step(call("turn", level=3))[3]
    _, reward, terminated, truncated, info = env.step(call("turn", level=3))
    assert (reward, terminated, truncated, info["success"]) == (0.0, False, True, False)
    assert env.step("done")[1:4] == (0.0, False, True)


def test_step_before_reset_is_refused_as_gymnasium_does() -> None:
    with pytest.raises(gymnasium.error.ResetNeeded):
        Lamp().step("x")


def test_a_tool_without_docstring_or_annotation_is_refused_when_it_is_written() -> None:
    with pytest.raises(PluginError, match="no docstring"):
        tool(lambda self: None)

    def bare(self: Any, level) -> None:  # type: ignore[no-untyped-def]
        """Has a docstring."""

    def spread(self: Any, **levels: int) -> None:
        """Has a docstring."""

    with pytest.raises(PluginError, match="annotate 'level'"):
        tool(bare)
    with pytest.raises(PluginError, match="'levels'"):
        tool(spread)


def test_a_bug_in_a_tool_is_no_message_to_the_agent() -> None:
    class Broken(Lamp):
        @tool
        def turn(self, level: int) -> None:  # type: ignore[override]
            """Turn the lamp."""
            raise KeyError("a bug")

    env = Broken()
    env.reset(seed=0)
    with pytest.raises(KeyError):
        env.step(call("turn", level=1))


# The example in the documentation


def test_a_strangers_tool_world_takes_at_most_60_lines_and_passes_the_kit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 60
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    bakery = importlib.import_module(EXAMPLE.stem).Bakery
    report = check_environment(bakery, name="bakery", actions=500)
    assert report.passed, report.failures


# The library desk


def play(env: LibraryDesk, split: str, index: int) -> dict[str, Any]:
    env.reset(seed=0, options={"split": split, "index": index})
    while True:
        _, reward, terminated, truncated, info = env.step(env.expert_action())
        assert not info["invalid"], info["invalid"]
        if terminated or truncated:
            assert reward == float(info["success"])
            return info


def test_the_desk_offers_29_tools_and_every_one_is_described() -> None:
    schemas = [schema["function"] for schema in LibraryDesk().tool_schemas]
    assert len({schema["name"] for schema in schemas}) == 29
    assert all(schema["description"] for schema in schemas)


@pytest.mark.parametrize("preset", ["full", "tiny"])
def test_gold_solves_300_tasks_of_every_kind(preset: Literal["full", "tiny"]) -> None:
    env, kinds, keys = LibraryDesk(preset=preset), Counter[str](), set()
    for index in range(100):
        for split in env.splits:
            info = play(env, split, index)
            assert info["success"], (split, index)
            assert info["milestones"][-2:] == ("database", "answers")
            kinds.update(request.kind for request in env._job.requests)
            keys.add(info["task"].split("-")[1])
    assert len(keys) > 285, "tasks repeat"
    assert len(kinds) >= (20 if preset == "full" else 4)
    refused = sum(count for kind, count in kinds.items() if "refused" in kind)
    assert 0.05 < refused / kinds.total() < 0.4


@pytest.mark.parametrize("preset", ["full", "tiny"])
def test_what_is_told_decides_the_split(preset: Literal["full", "tiny"]) -> None:
    for split in LibraryDesk.splits:
        for index in range(40):
            assert splits_of(job(preset, split, index)) == {split}


def test_a_later_wish_meets_what_an_earlier_one_left() -> None:
    """Who has just reported a loss owes at least its fee of 20.00."""
    for index in range(3_000):
        requests = job("full", "train", index).requests
        kinds = [request.kind for request in requests]
        if "lost" in kinds and kinds[-1] in ("owed", "pay"):
            assert float(requests[-1].answers[0][0]) >= 20
            return
    raise AssertionError("no visitor first lost a book and then asked for the fines")


def test_loans_are_renewed_exactly_when_the_rules_allow_it() -> None:
    """The rules as the agent reads them, applied to what the tools show."""
    env, renewed, refused = LibraryDesk(), 0, 0
    for index in range(600):
        made = job("full", "train", index)
        if not made.requests[0].kind.startswith("renew") or made.requests[0].kind == "renew_everything":
            continue
        env.reset(seed=0, options={"split": "train", "index": index})
        member = json.loads(env.step(ToolAction((made.find,)).write())[0])
        loans = json.loads(env.step(call("list_loans", member_id=member["member_id"]))[0])
        loan = next(loan for loan in loans if loan["title"] in made.requests[0].says)
        waiting = json.loads(env.step(call("count_waiting", title_id=loan["title_id"]))[0])["waiting"]
        today = dt.date.fromisoformat(env.step(call("get_today"))[0])
        few = loan["renewals"] < {"standard": 2, "student": 3, "patron": 5}[member["tier"]]
        allowed = few and waiting == 0 and (today - dt.date.fromisoformat(loan["due"])).days <= 7
        assert allowed == (made.requests[0].kind == "renew"), (index, loan, waiting)
        renewed, refused = renewed + allowed, refused + (not allowed)
    assert min(renewed, refused) > 10


@pytest.mark.parametrize("preset", ["full", "tiny"])
def test_no_wishes_and_no_whole_script_of_one_split_are_in_another(preset: Literal["full", "tiny"]) -> None:
    """In `tiny` no opening either; in `full` two visitors of two libraries may begin with the same words."""
    seen: dict[str, set[object]] = {split: set() for split in LibraryDesk.splits}
    for split, found in seen.items():
        for index in range(600):
            made = job(preset, split, index)
            wishes = (made.identity["name"], *(request.says for request in made.requests))
            found |= {made.script, made.opening if preset == "tiny" else wishes}
    for one, two in itertools.combinations(seen.values(), 2):
        assert not one & two


def test_no_visitor_is_content_with_refusals_alone() -> None:
    """Whoever finds the visitor and says no to everything has done nothing."""
    for index in range(300):
        for split in LibraryDesk.splits:
            assert not all(request.refused for request in job("full", split, index).requests), (split, index)
            assert job("tiny", split, index).goal, (split, index)


def test_how_many_wishes_are_left_does_not_tell_whether_one_is_granted() -> None:
    """A first wish is refused as often as it would be if visitors with refusals alone were not asked for more."""
    first = [job("full", "train", index).requests[0].refused for index in range(1_500)]
    assert 0.17 < sum(first) / len(first) < 0.30


@pytest.mark.parametrize("preset", ["full", "tiny"])
def test_the_visitor_has_to_be_found_and_nobody_else(preset: Literal["full", "tiny"]) -> None:
    """A fixed list of calls with every card, or every loan, would otherwise settle some tasks."""
    env = LibraryDesk(preset=preset)
    for index in range(20):
        made = job(preset, "train", index)
        others = [row["card"] for row in Database(made.content).rows("SELECT card FROM members") if row["card"]]
        for before, wanted in (
            ((), True),
            ([call("find_member_by_card", card="C1")], True),  # a card that nobody has
            ([call("find_member_by_card", card=card) for card in others], False),
        ):
            env.reset(seed=0, options={"split": "train", "index": index})
            info: dict[str, Any] = {}
            for action in (*before, *made.script):
                info = env.step(action)[4]
            assert info["success"] == wanted
            assert ("1. First find out" in info.get("feedback", "")) != wanted
        env.reset(seed=0, options={"split": "train", "index": index})
        for action in made.script[made.script.index(made.find.write()) + 1 :]:
            info = env.step(action)[4]
        assert not info["success"], "nobody was found"


def test_admissible_tiny_actions_run_wherever_random_play_leads() -> None:
    """Also after a loan was returned, a fine paid, a card named that nobody has."""
    env = LibraryDesk(preset="tiny")
    for index in range(60):
        _, info = env.reset(seed=0, options={"split": "train", "index": index})
        picks = np.random.default_rng(index)
        env.step(call("find_member_by_card", card="C9"))
        for _ in range(20):
            calls = [action for action in info["admissible"] if action != tiny.DONE]
            info = env.step(calls[int(picks.integers(len(calls)))])[4]
            assert not info["invalid"]


def find(env: LibraryDesk, kind: str) -> None:
    """Reset to the first training task that begins with a request of this kind, and has no other unless it is refused."""
    for index in range(3_000):
        made = job("full", "train", index)
        if made.requests[0].kind == kind and len(made.requests) == 1 + made.requests[0].refused:
            env.reset(seed=0, options={"split": "train", "index": index})
            return
    raise AssertionError(f"no task {kind!r}")


def finish(env: LibraryDesk, skip: str = "", replace: str = "") -> dict[str, Any]:
    """Play the script without one tool, or with another last message."""
    info: dict[str, Any] = {}
    for action in env._job.script:
        said = ToolAction.read(action)
        if said.calls and said.calls[0].name == skip:
            continue
        if action == env._job.requests[-1].reply and replace:
            action = replace
        *_, info = env.step(action)
    return info


def test_a_database_that_differs_scores_nothing() -> None:
    env = LibraryDesk()
    find(env, "pay")
    info = finish(env, skip="pay_fine")
    assert not info["success"]
    assert info["milestones"] == ("answers",)


def test_more_than_what_was_asked_scores_nothing() -> None:
    env = LibraryDesk()
    find(env, "owed")
    member = env._job.requests[0].calls[0].arguments["member_id"]
    env.step(call("update_email", member_id=member, email="a@b.example"))
    assert not finish(env)["success"]


def test_a_required_answer_that_was_not_given_scores_nothing() -> None:
    env = LibraryDesk()
    find(env, "owed")
    info = finish(env, replace="I would rather not say.")
    assert not info["success"]
    assert info["milestones"] == ("database",)


def test_a_forbidden_request_is_solved_by_refusing_and_failed_by_doing_it() -> None:
    env = LibraryDesk()
    find(env, "renew refused")
    assert finish(env)["success"]
    find(env, "renew refused")
    loans = json.loads(env.step(call("list_loans", member_id=env._job.requests[0].calls[0].arguments["member_id"]))[0])
    loan = next(loan for loan in loans if loan["title"] in env._job.requests[0].says)
    assert "due" in env.step(call("renew_loan", loan_id=loan["loan_id"]))[0], "the tools do not enforce the rules"
    assert not finish(env)["success"]


def test_the_scripted_visitor_answers_questions_and_goes_on_after_statements() -> None:
    made = next(
        made
        for made in (job("full", "train", index) for index in range(500))
        if len(made.requests) == 2 and not made.introduced
    )
    user = ScriptedUser(made)
    assert made.requests[0].says in user.open()
    told = user.hear(WHO)
    assert told is not None
    assert made.identity["name"] in told
    assert made.identity["postcode"] in told
    assert user.hear("Are you sure?") == "Yes, please."
    assert user.hear("What is your shoe size?") == "I am sorry, I do not know that."
    assert user.hear("That is done.") == made.requests[1].says
    assert user.hear("That is done, too.") is None


def test_the_expert_only_asks_who_the_visitor_is() -> None:
    for index in range(200):
        made = job("full", "train", index)
        user = ScriptedUser(made)
        for number, request in enumerate(made.requests, 1):
            user.hear(request.reply)
            assert user.request == number, f"{request.reply!r} was taken for a question"


class Visitor:
    """A voice that plays the visitor: it states its wishes one by one, then leaves."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def say(self, messages: Sequence[Message], *, seed: int, timeout_s: float = 60.0) -> str:
        self.seeds.append(seed)
        wishes = [line.split(". ", 1)[1] for line in messages[0].content.splitlines() if line[:1].isdigit()]
        known = messages[0].content.split("You know: ")[1].splitlines()[0]
        said = sum(message.role == "assistant" for message in messages)
        return f"{wishes[said]} {known}" if said < len(wishes) else GOODBYE


def test_a_policy_can_play_the_visitor() -> None:
    visitor = Visitor()
    env = LibraryDesk(user=visitor)
    assert env.blocks
    solved = 0
    for index in range(20):
        env.reset(seed=0, options={"split": "train", "index": index})
        info: dict[str, Any] = {}
        for action in env._job.script:
            if action != WHO:
                *_, info = env.step(action)
        solved += info["success"]
    assert solved == 20
    assert not LibraryDesk().blocks


def test_what_the_visitor_says_follows_from_the_seed_of_the_world() -> None:
    visitors = [Visitor(), Visitor(), Visitor()]
    for visitor, seed in zip(visitors, (0, 0, 1), strict=True):
        env = LibraryDesk(user=visitor)
        env.reset(seed=seed, options={"split": "train", "index": 2})
        for action in env._job.script:
            env.step(action)
        assert len(set(visitor.seeds)) == len(visitor.seeds) > 1
    assert visitors[0].seeds == visitors[1].seeds
    assert visitors[0].seeds != visitors[2].seeds


def test_a_world_with_a_policy_inside_can_be_restored() -> None:
    env = LibraryDesk(user=Visitor())
    env.reset(seed=0, options={"split": "train", "index": 2})
    taken = env.snapshot()
    first = [env.step(action)[0] for action in env._job.script if action != WHO]
    env.restore(taken)
    assert [env.step(action)[0] for action in env._job.script if action != WHO] == first


def test_tools_check_what_can_be_and_rules_are_left_to_the_agent() -> None:
    env = LibraryDesk()
    env.reset(seed=0, options={"split": "train", "index": 0})
    for action, word in (
        (call("find_member_by_card", card="C1"), "there is no card 'C1'"),
        (call("pay_fine", fine_id="'; DROP TABLE fines; --"), "there is no fine"),
        (call("find_rooms", branch_id="B1", seats=2, day="tomorrow", hour=10), "date"),
        (call("book_room", member_id="M1", room_id="R1", day="2020-01-01", hour=10), "is over"),
        (call("update_email", member_id="M1", email="nonsense"), "'email'"),
        (call("check_out", member_id="M1", copy_id="K1\x00"), "there is no copy"),
    ):
        assert word in env.step(action)[0]
    assert len(env.database.rows("SELECT * FROM fines")) > 0


def test_milestones_are_the_facts_that_the_gold_calls_establish() -> None:
    env = LibraryDesk()
    find(env, "lost")
    member = json.loads(env.step(ToolAction((env._job.find,)).write())[0])
    loan, lost = env._job.gold[-1].arguments["loan_id"], ToolAction((env._job.gold[-1],)).write()
    assert env.step(call("list_loans", member_id=member["member_id"]))[4]["milestones"] == ()
    reached = env.step(lost)[4]["milestones"]
    assert f"loans {loan}" in reached
    assert len(reached) == 3  # the loan, its copy, and the fine


@pytest.mark.parametrize(
    ("kind", "tool", "rule"),
    [
        ("renew refused", "renew_loan", "2."),
        ("waive refused", "waive_fine", "4."),
        ("extend refused", "extend_membership", "6."),
    ],
)
def test_feedback_names_the_rule_that_a_call_broke(kind: str, tool: str, rule: str) -> None:
    env = LibraryDesk()
    find(env, kind)
    member = json.loads(env.step(ToolAction((env._job.find,)).write())[0])["member_id"]
    loans = json.loads(env.step(call("list_loans", member_id=member))[0])
    fines = json.loads(env.step(call("list_fines", member_id=member))[0])
    said = env._job.requests[0].says
    arguments = {
        "renew_loan": {"loan_id": next((loan["loan_id"] for loan in loans if loan["title"] in said), "")},
        "waive_fine": {"fine_id": next((fine["fine_id"] for fine in fines if fine["amount"] in said), "")},
        "extend_membership": {"member_id": member},
    }[tool]
    info = env.step(call(tool, **arguments))[4]
    assert info["feedback"].startswith(f"The call of {tool} broke a rule. {rule}")
    assert info["invalid"] == ""
    assert "feedback" not in env.step(call("get_today"))[4]


def test_the_calls_of_a_turn_are_told_with_their_errors() -> None:
    env = LibraryDesk()
    _, info = env.reset(seed=0, options={"split": "train", "index": 0})
    assert info["hidden"]["gold_calls"][0]["name"] == env._job.gold[0].name
    assert info["hidden"]["persona"]["wishes"]
    good, bad = env.step(f"[{call('get_today')}, {call('get_member', member_id='M0')}]")[4]["calls"]
    assert good == {"name": "get_today", "arguments": {}, "error": ""}
    assert bad == {"name": "get_member", "arguments": {"member_id": "M0"}, "error": "there is no member 'M0'"}
    assert env.step("Good morning?")[4]["calls"] == []


def test_databases_are_copied_compared_and_pickled_as_a_whole() -> None:
    database = Database(library(FULL, (0, 1)))
    same, loaded = copy.deepcopy(database), pickle.loads(pickle.dumps(database))
    assert not same.changed_since(database.serialize()) | loaded.changed_since(database.serialize())
    same.change("UPDATE fines SET state = 'paid'")
    changed = same.changed_since(database.serialize())
    assert changed == copy.deepcopy(same).changed_since(database.serialize())
    assert {table for table, _ in changed} == {"fines"}
    assert rules.money(1205) == "12.05"


def test_a_task_can_be_replayed_and_counted() -> None:
    env, wins = LibraryDesk(preset="tiny"), []
    for index in range(4):
        wins.append(0)
        for repeat in range(3):
            env.reset(seed=repeat, options={"split": "valid", "index": index})
            info: dict[str, Any] = {"success": False}
            if repeat == index == 0:
                *_, info = env.step("It is all wrong.")
            else:
                info = play(env, "valid", index)
            wins[-1] += bool(info["success"])
    assert wins == [2, 3, 3, 3]


def test_the_tiny_preset_is_short_and_lists_sound_actions() -> None:
    report = check_environment(Spec("environment", "tools", {"preset": "tiny"}), actions=300)
    assert report.passed, report.failures
    env, longest = LibraryDesk(preset="tiny"), 0
    for index in range(50):
        observation, info = env.reset(seed=0, options={"split": "train", "index": index})
        longest = max(longest, len(observation))
        assert tiny.DONE in info["admissible"]
        over = False
        while not over:
            action = env.expert_action()
            assert action in info["admissible"]
            observation, _, over, _, info = env.step(action)
            longest = max(longest, len(observation))
    assert longest < 200
    assert env.tool_schemas == ()


def test_the_truer_anchor_knows_what_was_done() -> None:
    env = LibraryDesk(preset="tiny", anchor="state")
    env.reset(seed=0, options={"split": "train", "index": 0})
    before = env.step("{")[4]["anchor"]
    env.step(env.expert_action())
    assert env.step("{")[4]["anchor"] != before
    assert env.step("{")[0] == env.step("{")[0]


def test_wrong_settings_are_one_clear_line() -> None:
    with pytest.raises(ConfigError, match="preset"):
        default_host().build(Spec("environment", "tools", {"preset": "small"}))
