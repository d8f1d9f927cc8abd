"""Problems about dictionaries, records and lines that have to be parsed."""

from __future__ import annotations

from agentrl_envs.code.families.sketch import Random, Sketch, between, pick, sketch, word, words

REDUCES = {
    "the sum": "sum(values)",
    "the largest": "max(values)",
    "the smallest": "min(values)",
    "the number": "len(values)",
    "the last": "values[-1]",
    "the first": "values[0]",
}


def records(r: Random) -> tuple[list[list[object]]]:
    """Pairs of a name and a number; names repeat."""
    return ([[pick(r, ("ann", "bob", "eve", "kim")), between(r, -5, 20)] for _ in range(between(r, 0, 8))],)


def tally(random: Random) -> Sketch:
    key, code = pick(
        random,
        (
            ("first letter", "w[0]"),
            ("last letter", "w[-1]"),
            ("length", "len(w)"),
            ("number of letters a", "w.count('a')"),
            ("first two letters (or the one it has)", "w[:2]"),
        ),
    )
    what, add = pick(
        random, (("how many words have it", "1"), ("how many letters these words have together", "len(w)"))
    )
    least = between(random, 1, 2)
    note = "" if least == 1 else " Words of one letter do not count."
    return sketch(
        "tally(words)",
        f"A dictionary from each {key} of a word to {what}.{note}",
        f"""
        found = {{}}
        for w in words:
            if len(w) >= {least}:
                key = {code}
                found[key] = found.get(key, 0) + {add}
        return found
        """,
        lambda r: (words(r, 0, 8),),
    )


def per_name(random: Random) -> Sketch:
    what, limit = pick(random, list(REDUCES)), between(random, -2, 6)
    side, sign = pick(random, (("at least", ">="), ("below", "<")))
    return sketch(
        "per_name(records)",
        f"Records are pairs [name, number]. A dictionary from each name to {what} of its numbers that are {side} {limit}; "
        "names without such a number are left out.",
        f"""
        groups = {{}}
        for name, number in records:
            if number {sign} {limit}:
                groups.setdefault(name, []).append(number)
        return {{name: {REDUCES[what]} for name, values in groups.items()}}
        """,
        records,
    )


def best_names(random: Random) -> Sketch:
    count, what = between(random, 1, 3), pick(random, list(REDUCES)[:4])
    order, sign = pick(random, (("largest", "-"), ("smallest", "")))
    return sketch(
        "best_names(records)",
        f"Records are pairs [name, number]. For each name take {what} of its numbers. The list of the {count} names with "
        f"the {order} value, that one first; equal ones in alphabetical order; fewer if there are fewer.",
        f"""
        groups = {{}}
        for name, number in records:
            groups.setdefault(name, []).append(number)
        score = {{name: {REDUCES[what]} for name, values in groups.items()}}
        return sorted(score, key=lambda name: ({sign}score[name], name))[:{count}]
        """,
        records,
    )


def invert(random: Random) -> Sketch:
    order = pick(random, ("ascending", "descending"))
    what, code = pick(
        random, (("list of the keys", "keys"), ("number of the keys", "len(keys)"), ("first of the keys", "keys[0]"))
    )
    least = between(random, 1, 2)
    note = " Values that have one key only are left out." if least == 2 else ""
    ordered = f"sorted(keys{', reverse=True' if order == 'descending' else ''})"
    return sketch(
        "invert(table)",
        f"A dictionary from each value of the table to the {what} that have it, keys taken in {order} order.{note}",
        f"""
        found = {{}}
        for key, value in table.items():
            found.setdefault(value, []).append(key)
        ordered = {{value: {ordered} for value, keys in found.items()}}
        return {{value: {code} for value, keys in ordered.items() if len(keys) >= {least}}}
        """,
        lambda r: ({word(r, 1, 3): between(r, 0, 3) for _ in range(between(r, 0, 7))},),
    )


def merge_tables(random: Random) -> Sketch:
    what, code = pick(
        random,
        (
            ("their sum", "a[key] + b[key]"),
            ("the larger one", "max(a[key], b[key])"),
            ("the smaller one", "min(a[key], b[key])"),
            ("that of a minus that of b", "a[key] - b[key]"),
            ("their product", "a[key] * b[key]"),
        ),
    )
    rest = pick(random, ("keep their value", "are left out", "get the value 0"))
    other = {"keep their value": "a.get(key, b.get(key))", "are left out": "None", "get the value 0": "0"}[rest]
    return sketch(
        "merge_tables(a, b)",
        f"One dictionary of both: where both have a key, {what}. Keys that only one of them has {rest}.",
        f"""
        found = {{}}
        for key in [*a, *b]:
            found[key] = {code} if key in a and key in b else {other}
        return {{key: value for key, value in found.items() if value is not None}}
        """,
        lambda r: tuple({pick(r, "pqrstu"): between(r, -4, 9) for _ in range(between(r, 0, 5))} for _ in range(2)),
    )


def read_pairs(random: Random) -> Sketch:
    outer, inner = pick(random, (";", ",", "&", " ")), pick(random, ("=", ":", "->"))
    rule, code = pick(
        random,
        (
            ("the last one counts", "int(value)"),
            ("the first one counts", "found.get(name, int(value))"),
            ("they are added up", "found.get(name, 0) + int(value)"),
        ),
    )

    def draw(r: Random) -> tuple[str]:
        parts = []
        for _ in range(between(r, 0, 6)):
            name, value = pick(r, "abc"), between(r, -9, 30)
            parts.append(name if r.random() < 0.2 else f"{name}{inner}{value}")
        return (outer.join(parts),)

    return sketch(
        "read_pairs(text)",
        f"The text holds parts with '{outer}' between them. Parts of the form name{inner}number go into a dictionary; of "
        f"several with one name {rule}. Parts without '{inner}' are skipped.",
        f"""
        found = {{}}
        for part in text.split("{outer}"):
            if "{inner}" in part:
                name, value = part.split("{inner}")
                found[name] = {code}
        return found
        """,
        draw,
    )


def calculate(random: Random) -> Sketch:
    signs = pick(random, (("+", "-"), ("+", "*"), ("-", "*"), ("+", "-", "*")))
    ahead = "*" in signs and pick(random, (True, False))
    rule = "* is done before the others" if ahead else "it is worked out strictly from left to right"
    code = (
        """
        total, term, sign = 0, None, 1
        for i, part in enumerate(text.split()):
            if i % 2 == 0:
                number = int(part)
                term = number if term is None else term * number
            elif part != "*":
                total, term, sign = total + sign * term, None, 1 if part == "+" else -1
        return total + sign * term
        """
        if ahead
        else """
        parts = text.split()
        total = int(parts[0])
        for sign, number in zip(parts[1::2], parts[2::2]):
            if sign == "+":
                total += int(number)
            elif sign == "-":
                total -= int(number)
            else:
                total *= int(number)
        return total
        """
    )

    def draw(r: Random) -> tuple[str]:
        parts = [str(between(r, 0, 9))]
        for _ in range(between(r, 0, 5)):
            parts += [pick(r, signs), str(between(r, 0, 9))]
        return (" ".join(parts),)

    return sketch(
        "calculate(text)",
        f"The value of an expression of numbers and the signs {' '.join(signs)}, all separated by blanks; {rule}.",
        code,
        draw,
    )


def column(random: Random) -> Sketch:
    sign, place = pick(random, (",", ";", "|")), between(random, 0, 2)
    what = pick(random, list(REDUCES)[:4])
    return sketch(
        "column(text)",
        f"Lines of cells with '{sign}' between them. Return {what} of the whole numbers in the {place + 1}. cells; lines "
        "where this cell is missing or no whole number (digits, perhaps with - before them) are skipped. 0 if there is none.",
        f"""
        values = []
        for line in text.split("\\n"):
            cells = line.split("{sign}")
            if len(cells) > {place} and cells[{place}].removeprefix("-").isdigit():
                values.append(int(cells[{place}]))
        return {REDUCES[what]} if values else 0
        """,
        lambda r: (
            "\n".join(
                sign.join(
                    word(r, 0, 2) if r.random() < 0.25 else str(between(r, -9, 30)) for _ in range(between(r, 1, 4))
                )
                for _ in range(between(r, 0, 5))
            ),
        ),
    )


def versions(random: Random) -> Sketch:
    order, sign = pick(random, ("ascending", "descending")), pick(random, (".", "-", "_"))
    result, tail = pick(random, (("list of them", ""), ("first of them (None if there is none)", "first")))
    code = f"sorted(names, key=lambda name: [int(part) for part in name.split('{sign}')]"
    code += ", reverse=True)" if order == "descending" else ")"
    end = "return ordered[0] if ordered else None" if tail else "return ordered"
    return sketch(
        "versions(names)",
        f"Versions such as 1{sign}10{sign}2 are compared part by part, as numbers; if one is the beginning of the other, "
        f"the shorter is smaller. In {order} order, return the {result}.",
        f"""
        ordered = {code}
        {end}
        """,
        lambda r: (
            [
                sign.join(str(pick(r, (0, 1, 2, 9, 10, 11))) for _ in range(between(r, 1, 3)))
                for _ in range(between(r, 0, 5))
            ],
        ),
    )


def worked_time(random: Random) -> Sketch:
    per_hour, least = pick(random, (60, 100)), pick(random, (0, 10, 15, 30))
    note = f" Spans shorter than {least} minutes do not count." if least else ""
    day = 24 * per_hour

    def draw(r: Random) -> tuple[list[str]]:
        times = sorted(between(r, 0, day - 1) for _ in range(between(r, 0, 7)))
        return ([f"{t // per_hour:02d}:{t % per_hour:02d} {pick(r, ('in', 'out'))}" for t in times],)

    return sketch(
        "worked_time(lines)",
        f"Lines 'hh:mm in' and 'hh:mm out' in the order of time; an hour has {per_hour} minutes. The minutes worked: from "
        f"each 'in' to the next 'out'. A second 'in' before an 'out' and an 'out' without an 'in' are ignored.{note}",
        f"""
        total, since = 0, None
        for line in lines:
            clock, what = line.split()
            now = int(clock[:2]) * {per_hour} + int(clock[3:])
            if what == "in":
                since = now if since is None else since
            elif since is not None:
                total += now - since if now - since >= {least} else 0
                since = None
        return total
        """,
        draw,
    )


def intervals(random: Random) -> Sketch:
    touch, sign = pick(random, (("are joined", "<="), ("are not joined", "<")))
    result, code = pick(
        random,
        (
            ("the list of what results, as [start, end], in ascending order", "joined"),
            ("the number of what results", "len(joined)"),
            ("the sum of the lengths of what results", "sum(b - a for a, b in joined)"),
            ("the length of the longest that results, or 0", "max((b - a for a, b in joined), default=0)"),
            (
                "the list of the gaps between them, as [start, end], in ascending order",
                "[[one[1], two[0]] for one, two in zip(joined, joined[1:])]",
            ),
        ),
    )

    def draw(r: Random) -> tuple[list[list[int]]]:
        starts = [between(r, 0, 25) for _ in range(between(r, 0, 6))]
        return ([[start, start + between(r, 1, 6)] for start in starts],)

    return sketch(
        "intervals(spans)",
        f"Spans [start, end] that overlap are joined into one, again and again; spans that only touch (one ends where the "
        f"other starts) {touch}. Return {result}.",
        f"""
        joined = []
        for start, end in sorted(spans):
            if joined and start {sign} joined[-1][1]:
                joined[-1][1] = max(joined[-1][1], end)
            else:
                joined.append([start, end])
        return {code}
        """,
        draw,
    )
