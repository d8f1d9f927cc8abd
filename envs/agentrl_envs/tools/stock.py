"""Libraries made from seeds."""

from __future__ import annotations

import datetime as dt
import functools
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agentrl_envs.tools.database import Database

_WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))
FIRST_NAMES, LAST_NAMES, ADJECTIVES, NOUNS = (
    tuple(_WORDS[name].split()) for name in ("first_names", "last_names", "adjectives", "nouns")
)
GENRES = ("crime", "history", "novel", "poetry", "science", "travel")
BRANCHES = ("Central", "Harbour", "Hillside", "Mill Lane", "Northgate", "Riverside", "Southfield", "Westpark")
MAIL_HOSTS = ("mail.example", "post.example", "inbox.example")
LATE, OPEN = "late", "open"
_SPLITS = 3
_RENEWALS = (0.5, 0.25, 0.13, 0.08, 0.04)  # how many loans were renewed that often


@dataclass(frozen=True)
class Size:
    """How much a library holds."""

    members: int
    titles: int
    branches: int
    copies: int  # of each title
    loans: int  # most open loans of a member
    rooms: int
    card_digits: int = 5
    own_cards: bool = True  # whether a split has card numbers that no other has


FULL = Size(members=24, titles=60, branches=4, copies=2, loans=5, rooms=12)
TINY = Size(members=4, titles=12, branches=2, copies=1, loans=2, rooms=1, card_digits=2, own_cards=False)


@functools.lru_cache(maxsize=1024)
def library(size: Size, seed: tuple[int, ...]) -> bytes:
    """A whole library, as `Database` takes it; the same seed gives the same bytes. Its first number is that of a split."""
    random = np.random.default_rng(seed)
    database = Database(_empty())
    database.change("BEGIN")
    today = dt.date(2026, 1, 5) + dt.timedelta(days=int(random.integers(300)))
    database.insert("desk", (today.isoformat(),))
    branches = [str(name) for name in random.permutation(BRANCHES)[: size.branches]]
    database.insert("branches", *((f"B{i + 1}", name) for i, name in enumerate(branches)))
    _people(database, size, today, random, seed[0])
    _books(database, size, random)
    _loans_and_fines(database, size, today, random)
    _holds(database, size, random)
    _rooms(database, size, today, random)
    database.change("COMMIT")
    content = database.serialize()
    database.close()
    return content


@functools.cache
def _empty() -> bytes:
    return Database().serialize()


def _any(words: Sequence[str], random: np.random.Generator) -> str:
    return words[int(random.integers(len(words)))]


def _people(database: Database, size: Size, today: dt.date, random: np.random.Generator, split: int) -> None:
    """`split`: its number; it decides what is left of card numbers and postcodes after a division by the number of splits."""
    picks = random.permutation(len(FIRST_NAMES) * len(LAST_NAMES))[: size.members]
    lowest = 10 ** (size.card_digits - 1)
    step, first_card = (_SPLITS, split) if size.own_cards else (1, 0)
    cards = lowest + first_card + step * random.choice(9 * lowest // step, size.members, replace=False)
    for number, (pick, card) in enumerate(zip(picks.tolist(), cards.tolist(), strict=True), 1):
        first, last = FIRST_NAMES[pick % len(FIRST_NAMES)], LAST_NAMES[pick // len(FIRST_NAMES)]
        expires = today + dt.timedelta(
            days=int(random.integers(-20, 30) if random.random() < 0.3 else random.integers(30, 300))
        )
        tier = ("standard", "student", "patron")[int(random.choice(3, p=[0.6, 0.25, 0.15]))]
        email = f"{first}.{last}@{_any(MAIL_HOSTS, random)}".lower()
        postcode = f"{split + _SPLITS * int(random.integers(3_334, 33_333))}"
        row = (f"M{number}", f"{first} {last}", postcode, f"C{card}", email, tier, expires.isoformat())
        database.insert("members", row)


def _books(database: Database, size: Size, random: np.random.Generator) -> None:
    picks = random.permutation(len(ADJECTIVES) * len(NOUNS))[: size.titles].tolist()
    for number, pick in enumerate(picks, 1):
        title = f"The {ADJECTIVES[pick % len(ADJECTIVES)]} {NOUNS[pick // len(ADJECTIVES)]}"
        author = f"{_any(FIRST_NAMES, random)} {_any(LAST_NAMES, random)}"
        row = (f"T{number}", title, author, _any(GENRES, random), int(random.integers(1950, 2025)))
        database.insert("titles", row)
        for copy in range(size.copies):
            branch = f"B{int(random.integers(size.branches)) + 1}"
            database.insert("copies", (f"K{(number - 1) * size.copies + copy + 1}", f"T{number}", branch, "in"))


def _loans_and_fines(database: Database, size: Size, today: dt.date, random: np.random.Generator) -> None:
    copies = [
        row["copy_id"] for row in database.rows("SELECT copy_id FROM copies ORDER BY CAST(substr(copy_id, 2) AS INT)")
    ]
    free = [str(copy) for copy in random.permutation(copies)]
    for number in range(1, size.members + 1):
        titles: set[str] = set()
        for _ in range(int(random.integers(1, size.loans + 1))):
            copy = free.pop()
            title = database.value("SELECT title_id FROM copies WHERE copy_id = ?", copy)
            if title in titles:
                continue
            titles.add(title)
            due = today + dt.timedelta(days=int(random.integers(-12, 21)))
            loan = database.next_id("loans")
            database.insert(
                "loans", (loan, copy, f"M{number}", due.isoformat(), int(random.choice(5, p=_RENEWALS)), OPEN)
            )
            database.change("UPDATE copies SET status = 'loaned' WHERE copy_id = ?", copy)
        for _ in range(int(random.integers(0, 3))):
            reason = LATE if random.random() < 0.7 else "damage"
            state = OPEN if random.random() < 0.75 else ("paid", "waived")[int(random.integers(2))]
            cents = 50 * int(random.integers(1, 17))
            database.insert("fines", (database.next_id("fines"), f"M{number}", cents, reason, state))


def _holds(database: Database, size: Size, random: np.random.Generator) -> None:
    for number in range(1, size.members + 1):
        for title in random.permutation(size.titles)[: int(random.integers(0, 3))].tolist():
            if _has(database, f"M{number}", f"T{title + 1}"):
                continue
            branch = f"B{int(random.integers(size.branches)) + 1}"
            database.insert("holds", (database.next_id("holds"), f"M{number}", f"T{title + 1}", branch, "waiting"))


def _has(database: Database, member: str, title: str) -> bool:
    query = (
        "SELECT COUNT(*) FROM loans JOIN copies USING (copy_id) WHERE member_id = ? AND title_id = ? AND state = 'open'"
    )
    return bool(database.value(query, member, title))


def _rooms(database: Database, size: Size, today: dt.date, random: np.random.Generator) -> None:
    for number in range(1, size.rooms + 1):
        branch = f"B{(number - 1) % size.branches + 1}"
        database.insert("rooms", (f"R{number}", branch, 2 * int(random.integers(1, 7))))
    for number in range(1, size.members + 1):
        if random.random() < 0.4:
            day = today + dt.timedelta(days=int(random.integers(1, 14)))
            room, hour = f"R{int(random.integers(size.rooms)) + 1}", int(random.integers(9, 18))
            taken = "SELECT COUNT(*) FROM bookings WHERE room_id = ? AND day = ? AND hour = ?"
            if not database.value(taken, room, day.isoformat(), hour):
                row = (database.next_id("bookings"), room, f"M{number}", day.isoformat(), hour, OPEN)
                database.insert("bookings", row)
