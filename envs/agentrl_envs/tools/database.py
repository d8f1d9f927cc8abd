"""The library's database: SQLite in memory, copied and compared as a whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, TypeAlias

Value: TypeAlias = str | int
Row: TypeAlias = dict[str, Value]

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


def text(row: Row, column: str) -> str:
    """A column that holds text."""
    return str(row[column])


def number(row: Row, column: str) -> int:
    """A column that holds a whole number."""
    return int(row[column])


class Database:
    """One copy of a library. Copies and pickles hold everything."""

    def __init__(self, content: bytes | None = None, touched: Iterable[str] = ()) -> None:
        """`content`: what `serialize` gave; without it the tables are empty. `touched`: see there."""
        # A world may be stepped in another thread than it was made in, one at a time.
        self._connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self.touched = set(touched)  # tables that were written to
        if content is not None:
            self._connection.deserialize(content)
            return
        self._connection.execute("PRAGMA page_size = 512")
        for table, columns in TABLES.items():
            self._connection.execute(f"CREATE TABLE {table} ({columns})")

    def __reduce__(self) -> tuple[object, ...]:
        return Database, (self.serialize(), self.touched)

    def serialize(self) -> bytes:
        return self._connection.serialize()

    def rows(self, query: str, *values: Value | None) -> list[Row]:
        """What a query finds, in its order."""
        cursor = self._connection.execute(query, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def row(self, query: str, *values: Value | None) -> Row | None:
        """The first thing a query finds."""
        return next(iter(self.rows(query, *values)), None)

    def value(self, query: str, *values: Value | None) -> Any:
        """The first column of the first thing a query finds."""
        return self._connection.execute(query, values).fetchone()[0]

    def change(self, statement: str, *values: Value | None) -> None:
        if statement.startswith("UPDATE "):
            self.touched.add(statement.split(" ", 2)[1])
        self._connection.execute(statement, values)

    def insert(self, table: str, *rows: Iterable[Value]) -> None:
        self.touched.add(table)
        marks = ", ".join("?" for _ in TABLES[table].split(","))
        self._connection.executemany(f"INSERT INTO {table} VALUES ({marks})", [tuple(row) for row in rows])

    def next_id(self, table: str) -> str:
        """The id that a new row of this table gets, one more than the number of rows."""
        return f"{_PREFIXES[table]}{self.value(f'SELECT COUNT(*) FROM {table}') + 1}"

    @property
    def changes(self) -> int:
        """How many rows this object has changed."""
        return self._connection.total_changes

    def changed_since(self, content: bytes) -> frozenset[tuple[str, tuple[Value, ...]]]:
        """The rows, each with its table, that are not as in the `content` this began with; no tool deletes any."""
        self._connection.execute("ATTACH ':memory:' AS earlier")
        self._connection.deserialize(content, name="earlier")
        query = "SELECT * FROM main.{0} EXCEPT SELECT * FROM earlier.{0}"
        rows = ((table, row) for table in self.touched for row in self._connection.execute(query.format(table)))
        changed = frozenset(rows)
        self._connection.execute("DETACH earlier")
        return changed

    def holds(self, table: str, row: tuple[Value, ...]) -> bool:
        """Whether a table has exactly this row."""
        key = TABLES[table].split(" ")[0]
        return bool(self._connection.execute(f"SELECT * FROM {table} WHERE {key} = ?", row[:1]).fetchone() == row)

    def close(self) -> None:
        self._connection.close()
