"""Problems about whole numbers."""

from __future__ import annotations

from agentrl_envs.code.families.sketch import Random, Sketch, between, pick, sketch


def digit_sum(random: Random) -> Sketch:
    base = between(random, 2, 16)
    return sketch(
        "digit_sum(n)",
        f"The sum of the digits of n (at least 0) when it is written in base {base}.",
        f"""
        total = 0
        while n > 0:
            total += n % {base}
            n //= {base}
        return total
        """,
        lambda r: (between(r, 0, 100_000),),
    )


def steps_down(random: Random) -> Sketch:
    divisor, minus = between(random, 2, 7), between(random, 1, 3)
    return sketch(
        "steps_down(n)",
        f"How many steps it takes from n to a number below {divisor}: a number that {divisor} divides is divided by "
        f"{divisor}, from any other {minus} is taken away.",
        f"""
        steps = 0
        while n >= {divisor}:
            if n % {divisor} == 0:
                n //= {divisor}
            else:
                n -= {minus}
            steps += 1
        return steps
        """,
        lambda r: (between(r, 0, 3000),),
    )


def sum_of_multiples(random: Random) -> Sketch:
    first, second = sorted(int(x) for x in random.choice(range(2, 12), 2, replace=False))
    how = pick(random, ("or", "and", "but not"))
    second_test = {
        "or": f"n % {first} == 0 or n % {second} == 0",
        "and": f"n % {first} == 0 and n % {second} == 0",
        "but not": f"n % {first} == 0 and n % {second} != 0",
    }[how]
    return sketch(
        "sum_of_multiples(limit)",
        f"The sum of all whole numbers from 1 to limit - 1 that are multiples of {first} {how} of {second}.",
        f"return sum(n for n in range(1, limit) if {second_test})",
        lambda r: (between(r, 0, 400),),
    )


def keep_digits(random: Random) -> Sketch:
    limit, side = between(random, 2, 7), pick(random, ("above", "below"))
    sign = ">" if side == "above" else "<"
    return sketch(
        "keep_digits(n)",
        f"The number that is left of n (at least 0) when only its decimal digits {side} {limit} are kept, in their "
        "order; 0 if none is.",
        f"""
        kept = [digit for digit in str(n) if int(digit) {sign} {limit}]
        return int("".join(kept) or "0")
        """,
        lambda r: (between(r, 0, 10_000_000),),
    )


def nearest_multiple(random: Random) -> Sketch:
    step, tie = between(random, 3, 20), pick(random, ("larger", "smaller"))
    sign = ">=" if tie == "larger" else ">"
    return sketch(
        "nearest_multiple(n)",
        f"The multiple of {step} that is nearest to n; of two that are equally near, the {tie} one. n may be negative.",
        f"""
        below = n - n % {step}
        return below + {step} if (n - below) * 2 {sign} {step} else below
        """,
        lambda r: (between(r, -150, 150),),
    )


def fewest_coins(random: Random) -> Sketch:
    middle, factor = between(random, 2, 6), between(random, 2, 5)
    coins = (middle * factor, middle, 1)
    return sketch(
        "fewest_coins(amount)",
        f"The smallest number of coins that make up the amount (at least 0); there are coins worth {coins[2]}, "
        f"{coins[1]} and {coins[0]}.",
        f"""
        count = 0
        for coin in {coins}:
            count += amount // coin
            amount %= coin
        return count
        """,
        lambda r: (between(r, 0, 300),),
    )


def with_divisors(random: Random) -> Sketch:
    wanted, first = between(random, 2, 6), pick(random, ("smallest", "count"))
    if first == "count":
        return sketch(
            "with_divisors(n)",
            f"How many whole numbers from 1 to n have exactly {wanted} divisors (1 and the number itself included).",
            f"""
            count = 0
            for number in range(1, n + 1):
                divisors = sum(number % d == 0 for d in range(1, number + 1))
                count += divisors == {wanted}
            return count
            """,
            lambda r: (between(r, 0, 120),),
        )
    return sketch(
        "with_divisors(n)",
        f"The smallest whole number above n that has at least {wanted} divisors (1 and the number itself included).",
        f"""
        number = n + 1
        while sum(number % d == 0 for d in range(1, number + 1)) < {wanted}:
            number += 1
        return number
        """,
        lambda r: (between(r, 0, 200),),
    )


def in_base(random: Random) -> Sketch:
    base, width = between(random, 2, 9), between(random, 0, 5)
    return sketch(
        "in_base(n)",
        f"The number n (at least 0) written in base {base}, as text, with zeros before it up to at least "
        f"{width + 1} digits.",
        f"""
        digits = ""
        while n > 0:
            digits = str(n % {base}) + digits
            n //= {base}
        return digits.rjust({width + 1}, "0")
        """,
        lambda r: (between(r, 0, 5000),),
    )


def clock_after(random: Random) -> Sketch:
    hours, minutes = pick(random, (10, 12, 20, 24, 30)), pick(random, (40, 50, 60, 100))
    return sketch(
        "clock_after(hour, minute, passed)",
        f"On a planet a day has {hours} hours (from 0) of {minutes} minutes (from 0). The list [hour, minute, day] "
        "after `passed` minutes (which may be negative); day counts the days that went by, negative for the past.",
        f"""
        total = hour * {minutes} + minute + passed
        day, rest = divmod(total, {hours * minutes})
        return [rest // {minutes}, rest % {minutes}, day]
        """,
        lambda r: (between(r, 0, hours - 1), between(r, 0, minutes - 1), between(r, -5000, 5000)),
    )


def wrap_around(random: Random) -> Sketch:
    low = between(random, -8, 5)
    high = low + between(random, 3, 15)
    return sketch(
        "wrap_around(n)",
        f"Numbers from {low} to {high} lie on a circle: after {high} comes {low} again. The number on the circle "
        f"that n stands for (n itself if it is from {low} to {high}).",
        f"return (n - {low}) % {high - low + 1} + {low}".replace("- -", "+ ").replace("+ -", "- "),
        lambda r: (between(r, -60, 60),),
    )


def progressive_fee(random: Random) -> Sketch:
    first = between(random, 2, 8) * 10
    second = first + between(random, 2, 8) * 10
    low, middle, high = 1, between(random, 2, 3), between(random, 4, 6)
    return sketch(
        "progressive_fee(units)",
        f"The price of `units` units (at least 0): the first {first} cost {low} each, those after them up to {second} "
        f"cost {middle} each, all further ones {high} each.",
        f"""
        price = {low} * min(units, {first})
        price += {middle} * max(0, min(units, {second}) - {first})
        price += {high} * max(0, units - {second})
        return price
        """,
        lambda r: (between(r, 0, 220),),
    )
