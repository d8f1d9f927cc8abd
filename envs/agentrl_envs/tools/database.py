"""The library's database: SQLite in memory, copied and compared as a whole."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]

TABLES = {
    "desk": "today TEXT",
    "branches": "branch_id TEXT PRIMARY KEY, name TEXT",
    "members": "member_id TEXT PRIMARY KEY, name TEXT, postcode TEXT, card TEXT, email TEXT, tier TEXT, expires TEXT",
    "titles": "title_id TEXT PRIMARY KEY, title TEXT, author TEXT, genre TEXT, year INTEGER",
    "copies": "copy_id TEXT PRIMARY KEY, title_id TEXT, branch_id TEXT, status TEXT",
    "loans": "loan_id TEXT PRIMARY KEY, copy_id TEXT, member_id TEXT, due TEXT, renewals INTEGER, state TEXT",
    "holds": "hold_id TEXT PRIMARY KEY, member_id TEXT, title_id TEXT, branch_id TEXT, state TEXT",
    "fines": "fine_id TEXT PRIMARY KEY, member_id TEXT, cents INTEGER, reason TEXT, state TEXT",
    "rooms": "room_id TEXT PRIMARY KEY, branch_id TEXT, seats INTEGER",
    "bookings": "booking_id TEXT PRIMARY KEY, room_id TEXT, member_id TEXT, day TEXT, hour INTEGER, state TEXT",
    "referrals": "referral_id TEXT PRIMARY KEY, member_id TEXT, reason TEXT",
}
"""Table → its columns. The first column of a table is its key."""

CHANGING = ("members", "copies", "loans", "holds", "fines", "bookings", "referrals")
"""Tables that tools write to."""

_PREFIXES = {"loans": "L", "holds": "H", "fines": "F", "bookings": "G", "referrals": "X"}


class Database:
    """One copy of a library. Copies and pickles hold everything."""

    def __init__(self, content: bytes | None = None) -> None:
        """`content`: what `serialize` gave; without it the tables are empty."""
        # A world may be stepped in another thread than it was made in, one at a time.
        self._connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        if content is not None:
            self._connection.deserialize(content)
            return
        self._connection.execute("PRAGMA page_size = 512")
        for table, columns in TABLES.items():
            self._connection.execute(f"CREATE TABLE {table} ({columns})")

    def __reduce__(self) -> Any:
        return Database, (self.serialize(),)

    def serialize(self) -> bytes:
        return self._connection.serialize()

    def rows(self, query: str, *values: Any) -> list[Row]:
        """What a query finds, in its order."""
        cursor = self._connection.execute(query, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def row(self, query: str, *values: Any) -> Row | None:
        """The first thing a query finds."""
        return next(iter(self.rows(query, *values)), None)

    def value(self, query: str, *values: Any) -> Any:
        """The first column of the first thing a query finds."""
        return self._connection.execute(query, values).fetchone()[0]

    def change(self, statement: str, *values: Any) -> None:
        self._connection.execute(statement, values)

    def insert(self, table: str, *rows: Iterable[Any]) -> None:
        marks = ", ".join("?" for _ in TABLES[table].split(","))
        self._connection.executemany(f"INSERT INTO {table} VALUES ({marks})", [tuple(row) for row in rows])

    def next_id(self, table: str) -> str:
        """The id that a new row of this table gets, one more than the number of rows."""
        return f"{_PREFIXES[table]}{self.value(f'SELECT COUNT(*) FROM {table}') + 1}"

    def digest(self) -> str:
        """A hash of every row that a tool could have changed."""
        made = hashlib.blake2b(digest_size=16)
        for table in CHANGING:
            made.update(repr(self._connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()).encode())
        return made.hexdigest()

    def close(self) -> None:
        self._connection.close()
