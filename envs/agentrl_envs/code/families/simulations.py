"""Problems in which something is played through step by step."""

from __future__ import annotations

from agentrl_envs.code.families.sketch import Random, Sketch, between, integers, pick, sketch


def robot(random: Random) -> Sketch:
    size = between(random, 3, 7)
    edge = pick(random, ("it comes back in on the other side", "it stays where it is"))
    code = f"% {size}" if edge.startswith("it comes") else ""
    step = between(random, 1, 2)
    move = (
        f"x, y = (x + {step} * dx) {code}, (y + {step} * dy) {code}"
        if code
        else f"x, y = (x + {step} * dx, y + {step} * dy) if 0 <= x + {step} * dx < {size} and 0 <= y + {step} * dy < {size} else (x, y)"
    )
    return sketch(
        "robot(commands)",
        f"A robot stands on (0, 0) of a field with {size} times {size} cells and looks along growing x. L turns it left "
        f"(from growing x to growing y), R turns it right, F moves it {step} cell{'s' * (step > 1)} ahead; if that leads "
        f"out of the field, {edge}. The list [x, y] in the end.",
        f"""
        x = y = 0
        dx, dy = 1, 0
        for command in commands:
            if command == "L":
                dx, dy = -dy, dx
            elif command == "R":
                dx, dy = dy, -dx
            else:
                {move}
        return [x, y]
        """,
        lambda r: ("".join(pick(r, "LRFFF") for _ in range(between(r, 0, 14))),),
    )


def cells_rule(random: Random) -> Sketch:
    rule, steps = between(random, 1, 254), between(random, 1, 2)
    table = {f"{i:03b}": str(rule >> i & 1) for i in range(8)}
    alive = ", ".join(key for key, value in table.items() if value == "1")
    return sketch(
        "cells_rule(cells)",
        f"A row of cells 0 and 1. In one step, all at once, a cell becomes 1 exactly if it and its two neighbours (left, "
        f"itself, right) read one of: {alive}. Beyond both ends all is 0. The row after {steps} step{'s' * (steps > 1)}.",
        f"""
        table = {table!r}
        for _ in range({steps}):
            wide = "0" + cells + "0"
            cells = "".join(table[wide[i : i + 3]] for i in range(len(cells)))
        return cells
        """,
        lambda r: ("".join(pick(r, "01") for _ in range(between(r, 0, 10))),),
    )


def stack_machine(random: Random) -> Sketch:
    names = [
        str(x) for x in random.choice(["add", "sub", "mul", "max", "dup", "swap", "neg", "drop"], 4, replace=False)
    ]
    lines = {
        "add": (
            "replaces the two top numbers by their sum",
            2,
            "b = stack.pop(); a = stack.pop(); stack.append(a + b)",
        ),
        "sub": (
            "replaces the two top numbers by the lower one minus the top one",
            2,
            "b = stack.pop(); a = stack.pop(); stack.append(a - b)",
        ),
        "mul": (
            "replaces the two top numbers by their product",
            2,
            "b = stack.pop(); a = stack.pop(); stack.append(a * b)",
        ),
        "max": (
            "replaces the two top numbers by the larger one",
            2,
            "b = stack.pop(); a = stack.pop(); stack.append(max(a, b))",
        ),
        "dup": ("puts the top number there once more", 1, "stack.append(stack[-1])"),
        "swap": ("swaps the two top numbers", 2, "stack[-1], stack[-2] = stack[-2], stack[-1]"),
        "neg": ("turns the sign of the top number", 1, "stack.append(-stack.pop())"),
        "drop": ("takes the top number away", 1, "stack.pop()"),
    }
    told = "; ".join(f"{name} {lines[name][0]}" for name in names)
    code = [
        "stack = []",
        "for word in program.split():",
        "    if word.lstrip('-').isdigit():",
        "        stack.append(int(word))",
    ]
    for name in names:
        code += [f"    elif word == '{name}' and len(stack) >= {lines[name][1]}:"]
        code += [f"        {part}" for part in lines[name][2].split("; ")]
    code += ["return stack"]

    def draw(r: Random) -> tuple[str]:
        return (
            " ".join(pick(r, names) if r.random() < 0.45 else str(between(r, -5, 9)) for _ in range(between(r, 0, 9))),
        )

    return sketch(
        "stack_machine(program)",
        f"A program of words: a number is put on the stack; {told}. A word that finds too few numbers does nothing. The "
        "stack in the end as a list, its top last.",
        "\n".join(code),
        draw,
    )


def counters(random: Random) -> Sketch:
    number, every = between(random, 1, 4), between(random, 0, 3)
    what, code = pick(
        random,
        (
            ("when the last customer is done", "max(done, default=0)"),
            ("how long all customers wait together before their turn", "waited"),
            ("the list of when each customer is done", "done"),
        ),
    )
    arrive = "all are there at time 0" if every == 0 else f"number i (from 0) arrives at time {every} * i"
    return sketch(
        "counters(minutes)",
        f"Customers take `minutes` each; {arrive}. In this order each goes to the counter that is free first, of "
        f"{number} counter{'s' * (number > 1)}. Return {what}.",
        f"""
        free, done, waited = [0] * {number}, [], 0
        for i, need in enumerate(minutes):
            counter = free.index(min(free))
            start = max(free[counter], {every} * i)
            waited += start - {every} * i
            free[counter] = start + need
            done.append(start + need)
        return {code}
        """,
        lambda r: (integers(r, 0, 8, 1, 9),),
    )


def store(random: Random) -> Sketch:
    limit = between(random, 5, 15)
    rule = pick(random, ("is refused as a whole", "is done as far as possible"))
    empty = pick(random, (True, False))
    if rule.startswith("is refused"):
        body = f"n = n if sign == 'in' and stock.get(item, 0) + n <= {limit} or sign == 'out' and n <= stock.get(item, 0) else 0"
    else:
        body = f"n = min(n, {limit} - stock.get(item, 0)) if sign == 'in' else min(n, stock.get(item, 0))"
    end = "return stock" if not empty else "return {item: n for item, n in stock.items() if n > 0}"
    left = "Items of which nothing is left are left out." if empty else "Every item that was ever named is in it."
    return sketch(
        "store(orders)",
        f"Orders [what, item, n] with what 'in' or 'out' change a store that is empty at first and holds at most {limit} of "
        f"each item. An order that would exceed that or take out more than there is {rule}. The stock as a dictionary. {left}",
        f"""
        stock = {{}}
        for sign, item, n in orders:
            {body}
            stock[item] = stock.get(item, 0) + (n if sign == "in" else -n)
        {end}
        """,
        lambda r: (
            [
                [pick(r, ("in", "in", "out")), pick(r, ("nut", "pen", "cup")), between(r, 1, 9)]
                for _ in range(between(r, 0, 8))
            ],
        ),
    )


def account(random: Random) -> Sketch:
    fee, limit, start = between(random, 0, 3), between(random, 0, 5) * 10, between(random, 0, 5) * 10
    what, code = pick(
        random,
        (
            ("the balance in the end", "balance"),
            ("how many were refused", "refused"),
            ("the lowest balance there was", "lowest"),
        ),
    )
    cost = f"each withdrawal that is done costs {fee} more" if fee else "withdrawals cost nothing"
    low = f"-{limit}" if limit else "0"
    return sketch(
        "account(amounts)",
        f"An account starts with {start}. Positive amounts are paid in, negative ones withdrawn; {cost}. A withdrawal that "
        f"would bring the balance (with what it costs) below {low} is refused. Return {what}.",
        f"""
        balance = lowest = {start}
        refused = 0
        for amount in amounts:
            after = balance + amount - ({fee} if amount < 0 else 0)
            if amount < 0 and after < {low}:
                refused += 1
            else:
                balance = after
            lowest = min(lowest, balance)
        return {code}
        """,
        lambda r: (integers(r, 0, 8, -40, 30),),
    )


def cache(random: Random) -> Sketch:
    size = between(random, 2, 4)
    rule = pick(random, ("was used longest ago", "came in first", "came in last"))
    result, code = pick(
        random,
        (
            ("how many were found", "hits"),
            ("what is held in the end, in alphabetical order, as a list", "sorted(held)"),
        ),
    )
    again = "held.remove(key); held.append(key)" if rule == "was used longest ago" else "pass"
    drop = "held.pop()" if rule == "came in last" else "held.pop(0)"
    lines = "\n".join(f"                {part}" for part in again.split("; "))
    return sketch(
        "cache(keys)",
        f"A store holds at most {size} keys. For each letter of `keys`: if it is held, it is found (and so used); if not, "
        f"it is put in, and if the store was full, what {rule} is thrown out before. Return {result}.",
        f"""
        held, hits = [], 0
        for key in keys:
            if key in held:
                hits += 1
{lines}
            else:
                if len(held) == {size}:
                    {drop}
                held.append(key)
        return {code}
        """.replace("                pass\n", ""),
        lambda r: ("".join(pick(r, "abcde") for _ in range(between(r, 0, 12))),),
    )


def lift(random: Random) -> Sketch:
    floors, open_time, pace = between(random, 5, 12), between(random, 0, 4), between(random, 1, 3)
    order = pick(random, ("in the order they were called", "always the nearest next, of two the lower one"))
    choose = "calls.pop(0)" if order.startswith("in") else "min(calls, key=lambda f: (abs(f - at), f))"
    remove = "" if order.startswith("in") else "calls.remove(goal)"
    body = f"""
        calls, at, time = list(calls), 0, 0
        while calls:
            goal = {choose}
            {remove}
            time += {pace} * abs(goal - at) + {open_time}
            at = goal
        return time
        """
    return sketch(
        "lift(calls)",
        f"A lift in a house with floors 0 to {floors} starts at floor 0 and serves all calls (floors), {order}. It takes "
        f"{pace} seconds from floor to floor, and {open_time} seconds at every call it serves. The seconds until all is served.",
        "\n".join(line for line in body.split("\n") if line.strip()),
        lambda r: (integers(r, 0, 7, 0, floors),),
    )


def growth(random: Random) -> Sketch:
    birth, death = between(random, 2, 4), between(random, 3, 6)
    return sketch(
        "growth(start, days)",
        f"Of `start` cells, all of age 0, each day every cell grows one day older; a cell that reaches age {death} dies; then "
        f"every living cell whose age is a multiple of {birth} (not 0) adds one new cell of age 0. The number of cells after `days` days.",
        f"""
        ages = {{0: start}}
        for _ in range(days):
            ages = {{age + 1: n for age, n in ages.items() if age + 1 < {death}}}
            born = sum(n for age, n in ages.items() if age % {birth} == 0)
            ages[0] = born
        return sum(ages.values())
        """,
        lambda r: (between(r, 0, 5), between(r, 0, 12)),
    )
