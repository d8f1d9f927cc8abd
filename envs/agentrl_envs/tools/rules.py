"""The desk's rules: as the agent reads them, and as the tasks are made by them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from agentrl_envs.tools.database import Database, Row, number, text

RULES = """You work at the desk of a library. Help the visitor by calling tools and by talking to them.
1. First find out who the visitor is, by card number, or by full name and postcode. Work only on their own account.
2. Renew a loan only if it has been renewed fewer times than the limit (standard 2, student 3, patron 5), is at most 7 days overdue, and nobody is waiting for the title.
3. Check out copies and place holds only if the membership has not expired and the open fines are below 10.00 in all. At most 5 open loans (student 8, patron 12) and 3 waiting holds. No hold on a title that the visitor has on loan or waits for already.
4. Waive a fine only if its reason is "late", it is at most 5.00, and no fine of this visitor was ever waived.
5. A standard member may have one open booking, others two. Of the free rooms with enough seats take the one with the fewest seats, then the lowest number. Book at most 14 days ahead.
6. Extend a membership only if it ends within 30 days or has ended, and no fine is open.
7. A copy that is reported lost is charged at once; never report one that the visitor did not call lost.
8. Complaints, sales and events are not for the desk: hand them over with that reason, and tell the visitor.
9. What these rules do not allow you cannot do: say so, and change nothing. Do only what was asked."""

FIRST_RULE = RULES.split("\n")[1]

TINY_RULES = """You work at the desk of a library. Find the visitor by card number. Renew a loan only if it has been renewed fewer than 2 times; else take the copy back."""

RENEWALS = {"standard": 2, "student": 3, "patron": 5}
LOANS = {"standard": 5, "student": 8, "patron": 12}
BOOKINGS = {"standard": 1, "student": 2, "patron": 2}


def today(database: Database) -> dt.date:
    return dt.date.fromisoformat(database.value("SELECT today FROM desk"))


def money(cents: int) -> str:
    """`1250` cents are `12.50`."""
    return f"{cents // 100}.{cents % 100:02d}"


def open_fines(database: Database, member: Row) -> int:
    """What a member owes, in cents."""
    query = "SELECT COALESCE(SUM(cents), 0) FROM fines WHERE member_id = ? AND state = 'open'"
    return int(database.value(query, member["member_id"]))


def waiting(database: Database, title_id: str) -> int:
    """How many people wait for a title."""
    return int(database.value("SELECT COUNT(*) FROM holds WHERE title_id = ? AND state = 'waiting'", title_id))


def may_renew(database: Database, member: Row, loan: Row, *, limit: int | None = None) -> bool:
    """Rule 2, for a loan with its `title_id`; `limit` where the tier does not matter and nobody waits."""
    if limit is not None:
        return bool(number(loan, "renewals") < limit)
    overdue = today(database) - dt.date.fromisoformat(text(loan, "due"))
    fewer = number(loan, "renewals") < RENEWALS[text(member, "tier")]
    return bool(fewer and overdue.days <= 7 and not waiting(database, text(loan, "title_id")))


def may_borrow(database: Database, member: Row) -> bool:
    """The first sentence of rule 3."""
    return dt.date.fromisoformat(text(member, "expires")) >= today(database) and open_fines(database, member) < 1000


def may_check_out(database: Database, member: Row) -> bool:
    query = "SELECT COUNT(*) FROM loans WHERE member_id = ? AND state = 'open'"
    return may_borrow(database, member) and database.value(query, member["member_id"]) < LOANS[text(member, "tier")]


def may_hold(database: Database, member: Row, title_id: str) -> bool:
    holds = database.rows("SELECT title_id FROM holds WHERE member_id = ? AND state = 'waiting'", member["member_id"])
    query = (
        "SELECT COUNT(*) FROM loans JOIN copies USING (copy_id) WHERE member_id = ? AND title_id = ? AND state = 'open'"
    )
    has = database.value(query, member["member_id"], title_id) or title_id in [hold["title_id"] for hold in holds]
    return may_borrow(database, member) and len(holds) < 3 and not has


def may_waive(database: Database, member: Row, fine: Row) -> bool:
    query = "SELECT COUNT(*) FROM fines WHERE member_id = ? AND state = 'waived'"
    return fine["reason"] == "late" and number(fine, "cents") <= 500 and not database.value(query, member["member_id"])


def may_book(database: Database, member: Row, day: dt.date) -> bool:
    query = "SELECT COUNT(*) FROM bookings WHERE member_id = ? AND state = 'open'"
    few = database.value(query, member["member_id"]) < BOOKINGS[text(member, "tier")]
    return bool(few and day <= today(database) + dt.timedelta(days=14))


def may_extend(database: Database, member: Row) -> bool:
    soon = today(database) + dt.timedelta(days=30)
    return dt.date.fromisoformat(text(member, "expires")) <= soon and not open_fines(database, member)


def broken(database: Database, tool: str, arguments: Mapping[str, Any], limit: int | None = None) -> str:
    """Which rule a call would break, in words; empty where none, or where the tool refuses anyway.

    `limit`: as for `may_renew`; with it, that is the only rule.
    """
    if tool not in _RULE_OF or (limit is not None and tool != "renew_loan"):
        return ""
    row: Row | None = dict(arguments)
    if tool in _ROW_OF:
        row = database.row(_ROW_OF[tool], *arguments.values())
    member = row and database.row("SELECT * FROM members WHERE member_id = ?", row["member_id"])
    if not row or not member:
        return ""
    allowed: Callable[[], bool] = {
        "renew_loan": lambda: may_renew(database, member, row, limit=limit),
        "check_out": lambda: may_check_out(database, member),
        "place_hold": lambda: may_hold(database, member, arguments["title_id"]),
        "waive_fine": lambda: may_waive(database, member, row),
        "book_room": lambda: may_book(database, member, arguments["day"]),
        "extend_membership": lambda: may_extend(database, member),
    }[tool]
    rule = RULES.split("\n")[_RULE_OF[tool]] if limit is None else TINY_RULES
    return "" if allowed() else f"The call of {tool} broke a rule. {rule}"


_RULE_OF = {"renew_loan": 2, "check_out": 3, "place_hold": 3, "waive_fine": 4, "book_room": 5, "extend_membership": 6}
_ROW_OF = {
    "renew_loan": "SELECT loans.*, title_id FROM loans JOIN copies USING (copy_id) WHERE loan_id = ?",
    "waive_fine": "SELECT * FROM fines WHERE fine_id = ?",
}
"""What a tool is about, where that is not a member."""
