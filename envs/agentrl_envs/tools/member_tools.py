"""Tools about members: who they are, what they owe, and what is not for the desk."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field

from agentrl import ToolError, tool
from agentrl_envs.tools.database import Database, Row, number
from agentrl_envs.tools.rules import money, today


class MemberTools:
    """Needs a `database`."""

    database: Database

    @tool
    def find_member_by_card(self, card: str) -> Row:
        """Find a member by the number on their card.

        card: the card number, such as C12345
        """
        return self._one("members", "card", card)

    @tool
    def find_member_by_name(self, name: str, postcode: str) -> Row:
        """Find a member by name and postcode.

        name: first and last name
        postcode: five digits
        """
        query = "SELECT * FROM members WHERE lower(name) = lower(?) AND postcode = ?"
        found = self.database.row(query, name, postcode)
        if found is None:
            raise ToolError(f"there is no member {name[:60]!r} with postcode {postcode[:10]!r}")
        return found

    @tool
    def get_member(self, member_id: str) -> Row:
        """Show a member: name, postcode, card, email, tier, and when the membership ends."""
        return self._one("members", "member_id", member_id)

    @tool
    def update_email(
        self, member_id: str, email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=80)]
    ) -> Row:
        """Change a member's email address."""
        self._one("members", "member_id", member_id)
        self.database.change("UPDATE members SET email = ? WHERE member_id = ?", email, member_id)
        return {"member_id": member_id, "email": email}

    @tool
    def extend_membership(self, member_id: str) -> Row:
        """Extend a membership by one year from today."""
        self._one("members", "member_id", member_id)
        expires = (today(self.database) + dt.timedelta(days=365)).isoformat()
        self.database.change("UPDATE members SET expires = ? WHERE member_id = ?", expires, member_id)
        return {"member_id": member_id, "expires": expires}

    @tool
    def list_fines(self, member_id: str) -> list[Row]:
        """All fines of a member, also those that are paid or waived."""
        self._one("members", "member_id", member_id)
        query = "SELECT fine_id, cents, reason, state FROM fines WHERE member_id = ? ORDER BY rowid"
        rows = self.database.rows(query, member_id)
        return [
            {"fine_id": r["fine_id"], "amount": money(number(r, "cents")), "reason": r["reason"], "state": r["state"]}
            for r in rows
        ]

    @tool
    def pay_fine(self, fine_id: str) -> Row:
        """Take the payment of an open fine."""
        return self._settle(fine_id, "paid")

    @tool
    def waive_fine(self, fine_id: str) -> Row:
        """Waive an open fine."""
        return self._settle(fine_id, "waived")

    @tool
    def hand_over(self, member_id: str, reason: Literal["complaint", "sale", "event"]) -> Row:
        """Hand a matter that is not for the desk over to a colleague."""
        self._one("members", "member_id", member_id)
        referral = self.database.next_id("referrals")
        self.database.insert("referrals", (referral, member_id, reason))
        return {"referral_id": referral, "reason": reason}

    @tool
    def get_today(self) -> str:
        """Today's date."""
        return today(self.database).isoformat()

    def _settle(self, fine_id: str, state: str) -> Row:
        fine = self._one("fines", "fine_id", fine_id)
        if fine["state"] != "open":
            raise ToolError(f"the fine {fine_id!r} is {fine['state']}")
        self.database.change("UPDATE fines SET state = ? WHERE fine_id = ?", state, fine_id)
        return {"fine_id": fine_id, "amount": money(number(fine, "cents")), "state": state}

    def _one(self, table: str, column: str, value: str) -> Row:
        """The row with this value. Raises ToolError where there is none."""
        found = self.database.row(f"SELECT * FROM {table} WHERE {column} = ?", value)
        if found is None:
            raise ToolError(f"there is no {column.removesuffix('_id')} {value[:60]!r}")
        return found

    def _open(self, table: str, column: str, value: str, state: str = "open") -> Row:
        """The same, for a row that must be in a state."""
        found = self._one(table, column, value)
        if found["state"] != state:
            raise ToolError(f"the {column.removesuffix('_id')} {value[:60]!r} is {found['state']}")
        return found
