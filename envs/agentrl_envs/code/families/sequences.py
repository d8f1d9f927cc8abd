"""Problems about the order of things in lists."""

from __future__ import annotations

from agentrl_envs.code.families.lists import KEEPS
from agentrl_envs.code.families.sketch import Random, Sketch, between, integers, pick, sketch, word


def split_order(random: Random) -> Sketch:
    keep, rest = pick(random, list(KEEPS)), pick(random, ("in their order", "in reverse order"))
    return sketch(
        "split_order(numbers)",
        f"First the numbers {keep}, in their order, then all others {rest}.",
        f"""
        first = [x for x in numbers if {KEEPS[keep]}]
        others = [x for x in numbers if not ({KEEPS[keep]})]
        return first + others{"[::-1]" if rest == "in reverse order" else ""}
        """,
        lambda r: (integers(r, 0, 9),),
    )


def running(random: Random) -> Sketch:
    what, code = pick(
        random,
        (
            ("the sum", "state + x"),
            ("the largest", "max(state, x)"),
            ("the sum with alternating signs (each step turns the sign of what was before)", "x - state"),
        ),
    )
    reset = pick(random, (0, 5, 7, 10))
    start = "state = x if fresh else " + code
    return sketch(
        "running(numbers)",
        f"A list as long as the given one: at each place {what} of the numbers up to there. After every number that is "
        f"exactly {reset} it begins anew with the next number.",
        f"""
        found, fresh, state = [], True, 0
        for x in numbers:
            {start}
            found.append(state)
            fresh = x == {reset}
        return found
        """,
        lambda r: ([reset if r.random() < 0.2 else x for x in integers(r, 0, 9)],),
    )


def drop_every(random: Random) -> Sketch:
    step, start = between(random, 2, 5), between(random, 0, 3)
    verb = pick(random, ("Remove", "Keep only"))
    sign = "!=" if verb == "Remove" else "=="
    return sketch(
        "drop_every(items)",
        f"Leave the first {start} items alone. After them: {verb.lower()} every {step}. item, that is, number {step}, "
        f"{2 * step}, {3 * step} … of what comes after. Return what is left of the whole list.",
        f"""
        head, tail = items[:{start}], items[{start}:]
        return head + [x for i, x in enumerate(tail, 1) if i % {step} {sign} 0]
        """,
        lambda r: (integers(r, 0, 14),),
    )


def interleave(random: Random) -> Sketch:
    first, second = between(random, 1, 3), between(random, 1, 3)
    rest = pick(random, ("is appended", "is dropped"))
    if rest == "is appended":
        end = "return found + a + b"
        loop = "while a and b:"
    else:
        end = "return found"
        loop = f"while len(a) >= {first} and len(b) >= {second}:"
    ending = (
        "As soon as one list is empty, what is left of the other is appended."
        if rest == "is appended"
        else "As soon as one list has too few, both rests are dropped."
    )
    return sketch(
        "interleave(a, b)",
        f"Take turns: {first} from the front of a, then {second} from the front of b, and so on"
        f"{', fewer where there are no more' if rest == 'is appended' else ''}. {ending}",
        f"""
        found, a, b = [], list(a), list(b)
        {loop}
            found += a[:{first}] + b[:{second}]
            a, b = a[{first}:], b[{second}:]
        {end}
        """,
        lambda r: (integers(r, 0, 7), integers(r, 0, 7)),
    )


def merge_close(random: Random) -> Sketch:
    gap = between(random, 1, 6)
    what, code = pick(
        random,
        (("size", "len(group)"), ("first number", "group[0]"), ("last number", "group[-1]"), ("sum", "sum(group)")),
    )
    return sketch(
        "merge_close(numbers)",
        f"Sort the numbers ascending and cut them into groups wherever a number is more than {gap} above the one before. "
        f"The list of the {what} of every group.",
        f"""
        groups = []
        for x in sorted(numbers):
            if groups and x - groups[-1][-1] <= {gap}:
                groups[-1].append(x)
            else:
                groups.append([x])
        return [{code} for group in groups]
        """,
        lambda r: (integers(r, 0, 9, 0, 40),),
    )


def josephus(random: Random) -> Sketch:
    step, what = between(random, 2, 7), pick(random, ("last name that is left", "names in the order they leave"))
    tail = "return left[-1]" if what.startswith("last") else "return left"
    empty = '""' if what.startswith("last") else "[]"
    return sketch(
        "josephus(names)",
        f"Children stand in a circle and count from 1 to {step}, from the first name on; whoever says {step} leaves, and "
        f"counting goes on with the next. The {what} ({empty} if there are no names"
        f"{'' if what.startswith('last') else '; the last child leaves last'}).",
        f"""
        circle, left, place = list(names), [], 0
        if not circle:
            return {empty}
        while circle:
            place = (place + {step - 1}) % len(circle)
            left.append(circle.pop(place))
        {tail}
        """,
        lambda r: ([word(r, 3, 5) for _ in range(between(r, 0, 7))],),
    )


def local_peaks(random: Random) -> Sketch:
    side, sign = pick(random, (("larger", ">"), ("smaller", "<")))
    ends = pick(random, ("The first and the last number do not count", "A missing neighbour is no obstacle"))
    result, code = pick(random, (("indices", "i"), ("numbers themselves", "x")))
    edge = "if 0 < i < len(numbers) - 1" if ends.startswith("The first") else "if True"
    lines = f"""
        found = []
        for i, x in enumerate(numbers):
            near = numbers[max(0, i - 1) : i] + numbers[i + 1 : i + 2]
            {edge} and all(x {sign} other for other in near):
                found.append({code})
        return found
        """.replace("if True and ", "if ")
    return sketch(
        "local_peaks(numbers)",
        f"The {result} of all numbers that are {side} than both neighbours. {ends}.",
        lines,
        lambda r: (integers(r, 0, 9, 0, 9),),
    )


def compare_lists(random: Random) -> Sketch:
    which, code = pick(random, (("that are in both", "x in b"), ("that are in a and not in b", "x not in b")))
    order = pick(random, ("ascending", "descending"))
    many = pick(random, ("each once", "as often as in a"))
    source = "set(a)" if many == "each once" else "a"
    return sketch(
        "compare_lists(a, b)",
        f"The numbers {which}, {many}, in {order} order.",
        f"return sorted([x for x in {source} if {code}]{', reverse=True' if order == 'descending' else ''})",
        lambda r: (integers(r, 0, 8, 0, 9), integers(r, 0, 8, 0, 9)),
    )


def best_stretch(random: Random) -> Sketch:
    side, code = pick(random, (("largest", "max"), ("smallest", "min")))
    skip = between(random, 0, 3)
    return sketch(
        "best_stretch(numbers)",
        f"The {side} sum of a stretch of neighbouring numbers that is at least {skip + 1} long; 0 if there is none so long.",
        f"""
        sums = []
        for i in range(len(numbers)):
            for j in range(i + {skip + 1}, len(numbers) + 1):
                sums.append(sum(numbers[i:j]))
        return {code}(sums, default=0)
        """,
        lambda r: (integers(r, 0, 9, -9, 9),),
    )
