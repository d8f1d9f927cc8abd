"""Tools about titles: looking for them, lending them, waiting for them."""

from __future__ import annotations

import datetime as dt

from agentrl import ToolError, tool
from agentrl_envs.tools.database import Row
from agentrl_envs.tools.member_tools import MemberTools
from agentrl_envs.tools.rules import money, today, waiting

LOST_FEE_CENTS = 2000
LOAN_DAYS, RENEWAL_DAYS = 21, 14


class LoanTools(MemberTools):
    """Needs a `database`."""

    @tool
    def search_titles(self, words: str) -> list[Row]:
        """Titles whose title or author holds these words; at most ten.

        words: part of a title or of an author's name
        """
        query = (
            "SELECT title_id, title, author, year FROM titles "
            "WHERE instr(lower(title || ' ' || author), lower(?)) ORDER BY rowid LIMIT 10"
        )
        return self.database.rows(query, words.strip())

    @tool
    def get_title(self, title_id: str) -> Row:
        """Show a title: author, genre and year."""
        return self._one("titles", "title_id", title_id)

    @tool
    def list_copies(self, title_id: str) -> list[Row]:
        """The copies of a title: at which branch they belong, and whether they are in, loaned or lost."""
        self._one("titles", "title_id", title_id)
        query = "SELECT copy_id, branch_id, name AS branch, status FROM copies JOIN branches USING (branch_id) WHERE title_id = ?"
        return self.database.rows(f"{query} ORDER BY copies.rowid", title_id)

    @tool
    def list_branches(self) -> list[Row]:
        """All branches of the library."""
        return self.database.rows("SELECT * FROM branches ORDER BY rowid")

    @tool
    def list_loans(self, member_id: str) -> list[Row]:
        """The open loans of a member."""
        self._one("members", "member_id", member_id)
        query = (
            "SELECT loan_id, title_id, title, due, renewals FROM loans JOIN copies USING (copy_id) "
            "JOIN titles USING (title_id) WHERE member_id = ? AND state = 'open' ORDER BY loans.rowid"
        )
        return self.database.rows(query, member_id)

    @tool
    def get_loan(self, loan_id: str) -> Row:
        """Show a loan: its copy, its member, when it is due, how often it was renewed."""
        return self._one("loans", "loan_id", loan_id)

    @tool
    def renew_loan(self, loan_id: str) -> Row:
        """Renew a loan: it is due 14 days from today."""
        self._open("loans", "loan_id", loan_id)
        due = (today(self.database) + dt.timedelta(days=RENEWAL_DAYS)).isoformat()
        self.database.change("UPDATE loans SET due = ?, renewals = renewals + 1 WHERE loan_id = ?", due, loan_id)
        return {"loan_id": loan_id, "due": due}

    @tool
    def check_out(self, member_id: str, copy_id: str) -> Row:
        """Lend a copy to a member for 21 days."""
        self._one("members", "member_id", member_id)
        copy = self._one("copies", "copy_id", copy_id)
        if copy["status"] != "in":
            raise ToolError(f"the copy {copy_id!r} is {copy['status']}")
        loan, due = self.database.next_id("loans"), (today(self.database) + dt.timedelta(days=LOAN_DAYS)).isoformat()
        self.database.insert("loans", (loan, copy_id, member_id, due, 0, "open"))
        self.database.change("UPDATE copies SET status = 'loaned' WHERE copy_id = ?", copy_id)
        return {"loan_id": loan, "due": due}

    @tool
    def return_copy(self, loan_id: str) -> Row:
        """Take a copy back and close its loan."""
        return self._close(loan_id, "returned", "in")

    @tool
    def report_lost(self, loan_id: str) -> Row:
        """Close a loan whose copy is lost; the member gets a fine of 20.00."""
        loan = self._close(loan_id, "lost", "lost")
        fine = self.database.next_id("fines")
        self.database.insert("fines", (fine, loan.pop("member_id"), LOST_FEE_CENTS, "lost", "open"))
        return loan | {"fine_id": fine, "amount": money(LOST_FEE_CENTS)}

    @tool
    def count_waiting(self, title_id: str) -> Row:
        """How many people wait for a title."""
        self._one("titles", "title_id", title_id)
        return {"title_id": title_id, "waiting": waiting(self.database, title_id)}

    @tool
    def list_holds(self, member_id: str) -> list[Row]:
        """The titles a member waits for, and at which branch each is to be picked up."""
        self._one("members", "member_id", member_id)
        query = (
            "SELECT hold_id, title_id, title, branch_id, name AS branch FROM holds JOIN titles USING (title_id) "
            "JOIN branches USING (branch_id) WHERE member_id = ? AND state = 'waiting' ORDER BY holds.rowid"
        )
        return self.database.rows(query, member_id)

    @tool
    def place_hold(self, member_id: str, title_id: str, branch_id: str) -> Row:
        """Let a member wait for a title.

        branch_id: where the member will pick it up
        """
        for table, column, value in (
            ("members", "member_id", member_id),
            ("titles", "title_id", title_id),
            ("branches", "branch_id", branch_id),
        ):
            self._one(table, column, value)
        hold = self.database.next_id("holds")
        self.database.insert("holds", (hold, member_id, title_id, branch_id, "waiting"))
        return {"hold_id": hold, "title_id": title_id, "branch_id": branch_id}

    @tool
    def cancel_hold(self, hold_id: str) -> Row:
        """End the waiting for a title."""
        self._open("holds", "hold_id", hold_id, "waiting")
        self.database.change("UPDATE holds SET state = 'cancelled' WHERE hold_id = ?", hold_id)
        return {"hold_id": hold_id, "state": "cancelled"}

    @tool
    def move_hold(self, hold_id: str, branch_id: str) -> Row:
        """Change where a title that is waited for will be picked up."""
        self._open("holds", "hold_id", hold_id, "waiting")
        self._one("branches", "branch_id", branch_id)
        self.database.change("UPDATE holds SET branch_id = ? WHERE hold_id = ?", branch_id, hold_id)
        return {"hold_id": hold_id, "branch_id": branch_id}

    def _close(self, loan_id: str, state: str, status: str) -> Row:
        loan = self._open("loans", "loan_id", loan_id)
        self.database.change("UPDATE loans SET state = ? WHERE loan_id = ?", state, loan_id)
        self.database.change("UPDATE copies SET status = ? WHERE copy_id = ?", status, loan["copy_id"])
        return {"loan_id": loan_id, "state": state, "member_id": loan["member_id"]}
