"""Tools about rooms: which are free, and who has booked them."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, TypeAlias

from pydantic import Field

from agentrl import ToolError, tool
from agentrl_envs.tools.database import Row
from agentrl_envs.tools.member_tools import MemberTools
from agentrl_envs.tools.rules import today

Hour: TypeAlias = Annotated[int, Field(ge=9, le=17, description="full hour, 9 to 17")]
Day: TypeAlias = Annotated[dt.date, Field(description="a date such as 2026-03-02")]


class RoomTools(MemberTools):
    """Needs a `database`."""

    @tool
    def find_rooms(self, branch_id: str, seats: Annotated[int, Field(ge=1, le=50)], day: Day, hour: Hour) -> list[Row]:
        """Rooms of a branch with enough seats that are free for one hour.

        seats: how many are needed at least
        """
        self._one("branches", "branch_id", branch_id)
        query = (
            "SELECT room_id, seats FROM rooms WHERE branch_id = ? AND seats >= ? AND room_id NOT IN "
            "(SELECT room_id FROM bookings WHERE day = ? AND hour = ? AND state = 'open') ORDER BY rowid"
        )
        return self.database.rows(query, branch_id, seats, day.isoformat(), hour)

    @tool
    def book_room(self, member_id: str, room_id: str, day: Day, hour: Hour) -> Row:
        """Book a room for one hour."""
        self._one("members", "member_id", member_id)
        self._one("rooms", "room_id", room_id)
        taken = "SELECT 1 FROM bookings WHERE room_id = ? AND day = ? AND hour = ? AND state = 'open'"
        if self.database.row(taken, room_id, day.isoformat(), hour):
            raise ToolError(f"the room {room_id!r} is taken on {day} at {hour}")
        if day < today(self.database):
            raise ToolError(f"{day} is over")
        booking = self.database.next_id("bookings")
        self.database.insert("bookings", (booking, room_id, member_id, day.isoformat(), hour, "open"))
        return {"booking_id": booking, "room_id": room_id, "day": day.isoformat(), "hour": hour}

    @tool
    def list_bookings(self, member_id: str) -> list[Row]:
        """The open bookings of a member."""
        self._one("members", "member_id", member_id)
        query = (
            "SELECT booking_id, room_id, day, hour FROM bookings WHERE member_id = ? AND state = 'open' ORDER BY rowid"
        )
        return self.database.rows(query, member_id)

    @tool
    def cancel_booking(self, booking_id: str) -> Row:
        """Give a booked room back."""
        self._open("bookings", "booking_id", booking_id)
        self.database.change("UPDATE bookings SET state = 'cancelled' WHERE booking_id = ?", booking_id)
        return {"booking_id": booking_id, "state": "cancelled"}
