"""What visitors ask for: one function for each kind of request, with the calls that settle it by the rules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from agentrl import ToolCall
from agentrl_envs.tools import rules
from agentrl_envs.tools.database import Database, Row, number, text

REFUSALS = ("cannot", "can not", "can't", "unable", "not able", "not possible", "not allowed", "no longer")
"""A message that refuses holds one of these."""


@dataclass(frozen=True)
class Request:
    """One wish. Of each tuple in `answers` one text must be in some message of the agent."""

    kind: str
    says: str
    calls: tuple[ToolCall, ...]
    reply: str  # what the expert says in the end
    answers: tuple[tuple[str, ...], ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)  # what the visitor says when asked: slot → sentence

    @property
    def refused(self) -> bool:
        """Whether saying no is all there is to do."""
        return self.answers == (REFUSALS,)


Kind: TypeAlias = Callable[[Database, Row, np.random.Generator], Request | None]

_LOANS = (
    "SELECT loan_id, copy_id, title_id, title, due, renewals FROM loans JOIN copies USING (copy_id) "
    "JOIN titles USING (title_id) WHERE member_id = ? AND state = 'open' ORDER BY loans.rowid"
)
_HOLDS = (
    "SELECT hold_id, title_id, title, branch_id FROM holds JOIN titles USING (title_id) "
    "WHERE member_id = ? AND state = 'waiting' ORDER BY holds.rowid"
)


def renew(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    loan = _pick(database.rows(_LOANS, member["member_id"]), random)
    if loan is None:
        return None
    calls = [_call("list_loans", member_id=member["member_id"]), _call("count_waiting", title_id=loan["title_id"])]
    says = _say(
        random, "Please renew my loan of {0}.", "I would like to keep {0} a little longer.", title=text(loan, "title")
    )
    facts = {"title": f"It is {loan['title']}."}
    if not rules.may_renew(database, member, loan):
        return _refused("renew", says, calls, f"I cannot renew {loan['title']}.", facts)
    calls.append(_call("renew_loan", loan_id=loan["loan_id"]))
    due = (rules.today(database) + dt.timedelta(days=14)).isoformat()
    return Request("renew", says, tuple(calls), f"{loan['title']} is now due on {due}.", ((due,),), facts)


def renew_everything(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    loans = database.rows(_LOANS, member["member_id"])
    if len(loans) < 2:
        return None
    calls = [_call("list_loans", member_id=member["member_id"])]
    calls += [_call("count_waiting", title_id=loan["title_id"]) for loan in loans]
    calls += [_call("renew_loan", loan_id=loan["loan_id"]) for loan in loans if rules.may_renew(database, member, loan)]
    kept = [text(loan, "title") for loan in loans if not rules.may_renew(database, member, loan)]
    reply = f"I cannot renew {', '.join(kept)}; all else is renewed." if kept else "All your loans are renewed."
    says = "Please renew all of my loans that you can renew, and tell me which you cannot."
    return Request("renew_everything", says, tuple(calls), reply, tuple((title,) for title in kept))


def lost(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    loan = _pick(database.rows(_LOANS, member["member_id"]), random)
    if loan is None:
        return None
    calls = (_call("list_loans", member_id=member["member_id"]), _call("report_lost", loan_id=loan["loan_id"]))
    says = f"I have lost {loan['title']} and want to report it. What do I owe for it?"
    facts = {"title": f"It is {loan['title']}."}
    return Request("lost", says, calls, f"{loan['title']} is reported lost, the fee is 20.00.", (("20.00",),), facts)


def give_back(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    loan = _pick(database.rows(_LOANS, member["member_id"]), random)
    if loan is None:
        return None
    calls = (_call("list_loans", member_id=member["member_id"]), _call("return_copy", loan_id=loan["loan_id"]))
    says = _say(random, "I am bringing {0} back.", "Here is {0}, I want to return it.", title=text(loan, "title"))
    return Request("give_back", says, calls, "Thank you, it is returned.", (), {"title": f"It is {loan['title']}."})


def when_due(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    loan = _pick(database.rows(_LOANS, member["member_id"]), random)
    if loan is None:
        return None
    calls = (_call("list_loans", member_id=member["member_id"]),)
    says = f"When is {loan['title']} due? Please tell me the date as year-month-day."
    reply = f"{loan['title']} is due on {loan['due']}."
    return Request("when_due", says, calls, reply, ((text(loan, "due"),),), {"title": f"I mean {loan['title']}."})


def borrow(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    copy = _pick(database.rows("SELECT copy_id FROM copies WHERE status = 'in' ORDER BY rowid"), random)
    if copy is None:
        return None
    number = copy["copy_id"]
    says, facts = f"I want to borrow the book I have here, its copy number is {number}.", {"copy": f"It is {number}."}
    calls = [_call("list_fines", member_id=member["member_id"]), _call("list_loans", member_id=member["member_id"])]
    if not rules.may_check_out(database, member):
        return _refused("borrow", says, calls, "I cannot lend you anything at the moment.", facts)
    calls.append(_call("check_out", member_id=member["member_id"], copy_id=number))
    return Request("borrow", says, tuple(calls), "It is lent to you for three weeks.", (), facts)


def hold(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    title = _pick(database.rows("SELECT title_id, title, author FROM titles ORDER BY rowid"), random)
    branch = _pick(database.rows("SELECT * FROM branches ORDER BY rowid"), random)
    if title is None or branch is None:
        return None
    says = (
        f"Put me on the waiting list for {title['title']} by {title['author']}, to pick up at {branch['name']}, please."
    )
    facts = {"title": f"{title['title']} by {title['author']}.", "branch": f"At {branch['name']}."}
    calls = [
        _call("search_titles", words=title["title"]),
        _call("list_holds", member_id=member["member_id"]),
        _call("list_loans", member_id=member["member_id"]),
        _call("list_fines", member_id=member["member_id"]),
    ]
    if not rules.may_hold(database, member, text(title, "title_id")):
        return _refused("hold", says, calls, f"I cannot put you on the list for {title['title']}.", facts)
    calls.append(_call("list_branches"))
    branch_id = branch["branch_id"]
    calls.append(_call("place_hold", member_id=member["member_id"], title_id=title["title_id"], branch_id=branch_id))
    return Request("hold", says, tuple(calls), "You are on the waiting list.", (), facts)


def cancel_hold(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    held = _pick(database.rows(_HOLDS, member["member_id"]), random)
    if held is None:
        return None
    calls = (_call("list_holds", member_id=member["member_id"]), _call("cancel_hold", hold_id=held["hold_id"]))
    says = f"I no longer want to wait for {held['title']}."
    return Request("cancel_hold", says, calls, "You are off the list.", (), {"title": f"It is {held['title']}."})


def move_hold(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    held = _pick(database.rows(_HOLDS, member["member_id"]), random)
    if held is None:
        return None
    others = "SELECT * FROM branches WHERE branch_id <> ? ORDER BY rowid"
    branch = _pick(database.rows(others, held["branch_id"]), random)
    if branch is None:
        return None
    calls = (
        _call("list_holds", member_id=member["member_id"]),
        _call("list_branches"),
        _call("move_hold", hold_id=held["hold_id"], branch_id=branch["branch_id"]),
    )
    says = f"I am waiting for {held['title']} and would rather pick it up at {branch['name']}."
    facts = {"title": f"It is {held['title']}.", "branch": f"At {branch['name']}."}
    return Request("move_hold", says, calls, "It will be sent there.", (), facts)


def owed(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    cents = rules.open_fines(database, member)
    if not cents:
        return None
    calls = (_call("list_fines", member_id=member["member_id"]),)
    says = _say(random, "How much do I owe you in open fines?", "What do all my open fines come to?")
    return Request("owed", says, calls, f"You owe {rules.money(cents)}.", ((rules.money(cents),),))


def pay(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    fines = _open_fines(database, member)
    if not fines:
        return None
    calls = [_call("list_fines", member_id=member["member_id"])]
    calls += [_call("pay_fine", fine_id=fine["fine_id"]) for fine in fines]
    total = rules.money(sum(number(fine, "cents") for fine in fines))
    says = "I want to pay all my open fines. How much is it?"
    return Request("pay", says, tuple(calls), f"That was {total}, all is paid.", ((total,),))


def waive(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    fine = _pick(_open_fines(database, member), random)
    if fine is None or [f["cents"] for f in _open_fines(database, member)].count(fine["cents"]) > 1:
        return None
    amount = rules.money(number(fine, "cents"))
    says = f"It was not my fault that I got the fine of {amount}. Could you waive it?"
    calls = [_call("list_fines", member_id=member["member_id"])]
    if not rules.may_waive(database, member, fine):
        return _refused("waive", says, calls, f"I cannot waive the fine of {amount}.")
    calls.append(_call("waive_fine", fine_id=fine["fine_id"]))
    return Request("waive", says, tuple(calls), "The fine is waived.")


def book(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    branch = _pick(database.rows("SELECT * FROM branches ORDER BY rowid"), random)
    if branch is None:
        return None
    day = rules.today(database) + dt.timedelta(days=int(random.integers(1, 16)))
    hour, people = int(random.integers(9, 18)), int(random.integers(2, 9))
    where: dict[str, object] = {"day": day.isoformat(), "hour": hour}
    free = "SELECT room_id FROM rooms WHERE branch_id = ? AND seats >= ? AND room_id NOT IN (SELECT room_id FROM bookings WHERE day = ? AND hour = ? AND state = 'open') ORDER BY seats, rowid"
    room = database.row(free, branch["branch_id"], people, day.isoformat(), hour)
    says = f"I need a room for {people} people at {branch['name']} on {day}, from {hour} to {hour + 1} o'clock."
    facts = {"day": f"On {day}.", "hour": f"At {hour}.", "people": f"For {people}.", "branch": f"At {branch['name']}."}
    calls = [
        _call("list_bookings", member_id=member["member_id"]),
        _call("list_branches"),
        _call("find_rooms", branch_id=branch["branch_id"], seats=people, **where),
    ]
    if room is None or not rules.may_book(database, member, day):
        return _refused("book", says, calls, "I cannot book a room for you then.", facts)
    calls.append(_call("book_room", member_id=member["member_id"], room_id=room["room_id"], **where))
    return Request("book", says, tuple(calls), f"You have room {room['room_id']}.", ((text(room, "room_id"),),), facts)


def cancel_booking(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    query = "SELECT * FROM bookings WHERE member_id = ? AND state = 'open' ORDER BY rowid"
    booked = _pick(database.rows(query, member["member_id"]), random)
    if booked is None:
        return None
    calls = (
        _call("list_bookings", member_id=member["member_id"]),
        _call("cancel_booking", booking_id=booked["booking_id"]),
    )
    says = f"I do not need the room that I booked for {booked['day']} at {booked['hour']} o'clock any more."
    facts = {"day": f"On {booked['day']}.", "hour": f"At {booked['hour']}."}
    return Request("cancel_booking", says, calls, "The booking is cancelled.", (), facts)


def email(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    new = f"{text(member, 'name').split()[1]}{int(random.integers(10, 99))}@new.example".lower()
    calls = (_call("update_email", member_id=member["member_id"], email=new),)
    says = f"I have a new email address, it is {new} from now on."
    return Request("email", says, calls, "I have noted your new address.", (), {"email": f"It is {new}"})


def extend(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    calls = [_call("list_fines", member_id=member["member_id"])]
    says = "Please extend my membership."
    if not rules.may_extend(database, member):
        return _refused("extend", says, calls, "I cannot extend your membership now.")
    calls.append(_call("extend_membership", member_id=member["member_id"]))
    expires = (rules.today(database) + dt.timedelta(days=365)).isoformat()
    return Request("extend", says, tuple(calls), f"Your membership now ends on {expires}.")


def not_for_the_desk(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    says, reason = (
        ("I want to complain about the noise in the reading room.", "complaint"),
        ("I have forty old novels at home. Does the library buy them?", "sale"),
        ("I would like to give a reading of my poems here.", "event"),
    )[int(random.integers(3))]
    calls = (_call("hand_over", member_id=member["member_id"], reason=reason),)
    return Request("not_for_the_desk", says, calls, "I have handed this over to a colleague.")


AREAS: tuple[tuple[Kind, ...], ...] = (
    (renew, renew, renew_everything, lost, give_back, when_due, borrow),
    (hold, hold, cancel_hold, move_hold),
    (owed, pay, waive, waive),
    (book, book, cancel_booking),
    (email, extend, not_for_the_desk),
)
"""Kinds of requests by what they are about; a visitor asks for at most one of each area."""


def _open_fines(database: Database, member: Row) -> list[Row]:
    query = "SELECT * FROM fines WHERE member_id = ? AND state = 'open' ORDER BY rowid"
    return database.rows(query, member["member_id"])


def _call(tool: str, /, **arguments: object) -> ToolCall:
    return ToolCall(tool, arguments)


def _pick(rows: list[Row], random: np.random.Generator) -> Row | None:
    return rows[int(random.integers(len(rows)))] if rows else None


def _say(random: np.random.Generator, *ways: str, title: str = "") -> str:
    return ways[int(random.integers(len(ways)))].format(title)


def _refused(
    kind: str, says: str, calls: list[ToolCall], reply: str, facts: Mapping[str, str] | None = None
) -> Request:
    return Request(f"{kind} refused", says, tuple(calls), reply, (REFUSALS,), facts or {})
