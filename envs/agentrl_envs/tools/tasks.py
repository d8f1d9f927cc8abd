"""Tasks: a visitor of a library with one to three wishes, made from split and index."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from agentrl import ToolCall
from agentrl_envs.tools import tiny
from agentrl_envs.tools.database import Database, Row, Value, text
from agentrl_envs.tools.desk import Desk
from agentrl_envs.tools.requests import AREAS, Request
from agentrl_envs.tools.stock import FULL, TINY, library

SPLITS = {"train": 0, "valid": 1, "test": 2}
_LIBRARIES = {"full": 32, "tiny": 4096}  # of each split
_VISITORS = 8  # of a tiny library that are looked at before the next one
WHO = "May I have your card number, or else your name and postcode?"


@dataclass(frozen=True)
class Job:
    """One task. `identity`: what the visitor says of themselves when asked; `find`: the call that finds them."""

    content: bytes  # the library
    member: str  # id of the visitor
    opening: str
    identity: Mapping[str, str]
    find: ToolCall
    introduced: bool  # whether the opening says who they are
    requests: tuple[Request, ...]
    told: tuple[str, ...]  # texts that no other split has

    def __deepcopy__(self, memo: object) -> Job:
        return self  # never changed, so snapshots share it

    @functools.cached_property
    def script(self) -> tuple[str, ...]:
        """What an expert does, as actions in order."""
        actions = [] if self.introduced else [WHO]
        actions.append(self.find.write())
        for request in self.requests:
            actions += [call.write() for call in request.calls]
            actions.append(request.reply)
        return tuple(actions)

    @property
    def answers(self) -> tuple[tuple[str, ...], ...]:
        """Of each tuple one text must be in some message of the agent."""
        return tuple(answers for request in self.requests for answers in request.answers)

    @property
    def hidden(self) -> dict[str, object]:
        """What judges and credits may know, and the agent may not."""
        gold = [{"name": call.name, "arguments": dict(call.arguments)} for call in self.gold]
        persona = {"known": dict(self.identity), "wishes": [request.says for request in self.requests]}
        return {"gold_calls": gold, "answers": self.answers, "persona": persona}

    @functools.cached_property
    def goal(self) -> frozenset[tuple[str, tuple[Value, ...]]]:
        """The rows, each with its table, that the gold calls make or change."""
        desk = Desk(Database(self.content))
        for call in self.gold:
            desk.call(call)
        changed = desk.database.changed_since(self.content)
        desk.database.close()
        return changed

    @property
    def gold(self) -> tuple[ToolCall, ...]:
        """The calls that lead to the wanted database."""
        return tuple(call for request in self.requests for call in request.calls)


def job(preset: Literal["full", "tiny"], split: str, index: int) -> Job:
    """The same arguments give the same task. No two splits share what is asked for, nor a whole script.

    A hash of what the visitor asks for decides the split. In `full` libraries have card numbers and postcodes of
    their split, and a script begins with one of these; in `tiny`, whose cards have two digits, a hash decides on the
    script as well.
    """
    random = np.random.default_rng((SPLITS[split], index, preset == "tiny"))
    while True:
        seed = (SPLITS[split], int(random.integers(_LIBRARIES[preset])))
        for made in _tiny(seed, random) if preset == "tiny" else _full(seed, random):
            if splits_of(made) == {split}:
                return made


def splits_of(made: Job) -> set[str]:
    """The splits that a task could be in: a quarter of all is for validation, a quarter for the test."""
    return {_split(text) for text in made.told}


def _split(text: str) -> str:
    number = hashlib.blake2b(text.encode(), digest_size=1).digest()[0] % 4
    return {0: "valid", 1: "test"}.get(number, "train")


def _full(seed: tuple[int, int], random: np.random.Generator) -> Iterator[Job]:
    """A visitor with one to three wishes, and with more where all of these are refused: saying no settles nothing."""
    content = library(FULL, seed)
    database = Database(content)
    member = _someone(database, random)
    desk = Desk(database)
    requests: list[Request] = []
    areas, wishes = random.permutation(len(AREAS)).tolist(), int(random.integers(1, 4))
    for tried, area in enumerate(areas):
        if tried >= wishes and not all(request.refused for request in requests):
            break
        kinds = AREAS[area]
        request = kinds[int(random.integers(len(kinds)))](database, _again(database, member), random)
        if request is not None:
            requests.append(request)
            for call in request.calls:  # the next wish meets what this one left
                desk.call(call)
    database.close()
    if not all(request.refused for request in requests):
        yield _job(content, member, tuple(requests), random)


def _job(content: bytes, member: Row, requests: tuple[Request, ...], random: np.random.Generator) -> Job:
    name, postcode, card = text(member, "name"), text(member, "postcode"), text(member, "card")
    identity = {"name": f"My name is {name}.", "postcode": f"My postcode is {postcode}."}
    if random.random() < 0.5:
        identity["card"] = f"My card number is {card}."
        find, who = ToolCall("find_member_by_card", {"card": card}), f"My card number is {card}. "
    else:
        identity["card"] = "I do not have my card with me."
        find = ToolCall("find_member_by_name", {"name": name, "postcode": postcode})
        who = f"I am {name}, postcode {postcode}. "
    introduced = bool(random.random() < 0.5)
    opening = f"Hello. {who if introduced else ''}{requests[0].says}"
    told = (f"{identity['name']} {' '.join(request.says for request in requests)}",)
    return Job(content, text(member, "member_id"), opening, identity, find, introduced, requests, told)


def _tiny(seed: tuple[int, int], random: np.random.Generator) -> Iterator[Job]:
    """Some visitors of one library, each with a wish."""
    content = library(TINY, seed)
    with contextlib.closing(Database(content)) as database:
        for _ in range(_VISITORS):
            member = _someone(database, random)
            request = tiny.request(database, member, random)
            if request is not None:
                yield _tiny_job(content, member, request)


def _tiny_job(content: bytes, member: Row, request: Request) -> Job:
    card = text(member, "card")
    identity = {"name": f"My name is {member['name']}.", "card": f"My card number is {card}."}
    find = ToolCall("find_member_by_card", {"card": card})
    opening = f"Card {card}. {request.says}"
    told = (opening, " ".join(call.write() for call in (find, *request.calls)))
    return Job(content, text(member, "member_id"), opening, identity, find, True, (request,), told)


def _someone(database: Database, random: np.random.Generator) -> Row:
    members = database.rows("SELECT * FROM members ORDER BY rowid")
    return members[int(random.integers(len(members)))]


def _again(database: Database, member: Row) -> Row:
    found = database.row("SELECT * FROM members WHERE member_id = ?", member["member_id"])
    assert found is not None
    return found
