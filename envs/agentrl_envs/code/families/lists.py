"""Problems about lists of numbers."""

from __future__ import annotations

from agentrl_envs.code.families.sketch import Random, Sketch, between, integers, pick, sketch

KEEPS = {
    "that are even": "x % 2 == 0",
    "that are odd": "x % 2 == 1",
    "that are positive": "x > 0",
    "that are negative": "x < 0",
    "that are above 5": "x > 5",
    "that are below 10": "x < 10",
    "that are multiples of 3": "x % 3 == 0",
    "whose last decimal digit is above 4": "abs(x) % 10 > 4",
}
MAPS = {
    "square them": "x * x",
    "double them": "2 * x",
    "add 3 to each": "x + 3",
    "take their absolute values": "abs(x)",
    "take each from 10": "10 - x",
    "take their remainders by 4 (0 to 3)": "x % 4",
}
REDUCES = {
    "their sum": "sum(values)",
    "the largest, or 0 if there is none": "max(values, default=0)",
    "the smallest, or 0 if there is none": "min(values, default=0)",
    "how many different ones there are": "len(set(values))",
    "the list of them in ascending order": "sorted(values)",
    "the last of them, or -1 if there is none": "values[-1] if values else -1",
}


def pipeline(random: Random) -> Sketch:
    keep, change, reduce = pick(random, list(KEEPS)), pick(random, list(MAPS)), pick(random, list(REDUCES))
    return sketch(
        "pipeline(numbers)",
        f"Keep the numbers {keep}, {change}, and return {reduce}.",
        f"""
        kept = [x for x in numbers if {KEEPS[keep]}]
        values = [{MAPS[change]} for x in kept]
        return {REDUCES[reduce]}
        """,
        lambda r: (integers(r),),
    )


def rotate(random: Random) -> Sketch:
    by, side = between(random, 1, 6), pick(random, ("left", "right"))
    shift = f"{by} % len(items)" if side == "left" else f"-{by} % len(items)"
    return sketch(
        "rotate(items)",
        f"The list after every item went {by} places to the {side}; what falls off one end comes in at the other.",
        f"""
        if not items:
            return []
        shift = {shift}
        return items[shift:] + items[:shift]
        """,
        lambda r: (integers(r, 0, 9),),
    )


def chunks(random: Random) -> Sketch:
    size = between(random, 2, 5)
    what, code = pick(
        random,
        (
            ("sums", "sum(part)"),
            ("largest numbers", "max(part)"),
            ("smallest numbers", "min(part)"),
            ("last numbers", "part[-1]"),
            ("spans (largest minus smallest)", "max(part) - min(part)"),
        ),
    )
    rest = pick(random, ("may be shorter", "is left out if it is shorter"))
    stop = "len(numbers)" if rest == "may be shorter" else f"len(numbers) - {size - 1}"
    return sketch(
        "chunks(numbers)",
        f"Cut the list into parts of {size} numbers from the beginning; the last part {rest}. The list of the parts' {what}.",
        f"""
        found = []
        for start in range(0, {stop}, {size}):
            part = numbers[start : start + {size}]
            found.append({code})
        return found
        """,
        lambda r: (integers(r, 0, 12),),
    )


def windows(random: Random) -> Sketch:
    size = between(random, 2, 5)
    what, code = pick(
        random,
        (
            ("the largest sum of", "max(sums, default=0)"),
            ("the smallest sum of", "min(sums, default=0)"),
            ("how many different sums have", "len(set(sums))"),
        ),
    )
    return sketch(
        "windows(numbers)",
        f"Return {what} any {size} numbers that stand next to each other; 0 if there are fewer than {size} numbers.",
        f"""
        sums = [sum(numbers[i : i + {size}]) for i in range(len(numbers) - {size - 1})]
        return {code}
        """,
        lambda r: (integers(r, 0, 12),),
    )


def longest_run(random: Random) -> Sketch:
    what, code = pick(
        random,
        (
            ("each number is equal to the one before", "b == a"),
            ("each number is larger than the one before", "b > a"),
            ("each number is at most the one before", "b <= a"),
            ("neighbours differ by at most 3", "abs(b - a) <= 3"),
            ("even and odd numbers alternate", "(a + b) % 2 == 1"),
            ("neighbours have a sum above 10", "a + b > 10"),
            ("each number differs from the one before", "b != a"),
        ),
    )
    result, best = pick(random, (("length", "best"), ("first index", "where")))
    other = "0 for an empty list" if result == "length" else "the first of the longest counts, -1 for an empty list"
    return sketch(
        "longest_run(numbers)",
        f"The {result} of the longest stretch in which {what} ({other}). A single number is a stretch of length 1.",
        f"""
        best, where, length = 0, -1, 0
        for i, b in enumerate(numbers):
            a = numbers[i - 1]
            length = length + 1 if i > 0 and {code} else 1
            if length > best:
                best, where = length, i - length + 1
        return {best}
        """,
        lambda r: (integers(r, 0, 12, 0, 9),),
    )


def count_pairs(random: Random) -> Sketch:
    number = between(random, 2, 9)
    what, code = pick(
        random,
        (
            (f"whose sum is a multiple of {number}", f"(a + b) % {number} == 0"),
            (f"that differ by exactly {number}", f"abs(a - b) == {number}"),
            (f"whose product is above {number * 4}", f"a * b > {number * 4}"),
            (f"of which the first is larger by at least {number}", f"a - b >= {number}"),
        ),
    )
    return sketch(
        "count_pairs(numbers)",
        f"How many pairs of two places in the list (the first before the second) hold numbers {what}.",
        f"""
        count = 0
        for i, a in enumerate(numbers):
            for b in numbers[i + 1 :]:
                if {code}:
                    count += 1
        return count
        """,
        lambda r: (integers(r, 0, 9),),
    )


def by_occurrence(random: Random) -> Sketch:
    times, order = between(random, 1, 3), pick(random, ("ascending", "descending", "the order of their first place"))
    sign, words = pick(random, (("==", "exactly"), (">=", "at least")))
    kept = f"[x for x in dict.fromkeys(numbers) if numbers.count(x) {sign} {times}]"
    wrapped = {"ascending": f"sorted({kept})", "descending": f"sorted({kept}, reverse=True)"}.get(order, kept)
    return sketch(
        "by_occurrence(numbers)",
        f"The different numbers that are in the list {words} {times} time{'s' * (times > 1)}, in {order}"
        f"{' order' if order.endswith('ending') else ''}.",
        f"return {wrapped}",
        lambda r: (integers(r, 0, 12, 0, 6),),
    )


def sort_by(random: Random) -> Sketch:
    number = between(random, 3, 7)
    what, code = pick(
        random,
        (
            ("absolute value", "abs(x)"),
            (f"remainder by {number} (0 to {number - 1})", f"x % {number}"),
            (f"distance from {number}", f"abs(x - {number})"),
            ("last decimal digit", "abs(x) % 10"),
            ("number of decimal digits", "len(str(abs(x)))"),
        ),
    )
    ties, sign = pick(random, (("the smaller", "x"), ("the larger", "-x")))
    return sketch(
        "sort_by(numbers)",
        f"The numbers in ascending order of their {what}; where that is the same, {ties} number comes first.",
        f"return sorted(numbers, key=lambda x: ({code}, {sign}))",
        lambda r: (integers(r, 0, 9, -120, 120),),
    )


def kth_extreme(random: Random) -> Sketch:
    rank, side = between(random, 1, 4), pick(random, ("largest", "smallest"))
    name = ("", "", "second-", "third-", "fourth-")[rank]
    same = pick(random, ("equal numbers count once", "equal numbers count each"))
    values = "set(numbers)" if same.endswith("once") else "numbers"
    reverse = ", reverse=True" if side == "largest" else ""
    return sketch(
        "kth_extreme(numbers)",
        f"The {name}{side} number of the list ({same}), or None if there are too few.",
        f"""
        ordered = sorted({values}{reverse})
        return ordered[{rank - 1}] if len(ordered) >= {rank} else None
        """,
        lambda r: (integers(r, 0, 7, 0, 9),),
    )
