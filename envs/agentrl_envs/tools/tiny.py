"""The tiny preset: few tools, one short wish, for models that are trained from nothing in minutes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

import numpy as np

from agentrl import ToolCall
from agentrl_envs.tools import rules
from agentrl_envs.tools.database import Database, Row
from agentrl_envs.tools.requests import Request

TOOLS = ("find_member_by_card", "list_loans", "renew_loan", "return_copy", "list_fines", "pay_fine")
RENEWAL_LIMIT = 2
DONE = "It is done."

_LOANS = (
    "SELECT loan_id, title, renewals FROM loans JOIN copies USING (copy_id) JOIN titles USING (title_id) "
    "WHERE member_id = ? AND state = 'open' ORDER BY loans.rowid"
)
_IDS = {
    "find_member_by_card": "card",
    "list_loans": "member_id",
    "list_fines": "member_id",
    "renew_loan": "loan_id",
    "return_copy": "loan_id",
    "pay_fine": "fine_id",
}
_OPEN = {
    "loan_id": "SELECT 1 FROM loans WHERE loan_id = ? AND state = 'open'",
    "fine_id": "SELECT 1 FROM fines WHERE fine_id = ? AND state = 'open'",
}
"""What can be renewed, returned or paid."""
_KEPT = ("member_id", "loan_id", "title", "renewals", "fine_id", "state")
_SEEN = {
    "card": re.compile(r"\bC\d+\b"),
    "member_id": re.compile(r'"(M\d+)"'),
    "loan_id": re.compile(r'"(L\d+)"'),
    "fine_id": re.compile(r'"(F\d+)"'),
}


def request(database: Database, member: Row, random: np.random.Generator) -> Request | None:
    """Renew a loan, which is taken back where that is not allowed, return one, or pay fines; None where there is none.

    So every wish changes the database, and no fixed answer settles any.
    """
    find = ToolCall("list_loans", {"member_id": member["member_id"]})
    kind = ("renew", "return", "pay")[int(random.choice(3, p=[0.5, 0.25, 0.25]))]
    if kind == "pay":
        return _pay(database, member)
    loans = database.rows(_LOANS, member["member_id"])
    loan = loans[int(random.integers(len(loans)))]
    title, loan_id = loan["title"], loan["loan_id"]
    taken_back = (find, ToolCall("return_copy", {"loan_id": loan_id}))
    if kind == "return":
        return Request("return", f"Return {title}.", taken_back, DONE)
    if not rules.may_renew(database, member, loan, limit=RENEWAL_LIMIT):
        return Request("renew refused", f"Renew {title}.", taken_back, DONE)
    return Request("renew", f"Renew {title}.", (find, ToolCall("renew_loan", {"loan_id": loan_id})), DONE)


def shortened(result: object) -> object:
    """A tool's result with only what the tiny wishes need."""
    if isinstance(result, list):
        return [shortened(item) for item in result]
    kept = {name: value for name, value in result.items() if name in _KEPT} if isinstance(result, dict) else {}
    return kept or "ok"


def admissible(database: Database, texts: Iterable[str]) -> tuple[str, ...]:
    """Every call of the tiny tools that would run, with ids that were seen in these texts, and what to say in the end."""
    seen: dict[str, list[str]] = {name: [] for name in _SEEN}
    for text, (name, pattern) in itertools.product(texts, _SEEN.items()):
        seen[name] += pattern.findall(text)
    calls = [
        ToolCall(tool, {parameter: value}).write()
        for tool, parameter in _IDS.items()
        for value in dict.fromkeys(seen[parameter])
        if parameter not in _OPEN or database.row(_OPEN[parameter], value)
    ]
    return (*calls, DONE)


def _pay(database: Database, member: Row) -> Request | None:
    query = "SELECT * FROM fines WHERE member_id = ? AND state = 'open' ORDER BY rowid"
    fines = database.rows(query, member["member_id"])
    if not fines:
        return None
    calls = [ToolCall("list_fines", {"member_id": member["member_id"]})]
    calls += [ToolCall("pay_fine", {"fine_id": fine["fine_id"]}) for fine in fines]
    return Request("pay", "Pay my open fines.", tuple(calls), DONE)
